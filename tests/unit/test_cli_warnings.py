"""What libraries warn of is nobody's business who types a command; our own warnings are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A library that warns as eventlet does, of every kind and from near and far.
NOISE = """
import warnings
class Noisy(Warning): pass
for category in (Noisy, UserWarning, FutureWarning, RuntimeWarning, SyntaxWarning):
    for level in range(1, 12):
        warnings.warn(f"{__name__} is deprecated", category, stacklevel=level)
def call():
    warnings.warn("call me no more", FutureWarning, stacklevel=2)
"""
PLUGIN = """
import warnings
import eventlet
warnings.warn("acme is old", UserWarning)
eventlet.call()
class Acme: pass
"""
METADATA = "Metadata-Version: 2.1\nName: acme\nVersion: 1\n"


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A directory with noisy libraries and a plugin that warns."""
    for name in ("eventlet", "gevent", "click_extra"):
        (tmp_path / f"{name}.py").write_text(NOISE)
    (tmp_path / "acme.py").write_text(PLUGIN)
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("[k8s_ovs.plugins]\nacme = acme:Acme\n")
    return tmp_path


def stderr(beside: Path, *words: str, **env: str) -> str:
    """What the program that users start says on stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        [Path(sys.executable).parent / "k8s-ovs", *words],
        env={**environment, "PYTHONPATH": str(beside), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr


@pytest.mark.parametrize("warnings", ["", "default", "always"])
@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("status",),
        ("doctor",),
        ("flows",),
        ("node", "--log-level", "loud"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_no_command_prints_the_warnings_of_libraries(
    words: tuple[str, ...], warnings: str, beside: Path
) -> None:
    said = stderr(beside, *words, PYTHONWARNINGS=warnings)
    assert "eprecat" not in said
    assert "call me" not in said
    assert "Traceback" not in said


def test_a_plugins_own_warning_is_shown_in_one_line(beside: Path) -> None:
    said = [line for line in stderr(beside, "--help").splitlines() if "acme is old" in line]
    assert said == [f"warning: {beside}/acme.py:4: UserWarning: acme is old"]


def test_the_daemon_logs_a_plugins_warning_and_none_of_libraries(beside: Path) -> None:
    # The second noisy library of the test comes along with the plugin alone.
    program = (
        "import warnings; filters = warnings.filters[:]; warnings.simplefilter('ignore')\n"
        "from k8s_ovs.cli.host import node; node._set_up_log('info', 'json')\n"
        "warnings.filters[:] = filters; import acme, click_extra"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        | {"PYTHONPATH": str(beside)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (line,) = [each for each in done.stderr.splitlines() if str(beside) in each]
    said = json.loads(line)
    assert said["level"] == "warning"
    assert said["event"] == f"{beside}/acme.py:4: UserWarning: acme is old"
