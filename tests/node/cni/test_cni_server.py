"""The server as the CNI program meets it: what is answered, in which order."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from queue import Queue

import pytest
from tests.node.cni.cni_client import CONFIG, LIMIT, Client, Handled, request

from k8s_ovs.node.cni import server as cni_server
from k8s_ovs.node.cni.protocol import MAX_REQUEST, CniError, CniRequest, Code
from k8s_ovs.node.cni.server import CniServer, Reply


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
