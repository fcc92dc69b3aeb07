"""Which CNI program is installed, what an installation that cannot have it says, and its check."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.install import cni_program
from k8s_ovs.node.install.cni_program import Python, check_program, program
from k8s_ovs_cni.executable import executable, is_executable

SCRIPT = executable().encode()
CARRIED = "carries no standalone CNI program of its version"


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host with no Python, and an installation that carries no standalone program."""
    monkeypatch.setattr(cni_program, "PROGRAM", tmp_path / "carried")
    monkeypatch.setattr(cni_program, "SYSTEM_PYTHON", tmp_path / "python3")


@pytest.fixture
def carried(places: None, standalone_program: Path) -> bytes:
    """What the installation carries by now."""
    shutil.copy(standalone_program, cni_program.PROGRAM)
    return standalone_program.read_bytes()


def host_has(version: str) -> None:
    """The host has a Python that says it is of this version."""
    pretend(cni_program.SYSTEM_PYTHON, f"echo {version}")


def pretend(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def test_the_program_that_the_installation_carries_comes_first(carried: bytes) -> None:
    host_has("3.11.2")
    assert program() == carried
    assert program(Python.OWN) == carried
    assert program(Python.SYSTEM) == SCRIPT


@pytest.mark.parametrize("version", ["3.9.0", "3.13.0"])
def test_without_one_it_is_a_script_for_the_hosts_python(version: str) -> None:
    host_has(version)
    assert program() == SCRIPT


def test_a_host_without_python_needs_the_program_that_is_carried(carried: bytes) -> None:
    assert program() == carried
    with pytest.raises(K8sOvsError, match=r"python3 is missing, expected Python 3\.9 or later$"):
        program(Python.SYSTEM)


def test_where_there_is_neither_both_ways_out_are_told() -> None:
    with pytest.raises(K8sOvsError, match=rf"python3 is missing, .* or later; .*{CARRIED}"):
        program()


def test_what_is_not_carried_cannot_be_asked_for() -> None:
    host_has("3.11.2")
    with pytest.raises(K8sOvsError, match=rf"{CARRIED}.*python -m k8s_ovs_cni.standalone"):
        program(Python.OWN)


def test_what_an_older_version_has_left_is_not_carried(
    carried: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_has("3.11.2")
    monkeypatch.setattr(cni_program, "stamp", lambda: "of a newer version")
    assert is_executable(carried)
    assert program() == SCRIPT
    with pytest.raises(K8sOvsError, match=CARRIED):
        program(Python.OWN)


def test_a_python_that_is_too_old_is_named() -> None:
    host_has("3.8.18")
    with pytest.raises(K8sOvsError, match=r"python3 is Python 3\.8\.18, expected 3\.9 or later"):
        program(Python.SYSTEM)


@pytest.mark.parametrize("command", ["exit 127", "echo what?"])
def test_a_python_that_does_not_work_is_none(command: str) -> None:
    pretend(cni_program.SYSTEM_PYTHON, command)
    with pytest.raises(K8sOvsError, match=r"python3 does not work, expected Python 3\.9 or later"):
        program(Python.SYSTEM)


def test_both_are_known_as_ours_and_others_are_not(carried: bytes) -> None:
    assert is_executable(carried)
    assert is_executable(SCRIPT)
    assert not is_executable(Path("/bin/sh").read_bytes())
    assert not is_executable(b"#!/bin/sh\n")


def test_the_check_says_what_the_program_runs_on(tmp_path: Path, carried: bytes) -> None:
    installed = tmp_path / "k8s-ovs"
    for content, on in ((SCRIPT, f"on {cni_program.SYSTEM_PYTHON}"), (carried, "standalone")):
        installed.write_bytes(content)
        installed.chmod(0o755)
        assert check_program(installed).startswith(f"speaks CNI 1.1.0, {on}")


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        (None, 0, "does not exist"),
        (b"#!/bin/sh\n", 0o755, "is not the CNI program of k8s-ovs"),
        (SCRIPT, 0o644, "cannot be started: Permission denied"),
        (
            SCRIPT.replace(b"/usr/bin/python3", b"/none/python3"),
            0o755,
            "cannot be started: No such",
        ),
        (SCRIPT.replace(b"import marshal", b"import absent"), 0o755, "ends with status 1: Module"),
        (SCRIPT.replace(b"exec(", b"print("), 0o755, "answers VERSION with"),
    ],
)
def test_the_check_says_what_is_wrong(
    tmp_path: Path, content: bytes | None, mode: int, complaint: str
) -> None:
    installed = tmp_path / "k8s-ovs"
    if content is not None:
        installed.write_bytes(content)
        installed.chmod(mode)
    with pytest.raises(K8sOvsError, match=re.escape(f"{installed} {complaint}")):
        check_program(installed)
