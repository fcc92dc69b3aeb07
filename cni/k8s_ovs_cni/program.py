#!/usr/bin/python3 -IS
"""The program that container runtimes start: it carries one request to k8s-ovs and exits.

Installed alone as /opt/cni/bin/k8s-ovs. A pod waits for its start, so it imports only what is
compiled into the interpreter (even `from __future__` would read a file), reads no JSON and leaves
without cleaning up.

On the socket: the CNI_... environment as KEY=VALUE items, each ended by a NUL, one more NUL, stdin,
end of stream. Back: one byte, the exit status, then what to print.
"""

import _socket
import posix
from time import monotonic

SOCKET = b"/var/run/k8s-ovs/cni-server.sock"
# Seconds for the whole. The daemon answers within 30, and its answer is more precise than ours.
TIMEOUT = 35.0
VERSIONS = (b"0.3.0", b"0.3.1", b"0.4.0", b"1.0.0", b"1.1.0")

INVALID_ENVIRONMENT, TRY_AGAIN_LATER, NOT_AVAILABLE = 4, 11, 50


def main(environment: dict[bytes, bytes]) -> tuple[int, bytes]:
    """The exit status and what to print."""
    command = environment.get(b"CNI_COMMAND")
    if not command:
        msg = b"CNI_COMMAND is not set: this program is started by container runtimes"
        return error(b"", INVALID_ENVIRONMENT, msg)
    stdin = read_stdin()
    if command == b"VERSION":
        return 0, version(stdin)
    items = [key + b"=" + value for key, value in environment.items() if key[:4] == b"CNI_"]
    path = top_level(stdin, b'"socketPath"') or SOCKET
    try:
        reply = exchange(path, b"\0".join(items) + b"\0\0" + stdin)
        if reply:
            return reply[0], reply[1:]
        reason = b"it closed the connection without an answer"
    except OSError as failure:
        reason = (failure.strerror or str(failure)).encode()
    msg = (
        b"k8s-ovs does not answer at " + path + b": " + reason + b". On this node, look at "
        b"`systemctl status k8s-ovs` or the log of the k8s-ovs pod"
    )
    return error(stdin, NOT_AVAILABLE if command == b"STATUS" else TRY_AGAIN_LATER, msg)


def exchange(path: bytes, request: bytes) -> bytes:
    """The daemon's whole reply. Raises OSError, TimeoutError among them."""
    end = monotonic() + TIMEOUT
    reply = b""
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    channel.settimeout(TIMEOUT)
    channel.connect(path)
    channel.sendall(request)
    channel.shutdown(_socket.SHUT_WR)
    while (left := end - monotonic()) > 0:
        channel.settimeout(left)
        part = channel.recv(65536)
        if not part:
            return reply
        reply += part
    raise TimeoutError("timed out")


def top_level(config: bytes, key: bytes) -> bytes:
    """The string at `key` (in quotes) of the configuration's outermost object, empty when none."""
    place = config.find(key)
    while place >= 0:
        # The same key may be in prevResult, too.
        if config.count(b"{", 0, place) - config.count(b"}", 0, place) == 1:
            value = config[place + len(key) :].lstrip(b" \t\r\n:")
            return value[1:].partition(b'"')[0] if value[:1] == b'"' else b""
        place = config.find(key, place + 1)
    return b""


def version(stdin: bytes) -> bytes:
    """The answer to VERSION; it is the same without a daemon."""
    asked = top_level(stdin, b'"cniVersion"')
    spoken = asked if asked in VERSIONS else VERSIONS[-1]
    listed = b'", "'.join(VERSIONS)
    return b'{"cniVersion": "%b", "supportedVersions": ["%b"]}' % (spoken, listed)


def error(stdin: bytes, code: int, msg: bytes) -> tuple[int, bytes]:
    """Exit status 1 and a CNI error; `msg` contains nothing that JSON would have to escape."""
    spoken = top_level(stdin, b'"cniVersion"') or VERSIONS[-1]
    return 1, b'{"cniVersion": "%b", "code": %d, "msg": "%b"}' % (spoken, code, msg)


def read_stdin() -> bytes:
    parts = []
    while part := posix.read(0, 65536):
        parts.append(part)
    return b"".join(parts)


def write_stdout(text: bytes) -> None:
    while text:
        text = text[posix.write(1, text) :]


if __name__ == "__main__":
    status, answer = main(posix.environ)
    write_stdout(answer)
    posix._exit(status)
