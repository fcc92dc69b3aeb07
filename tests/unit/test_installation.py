"""The CNI's files are kept: what somebody takes away or changes comes back, and is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.test_daemon import settings_of

from k8s_ovs.node.install.cni_config import BINARY, FILES, Style
from k8s_ovs.node.tell import installation
from k8s_ovs.node.tell.installation import Installation

CONF = FILES[Style.CONF]
#: What somebody does to the files, and how each is named.
DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "program gone": (BINARY, Path.unlink, "missing"),
    "program changed": (BINARY, lambda path: path.write_bytes(b"#!/bin/sh\n"), "content"),
    "program not executable": (BINARY, lambda path: path.chmod(0o644), "mode is 644, expected 755"),
    "configuration gone": (CONF, Path.unlink, "missing"),
    "configuration changed": (CONF, lambda path: path.write_text("{}"), "content"),
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Installation, list[str]]:
    """Installed into `tmp_path`, and looked at in each `tend`; what was put right."""
    monkeypatch.setattr(installation, "_LOOK_EVERY", 0.0)
    told: list[str] = []
    directories = {"bin_dir": tmp_path, "conf_dir": tmp_path}
    settings = settings_of(tmp_path, install_cni=Style.CONF, **directories)
    made = Installation(settings, lambda kind, found: told.append(f"{kind}: {found}"))
    with capture_logs() as logs:
        made.tend()
    assert [each["event"] for each in logs] == ["installed", "installed"]
    return made, told


@pytest.mark.parametrize("what", DAMAGE)
def test_what_somebody_did_to_a_file_is_undone_and_told(
    tmp_path: Path, kept: tuple[Installation, list[str]], what: str
) -> None:
    made, told = kept
    name, damage, found = DAMAGE[what]
    path = tmp_path / name
    before = path.read_bytes(), path.stat().st_mode
    made.tend()
    assert told == []
    damage(path)
    made.tend()
    assert told == [f"file: file {path}: {found}"]
    assert (path.read_bytes(), path.stat().st_mode) == before
    made.tend()
    assert len(told) == 1


def test_a_configuration_of_ours_in_another_style_goes_and_a_foreign_one_stays(
    tmp_path: Path, kept: tuple[Installation, list[str]]
) -> None:
    made, told = kept
    other = tmp_path / FILES[Style.CONFLIST]
    other.write_text('{"name": "x", "plugins": [{"type": "flannel"}]}')
    made.tend()
    assert told == []
    other.write_text('{"name": "x", "plugins": [{"type": "k8s-ovs"}, {"type": "portmap"}]}')
    made.tend()
    assert told == [f"file: file {other}: unexpected"]
    assert not other.exists()


def test_a_file_that_cannot_be_put_back_is_a_problem_until_it_can(
    tmp_path: Path, kept: tuple[Installation, list[str]]
) -> None:
    made, told = kept
    path = tmp_path / CONF
    path.unlink()
    path.mkdir()
    with capture_logs():
        made.tend()
    assert str(path) in made.problem
    assert told == []
    path.rmdir()
    made._output.due_at = 0.0
    with capture_logs():
        made.tend()
    assert made.problem == ""
    assert told == [f"file: file {path}: missing"]
