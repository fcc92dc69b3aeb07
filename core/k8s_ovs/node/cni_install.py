"""What a host needs for the container runtime to find us: the plugin and its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_cni.executable import executable, is_executable

__all__ = [
    "BINARY",
    "BIN_DIR",
    "CNI_VERSION",
    "CONFIG",
    "CONF_DIR",
    "SOCKET",
    "cni_config",
    "install",
    "installed",
]

BINARY = "k8s-ovs"
CONFIG = "80-k8s-ovs.conf"
CNI_VERSION = "1.0.0"
BIN_DIR = Path("/opt/cni/bin")
CONF_DIR = Path("/etc/cni/net.d")
SOCKET = Path("/var/run/k8s-ovs/cni-server.sock")


def cni_config(cni_version: str, cni_socket: Path = SOCKET) -> dict[str, Any]:
    """The network configuration; the socket is named where it is not the usual one."""
    config = {"cniVersion": cni_version, "name": "k8s-ovs", "type": BINARY}
    return config if cni_socket == SOCKET else config | {"socketPath": str(cni_socket)}


def install(bin_dir: Path, conf_dir: Path, config: dict[str, Any]) -> tuple[Path, Path]:
    """Write plugin and configuration; returns their paths. Raises K8sOvsError.

    The configuration comes last: with it the runtime says that its network is ready.
    """
    binary = _put(bin_dir / BINARY, executable(), 0o755)
    return binary, _put(conf_dir / CONFIG, json.dumps(config, indent=2) + "\n", 0o644)


def installed(bin_dir: Path, conf_dir: Path) -> dict[Path, bool]:
    """The files that have the names of ours, each with whether `install` wrote it: the
    configuration, then the plugin. Raises K8sOvsError where one cannot be read."""
    checks = {conf_dir / CONFIG: _is_config, bin_dir / BINARY: is_executable}
    found = {path: _read(path) for path in checks}
    return {path: checks[path](text) for path, text in found.items() if text is not None}


def _is_config(content: bytes) -> bool:
    try:
        config = json.loads(content)
    except ValueError:
        return False
    return isinstance(config, dict) and config.get("type") == BINARY


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise K8sOvsError(f"cannot read {path}: {error.strerror}") from error


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
