"""What a lab consists of: names that never meet another lab's, and valid settings."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs_lab.layout import LabSettings, Layout

LAYOUT = Layout("lab", Path("/run/k8s-ovs-lab"))


@pytest.mark.parametrize(
    "netns",
    [
        "lab-fabric",
        "lab-outside",
        "lab-node1",
        "lab-node12",
        "lab-node1-default.web",
        "lab-host-lb1",
    ],
)
def test_a_lab_owns_its_namespaces(netns: str) -> None:
    assert LAYOUT.owns(netns)


@pytest.mark.parametrize(
    "netns", ["lab2-fabric", "lab-nodes", "lab-", "fabric", "lab-fabric2", "lab-host-"]
)
def test_a_lab_leaves_other_namespaces_alone(netns: str) -> None:
    assert not LAYOUT.owns(netns)


def test_two_pods_never_share_a_namespace() -> None:
    one, other = ("a-b", "c"), ("a", "b-c")
    assert LAYOUT.pod_netns("node1", *one) != LAYOUT.pod_netns("node1", *other)
    assert LAYOUT.owns(LAYOUT.pod_netns("node1", *one))


def test_nodes_are_numbered_with_their_addresses() -> None:
    assert [(node.name, str(node.address)) for node in LAYOUT.nodes(2)] == [
        ("node1", "192.168.0.11"),
        ("node2", "192.168.0.12"),
    ]


def test_external_hosts_get_addresses_behind_all_nodes() -> None:
    nodes = {node.address for node in LAYOUT.nodes(180)}
    first = LAYOUT.host_address([])
    assert str(first) == "192.168.0.199"
    assert first not in nodes
    assert str(LAYOUT.host_address([first, first + 2])) == "192.168.0.200"
    with pytest.raises(K8sOvsError, match="lab lab has 50 hosts already"):
        LAYOUT.host_address([first + number for number in range(50)])


@pytest.mark.parametrize("name", ["node1", "fabric", "outside", "sw0", "LB", "lb-1", "a" * 13, ""])
def test_an_external_host_has_no_other_places_name(name: str) -> None:
    with pytest.raises(InvalidRecord, match="no other place's name"):
        LAYOUT.host(name, IPv4Address("192.168.0.199"))


def test_overrides_replace_fields_of_the_configuration() -> None:
    config = LabSettings(plugin="acme", config={"HostSubnetLength": 8}).network_config()
    assert config["HostSubnetLength"] == 8
    assert (config["PluginName"], config["Network"]) == ("acme", "172.11.0.0/16")


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"name": "lab-1"}, "--name"),
        ({"nodes": 0}, "--nodes"),
        ({"datapath": "kernel"}, "--datapath"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_flag(
    settings: dict[str, object], flag: str
) -> None:
    with pytest.raises(InvalidRecord, match=flag):
        LabSettings(**settings)  # type: ignore[arg-type]  # wrong values are the point
