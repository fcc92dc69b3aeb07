"""What a plugin that judges by rules needs, on a real Open vSwitch.

Conjunctions, a zone, a register and a label of its own, and a table that drops what no flow lets
pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.ovs.openflow.altered import altered_cookies
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.plugin import (
    Conjunction,
    Ct,
    Flow,
    Goto,
    Note,
    Pod,
    Subfield,
    Table,
    View,
    Zone,
    any_packet,
    hook,
    ip,
    tcp,
)
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import (
    NODE_PORT,
    TUNNEL_PORT,
    sample_host,
    sample_local_node,
    sample_pod,
    sample_world,
)

pytest_plugins = ["k8s_ovs_testing.fixtures"]

A, B, THERE = sample_pod(1), sample_pod(2), "172.11.8.7"
NEIGHBOUR = sample_host(2).host_ip

TRACK = Table("TRACK", "Which connection is it?", next=("RULES",), between=("POD_OUT", "VERDICT"))
RULES = Table("RULES", "May it begin?", between=("TRACK", "VERDICT"), otherwise="drop")
POLICY = Zone("POLICY", 7)
TRACKED = Subfield("TRACKED", "reg8", 0, 1)
RULE = Subfield("RULE", "ct_label", 32, 32)


class Policy:
    """Pod B hears A and a pod there, on ports 80 and 443; all pods hear answers."""

    @hook
    def tables(self) -> Iterable[Table]:
        return [TRACK, RULES]

    @hook
    def reservations(self) -> Iterable[Subfield | Zone]:
        return [POLICY, TRACKED, RULE]

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        again = Ct(zone=POLICY.number, table="TRACK")
        yield Flow(TRACK, 100, ip(**TRACKED.equals(0)), [TRACKED.set(1), again])
        yield Flow(TRACK, 90, ip(ct_state="+trk+est"), [Goto("VERDICT")])
        yield Flow(TRACK, 80, ip(), [Goto("RULES")])

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        if pod != B:
            return
        source, port = (Conjunction("to-b", clause, 2) for clause in (1, 2))
        for peer in (A.ip, THERE):
            yield Flow(RULES, 50, ip(ip_src=peer, ip_dst=pod.ip), [source, Note(b"to-b")])
        for number in (80, 443):
            yield Flow(RULES, 50, tcp(ip_dst=pod.ip, tcp_dst=number), [port])
        remember = Ct(zone=POLICY.number, commit=True, exec=[RULE.set(5)], table="VERDICT")
        yield Flow(RULES, 50, ip(conj_id="to-b"), [remember])


def manager() -> PluginManager:
    return PluginManager({"k8s-ovs-subnet": SingleTenant(), "acme-policy": Policy()})


MANAGER = manager()


@pytest.fixture
def bridge(ovs_dummy: OvsProcess) -> TracedBridge:
    bridge = TracedBridge(ovs_dummy, MANAGER)
    bridge.show(sample_world())
    assert bridge.failures == []
    return bridge


def from_pod(pod: Pod, to: object, protocol: str = "tcp", **fields: object) -> str:
    said = {"in_port": pod.ofport, "dl_src": pod.mac, "nw_src": pod.ip, "nw_dst": to} | fields
    return ",".join([protocol, *(f"{name}={value}" for name, value in said.items())])


def from_there(to: object, **fields: object) -> str:
    said = {"in_port": TUNNEL_PORT, "tun_src": NEIGHBOUR, "tun_id": 0, "nw_src": THERE}
    said |= {"tun_dst": sample_local_node().host_ip, "nw_dst": to} | fields
    return ",".join(["tcp", *(f"{name}={value}" for name, value in said.items())])


@pytest.mark.parametrize(
    ("packet", "passes"),
    [
        (from_pod(A, B.ip, tcp_dst=80), True),
        (from_pod(A, B.ip, tcp_dst=443), True),
        (from_there(B.ip, tcp_dst=80), True),
        (from_pod(A, B.ip, tcp_dst=81), False),
        (from_pod(A, B.ip, "udp", udp_dst=80), False),
        (from_there(B.ip, tcp_dst=22), False),
        (from_there(B.ip, nw_src="172.11.8.9", tcp_dst=80), False),
        (from_pod(B, A.ip, tcp_dst=80), False),
    ],
)
def test_a_packet_passes_that_meets_a_flow_of_each_clause(
    bridge: TracedBridge, packet: str, passes: bool
) -> None:
    traced = bridge.trace(packet)
    assert traced.dropped_in == (None if passes else "RULES")
    assert traced.sent_to == (B.ofport if passes else None)
    assert (POLICY.number in traced.commits) == passes
    assert ("ct_label" in traced.text) == passes


def test_what_is_remembered_needs_no_rule(bridge: TracedBridge) -> None:
    established = ("trk,est", "trk,est")
    traced = bridge.trace(from_there(A.ip, tcp_dst=22), ct_next=established)
    assert traced.sent_to == A.ofport
    assert "RULES" not in traced.tables


def test_services_work_beside_a_zone_of_a_plugins(bridge: TracedBridge) -> None:
    # First the plugin's zone says what it knows, then that of pods.
    states = ("trk,est", "trk,est,rpl")
    there = bridge.trace(from_there(A.ip, ct_mark=1), ct_next=states)
    assert (there.sent_to, there.fields["nw_dst"]) == (NODE_PORT, str(A.ip))
    answer = from_pod(B, A.service_source, ct_mark=1)
    here = bridge.trace(answer, ct_next=("trk,est,rpl", "trk,est"))
    assert (here.sent_to, here.fields["nw_dst"]) == (NODE_PORT, str(A.ip))
    # A plugin's zone may say of a connection that it is an answer, and that of pods not.
    other = bridge.trace(from_there(A.ip, ct_mark=1), ct_next=("trk,est,rpl", "trk,est"))
    assert other.sent_to == A.ofport


def test_a_new_connection_from_a_tunnel_is_remembered_beside_a_zone_of_a_plugins(
    bridge: TracedBridge,
) -> None:
    traced = bridge.trace(from_there(B.ip, tcp_dst=80))
    assert traced.commits == (POLICY.number, 27448)


def test_a_restart_changes_no_flow(ovs_dummy: OvsProcess, bridge: TracedBridge) -> None:
    again = Reconciler(manager(), sample_world())
    again.compute()
    wanted = {flow.cookie for flow, _ in again.desired.flows()}
    with closing(OpenFlow.connect(ovs_dummy.mgmt("br0"))) as client:
        there = client.dump()
        assert {flow.cookie for flow in there} == wanted
        assert altered_cookies(there, client.meters()) == set()


def test_a_clause_that_somebody_changes_is_seen(
    ovs_dummy: OvsProcess, bridge: TracedBridge
) -> None:
    with closing(OpenFlow.connect(ovs_dummy.mgmt("br0"))) as client:
        (of_port,) = (
            flow
            for flow, _ in bridge.reconciler.desired.flows()
            if flow.conjunctions and flow.flow.match == tcp(ip_dst=B.ip, tcp_dst=80)
        )
        changed = "table={},priority=50,tcp,nw_dst={},tp_dst=80,actions=conjunction(9,2/2)"
        number = MANAGER.pipeline.number("RULES")
        ovs_dummy.ofctl("--strict", "mod-flows", "br0", changed.format(number, B.ip))
        assert altered_cookies(client.dump(), client.meters()) == {of_port.cookie}


def test_what_no_flow_of_a_table_matches_is_dropped_there(bridge: TracedBridge) -> None:
    assert Flow(RULES, 0, any_packet()) in [
        flow.flow for flow, _ in bridge.reconciler.desired.flows()
    ]
    assert bridge.trace(from_pod(B, A.ip)).dropped_in == "RULES"
