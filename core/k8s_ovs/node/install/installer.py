"""What the container runtime needs to find us: the CNI program and its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

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
from k8s_ovs.node.install.file_driver import FileDriver, file_of, read_file
from k8s_ovs.state.diff import Difference, diff
from k8s_ovs.state.value import File
from k8s_ovs_cni.executable import is_executable

__all__ = ["BIN_DIR", "CONF_DIR", "cni_files", "install", "installed", "names_of_ours", "put_right"]

BIN_DIR = Path("/opt/cni/bin")
CONF_DIR = Path("/etc/cni/net.d")


def cni_files(
    bin_dir: Path,
    conf_dir: Path,
    style: Style = Style.AUTO,
    cni_version: str = CNI_VERSION,
    cni_socket: Path = SOCKET,
    *,
    python: Python = Python.AUTO,
) -> list[File]:
    """The program, then the configuration. Raises K8sOvsError where there can be none.

    The configuration comes last: with it the runtime says that its network is ready.
    """
    chosen = style.on(bin_dir, cni_version)
    text = json.dumps(cni_config(chosen, cni_version, cni_socket), indent=2) + "\n"
    return [
        file_of(bin_dir / BINARY, partial(program, python), "755"),
        file_of(conf_dir / FILES[chosen], text.encode, "644"),
    ]


def put_right(files: list[File]) -> list[Difference]:
    """Make the files as they should be; what differed. Raises K8sOvsError."""
    _, conf_dir = (Path(each.name).parent for each in files)
    driver = FileDriver(lambda: _own(conf_dir / name for name in FILES.values()))
    found = diff(files, driver.read(files))
    driver.apply(found)
    return found


def install(
    bin_dir: Path,
    conf_dir: Path,
    style: Style = Style.AUTO,
    cni_version: str = CNI_VERSION,
    cni_socket: Path = SOCKET,
    *,
    python: Python = Python.AUTO,
) -> tuple[Path, Path]:
    """Write program and configuration; returns their paths. Raises K8sOvsError."""
    files = cni_files(bin_dir, conf_dir, style, cni_version, cni_socket, python=python)
    put_right(files)
    binary, config = (Path(each.name) for each in files)
    return binary, config


def names_of_ours(bin_dir: Path, conf_dir: Path) -> list[Path]:
    """Where `install` writes: configurations of each style, then the program."""
    return [*(conf_dir / name for name in FILES.values()), bin_dir / BINARY]


def installed(bin_dir: Path, conf_dir: Path) -> list[Path]:
    """What `install` wrote of them, in their order. Raises K8sOvsError where one cannot be read."""
    return _own(names_of_ours(bin_dir, conf_dir))


def _own(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if _is_own(path, read_file(path) or b"")]


def _is_own(path: Path, content: bytes) -> bool:
    return is_executable(content) if path.name == BINARY else is_own(content)
