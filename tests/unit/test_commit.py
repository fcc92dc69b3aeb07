"""In which order a pod that comes is given what it needs; what is left of one that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.link import veth
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.model.pod import Pod, Rates
from k8s_ovs.model.world import PODS
from k8s_ovs.node import rate_limits as limits
from k8s_ovs.node.attach import Add, Attachments, Remove
from k8s_ovs.node.cni.protocol import CniError, CniResult
from k8s_ovs.node.commit import Committer
from k8s_ovs.node.ipam import AddressPool
from k8s_ovs.node.network import Network, pod_link
from k8s_ovs.node.rate_limits import RateLimits
from k8s_ovs.plugin.values import LinkSettings
from k8s_ovs.reconcile.desired_flows import DesiredFlows
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_local_node, sample_pod, sample_world

LIMITS = Rates(10_000_000, 20_000_000)


class Node:
    """A node without pods: Open vSwitch and kernel do at once what they are told, and `events` has
    it in order. broken: the kernel cannot set an interface's rate limits."""

    busy = False
    openflow = SimpleNamespace(send_packet=lambda *_: None)
    changes = (1, 0)

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, broken: bool) -> None:
        self.events: list[str] = []
        self.there: dict[str, Pod] = {}
        self.answers: list[Any] = []
        self.broken = broken
        manager = PluginManager({"k8s-ovs-subnet": SingleTenant()})
        local_node = sample_local_node()
        world = sample_world(pods=[])
        self.network = Network(
            config=sample_config(),
            manager=manager,
            reconciler=Reconciler(manager, world),
            local_node=local_node,
            datapath="netdev",
            pool=AddressPool(local_node.subnet),
        )
        monkeypatch.setattr(veth, "create", lambda _: self.events.append("device"))
        monkeypatch.setattr(veth, "delete", lambda _: self.events.append("no device"))
        monkeypatch.setattr(veth, "disown", lambda _: self.events.append("nobody's"))
        monkeypatch.setattr(limits, "set_rates", self._hold)

    def attach(self, settings: LinkSettings, *, anew: bool = False) -> None:
        """A reconcile with one ADD that can be done."""
        pod = evolve(sample_pod(1), rates=settings.rates)
        add = Add(pod, pod_link(self.network, pod, settings), settings, self._reply, anew)
        with committing(self, [add]) as committer:
            committer.commit(self.network)
            self.problems = committer.problems

    def pods(self) -> dict[str, Pod]:
        return dict(self.there)

    def change_ports(self, add: Iterable[Pod], remove: Iterable[str]) -> None:
        add = list(add)
        self.there |= {pod.port: pod for pod in add}
        for port in remove:
            self.there.pop(port, None)
        self.events += ["port"] * len(add)

    def release_ports(self, ports: Iterable[str]) -> None:
        self.events += ["port released" for _ in ports]

    def read_flows(self, desired: DesiredFlows) -> None:
        desired.found([])

    def commit_flows(self, desired: DesiredFlows) -> tuple[int, int]:
        if any(self.network.reconciler.world.of(PODS)):
            self.events.append("flows")
        changes, self.changes = self.changes, (0, 0)
        return changes

    def broken_ports(self, ports: Iterable[str]) -> dict[str, str]:
        return {}

    def note_rates(self, rates: Mapping[str, Rates]) -> None:
        self.events.append("rates noted")

    def _hold(self, _link: object, _rates: Rates) -> bool:
        self.events.append("limits")
        if self.broken:
            raise LinkError("cannot set the rate limit of eth0: this kernel has no token bucket")
        return True

    def _reply(self, answer: CniResult | CniError | None) -> bool:
        self.events.append("answer")
        self.answers.append(answer)
        return True


class Planned(Attachments):
    """Requests that come to just these ADDs."""

    def __init__(self, adds: tuple[Add, ...], removes: tuple[Remove, ...] = ()) -> None:
        super().__init__(add_timeout=1.0)
        self.adds = adds
        self.removes = removes

    def plan_adds(self, network: Network, pods: Mapping[str, Pod]) -> tuple[Add, ...]:
        adds, self.adds = self.adds, ()
        return adds

    def plan_removals(self, pods: Mapping[str, Pod]) -> tuple[Remove, ...]:
        removes, self.removes = self.removes, ()
        return removes


@contextmanager
def committing(
    node: Node,
    adds: Iterable[Add] = (),
    removes: Iterable[Remove] = (),
    repaired: Callable[..., object] = lambda *_: None,
) -> Iterator[Committer]:
    switch: Any = node
    limits = RateLimits("node1", switch.note_rates)
    planned = Planned(tuple(adds), tuple(removes))
    committer = Committer(switch, planned, limits, repaired, "node1")
    try:
        yield committer
    finally:
        committer.close()


def test_a_pods_rate_limits_are_set_before_it_has_a_port_and_is_answered_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(monkeypatch, broken=False)
    node.attach(LinkSettings(rates=LIMITS))
    assert node.events == ["device", "limits", "port", "flows", "answer"]
    assert (node.there[sample_pod(1).port].rates, node.problems) == (LIMITS, [])


def test_a_pod_without_limits_costs_no_look_at_its_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch, broken=True)
    node.attach(LinkSettings())
    assert node.events == ["device", "port", "flows", "answer"]


def test_a_pod_whose_limits_cannot_be_set_is_refused_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(monkeypatch, broken=True)
    node.attach(LinkSettings(rates=LIMITS))
    assert node.events == ["device", "limits", "no device", "answer"]
    (answer,) = node.answers
    assert isinstance(answer, CniError)
    assert (
        "default/pod1: cannot set the rate limit of eth0: this kernel has no token bucket"
        in str(answer)
    )
    assert (node.there, node.problems) == ({}, [])


def test_where_it_may_run_without_it_does_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(monkeypatch, broken=True)
    node.attach(LinkSettings(rates=LIMITS, must_hold=False))
    assert node.events == ["device", "limits", "port", "flows", "answer"]
    assert node.problems == [
        "pod default/pod1: rate limit not applied: "
        "cannot set the rate limit of eth0: this kernel has no token bucket"
    ]


def test_of_a_pod_that_is_made_anew_the_port_goes_before_its_device_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Open vSwitch would set the new device's flags to those of the old one."""
    node = Node(monkeypatch, broken=False)
    node.attach(LinkSettings(rates=LIMITS), anew=True)
    assert node.events == ["port released", "device", "limits", "port", "flows", "answer"]


def commit_lines(lines: list[Any]) -> list[tuple[int, int, int, int]]:
    """Pods that came and went, flows added and deleted, by line."""
    wanted = ("adds", "removes", "added", "deleted")
    return [tuple(each[name] for name in wanted) for each in lines if each["event"] == "commit"]


def test_a_pod_that_goes_is_one_line_also_where_its_flows_go_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, pod = Node(monkeypatch, broken=False), sample_pod(1)
    node.there[pod.port] = pod
    with committing(node, removes=[Remove((pod,), node._reply, (pod.port,))]) as committer:
        node.busy = True
        with capture_logs() as lines:
            committer.commit(node.network)
            assert node.events[:2] == ["nobody's", "answer"], "if it ends now, the device is gone"
            committer.commit(node.network)
            node.busy, node.changes = False, (0, 4)
            committer.commit(node.network)
            committer.commit(node.network)
    assert commit_lines(lines) == [(0, 1, 0, 4)]
    (line,) = [each for each in lines if each["event"] == "commit"]
    assert {"plan_ms", "ovsdb_ms", "flows_ms"} <= line.keys()
    assert line["log_level"] == "debug", "its DEL has a line of its own"


def test_what_changes_nothing_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    node, pod = Node(monkeypatch, broken=False), sample_pod(1)
    node.there[pod.port], node.changes = pod, (0, 0)
    settings = LinkSettings()
    link = pod_link(node.network, pod, settings)
    again = Add(pod, link, settings, node._reply, standing=True)
    gone_before = Remove((), node._reply, ())
    with committing(node, [again], [gone_before]) as committer, capture_logs() as lines:
        committer.commit(node.network)
    assert node.events.count("answer") == 2
    assert commit_lines(lines) == []


def test_that_a_plugins_flows_are_held_is_told_when_it_begins_and_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(monkeypatch, broken=False)
    reconciler = node.network.reconciler
    with committing(node) as committer, capture_logs() as lines:
        for held in ({}, {"acme": frozenset({"rules"})}, {"acme": frozenset({"rules"})}, {}, {}):
            monkeypatch.setattr(type(reconciler), "held", held)
            committer.commit(node.network)
    told = [each for each in lines if each["event"].startswith("flows held")]
    assert told == [
        {
            "event": "flows held",
            "log_level": "info",
            "node": "node1",
            "plugin": "acme",
            "waiting_for": ["rules"],
        },
        {"event": "flows held no longer", "log_level": "info", "node": "node1", "plugin": "acme"},
    ]


def test_only_what_somebody_changed_is_told_as_a_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch, broken=False)
    there: set[int] = set()
    told: list[tuple[str, str, int]] = []

    def write(desired: DesiredFlows) -> tuple[int, int]:
        delta = desired.delta()
        there.difference_update(delta.deletes)
        there.update(flow.cookie for flow in delta.adds)
        desired.committed(delta)
        return len(delta.adds), len(delta.deletes)

    monkeypatch.setattr(node, "commit_flows", write)
    monkeypatch.setattr(node, "read_flows", lambda desired: desired.found(there))
    with committing(node, repaired=lambda *each: told.append(each)) as committer:
        for number in range(4):  # a pod comes while all flows are looked at, then goes
            if number % 2:
                node.there.clear()
            else:
                node.there[sample_pod(1).port] = sample_pod(1)
            committer.lost_flows()
            committer.commit(node.network)
        assert told == []
        lost = there.pop()
        there.add(1)
        committer.lost_flows()
        committer.commit(node.network)
    assert told == [("flow", "flows: 1 missing, 1 unexpected", 2)]
    assert lost in there
