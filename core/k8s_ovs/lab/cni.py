"""The lab as container runtime: it starts the CNI program as a runtime does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.lab.command import NETNS, run
from k8s_ovs.lab.layout import LabNode

__all__ = ["call", "container_id", "pod_environment", "shim", "write_config"]

_VERSION = "1.1.0"
# Seconds; above what the CNI program gives itself.
_TIMEOUT = 45.0


def shim() -> Path:
    """The CNI program, a file that needs nothing but Python.

    Raises Unavailable if it is not part of this installation.
    """
    spec = find_spec("k8s_ovs_cni")
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0]) / "shim.py" if places else Path("k8s_ovs_cni/shim.py")
    if not path.exists():
        raise Unavailable(f"the CNI program {path} is missing; install k8s-ovs again")
    return path


def write_config(node: LabNode) -> None:
    """Write what a node has in /etc/cni/net.d."""
    config = {
        "cniVersion": _VERSION,
        "name": "k8s-ovs",
        "type": "k8s-ovs",
        "socketPath": str(node.cni_socket),
    }
    node.directory.mkdir(parents=True, exist_ok=True)
    node.cni_config.write_text(json.dumps(config, indent=2) + "\n")


def container_id() -> str:
    """A new sandbox's id: 64 hexadecimal digits, as container runtimes make them."""
    return secrets.token_hex(32)


def pod_environment(
    container: str, netns: str, namespace: str, name: str, uid: str
) -> dict[str, str]:
    """The CNI environment of a pod's sandbox, as container runtimes on Kubernetes set it."""
    arguments = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": namespace,
        "K8S_POD_NAME": name,
        "K8S_POD_INFRA_CONTAINER_ID": container,
        "K8S_POD_UID": uid,
    }
    return {
        "CNI_CONTAINERID": container,
        "CNI_NETNS": str(NETNS / netns),
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
    }


def call(
    node: LabNode,
    command: str,
    environment: Mapping[str, str],
    subject: str,
    config: Mapping[str, Any] | None = None,
) -> Any:
    """Carry one CNI command out on a node: the result as JSON, None if there is none to give.

    subject says in errors what it was for. config: what the runtime adds to the node's network
    configuration. Raises K8sOvsError with the CNI error's own words.
    """
    given = json.loads(node.cni_config.read_text()) | dict(config or {})
    done = run(
        ["/usr/bin/python3", "-IS", str(shim())],
        netns=node.netns,
        text=json.dumps(given),
        environment={"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin", **environment},
        timeout=_TIMEOUT,
        check=False,
    )
    try:
        answer = json.loads(done.stdout) if done.stdout.strip() else None
    except ValueError as error:
        raise K8sOvsError(
            f"CNI {command} of {subject} on {node.name}: not JSON: {done.stdout[:500]!r}"
        ) from error
    if done.returncode != 0:
        raise K8sOvsError(
            f"CNI {command} of {subject} on {node.name}: {_words(answer, done.stderr)}"
        )
    return answer


def _words(answer: Any, stderr: str) -> str:
    if not isinstance(answer, dict) or "msg" not in answer:
        return stderr.strip()[-2000:] or "it failed and said nothing"
    details = f": {answer['details']}" if answer.get("details") else ""
    return f"{answer['msg']}{details} (code {answer.get('code')})"
