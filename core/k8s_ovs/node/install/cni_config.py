"""What does the container runtime read: our CNI program alone, or chained with portmap?"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Any

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.node.install.cni_program import supported_versions

__all__ = [
    "BINARY",
    "CNI_VERSION",
    "FILES",
    "PORTMAP",
    "SOCKET",
    "Style",
    "cni_config",
    "has_plugin",
    "is_own",
    "plugins_of",
]

BINARY = "k8s-ovs"
#: The CNI program that forwards ports of the node to a pod, as `hostPort` asks.
PORTMAP = "portmap"
CNI_VERSION = "1.0.0"
SOCKET = Path("/var/run/k8s-ovs/cni-server.sock")

#: Seconds.
_ANSWERS_WITHIN = 5.0


class Style(StrEnum):
    """How the CNI program is configured. auto: chained with portmap where that can be."""

    AUTO = "auto"
    CONF = "conf"
    CONFLIST = "conflist"

    def on(self, bin_dir: Path, cni_version: str) -> Style:
        """conf or conflist, for a host with these CNI programs. Raises K8sOvsError if a chain is
        wanted and portmap is missing, or does not speak this version."""
        if self is Style.CONF:
            return self
        obstacle = _obstacle(bin_dir, cni_version)
        if obstacle and self is Style.CONFLIST:
            raise K8sOvsError(
                f"no conflist without portmap: {obstacle}; put a copy of it there (Debian has it "
                "in the package containernetworking-plugins), or take --cni-style=conf"
            )
        return Style.CONF if obstacle else Style.CONFLIST


#: By style. A runtime takes the first by name, so of the two it takes the conf.
FILES = {Style.CONF: "80-k8s-ovs.conf", Style.CONFLIST: "80-k8s-ovs.conflist"}


def cni_config(style: Style, cni_version: str, cni_socket: Path = SOCKET) -> dict[str, Any]:
    """The network configuration; style: conf or conflist. The socket is named where it is not the
    usual one."""
    network = {"cniVersion": cni_version, "name": "k8s-ovs"}
    own = {"type": BINARY}
    if cni_socket != SOCKET:
        own["socketPath"] = str(cni_socket)
    if style is Style.CONF:
        return network | own
    # snat: so that a pod reaches its own hostPort, and its node does by localhost.
    portmap = {"type": PORTMAP, "capabilities": {"portMappings": True}, "snat": True}
    return network | {"plugins": [own, portmap]}


def has_plugin(bin_dir: Path, plugin: str) -> bool:
    """Whether the runtime can start a CNI program of this name."""
    path = bin_dir / plugin
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except (OSError, ValueError):  # a type that can be no file's name
        return False


def _obstacle(bin_dir: Path, cni_version: str) -> str:
    """Why portmap cannot follow in a chain; empty: it can."""
    portmap = bin_dir / PORTMAP
    if not has_plugin(bin_dir, PORTMAP):
        return f"{portmap} is missing or not executable"
    spoken = _versions(portmap)
    if spoken and cni_version not in spoken:
        return f"{portmap} speaks the CNI {', '.join(spoken)}, expected {cni_version}"
    return ""


def _versions(plugin: Path) -> list[str]:
    """The versions that it says it speaks; empty: it does not start here, such as in a container
    that lacks libraries of the host, where the runtime may start it."""
    try:
        return supported_versions(plugin, _ANSWERS_WITHIN)
    except K8sOvsError:
        return []


def plugins_of(content: bytes) -> list[str]:
    """The types of a configuration's CNI programs, in order; empty: it is not a configuration."""
    try:
        config = parse_json(content)
    except ValueError:
        return []
    plugins = config.get("plugins", [config]) if isinstance(config, dict) else []
    listed = plugins if isinstance(plugins, list) else []
    return [str(each.get("type")) for each in listed if isinstance(each, dict)]


def is_own(content: bytes) -> bool:
    """Whether a file with this content was made of `cni_config`, by any version."""
    return plugins_of(content) in ([BINARY], [BINARY, PORTMAP])
