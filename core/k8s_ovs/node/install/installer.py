"""What the container runtime needs to find us: the CNI program and its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.install.cni_config import (
    BINARY,
    CNI_VERSION,
    FILES,
    SOCKET,
    Style,
    cni_config,
    is_own,
)
from k8s_ovs.node.install.cni_program import Python, program
from k8s_ovs_cni.executable import is_executable

__all__ = ["BIN_DIR", "CONF_DIR", "install", "installed"]

BIN_DIR = Path("/opt/cni/bin")
CONF_DIR = Path("/etc/cni/net.d")


def install(
    bin_dir: Path,
    conf_dir: Path,
    style: Style = Style.AUTO,
    cni_version: str = CNI_VERSION,
    cni_socket: Path = SOCKET,
    *,
    python: Python = Python.AUTO,
) -> tuple[Path, Path]:
    """Write program and configuration; returns their paths. Raises K8sOvsError.

    The configuration comes last: with it the runtime says that its network is ready.
    """
    chosen = style.on(bin_dir, cni_version)
    binary = _put(bin_dir / BINARY, program(python), 0o755)
    return binary, _put_config(conf_dir, chosen, cni_config(chosen, cni_version, cni_socket))


def installed(bin_dir: Path, conf_dir: Path) -> dict[Path, bool]:
    """The files that have the names of ours, each with whether `install` wrote it: configurations,
    then the program. Raises K8sOvsError where one cannot be read."""
    checks = {conf_dir / name: is_own for name in FILES.values()}
    checks[bin_dir / BINARY] = is_executable
    found = {path: _read(path) for path in checks}
    return {path: checks[path](text) for path, text in found.items() if text is not None}


def _put_config(conf_dir: Path, style: Style, config: dict[str, Any]) -> Path:
    """Write it, then remove that of the other style: a runtime that looks meanwhile sees the old
    one or the new one, but always one."""
    text = json.dumps(config, indent=2) + "\n"
    written = _put(conf_dir / FILES[style], text.encode(), 0o644)
    for path in (conf_dir / name for name in FILES.values()):
        if path != written and is_own(_read(path) or b""):
            _remove(path)
    return written


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise K8sOvsError(f"cannot remove {path}: {error.strerror}") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise K8sOvsError(f"cannot read {path}: {error.strerror}") from error


def _put(path: Path, content: bytes, mode: int) -> Path:
    """Replace a file at once: a runtime that starts it meanwhile has the old or the new one."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        raise K8sOvsError(f"cannot install {path}: {error.strerror}") from error
    return path
