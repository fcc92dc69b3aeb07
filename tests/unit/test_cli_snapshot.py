"""What etcd's records mean, read as the daemons read them; the table of subnets made from it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, snapshot_of
from k8s_ovs.cli.cluster.subnet import SubnetRow, subnet_rows
from k8s_ovs.cli.host.this_node import desired_flows
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.observe.watch_event import Entry

PREFIX = "/k8s.ovs.com/ovs/network"
CONFIG = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 10,
    "ServiceNetwork": "10.96.0.0/12",
    "PluginName": "k8s-ovs-subnet",
}


def snapshot(config: Any = CONFIG, **records: Any) -> ClusterSnapshot:
    """The snapshot of these records, by path below the network's Name."""
    entries = {} if config is None else {"config": config}
    entries |= {f"k8ssdn/{path}": record for path, record in records.items()}
    values = {
        path: Entry(each if isinstance(each, bytes) else json.dumps(each).encode(), revision)
        for revision, (path, each) in enumerate(entries.items(), start=1)
    }
    return snapshot_of(PREFIX, values, len(values))


def host(address: str, subnet: str, **fields: Any) -> dict[str, Any]:
    """A record below subnets/."""
    return {"Host": "node1", "HostIP": address, "Subnet": subnet, "Assign": False} | fields


def test_good_records_are_no_problem() -> None:
    found = snapshot(**{"subnets/10.0.0.1": host("10.0.0.1", "172.11.4.0/22")})
    assert found.problems == ()
    assert isinstance(found.needed_config(), NetworkConfig)
    assert found.revision_of_config == 1


def test_a_missing_configuration_is_reported_with_what_to_do() -> None:
    found = snapshot(None)
    assert found.problems == (
        f"there is no configuration at {PREFIX}/config; make one: k8s-ovs config set JSON; "
        "or bring it back from a backup: k8s-ovs restore FILE",
    )
    with pytest.raises(InvalidRecord, match="make one: k8s-ovs config set"):
        found.needed_config()


def test_a_malformed_configuration_is_named_with_its_key() -> None:
    found = snapshot(CONFIG | {"HostSubnetLength": 99})
    assert found.config is None
    assert found.problems == (
        "config: HostSubnetLength: found 99, expected 2 to 16: 172.11.0.0/16 has 16 host bits, "
        f"and a node needs at least 2; the key is {PREFIX}/config",
    )


def test_plugins_that_are_not_installed_are_a_problem_and_records_are_read_all_the_same() -> None:
    records = {"subnets/10.0.0.1": b"{"}
    found = snapshot(CONFIG | {"PluginName": "k8s-ovs-subnet,acme"}, **records)
    assert found.problems[0].startswith('PluginName: no plugin "acme" is installed; installed are')
    assert found.problems[1].startswith("k8ssdn/subnets/10.0.0.1: not JSON")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("GlobalNamespaces", "red", 'found "red", expected a list of namespaces such as'),
        ("GlobalNamespaces", ["Red!"], 'found ["Red!"], expected a list of namespaces such as'),
        ("GlobalNamespaces", [7], "found [7], expected a list of namespaces such as"),
        ("BandwidthUnenforced", ["warn"], 'found ["warn"], expected "refuse" or "warn"'),
    ],
)
def test_a_wrong_value_of_a_plugins_field_is_a_problem(
    field: str, value: Any, problem: str
) -> None:
    found = snapshot(CONFIG | {"PluginName": "k8s-ovs-multitenant", field: value})
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"config: {field}: {problem}")
    assert found.rejected == found.problems[0]


@pytest.mark.parametrize("wrong", [{"PluginName": "acme"}, {"BandwidthUnenforced": "no"}])
def test_what_daemons_reject_is_nothing_to_compare_a_node_with(wrong: dict[str, Any]) -> None:
    found = snapshot(CONFIG | wrong)
    assert found.problems == (found.rejected,)
    with pytest.raises(InvalidRecord) as refused:
        desired_flows(found, SimpleNamespace(), "node1")  # type: ignore[arg-type]  # not asked
    assert str(refused.value) == found.rejected


def test_every_record_that_is_wrong_is_a_problem() -> None:
    found = snapshot(
        **{
            "subnets/10.0.0.1": host("10.0.0.1", "172.11.4.0/22"),
            "subnets/10.0.0.2": host("10.0.0.2", "172.11.4.0/22"),
            "subnets/10.0.0.3": host("10.0.0.3", "172.11.4.1/22"),
        }
    )
    assert len(found.problems) == 2
    assert "does not overlap 172.11.4.0/22 of 10.0.0.1" in found.problems[0]
    assert "host bits are set" in found.problems[1]


def test_a_key_of_no_kind_is_unknown_and_the_election_and_the_nodes_status_are_not() -> None:
    own = {"allocator": {"holder": "node1"}, "status/node1": {"Node": "node1"}}
    found = snapshot(**own, **{"subnet/10.0.0.1": {}})
    assert found.unknown_keys == ("k8ssdn/subnet/10.0.0.1",)


def test_the_table_of_subnets_says_who_gave_each_and_what_is_wrong() -> None:
    found = snapshot(
        **{
            "subnets/10.0.0.9": host("10.0.0.9", "172.11.4.0/22"),
            "given/10.0.0.9": {"Host": "node1"},
            "subnets/10.0.0.10": host("10.0.0.10", "", Host="balancer", Assign=True),
            "subnets/10.0.0.11": host("10.0.0.11", "172.11.4.0/22", Host="twin"),
            "subnets/10.0.0.12": b"{",
            "subnets/10.0.0.13": host("10.0.0.13", "", Host="huge", Reason="no /8 is free"),
        }
    )
    rows = subnet_rows(found)
    assert rows[:2] == [
        SubnetRow("node1", "10.0.0.9", "172.11.4.0/22", "node", "ok", ""),
        SubnetRow("balancer", "10.0.0.10", "-", "hand", "waiting", ""),
    ]
    reason = "subnets/10.0.0.13: no /8 is free"
    assert rows[4] == SubnetRow("huge", "10.0.0.13", "-", "hand", "refused", reason)
    twin, unreadable = rows[2:4]
    assert (twin.host, twin.subnet, twin.state) == ("twin", "172.11.4.0/22", "quarantined")
    assert "does not overlap 172.11.4.0/22 of 10.0.0.9" in twin.problem
    assert (unreadable.host, unreadable.subnet, unreadable.state) == ("?", "-", "quarantined")
