"""The program that runtimes start, as they start it: one request out, its answer back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import k8s_ovs_cni
from k8s_ovs.node.cni.protocol import ANSWER_SECONDS, VERSIONS, parse_request
from k8s_ovs_cni import program as cni_program
from k8s_ovs_cni.executable import executable

SOURCE = Path(k8s_ovs_cni.__file__).with_name("program.py")
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
        thread = threading.Thread(target=self._serve, args=(parts,), daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self._listener.close()

    def hang_up(self) -> None:
        """Take one request, and read nothing of it."""
        threading.Thread(target=self._hang_up, daemon=True).start()

    def _hang_up(self) -> None:
        self._listener.accept()[0].close()

    def _serve(self, parts: tuple[bytes, ...]) -> None:
        channel, _ = self._listener.accept()
        with channel:
            while part := channel.recv(65536):
                self.received += part
            for each in parts:
                channel.sendall(each)


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


@pytest.fixture(params=["source", "script", "own"])
def program(request: pytest.FixtureRequest, directory: Path) -> Path:
    """The CNI program: its source, a script of the system's Python, with a Python of its own."""
    if request.param == "own":
        return Path(request.getfixturevalue("own_program"))
    return SOURCE if request.param == "source" else script(directory)


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
    daemon.hang_up()
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


def test_a_daemon_that_does_not_answer_in_time_is_given_up(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cni_program, "TIMEOUT", 0.05)
    with pytest.raises(TimeoutError):
        cni_program.exchange(str(daemon.path).encode(), b"request")


def test_it_waits_longer_than_the_daemon_takes() -> None:
    assert cni_program.TIMEOUT > ANSWER_SECONDS


def test_a_socket_path_in_the_last_result_is_not_the_daemons() -> None:
    last = {"interfaces": [{"name": "eth0", "socketPath": "/run/vhost.sock"}]}
    text = json.dumps({"prevResult": last, "socketPath": "/run/ours.sock"}).encode()
    assert cni_program.top_level(text, b'"socketPath"') == b"/run/ours.sock"
    assert cni_program.top_level(json.dumps({"prevResult": last}).encode(), b'"socketPath"') == b""


@given(
    st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.text("xyz"), st.integers())),
    st.text("abc/._-"),
    st.sampled_from([None, 2]),
)
def test_a_key_is_found_in_whatever_layout(
    others: dict[str, Any], value: str, indent: int | None
) -> None:
    text = json.dumps({**others, "socketPath": value}, indent=indent).encode()
    assert cni_program.top_level(text, b'"socketPath"').decode() == value
