"""A plugin of somebody else has Open vSwitch copy a pod's packets to another pod of its node."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.pod import Pod
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import indexed, sample_pod, sample_world

pytest_plugins = ["k8s_ovs_testing.fixtures"]

PLUGIN = Path(__file__).parents[1] / "plugins/acme_mirror"
SEEN, SEER = "default/pod1", "default/pod2"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PLUGIN))
    return import_module("acme_mirror")


@pytest.fixture
def manager(plugin: Any) -> PluginManager:
    return PluginManager({"one-tenant": SingleTenant(), "acme-mirror": plugin.Mirror()})


@pytest.fixture
def bridge(ovs_dummy: OvsProcess, manager: PluginManager) -> Iterator[TracedBridge]:
    bridge = TracedBridge(ovs_dummy, manager)
    yield bridge
    assert bridge.failures == []


def sent(pod: Pod, to: str) -> str:
    return f"icmp,in_port={pod.ofport},dl_src={pod.mac},nw_src={pod.ip},nw_dst={to}"


def test_what_a_pod_sends_and_receives_goes_to_the_other_one_too(
    plugin: Any, bridge: TracedBridge, manager: PluginManager
) -> None:
    seen, seer = sample_pod(1), sample_pod(2)
    order = plugin.Order(SEEN, SEER)
    world = sample_world(records={plugin.MIRRORS: {"any": order}})
    bridge.show(indexed(world, manager))
    away = bridge.trace(sent(seen, "172.11.8.7"))
    assert away.ports == (seer.ofport, 1)
    answer = f"icmp,in_port=1,tun_src=192.168.0.12,nw_src=172.11.8.7,nw_dst={seen.ip}"
    assert bridge.trace(answer).ports == (seer.ofport, seen.ofport)
    # What is forged goes no farther than before.
    forged = sent(seen, "172.11.8.7").replace(str(seen.ip), str(seer.ip))
    assert bridge.trace(forged).dropped_in == "POD_IN"


def test_without_the_record_and_where_the_other_is_not_here_nothing_is_copied(
    plugin: Any, bridge: TracedBridge, manager: PluginManager
) -> None:
    for records in ({}, {"any": plugin.Order(SEEN, "default/elsewhere")}):
        world = indexed(sample_world(records={plugin.MIRRORS: records}), manager)
        bridge.show(world)
        assert bridge.trace(sent(sample_pod(1), "172.11.8.7")).ports == (1,)
    ((_, (check,)),) = [
        each for each in manager.doctor_checks(manager.view(world)) if each[0] == "acme-mirror"
    ]
    assert (check.ok, check.found) == (False, "default/pod1 is here, default/elsewhere is not")
