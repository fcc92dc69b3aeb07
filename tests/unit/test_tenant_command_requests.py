"""An action from the command line: what it writes, what it waits for, and whom it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
from attrs import define, evolve, field

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.plugin import Flow, View, Write
from k8s_ovs.plugin.command.cluster import Counter, Record
from k8s_ovs.plugin.command.wait import Deadline, answered, applied
from k8s_ovs_multitenant.command_requests import request_action
from k8s_ovs_multitenant.records import NETNAMESPACES, NetNamespace, asks

OLD = NetNamespace("hw1", 7000, reason="refused before", extra={"Colour": "red"})
NOW = Deadline(0)


@define
class OneRecord:
    """A cluster that has one record and some nodes. then: what happens before each next look."""

    record: Record | None
    nodes: list[NodeStatus] = field(factory=list)
    then: list[Callable[[OneRecord], None]] = field(factory=list)
    writes_fail: bool = False

    def get(self, kind: str, key: str) -> Record | None:
        self._step()
        return self.record

    def write(self, *writes: Write) -> int | None:
        if self.writes_fail:
            return None
        (write,) = writes
        assert self.record is not None
        assert self.record.revision == write.revision
        self.record = Record(write.value, write.revision + 1)
        return self.record.revision

    def statuses(self) -> Sequence[NodeStatus]:
        self._step()
        return self.nodes

    def seen(self) -> Sequence[NodeStatus]:
        raise NotImplementedError

    def view(self) -> View:
        raise NotImplementedError

    def counters(self, flows: Iterable[Flow]) -> Sequence[Counter | None]:
        raise NotImplementedError

    def _step(self) -> None:
        if self.then:
            self.then.pop(0)(self)


def node(name: str, revision: int, *errors: str) -> NodeStatus:
    """What a live node says."""
    return NodeStatus(name, "192.168.0.11", "1", revision, True, 0, 0, errors)


def becoming(record: Record | None) -> Callable[[OneRecord], None]:
    """Somebody else writes this."""

    def write(cluster: OneRecord) -> None:
        cluster.record = record

    return write


def nodes_become(*nodes: NodeStatus) -> Callable[[OneRecord], None]:
    """The nodes say this now."""

    def report(cluster: OneRecord) -> None:
        cluster.nodes = list(nodes)

    return report


def test_asking_keeps_all_else_in_the_record_but_an_old_refusal() -> None:
    cluster = OneRecord(Record(OLD, revision=5))
    assert request_action(cluster, "hw1", "join", "hw2") == 6
    assert cluster.record is not None
    wanted = evolve(OLD, action="join", namespace="hw2", reason=None)
    assert cluster.record.value == wanted


def test_asking_of_an_unknown_namespace_is_refused() -> None:
    with pytest.raises(K8sOvsError, match="namespace nobody has no record"):
        request_action(OneRecord(None), "nobody", "isolate", "")


def test_a_record_that_changed_meanwhile_is_left_alone() -> None:
    cluster = OneRecord(Record(OLD, 5), writes_fail=True)
    with pytest.raises(K8sOvsError, match="changed in the meantime"):
        request_action(cluster, "hw1", "isolate", "")
    assert cluster.record == Record(OLD, revision=5)


def test_the_answer_is_the_first_settled_record_after_the_request() -> None:
    request, answer = (
        Record(evolve(OLD, action="isolate"), revision=6),
        Record(evolve(OLD, net_id=8), revision=9),
    )
    cluster = OneRecord(Record(OLD, revision=5), then=[becoming(request), becoming(answer)])
    assert answered(cluster, NETNAMESPACES, "hw1", Deadline(60), since=6, asks=asks) == answer


def test_a_request_that_nobody_answers_says_who_should() -> None:
    cluster = OneRecord(Record(evolve(OLD, action="isolate"), revision=6))
    with pytest.raises(TimedOut, match=r"not answered within 0 s.*until the leader answers it"):
        answered(cluster, NETNAMESPACES, "hw1", NOW, since=6, asks=asks)


def test_a_namespace_that_goes_while_asked_is_reported() -> None:
    with pytest.raises(K8sOvsError, match="hw1 is gone"):
        answered(OneRecord(None), NETNAMESPACES, "hw1", NOW, since=6, asks=asks)


def test_nodes_are_told_once_each_as_they_follow() -> None:
    cluster = OneRecord(
        None,
        then=[
            nodes_become(node("node1", 9), node("node2", 3)),
            nodes_become(node("node1", 9), node("node2", 9)),
        ],
    )
    assert list(applied(cluster, 9, Deadline(60))) == ["node1", "node2"]


def test_nodes_that_lag_are_named_with_what_holds_them_up() -> None:
    cluster = OneRecord(None, [node("node1", 9), node("node2", 3, "old", "OVS is away")])
    progress = applied(cluster, 9, NOW)
    assert next(progress) == "node1"
    with pytest.raises(
        TimedOut, match=r"within 0 s by node2 \(at revision 3 of 9: OVS is away\); they"
    ):
        next(progress)


def test_of_a_node_whose_network_is_not_ready_it_is_said_what_it_waits_for() -> None:
    waits = evolve(node("node2", 0, "old"), ready=False, waiting_for="Open vSwitch")
    with pytest.raises(TimedOut, match=r"node2 \(at revision 0 of 9: it waits for: Open vSwitch\)"):
        list(applied(OneRecord(None, [waits]), 9, NOW))


def test_a_node_that_dies_meanwhile_is_not_waited_for() -> None:
    both = nodes_become(node("node1", 9), node("node2", 3))
    cluster = OneRecord(None, then=[both, nodes_become(node("node1", 9))])
    assert list(applied(cluster, 9, Deadline(60))) == ["node1"]


def test_where_no_node_lives_nothing_is_applied() -> None:
    with pytest.raises(K8sOvsError, match="no node is live"):
        list(applied(OneRecord(None), 9, NOW))
