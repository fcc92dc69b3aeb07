"""Where does a packet go? The answer of Open vSwitch's `ofproto/trace`, as a value.

ovs-vswitchd(8), "ofproto/trace": one line per table that the packet visits, its actions indented
below; a section of its own for each time that the packet comes back from connection tracking.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from attrs import field, frozen

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable
from k8s_ovs.pipeline.table import Pipeline

__all__ = ["ANSWER", "Hop", "Question", "Trace", "parse_trace", "trace", "trace_all"]

#: What connection tracking says of an answer, as `--ct-next` takes it.
ANSWER = "trk,est,rpl"

_AT_ONCE = 32

_HOP = re.compile(r"^\s*(\d+)\. (?:(.*?)(?:, )?priority (\d+), cookie (0x[0-9a-f]+)|No match)")
_OUTPUT = re.compile(r"^\s+output:(\d+)$")
_OUTPUT_BY_REGISTER = re.compile(r"^\s+-> output port is (\d+)$")
_TUNNEL_ID = re.compile(r"^\s+-> NXM_NX_TUN_ID\[0\.\.31\] is now (\w+)")
_MEANINGLESS = ("    set_field", "    goto_table", "    move", "Megaflow", "Datapath", "---", "===")
_COMMIT = re.compile(r"^\s+ct\(commit.*?zone=(\d+)")
_SKIPPED = re.compile(r"skipping output to input port")


@frozen
class Hop:
    """A flow that the packet met; cookie 0 and no match: none of the table's flows met it."""

    table: str
    match: str = ""
    cookie: int = 0


@frozen
class Trace:
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

    def __str__(self) -> str:
        """The way as a sentence: "CLASSIFY, POD_IN, ARP: sent to port 101".

        A table that a packet comes back to from connection tracking is said once.
        """
        tables = ", ".join(table for table, _ in groupby(self.tables))
        if self.dropped_in is not None:
            return f"{tables}: dropped"
        return f"{tables}: sent to port {' and '.join(map(str, self.ports))}"

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
) -> Trace:
    """The way of `packet` (ovs-ofctl's syntax, in_port by number) through `bridge`.

    socket_path: of ovs-vswitchd's control socket (unixctl). ct_next: what connection tracking
    says each time that it is asked, such as "trk,est,rpl"; by default "trk,new".
    Raises SwitchError with Open vSwitch's words, Unavailable and TimedOut.
    """
    words = [bridge, packet]
    for state in ct_next:
        words += ["--ct-next", state]
    (text,) = _ask_all(str(socket_path), "ofproto/trace", [words], timeout)
    return parse_trace(text, pipeline)


@frozen
class Question:
    """A packet (ovs-ofctl's syntax) on a bridge; answer: connection tracking knows it as one."""

    bridge: str
    packet: str
    answer: bool = False


def trace_all(
    socket_path: Path | str,
    pipeline: Pipeline,
    questions: Iterable[Question],
    *,
    timeout: float = 10.0,
) -> list[Trace]:
    """The ways of many packets, asked over one connection. Raises as `trace` does."""
    calls = []
    for each in questions:
        ct_next = ["--ct-next", ANSWER] if each.answer else []
        calls.append([each.bridge, each.packet, *ct_next])
    texts = _ask_all(str(socket_path), "ofproto/trace", calls, timeout)
    # Open vSwitch traces the next ones while these are read.
    return [parse_trace(text, pipeline) for text in texts]


def parse_trace(text: str, pipeline: Pipeline) -> Trace:
    """What `ofproto/trace` printed, as a value."""
    hops: list[Hop] = []
    ports: list[int] = []
    commits: list[int] = []
    fields: dict[str, str] = {}
    tunnel_id: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(_MEANINGLESS):
            continue
        if found := _HOP.match(line):
            number, match, _, cookie = found.groups()
            hops.append(Hop(pipeline.name(int(number)), match or "", int(cookie or "0", 16)))
        elif found := _OUTPUT.match(line) or _OUTPUT_BY_REGISTER.match(line):
            ports.append(int(found[1]))
        elif line.strip() == "IN_PORT":
            ports.append(int(fields["in_port"]))
        elif found := _TUNNEL_ID.match(line):
            # The flow at the end tells it only of packets that came by a tunnel.
            tunnel_id["tun_id"] = found[1]
        elif found := _COMMIT.match(line):
            commits.append(int(found[1]))
        elif _SKIPPED.search(line):
            ports.pop()
        elif line.startswith(("Flow: ", "Final flow: ")) and not line.endswith(": unchanged"):
            fields = dict(_fields(line.partition(": ")[2]))
    return Trace(tuple(hops), tuple(ports), tuple(commits), fields | tunnel_id, text)


def _fields(flow: str) -> Iterator[tuple[str, str]]:
    for part in flow.split(","):
        name, _, value = part.partition("=")
        yield name, value


def _ask_all(path: str, command: str, calls: list[list[str]], timeout: float) -> Iterator[str]:
    """Calls of Open vSwitch's JSON-RPC control protocol, ovs-appctl(8), on one connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            answers = _exchange(connection, path, command, calls)
            for words, answer in zip(calls, answers, strict=True):
                if answer["error"] is not None:
                    raise SwitchError(f"{command} {' '.join(words)}: {answer['error']}")
                yield str(answer["result"])
        except TimeoutError as error:
            raise TimedOut(f"no answer within {timeout:g} s from {path} to {command}") from error
        except OSError as error:
            raise Unavailable(f"ovs-vswitchd at {path}: {error}") from error


def _exchange(
    connection: socket.socket, path: str, command: str, calls: list[list[str]]
) -> Iterator[dict[str, str | None]]:
    decoder, received = json.JSONDecoder(), ""
    # A few at a time: neither side's buffer fills while it waits for the other's.
    for first in range(0, len(calls), _AT_ONCE):
        some = calls[first : first + _AT_ONCE]
        requests = [{"id": n, "method": command, "params": words} for n, words in enumerate(some)]
        connection.sendall("".join(map(json.dumps, requests)).encode())
        for _ in some:
            while True:
                try:
                    answer, end = decoder.raw_decode(received)
                    break
                except ValueError:
                    chunk = connection.recv(1 << 18)
                if not chunk:
                    raise Unavailable(f"ovs-vswitchd at {path} hung up in the middle of an answer")
                received += chunk.decode("ascii")
            received = received[end:].lstrip()
            yield answer
