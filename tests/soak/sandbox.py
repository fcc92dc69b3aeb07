"""What does a runtime ask about one sandbox? Also what a good one never does: twice, too early, too
late, and killed on the way."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from attrs import define, field

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import cni
from k8s_ovs_lab.layout import LabNode

__all__ = ["Sandbox"]

#: Seconds after which a killed program is killed at most: a whole ADD takes a hundredth of one.
_KILLED_WITHIN = 0.02
#: Seconds for which what fails is tried again, as kubelet does.
_PATIENCE = 90.0
_PAUSE = 0.1


@define
class Sandbox:
    """One network namespace, and what a runtime has asked for it. Used by one thread.

    netns: its name, and that of its pod. program: of the CNI. chance: the same seed asks the same.
    container: id of the attached sandbox; "": none is. doubtful: ids of which nobody knows what
    became. requests: how many there were. failures: answers that were errors.
    attached, checked: how often an ADD and a CHECK was answered well.
    """

    node: LabNode
    netns: str
    program: Path
    chance: random.Random
    address: str = ""
    container: str = ""
    doubtful: set[str] = field(factory=set)
    requests: int = 0
    failures: int = 0
    attached: int = 0
    checked: int = 0

    def step(self) -> None:
        """Something that a runtime may do now. Raises K8sOvsError for what must not be."""
        self.chance.choice(self._attached() if self.container else self._free())()

    def empty(self) -> None:
        """Everything that was asked for is taken back."""
        for container in filter(None, (self.container, *self.doubtful)):
            self._delete(container)

    def _free(self) -> list[Callable[[], None]]:
        rarely = [self._add_killed, self._delete_stranger, self._add_and_delete_at_once]
        return [*[self._add] * 7, *rarely]

    def _attached(self) -> list[Callable[[], None]]:
        rarely = [self._add_again, self._check, self._delete_killed]
        return [*[self._delete_own] * 7, *rarely]

    def _add(self) -> None:
        container = cni.container_id()
        self.doubtful.add(container)
        answer = self._ask("ADD", container)
        if answer is None:  # a runtime deletes what failed
            self._delete(container)
            return
        self.doubtful.discard(container)
        self.attached += 1
        self.container, self.address = container, _address(answer)

    def _add_again(self) -> None:
        answer = self._ask("ADD", self.container)
        if answer is not None and _address(answer) != self.address:
            raise K8sOvsError(
                f"{self.netns}: a repeated ADD gave {_address(answer)}, expected {self.address}"
            )

    def _check(self) -> None:
        if self._ask("CHECK", self.container) is not None:
            self.checked += 1

    def _delete_own(self) -> None:
        self._delete(self.container)

    def _delete(self, container: str) -> None:
        if container == self.container:  # as soon as it is asked for, another pod may have it
            self.doubtful.add(container)
            self.container = self.address = ""
        ends = time.monotonic() + _PATIENCE
        while self._ask("DEL", container) is None:
            if time.monotonic() > ends:
                raise K8sOvsError(f"{self.netns}: DEL of {container} failed for {_PATIENCE:g} s")
            time.sleep(_PAUSE)
        self.doubtful.discard(container)

    def _delete_stranger(self) -> None:
        self._delete(cni.container_id())

    def _add_killed(self) -> None:
        container = cni.container_id()
        self.doubtful.add(container)
        self._killed("ADD", container)
        if self.chance.random() < 0.5:  # else it is deleted much later, after others
            self._delete(container)

    def _delete_killed(self) -> None:
        container, self.container, self.address = self.container, "", ""
        self.doubtful.add(container)
        self._killed("DEL", container)
        self._delete(container)

    def _add_and_delete_at_once(self) -> None:
        """In whatever order they arrive, a DEL that follows leaves nothing."""
        container = cni.container_id()
        self.doubtful.add(container)
        programs = [self._start(command, container) for command in ("DEL", "ADD")]
        for program in programs:
            program.communicate()
        self._delete(container)

    def _killed(self, command: str, container: str) -> None:
        program = self._start(command, container)
        time.sleep(self.chance.uniform(0.0, _KILLED_WITHIN))
        program.kill()
        program.communicate()

    def _ask(self, command: str, container: str) -> Any:
        """The answer, {} where there is none to give; None: it was an error."""
        program = self._start(command, container)
        said, _ = program.communicate()
        if program.returncode:
            self.failures += 1
            return None
        return json.loads(said) if said.strip() else {}

    def _start(self, command: str, container: str) -> subprocess.Popen[bytes]:
        self.requests += 1
        environment = cni.pod_environment(container, self.netns, "default", self.netns, uid="")
        with self.node.cni_config.open("rb") as config:
            return subprocess.Popen(
                [self.program],
                env={"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin", **environment},
                stdin=config,
                stdout=subprocess.PIPE,
            )


def _address(answer: Any) -> str:
    return str(IPv4Interface(answer["ips"][0]["address"]).ip)
