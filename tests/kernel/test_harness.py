"""The harness itself, without a machine: nothing half-made is used, nothing outlives its end."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel import machine, suite
from tests.kernel.cache import cached, fingerprint
from tests.kernel.drives import run_settings
from tests.kernel.host import mortal, run
from tests.kernel.image import Image
from tests.kernel.machine import Drives, Outcome, boot, qemu_command

from k8s_ovs.errors import K8sOvsError, TimedOut

NOWHERE = Path("/nonexistent")
DRIVES = Drives(Image(NOWHERE, NOWHERE, NOWHERE), NOWHERE, NOWHERE)
WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))


def test_an_interrupted_build_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    def interrupted(directory: Path) -> None:
        (directory / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("image", "key", interrupted, tmp_path)
    made = cached("image", "key", lambda directory: (directory / "whole").touch(), tmp_path)
    assert [each.name for each in made.iterdir()] == ["whole"]


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "image" / "building-killed"
    left.mkdir(parents=True)
    cached("image", "key", lambda directory: None, tmp_path)
    assert not left.exists()


def test_a_built_directory_is_built_once_for_each_key(tmp_path: Path) -> None:
    built: list[str] = []
    for key in ("one", "two", "one"):
        cached("image", key, lambda _, key=key: built.append(key), tmp_path)  # type: ignore[misc] # a default binds the loop's value
    assert built == ["one", "two"]


def test_what_nobody_used_for_a_week_is_removed(tmp_path: Path) -> None:
    old = cached("image", "old", lambda directory: None, tmp_path)
    os.utime(old, (time.time() - 8 * 24 * 3600,) * 2)
    new = cached("image", "new", lambda directory: None, tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_fingerprint_tells_where_one_part_ends() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


@settings(max_examples=30)
@given(WORDS)
def test_every_word_of_the_command_reaches_it_unchanged(words: list[str]) -> None:
    show = [sys.executable, "-S", "-c", "import os, sys; print(ascii(sys.argv[1:]))", *words]
    script = f'{run_settings(show, 1)}\nexec sh -c "$COMMAND"'
    shown = subprocess.run(
        ["sh"], input=script.encode(), capture_output=True, check=True, timeout=20
    ).stdout
    assert shown.decode().strip() == ascii(words)


def test_a_failing_program_is_named_with_its_status_and_last_words() -> None:
    with pytest.raises(K8sOvsError, match=r"sh ended with status 3, expected 0:\nno disk"):
        run(["sh", "-c", "echo no disk >&2; exit 3"], limit_s=20)


def test_a_program_over_its_limit_is_ended() -> None:
    with pytest.raises(TimedOut, match=r"sleep did not end within 0\.1 s"):
        run(["sleep", "60"], limit_s=0.1)


def test_a_clock_that_counts_instructions_has_one_processor_in_one_thread() -> None:
    command = " ".join(qemu_command(DRIVES, NOWHERE, 64, counted=True))
    assert " -smp 1 -accel tcg,thread=single," in command
    assert " -icount shift=2 " in command
    assert "icount" not in " ".join(qemu_command(DRIVES, NOWHERE, 64))


def test_a_killed_harness_takes_its_machine_along() -> None:
    harness = "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); child.wait()"
    child = mortal(["sh", "-c", "echo started; exec sleep 60"])
    with subprocess.Popen(
        [sys.executable, "-S", "-c", harness, *child], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        parent.send_signal(signal.SIGKILL)
        # The pipe's other end is the child's: it reads empty when the child is gone.
        assert parent.stdout.read() == b""


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a qemu on PATH that runs the given shell source in the run's directory."""

    def install(source: str) -> None:
        program = tmp_path / "bin" / "qemu-system-x86_64"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\ncd {shlex.quote(str(tmp_path))}\n{source}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return install


def test_a_command_s_words_and_outcome_come_back(
    tmp_path: Path, fake_qemu: Callable[[str], None], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    outcome = b"7 5.5 8.0\n"
    with tarfile.open(tmp_path / "prepared", "w") as archive:
        member = tarfile.TarInfo("./outcome")
        member.size = len(outcome)
        archive.addfile(member, io.BytesIO(outcome))
    fake_qemu("echo hello >>said; mv prepared results")
    assert boot(DRIVES, tmp_path, limit_s=20, memory_mib=64) == Outcome(7, 5.5, 2.5)
    assert capfdbinary.readouterr().out == b"hello\n"


def test_a_machine_without_a_result_shows_its_console(
    tmp_path: Path, fake_qemu: Callable[[str], None]
) -> None:
    fake_qemu("echo Kernel panic >console")
    with pytest.raises(K8sOvsError, match=r"without a result; its console's end:\nKernel panic"):
        boot(DRIVES, tmp_path, limit_s=20, memory_mib=64)


def test_a_machine_that_hangs_is_ended(
    tmp_path: Path, fake_qemu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "BOOT_AND_OFF_S", 0)
    fake_qemu("exec sleep 60")
    with pytest.raises(TimedOut, match="the machine did not end within 0 s"):
        boot(DRIVES, tmp_path, limit_s=0, memory_mib=64)


def test_files_that_share_a_lab_are_one_run() -> None:
    names = ("tenants", "drift", "packets", "connections", "tenants_traffic")
    found = [
        [each.name for each in run] for run in suite.runs(Path(f"test_{name}.py") for name in names)
    ]
    assert found == [
        ["test_connections.py", "test_packets.py"],
        ["test_drift.py"],
        ["test_tenants.py", "test_tenants_traffic.py"],
    ]
