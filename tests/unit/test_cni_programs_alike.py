"""Does the standalone CNI program do what program.py does, whatever it gets?"""

from __future__ import annotations

import select
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cni_variants import altered

from k8s_ovs_cni.standalone import build

#: What C leaves undefined ends the program.
TRAP = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
#: In a configuration: where the daemon is.
PLACE = b"PLACE"
LIMIT_S = 60

#: With a path, a daemon is there, and the list gets what it is sent.
Daemon = Callable[[Path], AbstractContextManager[list[bytes]]]


@frozen
class Programs:
    """Both, and the socket that they take for the usual one."""

    source: Path
    standalone: Path
    usual: Path


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    # Not tmp_path: its long names do not fit into the address of a Unix socket.
    with tempfile.TemporaryDirectory(prefix="alike-") as name:
        usual = Path(name, "usual.sock")
        value = str(usual).encode()
        yield Programs(
            altered("source", Path(name, "source"), "SOCKET", value),
            altered("standalone", Path(name, "standalone"), "SOCKET", value, *TRAP),
            usual,
        )


@contextmanager
def absent(path: Path) -> Iterator[list[bytes]]:
    yield []


@contextmanager
def gone(path: Path) -> Iterator[list[bytes]]:
    """It has left its socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield []


@contextmanager
def late(path: Path) -> Iterator[list[bytes]]:
    """It does not accept, and as many wait already as may."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        waiting.connect(str(path))
        yield []


@contextmanager
def answering(parts: list[bytes], read: bool, path: Path) -> Iterator[list[bytes]]:
    """It reads the request, if at all, then answers; then it hangs up."""
    received: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):  # nobody came
            channel, _ = listener.accept()
            with channel:
                if read:
                    received.append(everything(channel))
                for each in parts:
                    channel.sendall(each)
                complete = select.poll()
                complete.register(channel, select.POLLRDHUP)
                complete.poll(LIMIT_S * 1000)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield received
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def everything(channel: socket.socket) -> bytes:
    parts = []
    while part := channel.recv(65536):
        parts.append(part)
    return b"".join(parts)


ANSWERS = st.lists(st.binary(max_size=8) | st.just(b"x" * 100_000), max_size=3)
DAEMONS = st.sampled_from([absent, gone, late]) | st.builds(
    lambda parts, read: partial(answering, parts, read), ANSWERS, st.booleans()
)

#: 108 bytes are the longest address, with the NUL that ends a file's.
LONG = st.tuples(
    st.sampled_from([b"/", b"\0"]), st.sampled_from([b"x" * n for n in (106, 107, 108)])
)
SHORT = st.sampled_from([b"", b"/", b"\0nobody", b"/\xff\0/x"])
PATHS = st.just(PLACE) | SHORT | LONG.map(b"".join)
VERSIONS = st.sampled_from([b"0.3.0", b"0.4.0", b"1.1.0", b"9", b"", b"0.3.0\0"])
BLANKS = st.text(" \t\r\n:", max_size=3).map(str.encode)
ENDS = st.sampled_from([b'"', b'"', b""])
VALUES = st.tuples(st.just(b'"socketPath"'), BLANKS, st.just(b'"'), PATHS, ENDS) | st.tuples(
    st.just(b'"cniVersion"'), BLANKS, st.just(b'"'), VERSIONS, ENDS
)
ITEMS = VALUES.map(b"".join) | st.sampled_from([b'"prevResult": {', b"}", b'"cniVersion": 1,'])
SCRAPS = st.sampled_from([b"{", b"}", b'"', b",", b" ", b"\0", b"\xff"]) | st.binary(max_size=4)
CONFIGURATIONS = st.lists(ITEMS, max_size=5).map(lambda items: b"{" + b"".join(items)) | st.lists(
    ITEMS | SCRAPS, max_size=8
).map(b"".join)

COMMANDS = st.sampled_from([b"ADD", b"STATUS", b"VERSION", b"VERSIONS", b"\xff", b""])
COMMAND = st.tuples(st.just(b"CNI_COMMAND"), COMMANDS)
NAMES = st.sampled_from([b"CNI_ARGS", b"CNI_", b"CNI_\xff", b"CNI_COMMANDS", b"CNI", b"A"])
TEXTS = st.binary(max_size=6).map(lambda text: text.replace(b"\0", b""))
VARIABLES = st.lists(COMMAND | st.tuples(NAMES, TEXTS), max_size=6)
ENVIRONMENTS = st.tuples(COMMAND, VARIABLES).map(lambda both: [both[0], *both[1]]) | VARIABLES


class Environment(list[tuple[bytes, bytes]]):
    """What `subprocess` gives a program, even a name more than once."""

    def items(self) -> Environment:
        return self


@settings(max_examples=300)
@given(ENVIRONMENTS, CONFIGURATIONS, DAEMONS)
def test_both_do_the_same(
    programs: Programs,
    environment: list[tuple[bytes, bytes]],
    configuration: bytes,
    daemon: Daemon,
) -> None:
    # The usual socket by another name.
    place = f"{programs.usual.parent}/./{programs.usual.name}".encode()
    outcomes = []
    for program in (programs.source, programs.standalone):
        with daemon(programs.usual) as received:
            done = subprocess.run(
                [program],
                env=Environment(environment),
                input=configuration.replace(PLACE, place),
                capture_output=True,
                timeout=LIMIT_S,
                check=False,
            )
        programs.usual.unlink(missing_ok=True)
        outcomes.append((done.returncode, done.stdout, done.stderr, received))
    assert outcomes[0] == outcomes[1]


def test_the_compiler_finds_nothing_to_warn_of(tmp_path: Path) -> None:
    build(tmp_path / "k8s-ovs", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
