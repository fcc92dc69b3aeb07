"""Whatever etcd answers ends in an error of ours, in time; what is sound is read."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.observe.etcd.client import Etcd, EtcdFull
from k8s_ovs.observe.etcd.protocol import rpc
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, SourceState, WatchEvent

#: A length that nothing follows; an end of a group that has no beginning; half of a number.
CORRUPT = [b"\x0a\xff\xff\xff\xff\x0f", b"\x0c", b"\x08\xff"]
NOT_TEXT = b"\xff\xfe"
PAIR = {"key": NOT_TEXT, "value": b"v\0" + NOT_TEXT, "create_revision": 3, "mod_revision": 5}
FOUND = rpc.RangeResponse(header={"revision": 7}, kvs=[PAIR]).SerializeToString()
MORE = [
    rpc.RangeResponse(header={"revision": 7}, kvs=kvs, more=True).SerializeToString()
    for kvs in ([], [{"key": b"a1"}])
]
ANSWERS = (
    st.binary(max_size=40)
    | st.sampled_from(MORE)
    | st.builds(
        lambda cut, octet: FOUND[:cut] + octet + FOUND[cut + 1 :],
        st.integers(0, len(FOUND)),
        st.binary(max_size=1),
    )
)
CALLS: list[Callable[[Etcd], Any]] = [
    lambda etcd: etcd.get("a"),
    lambda etcd: etcd.list("a"),
    lambda etcd: etcd.delete("a"),
    lambda etcd: etcd.put("a", b"1"),
    lambda etcd: etcd.lease(10),
    lambda etcd: etcd.keep_alive(1),
    lambda etcd: etcd.revoke(1),
    Etcd.check_space,
]


class Fed(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """An etcd that gives these bytes for an answer, per call; else `rest`."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.rest = b""

    def service(self, handler_call_details: Any) -> Any:
        call = handler_call_details.method.rpartition("/")[2]
        answer = self.answers.get(call, self.rest)
        if call in {"Watch", "LeaseKeepAlive"}:
            return grpc.stream_stream_rpc_method_handler(lambda _asked, _context: iter((answer,)))
        return grpc.unary_unary_rpc_method_handler(lambda _asked, _context: answer)


@contextmanager
def connected() -> Iterator[tuple[Fed, Etcd]]:
    server, fed = grpc.server(ThreadPoolExecutor(4)), Fed()
    server.add_generic_rpc_handlers((fed,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with closing(Etcd(EtcdSettings((f"http://127.0.0.1:{port}",)))) as etcd:
        yield fed, etcd
    server.stop(None).wait(5)


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Fed, Etcd]]:
    with connected() as both:
        yield both


@pytest.mark.parametrize("corrupt", CORRUPT)
def test_an_answer_that_is_none_of_etcds_counts_as_no_answer(
    world: tuple[Fed, Etcd], corrupt: bytes
) -> None:
    fed, etcd = world
    fed.rest = corrupt
    for call in CALLS:
        with pytest.raises(Unavailable, match=r"did not answer .*127\.0\.0\.1.*deserializing"):
            call(etcd)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(answer=ANSWERS)
def test_no_answer_ends_in_an_error_that_is_not_ours(
    world: tuple[Fed, Etcd], answer: bytes
) -> None:
    fed, etcd = world
    fed.rest = answer
    for call in CALLS:
        with suppress(K8sOvsError):
            call(etcd)


def test_what_is_sound_is_read_whatever_bytes_keys_and_values_have(
    world: tuple[Fed, Etcd],
) -> None:
    fed, etcd = world
    fed.rest = FOUND
    pair = etcd.get("a")
    assert pair is not None
    assert (pair.key, pair.value) == (NOT_TEXT.decode("utf-8", "surrogateescape"), PAIR["value"])
    assert (pair.create_revision, pair.mod_revision, pair.lease) == (3, 5, 0)


def test_an_alarm_among_the_errors_of_a_status_is_told(world: tuple[Fed, Etcd]) -> None:
    fed, etcd = world
    fed.rest = rpc.StatusResponse(errors=["memberID:1 alarm:CORRUPT "]).SerializeToString()
    etcd.check_space()
    # Field 8, as etcd 3.4 writes it.
    fed.rest = b"\x42\x1amemberID:10 alarm:NOSPACE "
    with pytest.raises(EtcdFull, match="alarm NOSPACE"):
        etcd.check_space()


def test_a_watch_that_is_fed_nonsense_is_disconnected_and_comes_back() -> None:
    events: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
    with connected() as (fed, etcd):
        fed.answers = {"Range": FOUND, "Watch": CORRUPT[0]}
        watch = PrefixWatch(etcd, "", "etcd", events.put)
        watch.start()
        assert isinstance(events.get(timeout=10), Snapshot)
        assert events.get(timeout=10) == SourceState("etcd", True)
        lost = events.get(timeout=10)
        assert isinstance(lost, SourceState)
        assert "deserializing" in (lost.detail or "")
        event = {"type": 0, "kv": PAIR | {"mod_revision": 8}}
        told = rpc.WatchResponse(header={"revision": 8}, events=[event])
        fed.answers["Watch"] = told.SerializeToString()
        while not isinstance(event := events.get(timeout=10), RecordChange):
            pass
        assert event.entry is not None
        assert event.entry.value == PAIR["value"]
        watch.stop()
