"""Where does a packet go? Asked of Open vSwitch's `ofproto/trace`, answered as a value.

ovs-vswitchd(8), "ofproto/trace": one line a table that the packet visits, its actions indented
below; a section of its own for each time that the packet comes back from connection tracking.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable
from k8s_ovs.pipeline.table import Pipeline

__all__ = ["ANSWER", "Hop", "Journey", "parse_trace", "trace"]

#: What connection tracking says of an answer, as `--ct-next` takes it.
ANSWER = "trk,est,rpl"

_HOP = re.compile(r"^\s*(\d+)\. (?:(.*?)(?:, )?priority (\d+), cookie (0x[0-9a-f]+)|No match)")
_OUTPUT = re.compile(r"^\s+output:(\d+)$")
_OUTPUT_BY_REGISTER = re.compile(r"^\s+-> output port is (\d+)$")
_COMMIT = re.compile(r"^\s+ct\(commit.*?zone=(\d+)")
_SKIPPED = re.compile(r"skipping output to input port")


@frozen
class Hop:
    """A flow that the packet met; cookie 0 and no match: none of the table's flows met it."""

    table: str
    match: str = ""
    cookie: int = 0


@frozen
class Journey:
    """A packet's way through a bridge.

    hops: flows in the order met. ports: OpenFlow ports that it left by. commits: zones of
    connection tracking that remember it. fields: the packet as it was at the end, by ovs-ofctl's
    names (dl_dst, nw_src, reg0, tun_dst..).
    """

    hops: tuple[Hop, ...]
    ports: tuple[int, ...]
    commits: tuple[int, ...]
    fields: Mapping[str, str] = field(eq=False)
    text: str = field(eq=False, repr=False)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables it visited, in order."""
        return tuple(hop.table for hop in self.hops)

    @property
    def sent_to(self) -> int | None:
        """The one port that it left by; None: by none, or by several."""
        return self.ports[0] if len(self.ports) == 1 else None

    @property
    def dropped_in(self) -> str | None:
        """The table that dropped it; None: it left."""
        return None if self.ports or not self.hops else self.tables[-1]


def trace(
    socket_path: Path | str,
    bridge: str,
    pipeline: Pipeline,
    packet: str,
    *,
    ct_next: Iterable[str] = (),
    timeout: float = 10.0,
) -> Journey:
    """The way of `packet` (ovs-ofctl's syntax, in_port by number) through `bridge`.

    socket_path: of ovs-vswitchd's control socket (unixctl). ct_next: what connection tracking
    says each time that it is asked, such as "trk,est,rpl"; by default "trk,new".
    Raises SwitchError with Open vSwitch's words, Unavailable and TimedOut.
    """
    words = [bridge, packet]
    for state in ct_next:
        words += ["--ct-next", state]
    return parse_trace(_ask(str(socket_path), "ofproto/trace", words, timeout), pipeline)


def parse_trace(text: str, pipeline: Pipeline) -> Journey:
    """What `ofproto/trace` printed, as a value."""
    hops: list[Hop] = []
    ports: list[int] = []
    commits: list[int] = []
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if found := _HOP.match(line):
            number, match, _, cookie = found.groups()
            hops.append(Hop(pipeline.name(int(number)), match or "", int(cookie or "0", 16)))
        elif found := _OUTPUT.match(line) or _OUTPUT_BY_REGISTER.match(line):
            ports.append(int(found[1]))
        elif line.strip() == "IN_PORT":
            ports.append(int(fields["in_port"]))
        elif found := _COMMIT.match(line):
            commits.append(int(found[1]))
        elif _SKIPPED.search(line):
            ports.pop()
        elif line.startswith(("Flow: ", "Final flow: ")) and not line.endswith(": unchanged"):
            fields = dict(_fields(line.partition(": ")[2]))
    return Journey(tuple(hops), tuple(ports), tuple(commits), fields, text)


def _fields(flow: str) -> Iterator[tuple[str, str]]:
    for part in flow.split(","):
        name, _, value = part.partition("=")
        yield name, value


def _ask(path: str, command: str, words: list[str], timeout: float) -> str:
    """One call of Open vSwitch's JSON-RPC control protocol, ovs-appctl(8)."""
    request = json.dumps({"id": 0, "method": command, "params": words}).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            connection.sendall(request)
            answer = _whole_answer(connection, path)
        except TimeoutError as error:
            raise TimedOut(f"no answer within {timeout:g} s from {path} to {command}") from error
        except OSError as error:
            raise Unavailable(f"ovs-vswitchd at {path}: {error}") from error
    if answer["error"] is not None:
        raise SwitchError(f"{command} {' '.join(words)}: {answer['error']}")
    return str(answer["result"])


def _whole_answer(connection: socket.socket, path: str) -> dict[str, str | None]:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
        try:
            answer: dict[str, str | None] = json.loads(received)
        except ValueError:
            continue
        return answer
    raise Unavailable(f"ovs-vswitchd at {path} hung up in the middle of an answer")
