"""The program that runtimes start, as they start it: one request out, its answer back."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cni_variants import SOURCE, altered

from k8s_ovs.node.cni.protocol import ANSWER_SECONDS, VERSIONS, parse_request
from k8s_ovs_cni import program as cni_program
from k8s_ovs_cni.executable import executable

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c0ffee",
    "CNI_NETNS": "/run/netns/pod",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "",
    "CNI_PATH": "/opt/cni/bin",
    "HOME": "/root",
}


class Daemon:
    """Answers one request with the given bytes and keeps what it was sent."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "cni.sock"
        self.received = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.settimeout(30)

    def answer(self, *parts: bytes) -> threading.Thread:
        return self.do(lambda channel: self._serve(channel, parts))

    def close(self) -> None:
        self._listener.close()

    def do(self, what: Callable[[socket.socket], object]) -> threading.Thread:
        """Take one connection, do this with it, and hang up."""
        thread = threading.Thread(target=self._accept, args=(what,), daemon=True)
        thread.start()
        return thread

    def _accept(self, what: Callable[[socket.socket], object]) -> None:
        channel, _ = self._listener.accept()
        with channel, suppress(ConnectionError):
            what(channel)

    def _serve(self, channel: socket.socket, parts: tuple[bytes, ...]) -> None:
        self.received = receive(channel)
        for each in parts:
            channel.sendall(each)


def receive(channel: socket.socket) -> bytes:
    """All that the program sends."""
    parts = []
    while part := channel.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not tmp_path: its long names do not fit into the address of a Unix socket.
    with tempfile.TemporaryDirectory(prefix="program-") as name:
        yield Path(name)


@pytest.fixture
def daemon(directory: Path) -> Iterator[Daemon]:
    fake = Daemon(directory)
    yield fake
    fake.close()


@pytest.fixture(scope="session", params=["source", "script", "standalone"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CNI program: its source, a script of the system's Python, the standalone one."""
    if request.param == "standalone":
        return Path(request.getfixturevalue("standalone_program"))
    return SOURCE if request.param == "source" else script(tmp_path_factory.mktemp("script"))


@pytest.fixture(scope="session", params=["source", "standalone"])
def impatient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CNI program, if it gave a daemon up sooner."""
    path = tmp_path_factory.mktemp("impatient") / "k8s-ovs"
    return altered(request.param, path, "TIMEOUT", 0.3)


def script(directory: Path, version: int = sys.hexversion >> 16) -> Path:
    path = directory / "k8s-ovs"
    path.write_text(executable(version))
    path.chmod(0o755)
    return path


def run(program: Path, config: Any, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """As a runtime starts it, with no more environment than that gives."""
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    return subprocess.run(
        [str(program)],
        input=text,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


def config(socket_path: Path, **more: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": "n", "socketPath": str(socket_path), **more}


def test_it_is_an_executable_script_of_the_systems_python() -> None:
    assert SOURCE.read_text().startswith("#!/usr/bin/python3 -IS\n")
    assert os.access(SOURCE, os.X_OK)


def test_the_daemon_gets_the_whole_request(program: Path, daemon: Daemon) -> None:
    thread = daemon.answer(b'\0{"cniVersion": "1.0.0"}')
    done = run(program, config(daemon.path), CNI_ARGS="K8S_POD_NAME=web")
    thread.join()
    request = parse_request(daemon.received, 0.0)
    assert (request.command, request.container_id, request.ifname) == ("ADD", "c0ffee", "eth0")
    assert (request.netns, request.pod) == ("/run/netns/pod", "web")
    assert request.config == config(daemon.path)
    assert b"HOME" not in daemon.received
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"cniVersion": "1.0.0"}', b"")


def test_an_error_is_printed_with_exit_status_1(program: Path, daemon: Daemon) -> None:
    daemon.answer(b"\x01", b'{"code": 7}')
    done = run(program, config(daemon.path))
    assert (done.returncode, done.stdout) == (1, b'{"code": 7}')


def test_a_success_without_words_prints_nothing(program: Path, daemon: Daemon) -> None:
    daemon.answer(b"\0")
    done = run(program, config(daemon.path), CNI_COMMAND="DEL")
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_large_configuration_and_answer_pass_whole(program: Path, daemon: Daemon) -> None:
    thread = daemon.answer(b"\0", b"x" * 300_000)
    done = run(program, config(daemon.path, filler="y" * 300_000))
    thread.join()
    assert len(done.stdout) == 300_000
    assert parse_request(daemon.received, 0.0).config["filler"] == "y" * 300_000


@pytest.mark.parametrize(
    ("stale", "reason"), [(False, "No such file"), (True, "Connection refused")]
)
def test_without_a_daemon_it_says_what_to_look_at(
    program: Path, directory: Path, stale: bool, reason: str
) -> None:
    path = directory / "absent.sock"
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    done = run(program, config(path, cniVersion="0.4.0"))
    error = json.loads(done.stdout)
    assert done.returncode == 1
    assert (error["cniVersion"], error["code"]) == ("0.4.0", 11)
    for hint in (str(path), reason, "systemctl status k8s-ovs", "log of the k8s-ovs pod"):
        assert hint in error["msg"]


def test_the_usual_socket_is_the_documented_one() -> None:
    assert cni_program.SOCKET == b"/var/run/k8s-ovs/cni-server.sock"


def test_a_daemon_that_hangs_up_is_an_error_to_try_again(program: Path, daemon: Daemon) -> None:
    daemon.answer()
    error = json.loads(run(program, config(daemon.path)).stdout)
    assert error["code"] == 11
    assert "without an answer" in error["msg"]


def test_a_daemon_that_hangs_up_meanwhile_is_one_too(program: Path, daemon: Daemon) -> None:
    daemon.do(socket.socket.close)
    done = run(program, config(daemon.path, filler="y" * 3_000_000))
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 11)


def test_status_without_a_daemon_is_not_available(program: Path, directory: Path) -> None:
    done = run(program, config(directory / "absent.sock", cniVersion="1.1.0"), CNI_COMMAND="STATUS")
    assert json.loads(done.stdout)["code"] == 50


def test_the_script_does_the_same_on_another_python_than_the_one_that_made_it(
    daemon: Daemon, directory: Path
) -> None:
    thread = daemon.answer(b'\x01{"code": 7}')
    done = run(script(directory, version=0x0399), config(daemon.path))
    thread.join()
    assert parse_request(daemon.received, 0.0).container_id == "c0ffee"
    assert (done.returncode, done.stdout, done.stderr) == (1, b'{"code": 7}', b"")


def test_version_needs_no_daemon(program: Path) -> None:
    done = run(program, {"cniVersion": "0.4.0"}, CNI_COMMAND="VERSION")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "cniVersion": "0.4.0",
        "supportedVersions": list(VERSIONS),
    }


def test_a_person_who_starts_it_is_told_that_it_is_not_for_people(program: Path) -> None:
    done = run(program, b"", CNI_COMMAND="")
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 4


def never(channel: socket.socket) -> None:
    """It reads all, and does not answer as long as the program is there."""
    receive(channel)
    gone = select.poll()
    gone.register(channel, select.POLLHUP)
    gone.poll(60_000)


def for_ever(channel: socket.socket) -> None:
    """Its answer has no end."""
    receive(channel)
    for each in repeat(b"x"):
        channel.sendall(each)
        sleep(0.001)


def hardly(channel: socket.socket) -> None:
    """It is slow to read."""
    while channel.recv(100):
        sleep(0.001)


@pytest.mark.parametrize("answers", [never, for_ever, hardly])
def test_a_daemon_that_does_not_answer_in_time_is_given_up(
    impatient: Path, daemon: Daemon, answers: Callable[[socket.socket], None]
) -> None:
    daemon.do(answers)
    error = json.loads(run(impatient, config(daemon.path, filler="y" * 3_000_000)).stdout)
    assert (error["code"], ": timed out. " in error["msg"]) == (11, True)


def test_it_waits_longer_than_the_daemon_takes() -> None:
    assert cni_program.TIMEOUT > ANSWER_SECONDS


def test_a_socket_path_in_the_last_result_is_not_the_daemons(program: Path, daemon: Daemon) -> None:
    last = {"interfaces": [{"name": "eth0", "socketPath": "/run/vhost.sock"}]}
    daemon.answer(b"\0done")
    done = run(program, {"prevResult": last, "socketPath": str(daemon.path)})
    assert (done.returncode, done.stdout) == (0, b"done")


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.dictionaries(st.sampled_from(["x", "cniVersion"]), st.integers()),
    ),
    st.text("abc/._-"),
    st.sampled_from([None, 2]),
)
def test_a_key_is_found_in_whatever_layout(
    program: Path, others: dict[str, Any], value: str, indent: int | None
) -> None:
    text = json.dumps({**others, "cniVersion": value, "socketPath": "absent"}, indent=indent)
    done = run(program, text.encode(), CNI_COMMAND="STATUS")
    assert json.loads(done.stdout)["cniVersion"] == (value or VERSIONS[-1])


@pytest.mark.parametrize(
    ("stdin", "stdout", "number"),
    [(os.O_WRONLY, os.devnull, errno.EBADF), (os.O_RDONLY, "/dev/full", errno.ENOSPC)],
    ids=["stdin", "stdout"],
)
def test_a_stream_that_fails_is_a_failure(
    program: Path, stdin: int, stdout: str, number: int
) -> None:
    streams = os.open(os.devnull, stdin), os.open(stdout, os.O_WRONLY)
    done = subprocess.run(
        [program],
        env={"CNI_COMMAND": "VERSION"},
        stdin=streams[0],
        stdout=streams[1],
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    for each in streams:
        os.close(each)
    assert done.returncode == 1
    assert os.strerror(number).encode() in done.stderr
