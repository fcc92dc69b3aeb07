"""Whatever an ovsdb-server sends ends in an error of ours, in time; what is sound is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from structlog.testing import capture_logs
from tests.unit.any_values import JSON, damaged_json
from tests.unit.fake_ovsdb import FakeOvsdb, content, sound_answers

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.transaction import BridgeSettings, PortSettings, Transaction

NOBODY = "00000000-0000-0000-0000-000000000000"
CONTENT = content("veth1", "tun0")
#: What the columns are made of: sets, maps and references, to nothing too.
OVSDB_VALUES = JSON | st.sampled_from(
    [
        ["set", []],
        ["set", [["uuid", NOBODY]]],
        ["uuid", NOBODY],
        ["uuid", "7"],
        ["map", [["a", "b"], ["a", "c"]]],
        ["map", [[[], {}]]],
        {NOBODY: {"initial": {}}},
        {NOBODY: {"modify": {}}},
        {NOBODY: {"delete": None}},
    ]
)
CHANGE = {"Interface": {NOBODY: {"insert": {"name": "veth2"}}}}
ROW = next(iter(CONTENT["Interface"]))
UPDATES = [
    {"id": None, "method": "update3", "params": ["", NOBODY, CHANGE]},
    {"id": None, "method": "update2", "params": ["", CHANGE]},
    {
        "id": None,
        "method": "update3",
        "params": ["", NOBODY, {"Interface": {ROW: {"delete": None}}}],
    },
    {"id": None, "method": "update3", "params": ["", NOBODY, {"Bridge": {ROW: {"modify": {}}}}]},
    {"id": 1, "error": None, "result": []},
    {"id": None, "method": "monitor_canceled", "params": [""]},
]
TRANSACTION = Transaction(
    "br0",
    BridgeSettings("netdev", tables={1: "A"}, as_new=frozenset({"stp_enable", "flow_tables"})),
    (PortSettings("veth3", external_ids={"a": "b"}), PortSettings("tun0", "internal")),
    ("veth1",),
    foreign_queues={"tun0": True},
)
CALLS: list[Callable[[Ovsdb], Any]] = [
    Ovsdb.run,
    Ovsdb.switch,
    lambda client: client.bridge("br0"),
    lambda client: (client.applied, client.patience, client.connected),
    lambda client: client.commit(TRANSACTION),
    lambda client: client.await_ofports("br0", ["veth1"]),
    lambda client: client.delete_bridge("br0"),
    Ovsdb.await_vswitchd,
]


@contextmanager
def connected(path: Path, timeout: float) -> Iterator[tuple[FakeOvsdb, Ovsdb]]:
    """A server and its client, which comes again at once."""
    with FakeOvsdb(path) as server, closing(Ovsdb(f"unix:{path}", timeout)) as client:
        reconnect = client._idl._session.reconnect
        reconnect.min_backoff, reconnect.max_backoff = 1, 2
        yield server, client


def known(client: Ovsdb) -> set[str] | None:
    """The ports of br0; None: there is no br0."""
    bridge = client.bridge("br0")
    return None if bridge is None else set(bridge.ports)


def comes_again(server: FakeOvsdb, client: Ovsdb) -> None:
    """The client has lost the connection, and what the server tells now is all that counts."""
    server.hang_up()
    with suppress(K8sOvsError):
        while client.connected:
            client.run()
    for _ in range(100):
        with suppress(K8sOvsError):
            client.connect()
            return
    raise AssertionError("the client does not come again")


@st.composite
def wrong_answers(draw: DrawFn) -> tuple[dict[str, Any], list[Any]]:
    """Answers and news of a server, one of them with something wrong in it."""
    answers = sound_answers("veth1", "tun0")
    which = draw(st.sampled_from(["news", *answers]))
    if which == "news":
        update = st.sampled_from(UPDATES).flatmap(lambda each: damaged_json(each, OVSDB_VALUES))
        return answers, draw(st.lists(update | st.binary(max_size=50), min_size=1, max_size=4))
    wrong = damaged_json(answers[which], OVSDB_VALUES) | JSON | st.binary(max_size=50)
    return answers | {which: draw(wrong)}, []


@settings(max_examples=30, deadline=None, database=None)
@given(wrong=wrong_answers(), calls=st.permutations(CALLS))
def test_whatever_ovsdb_sends_ends_in_errors_of_ours_and_what_is_sound_is_read(
    wrong: tuple[dict[str, Any], list[Any]], calls: list[Callable[[Ovsdb], Any]]
) -> None:
    with (
        TemporaryDirectory() as directory,
        connected(Path(directory) / "db", timeout=0.05) as (server, client),
        capture_logs(),
    ):
        server.answers, server.news = wrong
        for call in (Ovsdb.connect, *calls):
            with suppress(K8sOvsError):
                call(client)
        server.tell("veth1", "veth4")
        comes_again(server, client)
        assert known(client) == {"veth1", "veth4"}


def test_a_column_that_is_not_told_has_its_default(tmp_path: Path) -> None:
    with connected(tmp_path / "db", timeout=0.05) as (server, client):
        answers = sound_answers("veth1")
        (root,) = answers["monitor_cond_since"][2]["Open_vSwitch"].values()
        root["initial"]["next_cfg"] = None
        server.answers = answers
        client.connect()
        assert client.applied


def test_a_bridge_that_has_gone_while_ovsdb_was_away_is_gone(tmp_path: Path) -> None:
    """As where ovsdb-server begins anew, with an empty file."""
    with connected(tmp_path / "db", timeout=0.5) as (server, client):
        server.tell("veth1")
        client.connect()
        assert known(client) == {"veth1"}
        server.tell()
        comes_again(server, client)
        assert known(client) is None
