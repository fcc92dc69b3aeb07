"""What the doctor says of the cluster: leader, other nodes, and checks that could not be made."""

from __future__ import annotations

from attrs import evolve
from tests.unit.well_node import LEADER, SNAPSHOT, WELL

from k8s_ovs.allocate.brake import HELD_BACK
from k8s_ovs.cli.doctor.checks import core_checks
from k8s_ovs.cli.doctor.observations import CniObservations, Observations
from k8s_ovs.cli.host.status import SwitchStatus
from k8s_ovs.errors import InvalidRecord, K8sOvsError, Unavailable
from k8s_ovs.model.codec import encode
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.model.world import NODES, Slot
from k8s_ovs.plugin import Check
from k8s_ovs_testing.world import sample_config, sample_world


def not_checked(observations: Observations) -> str:
    """Which checks were not made, and why; "": all were."""
    found = [each for each in core_checks(observations) if each.name == "not checked"]
    assert not any(each.ok for each in found)
    return "".join(each.found for each in found)


def status_of(
    name: str, waiting_for: str | None = None, errors: tuple[str, ...] = ()
) -> dict[str, bytes]:
    """The record in which a node says how it is."""
    ready = waiting_for is None
    status = NodeStatus(name, "10.0.0.2", "1", 7, ready, 3, 70, errors, waiting_for)
    return {f"{sample_config().name}/status/{name}": encode(status)}


def seen_from(hostname: str, *said: dict[str, bytes], nodes: tuple[str, ...] = ()) -> list[Check]:
    """What is found of the other nodes, where `nodes` are Kubernetes' and these are said."""
    slots = {(NODES, name): Slot(KubeNode(name)) for name in nodes}
    world = sample_world().changed(slots)
    raw = {key: data for each in said for key, data in each.items()}
    observations = evolve(WELL, snapshot=evolve(SNAPSHOT, raw=raw, world=world), hostname=hostname)
    return [each for each in core_checks(observations) if each.name == "other nodes"]


def test_checks_that_were_not_made_are_named_with_the_one_they_wait_for() -> None:
    assert not_checked(WELL) == ""
    assert not_checked(evolve(WELL, cni=CniObservations())) == ""
    no_etcd = not_checked(evolve(WELL, snapshot=Unavailable("e"), node=Unavailable("e")))
    assert no_etcd.startswith("records, etcd access, subnet, MTU, bridge, tun0, nftables, ")
    assert no_etcd.endswith(", other nodes: the check etcd has to be ok before")
    invalid = evolve(SNAPSHOT, config=None, problems=("config: Name: missing",))
    no_config = not_checked(evolve(WELL, snapshot=invalid, node=InvalidRecord("config: Name: x")))
    assert no_config.startswith("etcd access, subnet, MTU")
    assert no_config.endswith("leader, other nodes: the check records has to be ok before")
    rejected = evolve(SNAPSHOT, problems=("no plugin",), rejected="no plugin")
    no_plugin = not_checked(evolve(WELL, snapshot=rejected, node=InvalidRecord("no plugin")))
    assert no_plugin.endswith("those of plugins: the check records has to be ok before")
    down = SwitchStatus(problem="no socket")
    no_switch = not_checked(evolve(WELL, switch=down, node=Unavailable("no socket")))
    assert no_switch.startswith("subnet, MTU")
    assert no_switch.endswith("the check Open vSwitch has to be ok before")
    no_subnet = not_checked(evolve(WELL, node=K8sOvsError("no subnet yet")))
    assert no_subnet.startswith("MTU, bridge")
    assert no_subnet.endswith("the check subnet has to be ok before")


def test_of_other_nodes_those_that_do_not_work_are_named() -> None:
    down = "Open vSwitch: no such file"
    said = status_of("node1"), status_of("node2", down)
    (check,) = seen_from("node1", *said, nodes=("node1", "node2", "node3"))
    assert not check.ok
    assert f"node2: not ready, waiting for {down}" in check.found
    assert "node3: does not say how it is" in check.found
    assert "node1:" not in check.found
    (well,) = seen_from("node2", *said, nodes=("node1", "node2"))
    assert well.ok
    assert seen_from("node1", status_of("node1"), nodes=("node1",)) == []
    (odd,) = seen_from("node1", {f"{sample_config().name}/status/node2": b"{"})
    assert not odd.ok


def leader_of(raw: dict[str, bytes]) -> Check:
    """What is found of the leader, where etcd has these records."""
    observations = evolve(WELL, snapshot=evolve(SNAPSHOT, raw=raw), hostname="node2")
    (check,) = (each for each in core_checks(observations) if each.name == "leader")
    return check


def test_each_node_names_the_leader() -> None:
    assert leader_of(LEADER) == Check("leader", True, "node1")
    none = leader_of({})
    assert none.ok, "it may be for a moment only"
    assert none.found.startswith("none now: a daemon becomes it within 15 s if it reaches etcd")
    odd = leader_of({next(iter(LEADER)): b'{"holder":5}'})
    assert odd.ok
    assert odd.found == 'a daemon that calls itself {"holder":5}'


def test_each_node_says_which_deletions_the_leader_holds_back() -> None:
    """Else only `k8s-ovs status` on the leader does, and nobody looks there."""
    held = (
        f"3 of 3 subnets {HELD_BACK} (node node1 is gone), so nothing is, until somebody looks: "
        "if that is right, k8s-ovs allow-deletions 3"
    )
    check = leader_of({**LEADER, **status_of("node1", errors=("another", held))})
    assert not check.ok
    assert check.found == f"node1: {held}"
    assert "does the API server list" in check.advice
    assert "k8s-ovs allow-deletions" in check.advice
    assert leader_of({**LEADER, **status_of("node1", errors=("another",))}).ok
    assert leader_of({**LEADER, f"{sample_config().name}/status/node1": b"{"}).ok
