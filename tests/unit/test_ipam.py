"""The least recently used address, never one in use, and an end with a reason."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs.node.ipam import AddressPool
from k8s_ovs.plugin import AddressChoice

SUBNET = IPv4Network("172.11.4.0/29")
PODS = [IPv4Address(f"172.11.4.{number}") for number in range(2, 7)]
PARTS = [IPv4Network(f"172.11.4.{part}") for part in ("0/30", "2/32", "4/31", "6/31", "0/29")]
ALL = IPv4Network("0.0.0.0/0")
PARTS += [IPv4Network("10.0.0.0/8"), ALL]


def test_addresses_come_in_order_without_network_gateway_and_broadcast() -> None:
    pool = AddressPool(SUBNET)
    assert [pool.take(()) for _ in range(5)] == PODS


def test_a_released_address_waits_until_all_others_were_used() -> None:
    pool = AddressPool(SUBNET)
    first = pool.take(())
    pool.release(first)
    assert [pool.take(()) for _ in range(5)] == [*PODS[1:], first]


def test_the_address_that_was_released_first_is_used_first() -> None:
    pool = AddressPool(SUBNET)
    in_use = {pool.take(()) for _ in range(5)}
    for address in (PODS[3], PODS[1]):
        in_use.remove(address)
        pool.release(address)
    assert [pool.take(in_use), pool.take(in_use)] == [PODS[3], PODS[1]]


def test_after_a_restart_the_order_goes_on_behind_the_last_one() -> None:
    pool = AddressPool(SUBNET, last=PODS[2])
    assert [pool.take(()) for _ in range(5)] == [*PODS[3:], *PODS[:3]]


@pytest.mark.parametrize("last", ["172.11.4.1", "172.11.4.7", "10.0.0.1"])
def test_an_address_that_no_pod_can_have_is_no_starting_point(last: str) -> None:
    assert AddressPool(SUBNET, last=IPv4Address(last)).take(()) == PODS[0]


def test_after_a_restart_what_ports_use_is_left_alone() -> None:
    assert AddressPool(SUBNET).take({PODS[0], PODS[1]}) == PODS[2]


def test_an_address_of_before_the_restart_comes_last_once_released() -> None:
    pool = AddressPool(SUBNET)
    pool.release(PODS[0])
    assert [pool.take(()) for _ in range(5)] == [*PODS[1:], PODS[0]]


def test_a_full_subnet_is_named_with_its_size_and_has_room_again_after_a_release() -> None:
    pool = AddressPool(SUBNET)
    in_use = {pool.take(()) for _ in range(5)}
    with pytest.raises(K8sOvsError, match=r"172\.11\.4\.0/29: all 5 addresses are in use"):
        pool.take(in_use)
    in_use.remove(PODS[2])
    assert pool.take(in_use) == PODS[2]


def test_a_subnet_without_room_for_a_pod_is_refused() -> None:
    with pytest.raises(InvalidRecord, match=r"10\.0\.0\.0/31"):
        AddressPool(IPv4Network("10.0.0.0/31"))


@given(st.lists(st.integers(0, 12), max_size=60))
def test_whatever_pods_come_and_go_no_address_is_given_twice(steps: list[int]) -> None:
    """Each step adds a pod (even numbers) or ends one of those there are (odd)."""
    pool = AddressPool(IPv4Network("10.1.0.0/28"))
    in_use: list[IPv4Address] = []
    for step in steps:
        if step % 2 and in_use:
            address = in_use.pop(step % len(in_use))
            pool.release(address)
        elif len(in_use) < pool.size:
            address = pool.take(in_use)
            assert address not in in_use
            assert address in pool.subnet
            assert address not in (pool.subnet[0], pool.subnet[1], pool.subnet[-1])
            in_use.append(address)


CHOICES = st.builds(
    AddressChoice,
    st.lists(st.sampled_from(PARTS), max_size=2),
    st.lists(st.sampled_from(PARTS), max_size=2),
)


def fits(address: IPv4Address, choice: AddressChoice) -> bool:
    return (not choice.within or any(address in each for each in choice.within)) and not any(
        address in each for each in choice.without
    )


@given(st.lists(st.tuples(CHOICES, st.integers(0, 4)), max_size=30))
def test_a_pod_gets_the_least_recently_used_address_that_it_may_have(
    steps: list[tuple[AddressChoice, int]],
) -> None:
    """Each step: a pod with a choice comes, and then perhaps the pod goes that has an address."""
    pool, in_use, order = AddressPool(SUBNET), set[IPv4Address](), list(PODS)
    for choice, goes in steps:
        free = [each for each in order if fits(each, choice) and each not in in_use]
        if free:
            address = pool.take(in_use, choice)
            assert address == free[0]
            in_use.add(address)
            order.append(order.pop(order.index(address)))
        elif any(fits(each, choice) for each in PODS):
            with pytest.raises(K8sOvsError, match="are in use by pods of this node"):
                pool.take(in_use, choice)
        else:
            with pytest.raises(InvalidRecord, match=r"for pods of subnet 172|kept for other pods"):
                pool.take(in_use, choice)
        if PODS[goes] in in_use:
            in_use.remove(PODS[goes])
            pool.release(PODS[goes])
            order.append(order.pop(order.index(PODS[goes])))


def test_a_pool_of_another_node_is_named_with_this_nodes_subnet() -> None:
    choice = AddressChoice([IPv4Network("172.11.5.0/30")])
    with pytest.raises(InvalidRecord) as raised:
        AddressPool(SUBNET).take((), choice)
    assert str(raised.value) == (
        "found 172.11.5.0/30, expected an address for pods of subnet 172.11.4.0/29"
    )


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (AddressChoice([], [ALL]), "subnet 172.11.4.0/29: all of it is kept for other pods"),
        (
            AddressChoice([SUBNET], [ALL]),
            "found 172.11.4.0/29, of which all is kept for other pods",
        ),
    ],
)
def test_what_is_kept_for_others_is_not_said_to_be_in_use(choice: AddressChoice, said: str) -> None:
    with pytest.raises(InvalidRecord) as raised:
        AddressPool(SUBNET).take((), choice)
    assert str(raised.value) == said
