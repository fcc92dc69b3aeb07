"""`k8s-ovs install-cni`: what the container runtime needs on this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_cni.executable import executable

__all__ = ["cni_config", "install", "run"]

BINARY = "k8s-ovs"
CONFIG = "80-k8s-ovs.conf"
_BIN_DIR = Path("/opt/cni/bin")
_CONF_DIR = Path("/etc/cni/net.d")
_SOCKET = Path("/var/run/k8s-ovs/cni-server.sock")


def run(
    *,
    bin_dir: Annotated[Path, typer.Option(help="Where the runtime finds plugins.")] = _BIN_DIR,
    conf_dir: Annotated[Path, typer.Option(help="Where it finds networks.")] = _CONF_DIR,
    cni_socket: Annotated[Path, typer.Option(help="Where the daemon listens.")] = _SOCKET,
    cni_version: Annotated[
        str, typer.Option(help="Version of the CNI specification that the runtime speaks.")
    ] = "1.0.0",
) -> None:
    """Put the CNI plugin and its configuration where the container runtime looks for them.

    The plugin is a Python program: this host needs /usr/bin/python3.

    \b
    Examples:
      k8s-ovs install-cni
      k8s-ovs install-cni --bin-dir /usr/lib/cni --cni-version 0.4.0
    """
    for path in install(bin_dir, conf_dir, cni_config(cni_version, cni_socket)):
        typer.echo(f"installed {path}")


def cni_config(cni_version: str, cni_socket: Path = _SOCKET) -> dict[str, Any]:
    """The network configuration; the socket is named where it is not the usual one."""
    config = {"cniVersion": cni_version, "name": "k8s-ovs", "type": BINARY}
    return config if cni_socket == _SOCKET else config | {"socketPath": str(cni_socket)}


def install(bin_dir: Path, conf_dir: Path, config: dict[str, Any]) -> tuple[Path, Path]:
    """Write plugin and configuration; returns their paths. Raises K8sOvsError.

    The configuration comes last: with it the runtime says that its network is ready.
    """
    binary = _put(bin_dir / BINARY, executable(), 0o755)
    return binary, _put(conf_dir / CONFIG, json.dumps(config, indent=2) + "\n", 0o644)


def _put(path: Path, text: str, mode: int) -> Path:
    """Replace a file at once: a runtime that starts it meanwhile has the old or the new one."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        raise K8sOvsError(f"cannot install {path}: {error.strerror}") from error
    return path
