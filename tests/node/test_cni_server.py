"""The server as the CNI program meets it: who is let in, what is answered, in which order."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.cni import server as cni_server
from k8s_ovs.node.cni.listener import SocketInUse, is_held
from k8s_ovs.node.cni.protocol import MAX_REQUEST, CniError, CniRequest, Code
from k8s_ovs.node.cni.server import CniServer, Reply

LIMIT = 20.0
CONFIG = {"cniVersion": "1.1.0", "name": "k8s-ovs", "type": "k8s-ovs"}


def request(command: str = "ADD", container: str = "c1", config: Any = CONFIG) -> bytes:
    items = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": "/run/netns/pod",
        "CNI_IFNAME": "eth0",
    }
    head = "\0".join(f"{key}={value}" for key, value in items.items())
    return head.encode() + b"\0\0" + json.dumps(config).encode()


class Client:
    """One connection, from the CNI program's side."""

    def __init__(self, path: Path, *parts: bytes, hang_up: bool = True) -> None:
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.settimeout(LIMIT)
        self._channel.connect(str(path))
        for part in parts:
            self._channel.sendall(part)
        if hang_up:
            self.hang_up()

    def hang_up(self) -> None:
        """No more is sent."""
        self._channel.shutdown(socket.SHUT_WR)

    def answer(self) -> tuple[int, Any]:
        reply = self.raw()
        return reply[0], json.loads(reply[1:]) if reply[1:] else None

    def raw(self) -> bytes:
        with self._channel:
            parts = []
            while part := self._channel.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def close(self) -> None:
        self._channel.close()


class Handled:
    """Keeps what the server hands on, in order."""

    def __init__(self) -> None:
        self._queue: Queue[tuple[CniRequest, Reply]] = Queue()

    def __call__(self, asked: CniRequest, reply: Reply) -> None:
        self._queue.put((asked, reply))

    def next(self) -> tuple[CniRequest, Reply]:
        return self._queue.get(timeout=LIMIT)

    @property
    def empty(self) -> bool:
        return self._queue.empty()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cni-") as directory:
        yield Path(directory) / "k8s-ovs" / "cni-server.sock"


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def server(path: Path, handled: Handled) -> Iterator[CniServer]:
    running = CniServer(path, handled, allowed_uids=(os.getuid(),))
    running.start()
    yield running
    running.stop()


@pytest.mark.usefixtures("server")
class TestAnswers:
    def test_a_request_is_handed_on_and_its_reply_sent_back(
        self, path: Path, handled: Handled
    ) -> None:
        client = Client(path, request("DEL"))
        asked, reply = handled.next()
        assert (asked.command, asked.container_id, asked.config) == ("DEL", "c1", CONFIG)
        assert reply(None)
        assert client.raw() == b"\0"

    def test_a_reply_may_come_from_any_thread(self, path: Path, handled: Handled) -> None:
        client = Client(path, request())
        _, reply = handled.next()
        error = CniError(Code.TRY_AGAIN_LATER, "no subnet yet")
        thread = threading.Thread(target=reply, args=(error,))
        thread.start()
        assert client.answer() == (
            1,
            {"cniVersion": "1.1.0", "code": 11, "msg": "no subnet yet"},
        )
        thread.join(LIMIT)

    def test_a_request_may_come_in_pieces(self, path: Path, handled: Handled) -> None:
        whole = request("DEL")
        client = Client(path, *(whole[place : place + 7] for place in range(0, len(whole), 7)))
        _, reply = handled.next()
        reply(None)
        assert client.raw() == b"\0"

    def test_only_the_first_reply_counts(self, path: Path, handled: Handled) -> None:
        client = Client(path, request("DEL"))
        _, reply = handled.next()
        assert [reply(None), reply(CniError(Code.FAILED, "too late"))] == [True, False]
        assert client.raw() == b"\0"

    def test_version_is_not_handed_on(self, path: Path, handled: Handled) -> None:
        status, said = Client(path, request("VERSION", config={"cniVersion": "0.4.0"})).answer()
        assert (status, said["cniVersion"]) == (0, "0.4.0")
        assert handled.empty

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            (b"noise", 6),
            (request("FORGET"), 4),
            (request(container=""), 4),
            (request(config={"cniVersion": "7"}), 1),
            (request(config={"cniVersion": "1.0.0"}), 7),
        ],
    )
    def test_a_malformed_request_gets_the_specifications_code(
        self, path: Path, handled: Handled, sent: bytes, code: int
    ) -> None:
        status, said = Client(path, sent).answer()
        assert (status, said["code"]) == (1, code)
        assert handled.empty

    def test_a_request_that_is_too_large_is_refused(self, path: Path, handled: Handled) -> None:
        client = Client(path, request() + b" " * (MAX_REQUEST - len(request()) + 1), hang_up=False)
        status, said = client.answer()
        assert status == 1
        assert str(MAX_REQUEST) in said["msg"]
        assert handled.empty

    def test_a_client_that_says_nothing_costs_nothing(self, path: Path, handled: Handled) -> None:
        assert Client(path).raw() == b""
        Client(path, request())
        assert handled.next()

    def test_a_client_that_left_does_not_disturb_the_others(
        self, path: Path, handled: Handled
    ) -> None:
        gone = Client(path, request("DEL"))
        _, reply = handled.next()
        gone.close()
        assert reply(None)
        client = Client(path, request("DEL"))
        handled.next()[1](None)
        assert client.raw() == b"\0"

    def test_a_slow_client_is_dropped_while_others_are_served(
        self, path: Path, handled: Handled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cni_server, "_CLIENT_TIMEOUT", 0.2)
        slow = Client(path, request()[:10], hang_up=False)
        client = Client(path, request("DEL"))
        handled.next()[1](None)
        assert client.raw() == b"\0"
        assert slow.raw() == b""
        assert handled.empty


@pytest.mark.usefixtures("server")
class TestOrder:
    def test_a_delete_waits_for_the_add_of_its_container(
        self, path: Path, handled: Handled
    ) -> None:
        Client(path, request("ADD"))
        _, reply_to_add = handled.next()
        delete = Client(path, request("DEL"))
        # The server reads whole requests in order: once this is handed on, the DEL was read.
        Client(path, request("ADD", container="other"))
        asked, _ = handled.next()
        assert asked.container_id == "other"
        assert handled.empty
        reply_to_add(None)
        asked, reply = handled.next()
        assert (asked.command, asked.container_id) == ("DEL", "c1")
        reply(None)
        assert delete.raw() == b"\0"

    def test_requests_for_one_container_are_handled_in_order_of_arrival(
        self, path: Path, handled: Handled
    ) -> None:
        commands = ["ADD", "CHECK", "DEL", "ADD", "DEL"]
        clients = [Client(path, request(command)) for command in commands]
        for command in commands:
            asked, reply = handled.next()
            assert asked.command == command
            assert handled.empty
            reply(None)
        assert [client.raw() for client in clients] == [b"\0"] * len(commands)

    def test_requests_without_a_container_wait_for_nobody(
        self, path: Path, handled: Handled
    ) -> None:
        for _ in range(2):
            Client(path, request("STATUS", container=""))
        assert [handled.next()[0].command for _ in range(2)] == ["STATUS", "STATUS"]


def test_a_handler_that_raises_answers_and_the_next_request_is_served(path: Path) -> None:
    def handle(asked: CniRequest, reply: Reply) -> None:
        if asked.command == "ADD":
            raise CniError(Code.TRY_AGAIN_LATER, "not yet")
        if asked.command == "CHECK":
            raise ZeroDivisionError("a mistake of ours")
        reply(None)

    server = CniServer(path, handle, allowed_uids=(os.getuid(),))
    server.start()
    try:
        answers = [Client(path, request(name)).answer() for name in ("ADD", "CHECK", "DEL")]
    finally:
        server.stop()
    assert [status for status, _ in answers] == [1, 1, 0]
    assert answers[0][1]["code"] == 11
    assert answers[1][1]["details"] == "a mistake of ours"


class TestHungUp:
    """A runtime that gives up on an ADD calls DEL, which must not wait for what nobody wants."""

    def test_an_add_that_waits_is_told_of_and_the_delete_goes_on(
        self, path: Path, handled: Handled
    ) -> None:
        gone: Queue[CniRequest] = Queue()
        server = CniServer(path, handled, (os.getuid(),), hung_up=gone.put)
        server.start()
        try:
            add = Client(path, request("ADD"))
            asked, reply = handled.next()
            delete = Client(path, request("DEL"))
            assert gone.empty()
            add.close()
            assert gone.get(timeout=LIMIT) is asked
            reply(CniError(Code.TRY_AGAIN_LATER, "the client has hung up"))
            asked, reply = handled.next()
            assert asked.command == "DEL"
            reply(None)
            assert delete.raw() == b"\0"
        finally:
            server.stop()

    @pytest.mark.usefixtures("server")
    def test_an_add_that_was_not_handed_on_yet_is_dropped(
        self, path: Path, handled: Handled
    ) -> None:
        first = Client(path, request("ADD"))
        _, reply = handled.next()
        second, delete = Client(path, request("ADD")), Client(path, request("DEL"))
        second.close()
        # In order: once this is handed on, the second ADD was read and its end was seen.
        for name in ("other", "another"):
            client = Client(path, request("DEL", container=name))
            handled.next()[1](None)
            assert client.raw() == b"\0"
        reply(None)
        assert first.raw() == b"\0"
        asked, reply = handled.next()
        assert asked.command == "DEL"
        reply(None)
        assert delete.raw() == b"\0"


@pytest.mark.usefixtures("server")
def test_a_fault_of_ours_while_a_request_is_read_is_answered_and_others_are_served(
    path: Path, handled: Handled, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = cni_server.parse_request

    def failing(wire: bytes, arrived: float) -> CniRequest:
        if b"bad" in wire:
            raise RecursionError("a mistake of ours")
        return parse(wire, arrived)

    monkeypatch.setattr(cni_server, "parse_request", failing)
    status, said = Client(path, request(container="bad")).answer()
    assert (status, said["code"], said["details"]) == (1, Code.FAILED, "a mistake of ours")
    client = Client(path, request("DEL"))
    handled.next()[1](None)
    assert client.raw() == b"\0"


@pytest.mark.usefixtures("server")
def test_a_fault_of_ours_with_one_client_drops_that_client(
    path: Path, handled: Handled, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer_uid = cni_server.peer_uid

    def failing(channel: socket.socket) -> int:
        monkeypatch.setattr(cni_server, "peer_uid", peer_uid)
        raise OSError("a mistake of ours")

    monkeypatch.setattr(cni_server, "peer_uid", failing)
    dropped = Client(path, hang_up=False)
    assert dropped.raw() == b""
    client = Client(path, request("DEL"))
    handled.next()[1](None)
    assert client.raw() == b"\0"


def remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace(path: Path) -> None:
    path.unlink()
    path.write_text("")


#: What is done to the socket's file, and what is found then.
HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "removed": (Path.unlink, "missing"),
    "with its directory": (remove_directory, "missing"),
    "mode": (lambda path: path.chmod(0), "mode is 0, expected 600"),
    "replaced": (replace, "another file is in its place"),
    "owner": (lambda path: os.chown(path, 1, 1), "owner is (1, 1), expected (0, 0)"),
}


class TestSocket:
    @pytest.mark.usefixtures("server")
    def test_it_is_private(self, path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_a_directory_of_others_keeps_its_mode(self, path: Path, handled: Handled) -> None:
        path.parent.mkdir(mode=0o755)
        server = CniServer(path, handled)
        server.start()
        server.stop()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755

    def test_other_users_are_refused(self, path: Path, handled: Handled) -> None:
        server = CniServer(path, handled, allowed_uids=(os.getuid() + 1,))
        server.start()
        try:
            status, said = Client(path).answer()
        finally:
            server.stop()
        assert (status, said["code"]) == (1, 4)
        assert f"user {os.getuid()}" in said["msg"]

    @pytest.mark.usefixtures("server")
    def test_a_live_daemons_socket_is_left_to_it(self, path: Path, handled: Handled) -> None:
        with pytest.raises(K8sOvsError, match=rf"{path} .*live daemon \(process {os.getpid()}\)"):
            CniServer(path, handled).start()
        client = Client(path, request("DEL"))
        handled.next()[1](None)
        assert client.raw() == b"\0"

    def test_the_socket_of_a_daemon_that_was_killed_is_replaced(
        self, path: Path, handled: Handled
    ) -> None:
        path.parent.mkdir()
        bind = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
        subprocess.run([sys.executable, "-c", bind, str(path)], check=True, timeout=LIMIT)
        assert path.is_socket()
        server = CniServer(path, handled, allowed_uids=(os.getuid(),))
        server.start()
        try:
            client = Client(path, request("DEL"))
            handled.next()[1](None)
            assert client.raw() == b"\0"
        finally:
            server.stop()
        assert list(path.parent.iterdir()) == []

    def test_a_file_in_the_way_is_not_overwritten(self, path: Path, handled: Handled) -> None:
        path.parent.mkdir()
        path.write_text("precious")
        with pytest.raises(K8sOvsError, match=f"{path} is in the way"):
            CniServer(path, handled).start()
        assert path.read_text() == "precious"

    def test_a_path_that_cannot_be_used_is_named(self, path: Path, handled: Handled) -> None:
        path.parent.write_text("not a directory")
        with pytest.raises(K8sOvsError, match=f"{path} cannot be made"):
            CniServer(path, handled).start()

    @pytest.mark.usefixtures("server")
    def test_a_live_daemon_whose_socket_is_gone_is_left_alone(self, path: Path) -> None:
        path.unlink()
        with pytest.raises(SocketInUse, match=f"socket {path} is in use by a live daemon$"):
            CniServer(path, Handled()).start()
        assert is_held(path)
        assert not path.exists()

    @pytest.mark.parametrize("harm", HARMS)
    def test_what_somebody_does_to_the_file_is_put_right(
        self, path: Path, handled: Handled, server: CniServer, harm: str
    ) -> None:
        early = Client(path, request("DEL", container="early"), hang_up=False)
        assert server.damage() == ""
        do, told = HARMS[harm]
        do(path)
        assert server.damage() == told
        server.listen_again()
        assert server.damage() == ""
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        early.hang_up()
        client = Client(path, request("DEL", container="late"))
        for _ in range(2):
            handled.next()[1](None)
        assert [each.raw() for each in (early, client)] == [b"\0"] * 2
        with pytest.raises(SocketInUse):
            CniServer(path, handled).start()

    def test_a_directory_in_its_place_is_told_and_left(
        self, path: Path, handled: Handled, server: CniServer
    ) -> None:
        path.unlink()
        path.mkdir()
        with pytest.raises(K8sOvsError, match=f"{path} cannot be made: Is a directory"):
            server.listen_again()
        path.rmdir()
        server.listen_again()
        client = Client(path, request("DEL"))
        handled.next()[1](None)
        assert client.raw() == b"\0"

    def test_what_is_not_its_own_is_left_when_it_stops(self, path: Path, handled: Handled) -> None:
        server = CniServer(path, handled)
        server.start()
        path.unlink()
        path.write_text("precious")
        server.stop()
        assert path.read_text() == "precious"
        assert not is_held(path)

    def test_stopping_tells_those_who_wait_and_frees_the_socket(
        self, path: Path, handled: Handled
    ) -> None:
        server = CniServer(path, handled, allowed_uids=(os.getuid(),))
        server.start()
        first, second = Client(path, request("ADD")), Client(path, request("DEL"))
        _, reply = handled.next()
        # In order: once this is handed on, the DEL was read and waits for the ADD.
        Client(path, request("ADD", container="other"))
        handled.next()
        server.stop()
        assert [client.answer()[1]["code"] for client in (first, second)] == [11, 11]
        assert not reply(None)
        assert not path.exists()


def test_each_answer_is_counted_by_command_and_outcome(path: Path, handled: Handled) -> None:
    counted: list[tuple[str, str, float]] = []
    server = CniServer(path, handled, (os.getuid(),), count=lambda *each: counted.append(each))
    server.start()
    try:
        for command, answer in (("DEL", None), ("ADD", CniError(Code.TRY_AGAIN_LATER, "soon"))):
            client = Client(path, request(command))
            handled.next()[1](answer)
            client.answer()
    finally:
        server.stop()
    assert [each[:2] for each in counted] == [("DEL", "ok"), ("ADD", "11")]
    assert all(each[2] >= 0 for each in counted)
