"""When does the seated one write, and what not? Decided against an etcd of a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network

import pytest
from attrs import define, evolve, field

from k8s_ovs.allocate.allocator import Allocator
from k8s_ovs.allocate.seat import SeatToken
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.subnet import HostSubnet, free_subnets
from k8s_ovs.node.intake import ETCD, Intake
from k8s_ovs.observe.etcd import (
    Absent,
    Compare,
    CreatedAt,
    Delete,
    Operation,
    Put,
    TxnResult,
    Unchanged,
)
from k8s_ovs.observe.fact import Entry, Snapshot
from k8s_ovs.plugin import Allocation, Event, Kind, Problem, View, Write, hook
from k8s_ovs.plugin.manager import PluginManager
from k8s_ovs.plugin.view import CONFIG, NODES, QUARANTINE, SUBNETS, Record, World
from k8s_ovs.testing.world import sample_config, sample_host
from k8s_ovs_extlb import ExternalHosts
from k8s_ovs_subnet import SingleTenant

PREFIX = "/k8s.ovs.com/ovs/network/"
BASE = f"{PREFIX}k8ssdn"
SEAT = f"{BASE}/allocator"


@define
class Key:
    value: bytes
    created: int
    revision: int


@define
class DictEtcd:
    """Transactions as etcd does them: all compares or nothing. fault: raised by the next one."""

    keys: dict[str, Key] = field(factory=dict)
    revision: int = 1
    transactions: int = 0
    fault: K8sOvsError | None = None

    def txn(self, compares: Iterable[Compare], then: Iterable[Operation]) -> TxnResult:
        self.transactions += 1
        if self.fault:
            fault, self.fault = self.fault, None
            raise fault
        if not all(map(self._holds, compares)):
            return TxnResult(False, self.revision)
        self.revision += 1
        for operation in then:
            if isinstance(operation, Put):
                old = self.keys.get(operation.key)
                created = old.created if old else self.revision
                self.keys[operation.key] = Key(operation.value, created, self.revision)
            elif isinstance(operation, Delete):
                del self.keys[operation.key]
        return TxnResult(True, self.revision)

    def put(self, key: str, value: bytes) -> int:
        return self.txn((), [Put(key, value)]).revision

    def delete(self, key: str) -> None:
        self.txn((), [Delete(key)])

    def _holds(self, compare: Compare) -> bool:
        found = self.keys.get(compare.key)
        match compare:
            case Absent():
                return found is None
            case Unchanged():
                return found is not None and found.revision == compare.mod_revision
            case CreatedAt():
                return found is not None and found.created == compare.create_revision


@define
class Chair:
    """The part of a seat that an allocator looks at."""

    token: SeatToken | None = None


def single_tenant(*plugins: object) -> PluginManager:
    named = {f"acme-{number}": plugin for number, plugin in enumerate(plugins)}
    return PluginManager({"k8s-ovs-subnet": SingleTenant(), **named})


@define
class Office:
    """An etcd, a seat and an allocator; `nodes` are Kubernetes'."""

    etcd: DictEtcd
    chair: Chair
    allocator: Allocator
    manager: PluginManager
    config: NetworkConfig = field(factory=sample_config)
    nodes: dict[str, KubeNode] = field(factory=dict)

    def take_seat(self) -> None:
        if SEAT in self.etcd.keys:
            self.etcd.delete(SEAT)
        self.chair.token = SeatToken(SEAT, self.etcd.put(SEAT, b"{}"))

    def picture(self) -> World:
        """The world as this etcd and these nodes have it now."""
        intake = Intake()
        entries = {
            name.removeprefix(PREFIX): Entry(key.value, key.revision)
            for name, key in self.etcd.keys.items()
        }
        intake.absorb(Snapshot(ETCD, entries, self.etcd.revision))
        changes = intake.changes(self.config, self.manager.kinds, self.manager.resources)
        changes[CONFIG, ""] = Record(self.config)
        changes |= {(NODES, name): Record(node) for name, node in self.nodes.items()}
        return World().changed(changes, self.etcd.revision)

    def turn(self, picture: World | None = None) -> bool:
        self.allocator.offer(picture or self.picture(), self.manager)
        return self.allocator.turn()

    def join(self, *numbers: int) -> None:
        self.nodes |= {
            f"node{number}": KubeNode(f"node{number}", sample_host(number).host_ip)
            for number in numbers
        }

    def subnets(self) -> dict[str, IPv4Network | None]:
        found = self.picture().of(SUBNETS).values()
        return {record.value.host: record.value.subnet for record in found}


MakeOffice = Callable[..., Office]


@pytest.fixture
def make_office() -> MakeOffice:
    def make(
        *plugins: object,
        etcd: DictEtcd | None = None,
        config: NetworkConfig | None = None,
        hold_down: float = 3600.0,
        grace: float = 0.0,
    ) -> Office:
        etcd, chair = etcd or DictEtcd(), Chair()
        allocator = Allocator(etcd, BASE, chair, hold_down=hold_down, grace=grace)  # type: ignore[arg-type]  # stand-ins
        return Office(etcd, chair, allocator, single_tenant(*plugins), config or sample_config())

    return make


@pytest.fixture
def office(make_office: MakeOffice) -> Office:
    """Seated, with nodes 1 and 2, of which nothing is written yet."""
    office = make_office()
    office.take_seat()
    office.join(1, 2)
    return office


FIRST, SECOND = IPv4Network("172.11.0.0/22"), IPv4Network("172.11.4.0/22")


def test_nodes_get_their_subnets(office: Office) -> None:
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}
    assert office.turn()
    assert office.etcd.transactions == 3, "the seat and one for each node"


def test_without_the_seat_nothing_is_written(make_office: MakeOffice) -> None:
    office = make_office()
    office.join(1)
    assert office.turn()
    assert office.etcd.keys == {}


def test_before_any_picture_nothing_is_written(make_office: MakeOffice) -> None:
    office = make_office()
    office.take_seat()
    assert office.allocator.turn()
    assert office.etcd.transactions == 1


def test_a_picture_older_than_the_seat_is_not_acted_on(office: Office) -> None:
    old = office.picture()
    office.take_seat()
    assert not office.turn(old)
    assert office.subnets() == {}


def test_one_who_was_deposed_without_noticing_cannot_write(office: Office) -> None:
    picture = office.picture()
    office.etcd.delete(SEAT)
    office.etcd.put(SEAT, b'{"holder":"another"}')
    assert not office.turn(picture)
    assert office.subnets() == {}


def test_what_was_written_counts_before_the_picture_shows_it(office: Office) -> None:
    old = office.picture()
    assert office.turn(old)
    assert office.turn(old)
    assert office.etcd.transactions == 3
    office.join(3)
    with_three = old.changed({(NODES, "node3"): Record(office.nodes["node3"])}, 0)
    assert office.turn(with_three)
    assert office.subnets()["node3"] == IPv4Network("172.11.8.0/22")


def test_half_a_transaction_in_the_picture_does_no_harm(office: Office) -> None:
    assert office.turn()
    office.nodes["node1"] = evolve(office.nodes["node1"], address=sample_host(7).host_ip)
    before = office.picture()
    assert office.turn(before)
    after = office.picture()
    half = before.changed(
        {(SUBNETS, "192.168.0.17"): after.of(SUBNETS)["192.168.0.17"]}, after.revision
    )
    writes = office.etcd.transactions
    assert office.turn(half)
    assert office.turn(after)
    assert office.etcd.transactions == writes
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


class Answering:
    """A plugin that answers what asks for something, and mends what cannot be read."""

    @hook
    def kinds(self) -> Iterable[Kind]:
        return [Kind("audits", lambda _, data: int(data), str.encode, asks=lambda value: value < 0)]

    @hook
    def allocations(self, view: View) -> Iterable[Allocation]:
        if view.request("audits", "a") or view.get(QUARANTINE, "audits/a"):
            write = Write("audits", "a", "7", view.written("audits", "a"))
            yield Allocation((write,), "an answer", Event("Node", "a", "Answered", "with 7"))


@pytest.mark.parametrize("data", [b"-1", b"?"])
def test_what_was_answered_is_not_answered_again_before_the_picture_shows_it(
    make_office: MakeOffice, data: bytes
) -> None:
    office = make_office(Answering())
    office.take_seat()
    office.etcd.put(f"{BASE}/audits/a", data)
    old = office.picture()
    assert office.turn(old)
    written = office.etcd.revision
    assert office.turn(old)
    assert office.turn()
    assert office.etcd.revision == written
    office.etcd.put(f"{BASE}/audits/a", data)
    assert office.turn()
    assert office.etcd.keys[f"{BASE}/audits/a"].value == b"7", "asked anew, answered anew"
    assert office.etcd.revision == written + 2


def test_a_write_that_comes_between_is_not_overwritten(office: Office) -> None:
    picture = office.picture()
    by_hand = b'{"Host":"node1","HostIP":"192.168.0.11","Subnet":"172.11.100.0/22"}'
    office.etcd.put(f"{BASE}/subnets/192.168.0.11", by_hand)
    assert not office.turn(picture), "asks again soon"
    assert office.turn()
    assert office.subnets() == {"node1": IPv4Network("172.11.100.0/22"), "node2": SECOND}


def test_what_a_person_deletes_stays_deleted_for_a_while(office: Office) -> None:
    assert office.turn()
    office.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    office.join(3)
    assert not office.turn(), "asks again, until the time is over"
    assert office.subnets() == {"node2": SECOND, "node3": IPv4Network("172.11.8.0/22")}


def test_what_a_person_puts_back_may_be_changed_at_once(office: Office) -> None:
    assert office.turn()
    key = f"{BASE}/subnets/192.168.0.11"
    written = office.etcd.keys[key].value
    office.etcd.delete(key)
    assert not office.turn()
    office.etcd.put(key, written.replace(b'"Subnet":"172.11.0.0/22"', b'"Subnet":""'))
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_after_that_while_the_node_gets_a_subnet_again(make_office: MakeOffice) -> None:
    office = make_office(hold_down=0.0)
    office.take_seat()
    office.join(1)
    assert office.turn()
    office.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    assert office.turn()
    assert office.subnets() == {"node1": FIRST}


def test_a_node_that_leaves_and_comes_again_is_not_held_down(office: Office) -> None:
    assert office.turn()
    del office.nodes["node1"]
    assert office.turn()
    assert office.subnets() == {"node2": SECOND}
    assert office.turn(), "its own deletion comes back in the picture"
    office.join(1)
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_what_went_while_another_one_had_the_seat_is_not_held_down(office: Office) -> None:
    assert office.turn()
    token, office.chair.token = office.chair.token, None
    assert office.turn()
    for kind in ("subnets", "given"):
        office.etcd.delete(f"{BASE}/{kind}/192.168.0.11")
    office.chair.token = token
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_one_who_is_new_in_the_seat_gives_but_does_not_take(make_office: MakeOffice) -> None:
    first = make_office()
    first.take_seat()
    first.join(1, 2)
    assert first.turn()
    # The next one's picture of Kubernetes does not show node 2 yet.
    heir = make_office(etcd=first.etcd, grace=3600.0)
    heir.take_seat()
    heir.join(1, 3)
    assert not heir.turn()
    assert heir.subnets() == {
        "node1": FIRST,
        "node2": SECOND,
        "node3": IPv4Network("172.11.8.0/22"),
    }
    heir.join(2)
    assert heir.turn()


class Giving:
    """A plugin that gives a subnet to a host of its own, once."""

    @hook
    def allocations(self, view: View) -> Iterable[Allocation]:
        if view.subnet("192.168.0.99") is None:
            subnet = next(free_subnets(view.config, view.taken()))
            host = HostSubnet("acme", IPv4Address("192.168.0.99"), subnet)
            yield Allocation((Write(SUBNETS, "192.168.0.99", host, 0),), "acme joined")


def test_a_plugin_sees_what_was_written_for_the_one_before(make_office: MakeOffice) -> None:
    office = make_office(Giving())
    office.take_seat()
    office.join(1)
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "acme": SECOND}
    assert office.etcd.transactions == 3, "the seat and one for each host"


def test_what_is_asked_for_after_it_was_deleted_is_not_held_down(make_office: MakeOffice) -> None:
    office = make_office(Answering())
    office.take_seat()
    office.etcd.put(f"{BASE}/audits/a", b"7")
    assert office.turn()
    office.etcd.delete(f"{BASE}/audits/a")
    assert office.turn()
    office.etcd.put(f"{BASE}/audits/a", b"-1")
    assert office.turn()
    assert office.etcd.keys[f"{BASE}/audits/a"].value == b"7"


def test_an_answer_is_not_held_down_by_another_record_that_was_deleted(
    make_office: MakeOffice,
) -> None:
    office = make_office(ExternalHosts())
    office.take_seat()
    host, memory = f"{BASE}/subnets/192.168.0.99", f"{BASE}/external/192.168.0.99"
    asks = b'{"Host":"lb","HostIP":"192.168.0.99","Subnet":"","Assign":true}'
    office.etcd.put(host, asks)
    assert office.turn()
    office.etcd.delete(host)
    office.etcd.delete(memory)
    assert office.turn()
    office.etcd.put(host, asks)
    assert office.turn()
    assert office.subnets() == {"lb": FIRST}
    assert memory in office.etcd.keys


class Careless:
    """A plugin whose allocations cannot be written."""

    def __init__(self, *wanted: Allocation | Problem) -> None:
        self.wanted = wanted

    @hook
    def kinds(self) -> Iterable[Kind]:
        return [Kind("audits", lambda key, data: data, lambda value: value["no"])]

    @hook
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:
        if not self.wanted:
            raise RuntimeError("no ink")
        return self.wanted


def audit(kind: str, value: object) -> Allocation:
    return Allocation((Write(kind, "a", value, 0),), "an audit")


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ((), "plugin acme-0: allocations of the network: RuntimeError('no ink')"),
        ((Problem("audit a", "has no paper"),), "audit a has no paper"),
        (
            (audit("unheard-of", 1),),
            'plugin acme-0: an audit: records of kind "unheard-of" are not declared, '
            "expected one of subnets, given, audits",
        ),
        (
            (audit("audits", 1),),
            "plugin acme-0: an audit: plugin acme-0 cannot write 1: "
            "TypeError(\"'int' object is not subscriptable\")",
        ),
    ],
)
def test_what_a_plugin_does_wrong_is_told_and_the_others_go_on(
    make_office: MakeOffice, wanted: tuple[Allocation | Problem, ...], problem: str
) -> None:
    office = make_office(Careless(*wanted))
    office.take_seat()
    office.join(1)
    assert not office.turn(), "asks again soon"
    assert list(office.allocator.problems) == [problem]
    assert office.subnets() == {"node1": FIRST}
    office.chair.token = None
    assert office.turn()
    assert list(office.allocator.problems) == []


def test_what_etcd_refuses_is_told_and_the_next_one_is_written(office: Office) -> None:
    office.etcd.fault = K8sOvsError("etcd refuses: too many operations")
    assert not office.turn()
    assert list(office.allocator.problems) == [
        "plugin node-subnets: node node1 joined: etcd refuses: too many operations"
    ]
    assert office.subnets() == {"node2": SECOND}
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_an_etcd_that_is_away_ends_the_turn(office: Office) -> None:
    office.etcd.fault = Unavailable("etcd is away")
    with pytest.raises(Unavailable):
        office.turn()
    assert office.subnets() == {}
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_a_full_network_is_a_problem_until_a_node_leaves(make_office: MakeOffice) -> None:
    office = make_office(config=sample_config(network=IPv4Network("172.11.0.0/21")))
    office.take_seat()
    office.join(1, 2, 3)
    assert not office.turn()
    problems = ["node node3 has no subnet: all of Network 172.11.0.0/21 are taken"]
    assert list(office.allocator.problems) == problems
    del office.nodes["node1"]
    office.turn()
    assert office.turn()
    assert list(office.allocator.problems) == []
    assert office.subnets() == {"node2": SECOND, "node3": FIRST}
