"""Meters on a real Open vSwitch: put, changed, deleted, counted, and who passes one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from attrs import evolve

from k8s_ovs.errors import SwitchError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import LOCAL_NODE, World
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.ovs.openflow.meters import Metered
from k8s_ovs.pipeline.action import Goto, Meter
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import any_packet
from k8s_ovs.pipeline.wire import WireFlow, encode
from k8s_ovs.plugin import Pod, Rates
from k8s_ovs_shaping import Shaping
from k8s_ovs_shaping.bandwidth import BANDWIDTHS, Bandwidth
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE
from k8s_ovs_testing.world import NODE_PORT, sample_local_node, sample_pod, sample_world

pytest_plugins = ["k8s_ovs_testing.fixtures"]

FIRST = SAMPLE_PIPELINE.tables[0]
SLOW, FAST, OTHER = Meter(7, 1_000, 2_000), Meter(7, 9_000, 2_000), Meter(8, 5_000, 2_000)
FRAME = "02000000000202000000000188b5" + "00" * 46


@pytest.fixture(scope="module")
def ovs(ovs_dummy_module: OvsProcess) -> OvsProcess:
    ovs_dummy_module.vsctl("add-br", "brm", "--", "set", "bridge", "brm", "fail_mode=secure")
    return ovs_dummy_module


@pytest.fixture
def client(ovs: OvsProcess) -> Iterator[OpenFlow]:
    """A connection to a bridge that has neither flows nor meters."""
    with closing(OpenFlow.connect(ovs.mgmt("brm"))) as client:
        client.commit([], [flow.cookie for flow in client.dump()])
        client.delete_meters(list(client.meters()))
        yield client


def passing(meter: Meter) -> WireFlow:
    return encode(Flow(FIRST, 1, any_packet(), (meter, Goto("SECOND"))), 1, SAMPLE_PIPELINE)


def shown(ovs: OvsProcess) -> str:
    """The meters as Open vSwitch's own tool shows them."""
    said = ovs.ofctl("-OOpenFlow14", "dump-meters", "brm")
    return " ".join(said.partition("\n")[2].split())


def test_meters_are_put_changed_and_deleted(ovs: OvsProcess, client: OpenFlow) -> None:
    assert client.put_meters([SLOW, OTHER], []) == {}
    assert client.meters() == {7: SLOW, 8: OTHER}
    assert client.put_meters([], [FAST]) == {}
    assert client.meters() == {7: FAST, 8: OTHER}
    client.delete_meters([8])
    assert shown(ovs) == ("meter=7 kbps burst stats bands= type=drop rate=9000 burst_size=2000")
    client.delete_meters([7, 99])
    assert client.meters() == {}


def test_what_the_bridge_refuses_is_said_by_number_and_the_others_are_put(client: OpenFlow) -> None:
    client.put_meters([SLOW], [])
    assert client.put_meters([FAST, OTHER], [Meter(99, 1, 1)]) == {
        7: "meter: OFPMMFC_METER_EXISTS",
        99: "meter: OFPMMFC_UNKNOWN_METER",
    }
    assert client.meters() == {7: SLOW, 8: OTHER}


def test_a_flow_needs_its_meter_first_and_goes_with_it(client: OpenFlow) -> None:
    with pytest.raises(SwitchError, match="OFPMMFC_INVALID_METER"):
        client.commit([passing(SLOW)])
    client.put_meters([SLOW], [])
    client.commit([passing(SLOW)])
    (flow,) = client.dump()
    assert passing(SLOW).body.endswith(flow.instructions)
    client.delete_meters([7])
    assert client.dump() == []


def test_a_bridge_says_how_many_meters_it_can_have(ovs: OvsProcess, client: OpenFlow) -> None:
    said = re.search(r"max_meter:(\d+)", ovs.ofctl("-OOpenFlow14", "meter-features", "brm"))
    assert said is not None
    assert client.most_meters() == int(said[1]) > 0


def test_a_meter_counts_all_packets_and_those_above_the_rate(ovs_dummy: OvsProcess) -> None:
    ovs_dummy.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "fail_mode=secure")
    ovs_dummy.vsctl("add-port", "br0", "p7", "--", "set", "Interface", "p7", "type=dummy")
    # Time stands still: a frame has 480 bits, four of them are the burst, and no more may come.
    ovs_dummy.appctl("time/stop")
    narrow = Meter(7, 1, 2)
    with closing(OpenFlow.connect(ovs_dummy.mgmt("br0"))) as client:
        client.put_meters([narrow], [])
        client.commit([passing(narrow)])
        assert client.meter_counts() == {7: Metered(0, 0, 0, 0)}
        for _ in range(10):
            ovs_dummy.appctl("netdev-dummy/receive", "p7", FRAME)
        assert client.meter_counts() == {7: Metered(10, 600, 6, 360)}


LIMITED, FREE = sample_pod(1), sample_pod(2)
WITH = {"k8s-ovs-subnet": SingleTenant(), "k8s-ovs-shaping": Shaping()}
WITHOUT = {"k8s-ovs-subnet": SingleTenant()}


def limited_world(meters: int = 1000) -> World:
    """Of the pods 1 and 2 the first may send 10 Mbit/s."""
    asked = Bandwidth(frozenset({LIMITED.uid}), Rates(from_pod=10_000_000))
    local_node = evolve(sample_local_node(), meters=meters)
    return sample_world(
        records={LOCAL_NODE: {"": local_node}, BANDWIDTHS: {LIMITED.identity: asked}}
    )


def ping(pod: Pod, target: object = "203.0.113.9") -> str:
    return f"icmp,in_port={pod.ofport},dl_src={pod.mac},nw_src={pod.ip},nw_dst={target}"


class TestRoad:
    def test_a_limited_pod_passes_its_meter_and_goes_on(self, ovs_dummy: OvsProcess) -> None:
        bridge = TracedBridge(ovs_dummy, PluginManager(WITH))
        bridge.show(limited_world())
        assert bridge.failures == []
        traced = bridge.trace(ping(LIMITED))
        assert traced.tables == ("CLASSIFY", "POD_IN", "POLICE", "ROUTE", "EXTERNAL")
        assert traced.sent_to == NODE_PORT
        assert f"meter:{LIMITED.ofport}" in traced.text

    def test_other_pods_pass_untouched(self, ovs_dummy: OvsProcess) -> None:
        bridge = TracedBridge(ovs_dummy, PluginManager(WITH))
        bridge.show(limited_world())
        for packet in (ping(FREE), ping(FREE, LIMITED.ip)):
            traced = bridge.trace(packet)
            assert traced.tables[:4] == ("CLASSIFY", "POD_IN", "POLICE", "ROUTE")
            assert traced.dropped_in is None
            assert "meter:" not in traced.text

    def test_a_datapath_without_meters_lets_all_pass(self, ovs_dummy: OvsProcess) -> None:
        bridge = TracedBridge(ovs_dummy, PluginManager(WITH))
        bridge.show(limited_world(meters=0))
        assert bridge.trace(ping(LIMITED)).sent_to == NODE_PORT
        assert bridge.failures == []

    def test_without_the_feature_there_is_no_such_table(self, ovs_dummy: OvsProcess) -> None:
        bridge = TracedBridge(ovs_dummy, PluginManager(WITHOUT))
        bridge.show(limited_world())
        assert bridge.trace(ping(LIMITED)).tables == ("CLASSIFY", "POD_IN", "ROUTE", "EXTERNAL")

    def test_a_limit_that_is_lifted_takes_its_meter_along(self, ovs_dummy: OvsProcess) -> None:
        bridge = TracedBridge(ovs_dummy, PluginManager(WITH))
        limited = limited_world()
        bridge.show(limited)
        bridge.show(
            limited.changed(dict.fromkeys((BANDWIDTHS, key) for key in limited.of(BANDWIDTHS)))
        )
        traced = bridge.trace(ping(LIMITED))
        assert traced.tables == ("CLASSIFY", "POD_IN", "POLICE", "ROUTE", "EXTERNAL")
        assert "meter:" not in traced.text
