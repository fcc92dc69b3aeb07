"""What does one change in the cluster cost a node, and how soon is it there?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address
from typing import Any

from attrs import evolve, frozen
from tests.bench.machine import processor
from tests.bench.scale.living import Change, Living
from tests.bench.scale.meter import summary
from tests.bench.scale.stage import NODE, Progress, Stage, namespace_of

from k8s_ovs.errors import TimedOut
from k8s_ovs.model.codec import decode
from k8s_ovs.model.node_status import STATUS
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import SUBNETS
from k8s_ovs_lab.process import await_that

__all__ = ["measure"]

NOTHING = "nothing"
_LOCAL_ADD = "local pod ADD"
#: Seconds of a window: what a daemon looks at every 8 s it looks at once in each.
_WINDOW = 8.0
#: Seconds between two changes: status file and status in etcd follow each within one.
_EVERY = 1.0
_WITHIN = 60.0

#: Whether it has come about: when (time.monotonic()), None: not yet.
Effect = Callable[[], float | None]


@frozen
class _Case:
    """make: the next change. flow: which flow comes of it, ADDED or DELETED and a part of its text;
    None: none does."""

    make: Callable[[], Change]
    flow: Callable[[Change], tuple[str, str]] | None = None


@frozen
class _Window:
    """cpu: seconds of processor that the daemon used. effects: of each change, seconds until it
    was there, by the effect's name."""

    cpu: float
    effects: Sequence[Mapping[str, float]]


def measure(stage: Stage, rounds: int, progress: Progress) -> dict[str, Any]:
    """{change: {"cpu_ms": milliseconds of processor that the daemon uses in a second with one such
    change, whatever for, "ms": {effect: milliseconds since before the change was written},
    "count"}}, as median and worst.

    Effects: "answered", the leader has written its records, or the daemon has answered the CNI;
    "flow", it is in the switch; "told", the status in etcd says that it is applied.
    """
    role = "leads" if stage.leads else "follows"
    found: dict[str, Any] = {}
    with stage.flows.heard():
        for what, change in _changes(stage).items():
            progress(f"{role}: {what}")
            found[what] = _told([_window(stage, change) for _ in range(rounds)])
    progress(f"{role}: {_LOCAL_ADD}")
    return found | {_LOCAL_ADD: _told([_window_of_adds(stage) for _ in range(rounds)])}


def _changes(stage: Stage) -> dict[str, Callable[[], Mapping[str, float]]]:
    """What makes each change, and returns how soon its effects were there."""
    cases = _cases(stage).items()
    made = {what: partial(_made, stage, case) for what, case in cases}
    return {NOTHING: dict, **made}


def _cases(stage: Stage) -> Mapping[str, _Case]:
    living = stage.living
    # A namespace without a pod here joins one with pods here and leaves it.
    guest, host = stage.guest, namespace_of(0)
    number = living.namespaces[guest].vni
    return {
        "node record": _Case(living.node_record, lambda change: ("ADDED", _destination(change))),
        "new Node": _Case(living.node_joins, lambda change: ("ADDED", _tunnel(change))),
        "Node status": _Case(living.node_status),
        "new Namespace": _Case(living.namespace_made),
        "tenant change": _Case(
            lambda: _turn(living, guest, host),
            lambda change: ("ADDED" if change.what == "join" else "DELETED", f"reg0=0x{number:x}"),
        ),
        "remote pod": _Case(living.pod_made),
    }


def _turn(living: Living, name: str, other: str) -> Change:
    """A namespace joins another one, or leaves it where it has joined it."""
    joined = living.namespaces[name].net_id == living.namespaces[other].net_id
    return living.isolate(name) if joined else living.join(name, other)


def _destination(change: Change) -> str:
    (value,) = change.asked.values()
    return f"nw_dst={decode(HostSubnet, 'asked', value).subnet}"


def _tunnel(change: Change) -> str:
    path = next(path for path in change.answer if path.startswith(f"{SUBNETS}/"))
    return f"tun_src={IPv4Address(path.partition('/')[2])}"


def _window(stage: Stage, change: Callable[[], Mapping[str, float]]) -> _Window:
    """As many changes as there is time for, one after the other."""
    before, begin = processor(stage.pid), time.monotonic()
    effects = []
    while (began := time.monotonic()) < begin + _WINDOW - _EVERY / 2:
        effects.append(change())
        time.sleep(max(0.0, began + _EVERY - time.monotonic()))
    return _Window(processor(stage.pid) - before, effects)


def _made(stage: Stage, case: _Case) -> Mapping[str, float]:
    """Make a change, and wait until all its effects are there."""
    change, heard, begin = case.make(), stage.flows.mark(), time.monotonic()
    revision = stage.apply(change)
    waiting = _effects(stage, case, change, revision, heard)
    found: dict[str, float] = {}
    while waiting:
        for name, effect in list(waiting.items()):
            if (at := effect()) is not None:
                found[name] = at - begin
                del waiting[name]
        if time.monotonic() > begin + _WITHIN:
            raise TimedOut(f"{change.what}: not {', '.join(waiting)} within {_WITHIN:g} s")
        time.sleep(0.002)
    return found


def _effects(
    stage: Stage, case: _Case, change: Change, revision: int, heard: int
) -> dict[str, Effect]:
    effects: dict[str, Effect] = {}
    written = [revision]
    if stage.leads and change.answer:
        effects["answered"] = lambda: _answered(stage, change, written)
    if case.flow is not None:
        event, text = case.flow(change)
        effects["flow"] = lambda: stage.flows.when(heard, event, text)
    if change.asked or change.answer:
        effects["told"] = lambda: _applied(stage, effects, written)
    return effects


def _answered(stage: Stage, change: Change, written: list[int]) -> float | None:
    """When the leader has written what it had to; notes the revision of that."""
    found = stage.read(next(iter(change.answer)))
    if found is None or found[1] <= written[0]:
        return None
    written.append(found[1])
    return time.monotonic()


def _applied(stage: Stage, waiting: Mapping[str, Effect], written: list[int]) -> float | None:
    """When the node says that it has applied all that was written."""
    status = stage.read(f"{STATUS}/{NODE}")
    behind = (
        "answered" in waiting or status is None or int(str(status[0]["Revision"])) < max(written)
    )
    return None if behind else time.monotonic()


def _window_of_adds(stage: Stage) -> _Window:
    """Pods of this node, as kubelet makes them; they go afterwards."""
    names: list[str] = []

    def add() -> Mapping[str, float]:
        names.append(f"added{len(names)}")
        stage.lab.run_pod(NODE, names[-1], namespace_of(0))
        return {}

    stage.log.forget()
    window = _window(stage, add)
    # The daemon writes its line when it has answered.
    await_that("a line for each ADD", lambda: len(_adds(stage)) == len(names), _WITHIN)
    for name in names:
        stage.lab.delete_pod(name, namespace_of(0))
    time.sleep(2 * _EVERY)
    return evolve(window, effects=[{"answered": seconds} for seconds in _adds(stage)])


def _adds(stage: Stage) -> list[float]:
    """Seconds that the daemon took for each ADD, as its log tells them."""
    said = (each for each in stage.log.events("cni") if each["command"] == "ADD")
    return [float(each["ms"]) / 1e3 for each in said]


def _told(windows: Sequence[_Window]) -> dict[str, Any]:
    cpu = [each.cpu / len(each.effects) * 1e3 for each in windows]
    effects = [effects for each in windows for effects in each.effects]
    return {
        "cpu_ms": summary(cpu),
        "ms": {name: summary([each[name] * 1e3 for each in effects]) for name in effects[0]},
        "count": len(effects),
    }
