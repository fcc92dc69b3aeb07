"""One state of the node: all who tell of it say the same, and it is never changed under them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, SUBNETS, UNSYNCED, Slot, World
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.node.switch import Commits, Switch
from k8s_ovs.node.tell.event_recorder import EventRecorder
from k8s_ovs.node.tell.metrics import Metrics
from k8s_ovs.node.tell.node_state import NodeState, node_state_of
from k8s_ovs.node.tell.status_file import StatusFile, status_json
from k8s_ovs.node.tell.status_publisher import node_status
from k8s_ovs.observe.watch_event import SourceState
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.pipeline.tables import EXTERNAL
from k8s_ovs.plugin import Flow, KubeResource, View, any_packet, hook
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.node_state import sample_state
from k8s_ovs_testing.world import sample_config, sample_pod, sample_world

WAITING = "etcd has not been reached yet"
INVALID = "subnets/192.168.0.13: HostIP: found x"
LIMITS = "pod default/pod1: its limits are not kept"


class Counts:
    """A plugin that counts how often each of its hooks was asked."""

    def __init__(self) -> None:
        self.asked = 0

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        self.asked += 1
        return {"pods": len(view.pods())}


class Raises:
    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        raise RuntimeError("lost count")


class AnySwitch(OpenFlow):
    """A bridge that takes whatever it is told."""

    def __init__(self) -> None:
        """No connection."""

    def put_meters(self, *_: Any) -> dict[int, str]:
        return {}

    def commit(self, *_: Any) -> None:
        """All is taken."""

    def delete_meters(self, *_: Any) -> None:
        """They are gone."""


class Reads:
    """A plugin whose flows depend on what has to be listed first."""

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource("rules", "/apis/acme.example/v1/rules", lambda _, found: found)]

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        return [Flow(EXTERNAL, 300, any_packet())] if view.all("rules") else []


class Node:
    """The parts that a state is made of."""

    def __init__(self, tmp_path: Path, world: World | None = None) -> None:
        self.ingest = Ingest()
        self.ingest.absorb(SourceState(ETCD, connected=True))
        self.switch = Switch(tmp_path)
        self.switch.openflow = AnySwitch()
        plugins = {"mode": SingleTenant(), "counts": Counts(), "reads": Reads()}
        manager = PluginManager(plugins)
        self.reconciler = Reconciler(manager, world or sample_world())
        self.problems = [LIMITS]
        self.commit()

    def commit(self) -> None:
        self.reconciler.compute()
        self.switch.commit_flows(self.reconciler.desired)

    def state(self, waiting_for: str = "") -> NodeState:
        return node_state_of(
            "node1",
            waiting_for,
            applied_revision=self.reconciler.world.revision,
            ingest=self.ingest,
            reconciler=self.reconciler,
            commits=self.switch.commits,
            problems=self.problems,
            is_leader=True,
        )


def page(state: NodeState) -> dict[str, float]:
    """The metrics that are rendered from a state, not counted, without their prefix."""
    return {
        sample.name.removeprefix("k8s_ovs_") + "".join(sample.labels.values()): sample.value
        for family in Metrics(state).registry.collect()
        for sample in family.samples
        if family.name.startswith("k8s_ovs_") and family.type != "histogram"
    }


def event(state: NodeState) -> tuple[str, str, bool]:
    """What the event recorder posts of a node that was not ready before for another reason."""
    said: Queue[tuple[str, str, bool]] = Queue()
    recorder = EventRecorder(lambda *each: said.put(each), lasts=0.01)
    recorder.start()
    recorder.offer(sample_state(waiting_for="something else"))
    said.get(timeout=20)
    recorder.offer(state)
    told = said.get(timeout=20)
    recorder.stop()
    return told


@pytest.mark.parametrize("waiting_for", ["", WAITING])
def test_file_record_page_and_event_say_the_same(tmp_path: Path, waiting_for: str) -> None:
    state = Node(tmp_path).state(waiting_for)
    status, record, metrics = (
        status_json(state, state.plugin_status()),
        node_status(state),
        page(state),
    )
    assert (record.node, record.version) == (status["node"], status["version"])
    assert record.ready == status["ready"] == bool(metrics["ready"]) == (not waiting_for)
    assert (record.waiting_for or "") == status["waiting_for"] == waiting_for
    assert record.pods == status["pods"] == metrics["pods"] == 2
    assert record.flows == status["flows"] == metrics["flows"] > 0
    assert list(record.errors) == status["problems"] == [LIMITS]
    assert metrics["problems"] == 1
    assert status["leader"] == bool(metrics["leader"])
    assert record.host_ip == status["here"]["address"]
    assert status["sources"] == {"etcd": bool(metrics["source_connectedetcd"])}
    reason, message, _ = event(state)
    assert reason == ("NetworkNotReady" if waiting_for else "NetworkReady")
    assert waiting_for in message


def test_whose_flows_are_held_is_told_with_the_reason(tmp_path: Path) -> None:
    node = Node(tmp_path, sample_world(unsynced=["rules"]))
    held = "plugin reads: its flows stay as they are until it knows what it reads: kube:rules: "
    assert node.state().problems == (LIMITS, f"{held}not listed yet")
    node.ingest.absorb(SourceState(f"{KUBE}rules", connected=False, detail="no route"))
    assert node.state().problems == (LIMITS, f"{held}no route")
    refused = SourceState(f"{KUBE}rules", connected=False, detail="403 Forbidden", refused=True)
    node.ingest.absorb(refused)
    assert node.state().problems == (
        LIMITS,
        f"{held}403 Forbidden",
        "plugin reads cannot read rules of Kubernetes: 403 Forbidden",
    )
    node.ingest.absorb(SourceState(f"{KUBE}rules", connected=True))
    node.reconciler.update({(UNSYNCED, "rules"): None})
    node.commit()
    assert node.state().problems == (LIMITS,)


def test_a_state_stays_as_it_was_while_the_daemon_goes_on(tmp_path: Path) -> None:
    node = Node(tmp_path)
    before = node.state()
    said = status_json(before, before.plugin_status()), node_status(before), page(before)
    node.ingest.absorb(SourceState(ETCD, connected=False))
    node.problems.append("another")
    pod = sample_pod(3)
    node.reconciler.update(
        {
            (PODS, pod.port): Slot(pod),
            (SUBNETS, "192.168.0.13"): Slot(problem=INVALID, revision=7),
        },
        revision=7,
    )
    node.commit()
    assert (status_json(before, before.plugin_status()), node_status(before), page(before)) == said
    after = page(node.state())
    for name in ("pods", "flows", "problems", "commit_seconds_count", "flow_changes_totaladded"):
        assert after[name] > said[2][name]
    assert after["source_connectedetcd"] == 0


def test_a_commit_leaves_the_counts_of_the_one_before_as_they_were(tmp_path: Path) -> None:
    node = Node(tmp_path)
    first = node.switch.commits
    added = first.added
    node.reconciler.update({(PODS, sample_pod(1).port): None})
    node.commit()
    assert (first.count, first.added, first.deleted) == (1, added, 0)
    assert node.switch.commits.count == 2
    assert node.switch.commits.deleted > 0


def test_problems_are_those_of_the_parts_of_records_and_of_plugins(tmp_path: Path) -> None:
    class Fails:
        @hook
        def network_flows(self, view: View) -> None:
            raise RuntimeError("no flows")

    node = Node(tmp_path)
    world = sample_world(records={SUBNETS: {"192.168.0.13": Slot(problem=INVALID)}})
    node.reconciler = Reconciler(PluginManager({"mode": SingleTenant(), "fails": Fails()}), world)
    node.commit()
    first, second, third = node.state().problems
    assert (first, second) == (LIMITS, INVALID)
    assert third.startswith(
        "plugin fails: network_flows of the network: RuntimeError('no flows'), expected Flow ("
    )


def test_before_there_is_a_configuration_only_the_node_itself_is_told() -> None:
    state = node_state_of(
        "node1",
        WAITING,
        applied_revision=0,
        ingest=Ingest(),
        reconciler=None,
        commits=Commits(),
        problems=(),
        is_leader=False,
    )
    assert status_json(state, state.plugin_status()).keys() == {
        "node",
        "pid",
        "version",
        "ready",
        "waiting_for",
        "revision",
        "leader",
        "sources",
        "problems",
    }
    record = node_status(state)
    assert (record.host_ip, record.pods, record.flows) == ("", 0, 0)
    assert (page(state)["pods"], state.plugin_metrics()) == (0, None)


def test_a_node_without_a_subnet_has_no_address_and_no_metrics_of_plugins(tmp_path: Path) -> None:
    world = World().changed({(CONFIG, ""): Slot(sample_config())}, 1)
    assert not world.of(LOCAL_NODE)
    state = Node(tmp_path, world).state(WAITING)
    assert status_json(state, state.plugin_status())["here"] == {}
    assert node_status(state).host_ip == ""
    assert state.plugin_metrics() is None


def test_a_status_hook_that_fails_is_told_in_the_place_of_its_status() -> None:
    state = sample_state(manager=PluginManager({"raises": Raises(), "counts": Counts()}))
    said = status_json(state, state.plugin_status())["of_plugins"]
    text = "plugin raises: status of the network: RuntimeError('lost count'), expected Mapping ("
    assert said.pop("raises").startswith(text)
    assert said == {"counts": {"pods": 2}}


def test_plugins_are_asked_for_their_status_only_when_the_file_is_due(tmp_path: Path) -> None:
    counts = Counts()
    manager = PluginManager({"counts": counts})
    path = tmp_path / "status.json"
    file = StatusFile(path, every=3600)
    for pid in range(3):
        file.write(sample_state(manager=manager, pid=pid))
    assert (counts.asked, json.loads(path.read_text())["pid"]) == (1, 0)
    assert file.due_at is not None
    # That the network is not ready any more is told at once.
    file.write(sample_state(manager=manager, waiting_for=WAITING))
    assert (counts.asked, json.loads(path.read_text())["waiting_for"]) == (2, WAITING)
    assert file.due_at is None


def test_plugins_are_asked_for_their_status_again_where_the_records_are_other_ones(
    tmp_path: Path,
) -> None:
    counts, raises = Counts(), Raises()
    manager, world = PluginManager({"counts": counts}), sample_world()
    file = StatusFile(tmp_path / "status.json", every=0.0)
    for pid in range(3):
        file.write(sample_state(manager=manager, world=world, pid=pid))
    assert (counts.asked, json.loads((tmp_path / "status.json").read_text())["pid"]) == (1, 2)
    file.write(sample_state(manager=manager, world=world.changed({}, revision=10)))
    assert counts.asked == 2
    # Who failed may be right the next time.
    manager = PluginManager({"counts": counts, "raises": raises})
    for _ in range(2):
        file.write(sample_state(manager=manager, world=world))
    assert counts.asked == 4
