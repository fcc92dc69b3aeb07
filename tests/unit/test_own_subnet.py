"""Which record is this node's?"""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from attrs import evolve

from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import Slot
from k8s_ovs.node.own_subnet import NoSubnet, find_own_subnet
from k8s_ovs_testing.world import sample_host

SUBNETS = {str(sample_host(n).host_ip): sample_host(n) for n in (1, 2, 3)}


def addresses(*numbers: int) -> list[IPv4Address]:
    return [IPv4Address("192.168.0.10") + number for number in numbers]


def found(*numbers: int, subnets: dict[str, HostSubnet] | None = None) -> HostSubnet:
    slots = {key: Slot(record) for key, record in (subnets or SUBNETS).items()}
    return find_own_subnet(slots, addresses(*numbers), "node1")


def test_it_is_the_one_under_an_address_of_this_machine() -> None:
    assert found(77, 2) == sample_host(2)


def test_of_several_it_is_the_one_with_this_nodes_name() -> None:
    assert found(3, 2, 1) == sample_host(1)


def test_without_its_name_it_is_the_one_of_the_lowest_address() -> None:
    assert found(3, 2) == sample_host(2)


def test_a_record_without_a_subnet_is_not_enough() -> None:
    waiting = evolve(sample_host(1), subnet=None, assign=True)
    assert found(1, 3, subnets=SUBNETS | {"192.168.0.11": waiting}) == sample_host(3)
    with pytest.raises(NoSubnet, match=r"no record with a subnet under subnets/192.168.0.11"):
        found(1, subnets={"192.168.0.11": waiting})


def test_where_there_is_none_it_says_where_it_looked() -> None:
    with pytest.raises(NoSubnet) as nowhere:
        found(78, 77)
    assert str(nowhere.value) == (
        "node node1 has no subnet yet: no record with a subnet under subnets/192.168.0.87, "
        "subnets/192.168.0.88; the allocator gives one to each Kubernetes node by its InternalIP, "
        "and to other hosts that a record asks for"
    )
    with pytest.raises(NoSubnet, match="under no address"):
        found()


def test_a_record_that_is_refused_says_why() -> None:
    refused = evolve(sample_host(1), subnet=None, reason="Subnet: no /22 is free")
    with pytest.raises(
        NoSubnet, match="node1 has no subnet: it was refused: Subnet: no /22 is free"
    ):
        found(1, subnets={"192.168.0.11": refused})


def test_a_record_that_is_set_aside_says_why() -> None:
    reason = "k8ssdn/subnets/192.168.0.11: Host: found 1"
    with pytest.raises(NoSubnet, match=r"node node1 has no subnet: k8ssdn/.*: Host: found 1"):
        find_own_subnet({"192.168.0.11": Slot(problem=reason)}, addresses(1), "node1")
    kept = {"192.168.0.11": Slot(sample_host(1), problem=reason)}
    assert find_own_subnet(kept, addresses(1), "node1") == sample_host(1)
