"""Whatever a bridge answers is an answer or an error of ours, in time."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.unit.any_values import damaged_bytes

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs.ovs.openflow import connection as connection_module
from k8s_ovs.ovs.openflow.altered import altered_cookies
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.ovs.openflow.messages import HEADER, OpenPort, Type
from k8s_ovs.pipeline.action import Meter
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import any_packet, ip
from k8s_ovs.pipeline.reading import read_actions, read_match
from k8s_ovs.pipeline.wire import encode
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE

FLOWS = [
    encode(Flow(table, 1, match), 1, SAMPLE_PIPELINE)
    for table in SAMPLE_PIPELINE.tables
    for match in (ip(), any_packet(in_port=7))
]
#: As OpenFlow 1.4 section 7.3.5 lays them out, by the kind of the question.
SOUND = {
    1: struct.pack("!HBx8xH8x2xQQQ", 72, 10, 5, 7, 1, 1)
    + bytes.fromhex("0001000c8000000400000007000000000001000803000000"),
    9: struct.pack("!IH6xIQQ8xQQ", 7, 56, 0, 1, 1, 1, 1),
    10: struct.pack("!HHIHHII4x", 24, 13, 7, 1, 16, 1000, 100),
    11: struct.pack("!III4x", 1 << 18, 2, 15),
    13: struct.pack("!IH2x6s2x16sI4x24x", 1, 64, b"", b"veth1", 0),
}


def look(client: OpenFlow) -> None:
    """Read the flows, and all that they say."""
    flows, meters = client.dump(), client.meters()
    altered_cookies(flows, meters)
    for flow in flows:
        assert isinstance(read_match(flow.match), str)
        assert isinstance(read_actions(flow.instructions, {}), str)


QUESTIONS: list[Callable[[OpenFlow], object]] = [
    look,
    OpenFlow.meters,
    OpenFlow.meter_counts,
    OpenFlow.most_meters,
    OpenFlow.ports,
    OpenFlow.service,
    OpenFlow._greet,
    lambda client: client.commit(FLOWS, [5]),
    lambda client: client.put_meters([Meter(1, 1, 1)], [Meter(2, 1, 1)]),
    lambda client: client.delete_meters([1]),
    lambda client: client.clear_ports([OpenPort(1, bytes(6), 4)], 4),
]


def message(kind: int, xid: int, body: bytes) -> bytes:
    return HEADER.pack(5, kind, HEADER.size + len(body), xid) + body


def _messages() -> SearchStrategy[bytes]:
    """Messages that say the truth of their length, with any body or a sound one."""
    parts = st.builds(
        lambda kind, more, entries: struct.pack("!HH4x", kind, more) + SOUND[kind] * entries,
        st.sampled_from([*SOUND]),
        st.sampled_from([0, 0, 1]),
        st.integers(0, 3),
    )
    errors = st.builds(struct.pack, st.just("!HHI"), *[st.integers(0, 0xFFFF)] * 3)
    body = parts | parts.flatmap(damaged_bytes) | errors | st.binary(max_size=80)
    kinds = st.sampled_from([*Type, 99]) | st.just(Type.MULTIPART_REPLY)
    return st.builds(message, kinds, st.integers(0, 12), body)


REPLIES = st.lists(_messages() | _messages().flatmap(damaged_bytes), max_size=8).map(b"".join)


@contextmanager
def bridge(replies: bytes, ending: str) -> Iterator[OpenFlow]:
    """A client of a bridge that says this, once or for ever, and hangs up or is silent."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def speak() -> None:
        with suppress(OSError):
            theirs.sendall(replies)
            while replies and ending == "goes on":
                theirs.sendall(replies)
            if ending == "hangs up":
                theirs.shutdown(socket.SHUT_WR)

    speaker = threading.Thread(target=speak)
    with theirs:
        speaker.start()
        with ours:
            yield OpenFlow(ours, "/run/br0.mgmt", timeout=0.02)
        theirs.shutdown(socket.SHUT_RDWR)
        speaker.join()


@settings(max_examples=120, deadline=None, database=None)
@given(
    replies=REPLIES,
    ending=st.sampled_from(["goes on", "hangs up", "is silent"]),
    ask=st.sampled_from(QUESTIONS),
)
def test_whatever_a_bridge_answers_ends_in_an_answer_or_an_error_of_ours(
    replies: bytes, ending: str, ask: Callable[[OpenFlow], object]
) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        bridge(replies, ending) as client,
        suppress(K8sOvsError),
    ):
        patch.setattr(connection_module, "_MOST_ANSWERED", 1 << 20, raising=False)
        ask(client)
        ask(client)


@settings(max_examples=60, deadline=None, database=None)
@given(st.binary(max_size=120), st.binary(max_size=120))
def test_matches_and_actions_of_any_bytes_are_shown(match: bytes, instructions: bytes) -> None:
    for data in (match, instructions):
        for whole in (data, bytes.fromhex("00040060000000000019") + data):
            assert isinstance(read_match(whole), str)
            assert isinstance(read_actions(whole, {}), str)


ECHO_REQUEST = message(Type.ECHO_REQUEST, 0, b"")
OF_OTHERS = message(Type.ERROR, 0, bytes(4))
MORE = message(Type.MULTIPART_REPLY, 1, struct.pack("!HH4x", 1, 1))


def test_echo_requests_without_end_are_no_answer() -> None:
    with bridge(ECHO_REQUEST, "goes on") as client, pytest.raises(TimedOut):
        client.dump()


@pytest.mark.parametrize("sent", [OF_OTHERS, MORE])
def test_an_answer_without_end_is_refused(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_MOST_ANSWERED", 1 << 20, raising=False)
    told = r"br0.mgmt sent more than 1 MiB as one answer"
    with bridge(sent, "goes on") as client, pytest.raises(K8sOvsError, match=told):
        client.dump()
