"""The testing kit's node without a daemon: what plugins would do, and what changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import IPv4Network
from typing import Any

import pytest
from attrs import field, frozen

from k8s_ovs.errors import PluginError
from k8s_ovs.pipeline.tables import VERDICT
from k8s_ovs.plugin import (
    AddressChoice,
    Allocation,
    Flow,
    KubeResource,
    LinkSettings,
    Pod,
    PodRequest,
    RecordKind,
    Refuse,
    View,
    Write,
    decode,
    encode,
    hook,
    ip,
    named,
)
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.sample_node import SampleNode


@frozen
class Rule:
    """Whom a rule concerns."""

    label: str = named("Label")
    extra: Mapping[str, Any] = field(factory=dict)


def labels_of(rule: Rule) -> Iterable[str]:
    return [rule.label]


class Ruled:
    """Pods of a namespace with a label have a flow for each rule of that label."""

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [RecordKind("rules", partial(decode, Rule), encode, {"label": labels_of})]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        path = "/api/v1/namespaces"
        return [KubeResource("namespaces", path, lambda key, found: found["label"])]

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        label = view.get("namespaces", pod.namespace)
        for number, _ in enumerate(view.having("rules", "label", label)):
            yield Flow(VERDICT, 500 + number, ip(in_port=pod.ofport))

    @hook
    def pod_link(self, view: View, pod: Pod) -> LinkSettings:
        return LinkSettings(mtu=1400)

    @hook
    def admit_pod(self, view: View, request: PodRequest) -> Refuse | None:
        return Refuse("no") if request.namespace == "closed" else None

    @hook
    def allocations(self, view: View) -> Iterable[Allocation]:
        if not view.all("rules"):
            yield Allocation([Write("rules", "first", Rule("none"), 0)], "there is none")


RECORDS = {"rules/a": '{"Label":"x"}'}
OBJECTS = {"namespaces/red": {"label": "x"}}
FLOW = "table=VERDICT,priority=500,ip,in_port=101 actions=drop"


def ruled(**more: Any) -> SampleNode:
    return SampleNode(Ruled(), pods=["red/web"], **more)


def test_records_and_objects_are_read_and_found_by_their_indexes() -> None:
    node = ruled(records=RECORDS, objects=OBJECTS)
    assert node.flows("Ruled") == [FLOW]
    assert node.failures == []


def test_a_bridge_finds_by_indexes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ruled(records=RECORDS, objects=OBJECTS).world
    bare = world.changed({("rules", "a"): world.slot("rules", "a").__class__(Rule("x"))})
    shown: list[Flow] = []
    monkeypatch.setattr(TracedBridge, "__init__", lambda self: None)
    bridge = TracedBridge()  # type: ignore[call-arg]  # without a switch
    bridge._manager = ruled().manager
    monkeypatch.setattr(bridge, "_add_ports", lambda ports: None)
    monkeypatch.setattr(bridge, "install", lambda flows: shown.extend(f.flow for f in flows))
    bridge.show(bare)
    assert 500 in {flow.priority for flow in shown}


def test_a_change_is_a_delta() -> None:
    node = ruled(objects=OBJECTS)
    assert node.delta() == []
    node.put("rules/a", '{"Label":"x"}')
    assert node.delta() == [f"+ {FLOW}"]
    node.put("rules/a", '{"Label":"y"}')
    assert node.delta() == [f"- {FLOW}"]
    node.put("rules/b", '{"Label":"x"}')
    node.delta()
    node.delete_object("namespaces/red")
    assert node.delta() == [f"- {FLOW}"]
    node.put_object("namespaces/red", {"label": "x"})
    assert node.delta() == [f"+ {FLOW}"]
    node.delete("rules/b")
    assert node.delta() == [f"- {FLOW}"]


def test_pods_come_and_go() -> None:
    node = ruled(records=RECORDS, objects=OBJECTS)
    pod = node.attach("red/db")
    assert pod.ofport == 102
    assert f"+ {FLOW.replace('101', '102')}" in node.delta()
    node.detach("red/db")
    assert f"- {FLOW.replace('101', '102')}" in node.delta()
    with pytest.raises(KeyError):
        node.pod("red/db")


def test_a_restart_changes_nothing() -> None:
    node = ruled(records=RECORDS, objects=OBJECTS)
    node.put("rules/b", '{"Label":"x"}')
    node.delete("rules/a")
    node.attach("red/db")
    node.delta()
    node.restart()
    assert node.delta() == []


def test_an_invalid_record_is_quarantined_as_in_a_daemon() -> None:
    node = ruled(records=RECORDS, objects=OBJECTS)
    node.put("rules/a", '{"Label":7}')
    assert node.delta() == []
    assert node.view().problem("rules", "a") == (
        "k8ssdn/rules/a: Label: found 7, expected a string"
    )


def test_admissions_links_and_allocations_are_asked() -> None:
    node = ruled()
    assert node.admission("red/new") is None
    assert node.admission("closed/new") == Refuse("no")
    assert [each.mtu for each in node.link("red/web")] == [1400]
    (allocation,) = node.allocations()
    assert isinstance(allocation, Allocation)
    assert allocation.reason == "there is none"


class Failing:
    @hook
    def admit_pod(self, view: View, request: PodRequest) -> None:
        raise ValueError("no ink")


def test_a_hook_that_fails_is_an_error_with_its_line() -> None:
    with pytest.raises(PluginError, match=r"Failing: admit_pod .*'no ink'.*\(.*\.py:\d+\)$"):
        SampleNode(Failing()).admission("red/new")


def test_what_no_plugin_reads_is_refused_by_name() -> None:
    node = ruled()
    with pytest.raises(PluginError, match=r"record rule/a: expected KIND/KEY, kinds are .*rules"):
        node.put("rule/a", "{}")
    with pytest.raises(PluginError, match="object of pods: expected RESOURCE/KEY, resources are"):
        node.put_object("pods/a", {})


class Keeps:
    """Pods of red have their own addresses, and nobody else has them."""

    @hook
    def pod_address(self, view: View, request: PodRequest) -> AddressChoice:
        network = IPv4Network("172.11.4.64/28")
        return (
            AddressChoice([network]) if request.namespace == "red" else AddressChoice([], [network])
        )


def test_a_node_says_which_addresses_a_new_pod_may_have() -> None:
    node = SampleNode(Keeps())
    kept = (IPv4Network("172.11.4.64/28"),)
    assert (node.address("red/web").within, node.address("red/web").without) == (kept, ())
    assert (node.address("blue/web").within, node.address("blue/web").without) == ((), kept)
