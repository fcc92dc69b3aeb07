"""The server's socket: whose is it, who is let in, and what if somebody does something to it?"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.node.cni.cni_client import LIMIT, Client, Handled, request

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.cni.listener import SocketInUse, is_held
from k8s_ovs.node.cni.server import CniServer


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
