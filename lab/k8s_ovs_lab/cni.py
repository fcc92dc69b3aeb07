"""The lab as container runtime: it starts the CNI program as a runtime does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from k8s_ovs.errors import K8sOvsError, shown
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.node.install.cni_config import Style
from k8s_ovs.node.install.installer import install
from k8s_ovs_lab.command import NETNS, run
from k8s_ovs_lab.layout import LabNode

__all__ = ["call", "container_id", "install_on", "pod_environment"]

_VERSION = "1.1.0"
# Seconds; above what the CNI program gives itself.
_TIMEOUT = 45.0


def install_on(node: LabNode) -> None:
    """Give the node the very files that `k8s-ovs install-cni` puts on a host."""
    install(node.directory, node.directory, Style.CONF, _VERSION, node.cni_socket)


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
    given = _given(node) | dict(config or {})
    done = run(
        [str(node.cni_program)],
        netns=node.netns,
        text=json.dumps(given),
        environment={"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin", **environment},
        timeout=_TIMEOUT,
        check=False,
    )
    try:
        answer = parse_json(done.stdout) if done.stdout.strip() else None
    except ValueError as error:
        raise K8sOvsError(
            f"CNI {command} of {subject} on {node.name}: not JSON: {done.stdout[:500]!r}"
        ) from error
    if done.returncode != 0:
        raise K8sOvsError(
            f"CNI {command} of {subject} on {node.name}: {_words(answer, done.stderr)}"
        )
    return answer


def _given(node: LabNode) -> dict[str, Any]:
    """The node's network configuration."""
    try:
        found = parse_json(node.cni_config.read_bytes())
    except (OSError, ValueError) as error:
        raise K8sOvsError(f"{node.cni_config}: no network configuration: {error}") from error
    if not isinstance(found, dict):
        raise K8sOvsError(f"{node.cni_config}: found {shown(found)}, expected an object")
    return found


def _words(answer: Any, stderr: str) -> str:
    if not isinstance(answer, dict) or "msg" not in answer:
        return stderr.strip()[-2000:] or "it failed and said nothing"
    details = f": {answer['details']}" if answer.get("details") else ""
    return f"{answer['msg']}{details} (code {answer.get('code')})"
