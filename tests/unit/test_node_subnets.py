"""Who is to have which subnet, as values: what the leader's allocator is asked to write."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_ovs.builtin import NODE_SUBNETS
from k8s_ovs.builtin.node_owners import SubnetOwner
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.subnet import HostSubnet, subnet_problem
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.world import EMPTY, GIVEN, NODES, SUBNETS, USED, Slot, World
from k8s_ovs.plugin import Allocation, Problem, Write
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import indexed, sample_config, sample_host, sample_world

MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant()})


def node(number: int, address: int | None = None) -> KubeNode:
    """Node `number`, at the address of host `number` or that of another one."""
    return KubeNode(f"node{number}", (sample_host(address or number).host_ip,))


def world(
    nodes: Iterable[KubeNode],
    hosts: Iterable[HostSubnet] = (),
    given: dict[str, str] | None = None,
    config: NetworkConfig | None = None,
    quarantine: dict[str, str] | None = None,
) -> World:
    """given: names of nodes by key."""
    slots = {str(each.host_ip): Slot(each, revision=1) for each in hosts}
    return sample_world(
        hosts=(),
        pods=(),
        config=config,
        records={
            NODES: {each.name: each for each in nodes},
            GIVEN: {key: SubnetOwner(name) for key, name in (given or {}).items()},
            SUBNETS: slots
            | {
                key: evolve(slots.get(key, EMPTY), problem=text)
                for key, text in (quarantine or {}).items()
            },
        },
    )


def wanted(of: World) -> list[Allocation | Problem]:
    assert MANAGER.allocators == (NODE_SUBNETS,)
    result = MANAGER.allocations(NODE_SUBNETS, MANAGER.view(indexed(of, MANAGER)))
    assert not isinstance(result, Failure), result
    return list(result)


def carried_out(of: World, allocations: Iterable[Allocation | Problem]) -> World:
    """The world after an etcd that checks every revision has done what is wanted."""
    for each in allocations:
        if isinstance(each, Problem):
            continue
        revision = of.revision + 1
        changes: dict[tuple[str, str], Slot | None] = {}
        for write in each.writes:
            record = of.of(write.kind).get(write.key)
            assert write.revision == (record.revision if record else 0)
            new = None if write.value is None else Slot(write.value, revision=revision)
            changes[write.kind, write.key] = new
        assert len(changes) == len(each.writes)
        of = of.changed(changes, revision)
    return of


def settled(of: World) -> World:
    """The world once nothing more is wanted."""
    for _ in range(5):
        allocations = wanted(of)
        if not any(isinstance(each, Allocation) for each in allocations):
            return of
        of = carried_out(of, allocations)
    raise AssertionError(f"never settled: {wanted(of)}")


def subnets(of: World) -> dict[str, str]:
    """Subnets by host's number."""
    return {record.host: str(record.subnet) for record in of.settled(SUBNETS).values()}


def test_a_node_that_joins_gets_the_first_free_subnet() -> None:
    assert wanted(world([node(3)])) == [
        Allocation(
            (
                Write(
                    SUBNETS,
                    "192.168.0.13",
                    HostSubnet("node3", IPv4Address("192.168.0.13"), IPv4Network("172.11.0.0/22")),
                    0,
                ),
                Write(GIVEN, "192.168.0.13", SubnetOwner("node3"), 0),
            ),
            "node node3 joined",
        )
    ]


def test_nodes_that_join_together_get_different_subnets_and_then_there_is_peace() -> None:
    after = settled(world([node(n) for n in (1, 2, 3)], hosts=[evolve(sample_host(9))]))
    assert subnets(after) == {
        "node1": "172.11.0.0/22",
        "node2": "172.11.4.0/22",
        "node3": "172.11.8.0/22",
        "node9": "172.11.36.0/22",
    }
    assert wanted(after) == []


def test_a_node_that_is_gone_gives_its_subnet_back() -> None:
    before = world([node(1)], [sample_host(1), sample_host(2)], {"192.168.0.12": "node2"})
    (_, taken_back) = sorted(wanted(before), key=lambda each: "gone" in str(each))
    assert taken_back == Allocation(
        (Write(GIVEN, "192.168.0.12", None, 1), Write(SUBNETS, "192.168.0.12", None, 1)),
        "node node2 is gone",
        missing=NODES,
    )
    assert subnets(settled(before)) == {"node1": "172.11.4.0/22"}


def test_a_host_that_is_no_node_keeps_what_a_person_wrote() -> None:
    balancer = evolve(sample_host(5), host="lb", subnet=None, assign=True)
    before = world([], [sample_host(4), balancer])
    assert wanted(before) == []


def test_a_record_that_a_person_wrote_for_a_node_is_adopted() -> None:
    before = world([node(1)], [sample_host(1)])
    assert wanted(before) == [
        Allocation(
            (Write(GIVEN, "192.168.0.11", SubnetOwner("node1"), 0),), "node node1 has its record"
        )
    ]
    assert wanted(settled(before)) == []


def test_a_record_without_a_subnet_gets_one_and_keeps_what_else_it_says() -> None:
    asked = evolve(sample_host(1), subnet=None, assign=True, extra={"Rack": 7})
    (allocation,) = wanted(world([node(1)], [asked]))
    assert isinstance(allocation, Allocation)
    assert allocation.writes[0] == Write(
        SUBNETS,
        "192.168.0.11",
        evolve(asked, subnet=IPv4Network("172.11.0.0/22"), assign=False),
        1,
    )


def test_a_node_that_moves_keeps_its_subnet_under_the_new_key() -> None:
    before = world([node(1, address=7)], [sample_host(1)], {"192.168.0.11": "node1"})
    (move,) = wanted(before)
    assert move == Allocation(
        (
            Write(SUBNETS, "192.168.0.17", sample_host(1).moved(IPv4Address("192.168.0.17")), 0),
            Write(GIVEN, "192.168.0.17", SubnetOwner("node1"), 0),
            Write(SUBNETS, "192.168.0.11", None, 1),
            Write(GIVEN, "192.168.0.11", None, 1),
        ),
        "node node1 moved from 192.168.0.11 to 192.168.0.17",
    )
    assert wanted(carried_out(before, [move])) == []


def test_a_node_that_moves_to_the_address_of_one_that_is_gone_keeps_its_own_subnet() -> None:
    before = world(
        [node(1, address=2)],
        [sample_host(1), sample_host(2)],
        {"192.168.0.11": "node1", "192.168.0.12": "node2"},
    )
    after = settled(before)
    assert subnets(after) == {"node1": "172.11.4.0/22"}
    assert set(after.of(SUBNETS)) == set(after.of(GIVEN)) == {"192.168.0.12"}


def test_nodes_that_swap_addresses_or_all_shift_keep_their_subnets() -> None:
    given = {str(sample_host(n).host_ip): f"node{n}" for n in (1, 2, 3)}
    hosts = [sample_host(n) for n in (1, 2, 3)]
    own = {"node1": "172.11.4.0/22", "node2": "172.11.8.0/22", "node3": "172.11.12.0/22"}
    for places in ((2, 1, 3), (2, 3, 1), (2, 3, 4), (4, 1, 2)):
        nodes = [node(number, place) for number, place in enumerate(places, start=1)]
        before = world(nodes, hosts, given)
        (moved,) = wanted(before)
        after = carried_out(before, [moved])
        assert subnets(after) == own
        assert wanted(after) == []
        assert after.of(GIVEN).keys() == after.of(SUBNETS).keys()
        assert after.of(GIVEN).keys() == {str(each.addresses[0]) for each in nodes}


def test_a_node_that_moves_to_a_record_written_by_hand_takes_that_one() -> None:
    by_hand = evolve(sample_host(7), host="by-hand")
    before = world([node(1, address=7)], [sample_host(1), by_hand], {"192.168.0.11": "node1"})
    after = settled(before)
    assert after.of(GIVEN)["192.168.0.17"].settled == SubnetOwner("node1")
    assert after.of(SUBNETS)["192.168.0.17"].settled == by_hand
    # What its pods have now stays its own until the node is gone.
    gone = settled(after.changed({(NODES, "node1"): None}, after.revision))
    assert gone.of(SUBNETS) == gone.of(GIVEN) == {}


def test_nobody_takes_the_subnet_of_a_node_that_has_no_address_for_a_while() -> None:
    before = world(
        [KubeNode("node1"), node(2, address=1)],
        [sample_host(1), sample_host(2)],
        {"192.168.0.11": "node1", "192.168.0.12": "node2"},
    )
    assert wanted(before) == [
        Problem("node node1", "has no IPv4 InternalIP in its status yet"),
        Problem("node node2", "has the address 192.168.0.11, where node node1 was"),
    ]


def test_a_node_that_takes_the_place_of_one_that_is_gone_takes_its_subnet() -> None:
    before = world([node(9, address=2)], [sample_host(2)], {"192.168.0.12": "node2"})
    after = settled(before)
    assert after.of(GIVEN)["192.168.0.12"].settled == SubnetOwner("node9")
    assert [record.subnet for record in after.settled(SUBNETS).values()] == [sample_host(2).subnet]


TWO_SUBNETS = sample_config(network=IPv4Network("172.11.0.0/21"))


def test_when_all_are_taken_that_node_has_a_problem_and_the_others_have_not() -> None:
    before = world([node(n) for n in (1, 2, 3)], config=TWO_SUBNETS)
    problem = Problem("node node3", "has no subnet: all of Network 172.11.0.0/21 are taken")
    assert wanted(before)[-1] == problem
    full = settled(before)
    assert wanted(full) == [problem]
    without_two = full.changed({(NODES, "node2"): None}, full.revision)
    assert subnets(settled(without_two)) == {"node1": "172.11.0.0/22", "node3": "172.11.4.0/22"}


def test_of_two_nodes_with_one_address_the_second_has_a_problem() -> None:
    before = world([node(1), node(2, address=1)])
    problem = Problem("node node2", "has the address 192.168.0.11 of node node1")
    assert wanted(before)[0] == problem
    after = settled(before)
    assert wanted(after) == [problem]
    # A newcomer whose name comes first is the second one all the same.
    newcomer = after.changed({(NODES, "node0"): Slot(node(0, address=1))}, after.revision)
    assert Problem("node node0", "has the address 192.168.0.11 of node node1") in wanted(newcomer)
    assert settled(newcomer).of(GIVEN) == after.of(GIVEN)


def test_a_node_without_an_address_waits_and_keeps_what_it_had() -> None:
    before = world([KubeNode("node1")], [sample_host(1)], {"192.168.0.11": "node1"})
    assert wanted(before) == [Problem("node node1", "has no IPv4 InternalIP in its status yet")]


def test_a_node_inside_the_network_has_a_problem() -> None:
    inside = KubeNode("node1", (IPv4Address("172.11.9.9"),))
    assert wanted(world([inside])) == [
        Problem("node node1", "InternalIP 172.11.9.9 is inside Network 172.11.0.0/16")
    ]


REASON = {"192.168.0.11": "k8ssdn/subnets/192.168.0.11: not JSON"}


def test_a_record_that_cannot_be_read_is_not_written_over() -> None:
    unread = world([node(1)], quarantine=REASON)
    assert wanted(unread) == [Problem("node node1", "has no subnet: " + REASON["192.168.0.11"])]


def test_a_record_that_cannot_be_read_is_not_taken_back() -> None:
    gone = world([], [sample_host(1)], {"192.168.0.11": "node1"}, quarantine=REASON)
    assert wanted(gone) == [
        Problem(
            "node node1",
            "is gone, its subnet is not free: k8ssdn/subnets/192.168.0.11: not JSON",
        )
    ]


def test_a_record_that_was_never_in_force_goes_with_its_node() -> None:
    """As an etcd that was restored has it: the subnet was given to another node since."""
    before = world([node(2)], [sample_host(2)], {"192.168.0.11": "node1", "192.168.0.12": "node2"})
    overlaps = Slot(None, problem="overlaps", contradicts=True, revision=1)
    (gone,) = wanted(before.changed({(SUBNETS, "192.168.0.11"): overlaps}))
    assert isinstance(gone, Allocation)
    assert [(each.kind, each.key, each.value) for each in gone.writes] == [
        (GIVEN, "192.168.0.11", None),
        (SUBNETS, "192.168.0.11", None),
    ]


def in_use(contradicts: bool) -> World:
    """The record of a node with pods is not as it is in force."""
    record = Slot(sample_host(1), problem="wrong", contradicts=contradicts, revision=2)
    use = SubnetUse("node1", sample_host(1).subnet or TWO_SUBNETS.network)
    return world([node(1)], given={"192.168.0.11": "node1"}).changed(
        {(SUBNETS, "192.168.0.11"): record, (USED, "node1"): Slot(use, revision=1)}
    )


def test_a_record_that_others_and_pods_contradict_is_written_as_it_is_in_force() -> None:
    (back,) = wanted(in_use(contradicts=True))
    assert isinstance(back, Allocation)
    assert [(each.key, each.value) for each in back.writes] == [("192.168.0.11", sample_host(1))]
    assert back.event is not None
    assert back.event.name == "node1"


def test_a_record_that_cannot_be_read_is_left_to_who_wrote_it() -> None:
    assert wanted(in_use(contradicts=False)) == []


def test_a_record_that_cannot_be_read_does_not_move() -> None:
    moved = world(
        [node(1, address=7)], [sample_host(1)], {"192.168.0.11": "node1"}, quarantine=REASON
    )
    assert wanted(moved) == [
        Problem(
            "node node1 moved from 192.168.0.11 to 192.168.0.17",
            "and its subnet cannot: k8ssdn/subnets/192.168.0.11: not JSON",
        )
    ]


def homes(of: World) -> dict[str, object]:
    """Subnets by the node that they were given to."""
    records = of.of(SUBNETS)
    return {given.host: records[key].settled.subnet for key, given in of.settled(GIVEN).items()}


@settings(max_examples=300)
@given(
    steps=st.lists(
        st.dictionaries(st.integers(1, 5), st.none() | st.integers(1, 7), max_size=3), max_size=6
    )
)
def test_whatever_nodes_do_no_two_have_one_subnet_and_each_keeps_its_own(
    steps: list[dict[int, int | None]],
) -> None:
    """Nodes come, go, move, and swap or share addresses; the network has room for eight."""
    roomy = sample_config(network=IPv4Network("172.11.0.0/20"), host_subnet_length=9)
    of = world([], config=roomy)
    for step in steps:
        before = homes(of)
        changes = {
            (NODES, f"node{number}"): Slot(node(number, address)) if address else None
            for number, address in step.items()
        }
        of = settled(of.changed(changes, of.revision))
        present = {name: each.addresses[0] for name, each in of.settled(NODES).items()}
        records = of.settled(SUBNETS)
        assert not any(subnet_problem(roomy, key, each) for key, each in records.items())
        subnets = [each.subnet for each in records.values()]
        assert not any(one.overlaps(other) for one, other in combinations(subnets, 2))
        assert of.of(GIVEN).keys() == of.of(SUBNETS).keys()
        assert homes(of).keys() <= present.keys()
        assert all(str(address) in records for address in present.values())
        assert all(homes(of)[name] == before[name] for name in before.keys() & present.keys())
