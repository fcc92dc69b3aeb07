"""Whatever people and Kubernetes do, in whatever order: subnets are apart, and are kept."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import GIVEN, SUBNETS
from k8s_ovs_extlb import ExternalHosts
from k8s_ovs_extlb.records import EXTERNAL
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.model.fake_cluster import FakeCluster

MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant(), "k8s-ovs-extlb": ExternalHosts()})

#: Where hosts and nodes may be; the first ones are in dispute.
ADDRESSES = tuple(f"192.168.0.{number}" for number in range(11, 19))
NODES = ("node1", "node2", "node3")

addresses = st.sampled_from(ADDRESSES)
steps = st.one_of(
    st.tuples(st.just("ask"), addresses, st.sampled_from((None, None, 4, 10, 14, 40))),
    st.tuples(st.just("ask for"), addresses, st.sampled_from(("172.11.0.0/18", "172.11.8.0/22"))),
    st.tuples(st.just("write"), addresses, st.sampled_from(("172.11.0.0/20", "172.11.12.0/28"))),
    st.tuples(st.just("delete"), addresses),
    st.tuples(st.just("join"), st.sampled_from(NODES), addresses),
    st.tuples(st.just("leave"), st.sampled_from(NODES)),
    st.tuples(st.just("restart")),
)


def carry_out(fake: FakeCluster, step: tuple[Any, ...]) -> None:
    """One step of a person's, or of Kubernetes'."""
    verb, *words = step
    if verb == "restart":
        fake.restart()
    elif verb == "join" and words[1] not in fake.nodes.values():
        fake.join(words[0], words[1])
    elif verb == "leave" and words[0] in fake.nodes:
        fake.leave(words[0])
    elif verb == "delete":
        fake.put(SUBNETS, words[0], None)
    elif verb in ("ask", "ask for", "write"):
        given = {"HostSubnetLength": words[1]} if verb == "ask" and words[1] else {}
        subnet = "" if verb == "ask" else words[1]
        record = {"Host": "lb", "HostIP": words[0], "Subnet": subnet, "Assign": verb != "write"}
        fake.put(SUBNETS, words[0], json.dumps(record | given).encode())


def standing(fake: FakeCluster) -> dict[str, IPv4Network]:
    """What hosts have by their records, as nodes understand them."""
    records = fake.look().settled(SUBNETS).items()
    return {key: each.subnet for key, each in records if each.subnet is not None}


@settings(max_examples=100)
@given(sequence=st.lists(steps, max_size=15), restarts=st.booleans())
@example(
    # The node left its address, and somebody deleted what it had there.
    sequence=[
        ("ask", "192.168.0.11", None),
        ("join", "node2", "192.168.0.12"),
        ("join", "node2", "192.168.0.11"),
        ("delete", "192.168.0.12"),
        ("ask", "192.168.0.12", None),
    ],
    restarts=False,
)
def test_whatever_happens_no_two_hosts_share_an_address(
    sequence: list[tuple[Any, ...]], restarts: bool
) -> None:
    fake = FakeCluster(MANAGER)
    for step in sequence:
        carry_out(fake, step)
        fake.settle()
        if restarts:
            fake.restart()
            fake.settle()
        found = standing(fake)
        assert not any(one.overlaps(other) for one, other in combinations(found.values(), 2))
        # What was made invalid by hand, and what would be near it, wait for a person to repair it.
        invalid = fake.look().problems
        assert invalid or not any(json.loads(each)["Assign"] for each in records(fake).values())
        outside = found.keys() - of_nodes(fake)
        assert {key for kind, key in fake.keys if kind == EXTERNAL} >= outside
        assert invalid or found.keys() >= set(fake.nodes.values())


@settings(max_examples=100)
@given(sequence=st.lists(steps, max_size=12), again=st.lists(addresses, max_size=6))
@example(
    sequence=[
        ("ask for", "192.168.0.12", "172.11.8.0/22"),
        ("join", "node1", "192.168.0.12"),
        ("write", "192.168.0.11", "172.11.12.0/28"),
        ("join", "node1", "192.168.0.11"),
    ],
    again=["192.168.0.12"],
)
def test_who_asks_again_keeps_what_it_has_from_any_leader(
    sequence: list[tuple[Any, ...]], again: list[str]
) -> None:
    fake = FakeCluster(MANAGER)
    for step in sequence:
        carry_out(fake, step)
        fake.settle()
    # Nobody waits for what another one has, and would have it once no daemon knows who was first.
    assume(not fake.look().problems)
    # What a node has left, and what is asked for there then, is another host's.
    before, nodes = standing(fake), of_nodes(fake)
    for address in again:
        if address in before:
            carry_out(fake, ("ask", address, None))
            fake.restart()
            fake.settle()
    after = standing(fake)
    nodes |= of_nodes(fake)
    assert {key: after.get(key) for key in before.keys() - nodes} == {
        key: subnet for key, subnet in before.items() if key not in nodes
    }


def records(fake: FakeCluster) -> dict[str, bytes]:
    return {key: value for (kind, key), (value, _) in fake.keys.items() if kind == SUBNETS}


def of_nodes(fake: FakeCluster) -> set[str]:
    """Where nodes are, and where what they were given is."""
    return {*fake.nodes.values(), *(key for kind, key in fake.keys if kind == GIVEN)}
