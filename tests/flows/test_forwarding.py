"""Where do packets go? The forwarding flows, and the answers of a real Open vSwitch.

The last test removes the flows one at a time, to show that for each of them some claim fails.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import evolve
from tests.flows.forwarding_claims import (
    CLAIMS,
    LOCAL_NODE,
    NEIGHBOUR,
    VXLAN,
    A,
    B,
    from_node,
    from_pod,
    from_tunnel,
)

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.pipeline.tables import CORE_TABLES, NOTE
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.pipeline.wire import WireFlow
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import NODE_PORT, sample_config, sample_host, sample_world

pytest_plugins = ["k8s_ovs_testing.fixtures"]

MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant()})


def road_flows() -> list[WireFlow]:
    """All flows of the world of these claims."""
    reconciler = Reconciler(MANAGER, sample_world())
    reconciler.compute()
    return [flow for flow, _ in reconciler.desired.flows()]


def named(flow: WireFlow) -> str:
    return flow_text(flow.flow, MANAGER.pipeline, human=True).partition(" actions=")[0]


def is_last_drop(flow: WireFlow) -> bool:
    """A table without it drops too, only uncounted."""
    return flow.flow.priority == 0 and not flow.flow.actions


def is_note(flow: WireFlow) -> bool:
    """No packet comes to it; people read it."""
    return flow.flow.table is NOTE


#: Flows whose absence no packet can tell, and why: the words below each.
REDUNDANT = (is_last_drop, is_note)

MATTERING = {named(flow): flow for flow in road_flows() if not any(f(flow) for f in REDUNDANT)}


@pytest.fixture(scope="module")
def bridge(ovs_dummy_module: OvsProcess) -> TracedBridge:
    bridge = TracedBridge(ovs_dummy_module, MANAGER)
    bridge.show(sample_world())
    return bridge


@pytest.fixture
def shown(bridge: TracedBridge) -> Iterator[TracedBridge]:
    """A bridge that the test may change."""
    yield bridge
    bridge.show(sample_world())


@pytest.mark.parametrize("name", CLAIMS)
def test_forwarding_meets_its_claims(bridge: TracedBridge, name: str) -> None:
    claim = CLAIMS[name]
    traced = claim.traced(bridge)
    assert claim.differences(traced) == {}, traced.text


def test_no_plugin_failed_and_all_tables_end_in_a_drop(bridge: TracedBridge) -> None:
    assert bridge.failures == []
    last = {
        flow.flow.table.name: flow.flow.actions
        for flow, _ in bridge.reconciler.desired.flows()
        if flow.flow.priority == 0 and not flow.flow.match.terms
    }
    assert last == {table.name: () for table in CORE_TABLES}


def test_a_node_whose_record_is_gone_is_neither_reached_nor_heard(shown: TracedBridge) -> None:
    to = CLAIMS["a pod reaches a pod there, and is remembered"]
    back = CLAIMS["a pod there reaches a pod here, and is remembered"]
    assert to.holds(shown)
    assert back.holds(shown)
    shown.show(sample_world(hosts=[sample_host(1), sample_host(3)]))
    assert shown.trace(to.packet).dropped_in == "REMOTE"
    assert shown.trace(back.packet).dropped_in == "TUNNEL_IN"
    assert CLAIMS["a pod on a third node reaches a pod here"].holds(shown)


def test_a_pod_that_is_gone_is_neither_reached_nor_heard(shown: TracedBridge) -> None:
    shown.show(sample_world(pods=[B]))
    assert shown.trace(from_node(LOCAL_NODE.gateway, A.ip)).dropped_in == "POD_OUT"
    assert shown.trace(from_pod("tcp", B.ip)).dropped_in == "POD_IN"
    assert shown.trace(from_node(A.ip, B.ip)).dropped_in == "NODE_IN"


def test_a_host_without_a_subnet_yet_is_no_tunnel(shown: TracedBridge) -> None:
    waiting = evolve(sample_host(2), subnet=None, assign=True)
    shown.show(sample_world(hosts=[sample_host(1), waiting]))
    assert shown.trace(from_tunnel(NEIGHBOUR, A.ip)).dropped_in == "TUNNEL_IN"


def test_vxlan_is_barred_on_the_port_that_the_configuration_says(shown: TracedBridge) -> None:
    shown.show(sample_world(config=sample_config(vxlan_port=8472)))
    assert shown.trace(from_pod("udp", NEIGHBOUR, udp_dst=8472)).dropped_in == "EXTERNAL"
    assert shown.trace(from_pod("udp", NEIGHBOUR, udp_dst=VXLAN)).sent_to == NODE_PORT


@pytest.mark.parametrize("name", MATTERING, ids=str)
def test_without_this_flow_some_claim_fails(shown: TracedBridge, name: str) -> None:
    missing = MATTERING[name].cookie
    flows = [flow for flow, _ in shown.reconciler.desired.flows()]
    shown.install(flow for flow in flows if flow.cookie != missing)
    assert not all(claim.holds(shown) for claim in CLAIMS.values())
    shown.install(flows)
    assert all(claim.holds(shown) for claim in CLAIMS.values())
