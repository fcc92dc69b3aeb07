"""Every packet that is kept out of a tenant is counted as that tenant's, wherever it came from."""

from __future__ import annotations

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import Slot
from k8s_ovs.plugin import RecordKind
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_multitenant.records import (
    KINDS,
    NAMESPACE_VNIS,
    NETNAMESPACES,
    NamespaceVni,
    NetNamespace,
)
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import (
    TUNNEL_PORT,
    sample_host,
    sample_local_node,
    sample_pod,
    sample_world,
)

pytest_plugins = ["k8s_ovs_testing.fixtures"]

MANAGER = PluginManager({"k8s-ovs-multitenant": MultiTenant()})
KIND: dict[str, RecordKind] = {kind.name: kind for kind in KINDS}

#: hw1 and hw2 have pods here; hw3 is joined with hw1 and hw4 is apart, both without pods here.
NET_IDS = {"hw1": 7001, "hw2": 7002, "hw3": 7001, "hw4": 7004}
NUMBERS = {"hw1": 101, "hw2": 102, "hw3": 103, "hw4": 104}
POD = sample_pod(1, "hw1")


@pytest.fixture(scope="module")
def bridge(ovs_dummy_module: OvsProcess) -> TracedBridge:
    """A bridge with a pod of hw1 and one of hw2."""
    records: dict[str, dict[str, Slot]] = {
        NETNAMESPACES: {
            name: KIND[NETNAMESPACES].slot(NetNamespace(name, net_id), 1)
            for name, net_id in NET_IDS.items()
        },
        NAMESPACE_VNIS: {
            name: Slot(NamespaceVni(number), revision=1) for name, number in NUMBERS.items()
        },
    }
    bridge = TracedBridge(ovs_dummy_module, MANAGER)
    bridge.show(sample_world(pods=[POD, sample_pod(2, "hw2")], records=records))
    assert bridge.failures == []
    return bridge


def from_afar(number: int) -> str:
    """A packet from a pod on another node, which carries `number`, to the pod of hw1."""
    sender, local_node = sample_host(2), sample_local_node()
    tunnel = f"tun_src={sender.host_ip},tun_dst={local_node.host_ip},tun_id={number}"
    addresses = f"nw_src={sender.gateway + 1},nw_dst={POD.ip}"
    return f"icmp,in_port={TUNNEL_PORT},{tunnel},{addresses}"


@pytest.mark.parametrize("namespace", ["hw1", "hw3"])
def test_a_packet_of_the_same_tenant_is_delivered(bridge: TracedBridge, namespace: str) -> None:
    assert bridge.trace(from_afar(NUMBERS[namespace])).sent_to == POD.ofport


@pytest.mark.parametrize(
    "number",
    [NUMBERS["hw2"], NUMBERS["hw4"], NET_IDS["hw1"], 1, 999],
    ids=["pod here", "no pod here", "a network's number", "the strangers' number", "nobody's"],
)
def test_a_packet_of_anybody_else_is_dropped_where_it_is_counted(
    bridge: TracedBridge, number: int
) -> None:
    assert bridge.trace(from_afar(number)).dropped_in == "VERDICT"
