"""Whatever is written below the prefix, commands that only read say what is there, and no trace."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.fake_etcd import CONFIG, FakeEtcd, no_switch
from typer.testing import Result

from k8s_ovs.cli.cluster import snapshot
from k8s_ovs.cli.doctor import observations
from k8s_ovs.cli.host.status import SwitchStatus

Cli = Callable[..., Result]

READ_ONLY = [
    ("config", "show"),
    ("config", "check"),
    ("backup", "-"),
    ("subnet", "list"),
    ("external", "list"),
    ("tenant", "list"),
    ("tenant", "show", "red"),
    ("tenant", "check", "red", "blue"),
    ("doctor",),
]
KINDS = ("subnets", "given", "external", "netnamespaces", "vnis", "allocator", "status", "seen")
KEYS = ("10.0.0.1", "10.0.0.2", "red", "blue", "last", "node1", "", "a/b", "1.2.3.4.5", "\udcff")

#: Values that are right somewhere, or nearly.
LIKELY: list[Any] = [
    *(
        "10.0.0.1",
        "172.11.4.0/22",
        "172.11.4.1/22",
        "0.0.0.0/0",
        "red",
        "blue",
        "join",
        "global",
        "",
    ),
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "never", "9" * 5000, "\ud800", "a\nb\x1b[31m"),
    *(0, 1, 10, -1, 2**63, 2**70, 1e300, True, False, None, [], {}, [None], {"Host": 1}),
]
FIELDS = (
    *("Host", "HostIP", "Subnet", "Assign", "Reason", "HostSubnetLength", "NetName", "NetID"),
    *("Action", "Namespace", "VNID", "Last", "Node", "Revision", "Version", "Seen", "Ready"),
    *(
        "Errors",
        "WaitingFor",
        "Name",
        "Network",
        "ServiceNetwork",
        "PluginName",
        "MTU",
        "VXLANPort",
        "FromOutside",
    ),
)


def json_values() -> st.SearchStrategy[Any]:
    leaves = st.sampled_from(LIKELY) | st.integers() | st.floats() | st.text(max_size=8)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=4)
        ),
        max_leaves=6,
    )


def records() -> st.SearchStrategy[dict[str, bytes]]:
    likely = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(LIKELY), max_size=9)
    written = (likely | json_values()).map(lambda each: json.dumps(each).encode())
    paths = st.tuples(st.sampled_from(KINDS) | st.text(max_size=4), st.sampled_from(KEYS)).map(
        lambda words: f"k8ssdn/{'/'.join(words)}"
    )
    deep = st.integers(150, 1500).map(lambda depth: b"[" * depth + b"]" * depth)
    odd = st.sampled_from(
        ["k8ssdn", "k8ssdn/", "k8ssdn/subnets", "", "other/subnets/x", "config/x"]
    )
    return st.dictionaries(paths | odd, written | st.binary(max_size=9) | deep, max_size=6)


def configs() -> st.SearchStrategy[bytes]:
    changes = st.dictionaries(st.sampled_from(FIELDS), json_values(), max_size=2)
    return st.one_of(
        st.just(CONFIG).map(lambda each: json.dumps(each).encode()),
        changes.map(lambda each: json.dumps(CONFIG | each).encode()),
    )


#: `make test-long` asks for more.
EXAMPLES = 400 if "K8S_OVS_LONG" in os.environ else 15
#: So deep that the parser fails for some who call it, and not for others.
DEEP = b'{"a":' * 960 + b"1" + b"}" * 960
HOST = {"Host": 5, "HostIP": "10.0.0.1", "Subnet": "172.11.4.0/22"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
@given(config=configs(), found=records())
@example(
    config=json.dumps(CONFIG).encode(), found={"k8ssdn/subnets/10.0.0.1": json.dumps(HOST).encode()}
)
@example(config=json.dumps(CONFIG).encode(), found={"k8ssdn/subnets/10.0.0.1": DEEP})
@example(config=json.dumps(CONFIG).encode(), found={"k8ssdn": b"{}"})
@example(config=json.dumps(CONFIG | {"A": "\ud800"}).encode(), found={})
def test_no_record_ends_a_command_in_a_traceback(
    config: bytes, found: dict[str, bytes], k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    monkeypatch.setattr(observations, "connected_switch", no_switch)
    monkeypatch.setattr(observations, "switch_status", lambda _: SwitchStatus(problem="away"))
    monkeypatch.setattr(observations, "check_program", lambda _: "it")
    FakeEtcd.records = {"config": config, **found}
    for words in READ_ONLY:
        for output in ("table", "json"):
            shown = k8s_ovs(*words, "-o", output)
            assert shown.exit_code in (0, 1), (words, shown.stderr)
            assert shown.stdout or shown.stderr, words
            if output == "json" and shown.stdout:
                json.loads(shown.stdout)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("external", "list"), "no external hosts\n"),
        (("tenant", "list"), "no namespaces have a record\n"),
        (
            ("subnet", "list"),
            "no hosts have a record\n64 of 64 subnets (/22 of 172.11.0.0/16) are free\n",
        ),
    ],
    ids=str,
)
def test_a_list_without_rows_says_so(
    words: tuple[str, ...], said: str, k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    FakeEtcd.records = {"config": json.dumps(CONFIG).encode()}
    assert k8s_ovs(*words).stdout == said
    assert json.loads(k8s_ovs(*words, "-o", "json").stdout) == []


def test_a_status_that_cannot_be_read_is_left_out_and_told(
    k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    host = {"Host": "lb1", "HostIP": "10.0.0.1", "Subnet": "172.11.4.0/22"}
    FakeEtcd.records = {
        "config": json.dumps(CONFIG).encode(),
        "k8ssdn/subnets/10.0.0.1": json.dumps(host).encode(),
        "k8ssdn/seen/10.0.0.1": b"[]",
    }
    shown = k8s_ovs("external", "list")
    assert shown.exit_code == 0
    assert "lb1" in shown.stdout
    assert "seen/10.0.0.1: found [], expected a JSON object; left out here" in shown.stderr


def test_what_a_terminal_cannot_show_is_escaped(
    k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    host = {"Host": "a\nb\x1b[31m\ud800é", "HostIP": "10.0.0.1", "Subnet": "172.11.4.0/22"}
    FakeEtcd.records = {
        "config": json.dumps(CONFIG).encode(),
        "k8ssdn/subnets/10.0.0.1": json.dumps(host).encode(),
    }
    row = k8s_ovs("subnet", "list").stdout.splitlines()[1]
    assert row.startswith(r"a\nb\x1b[31m\ud800é  10.0.0.1")
