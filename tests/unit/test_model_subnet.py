"""Records of hosts' subnets: which are valid, which are free."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from itertools import islice

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.codec import decode, encode
from k8s_ovs.model.subnet import (
    HostSubnet,
    free_subnets,
    host_ip_problem,
    request_problem,
    subnet_problem,
)
from k8s_ovs_testing.world import sample_config, sample_host

CONFIG = sample_config(network=IPv4Network("172.11.0.0/20"), host_subnet_length=8)
WRITTEN = b'{"Host":"node1","HostIP":"192.168.0.11","Subnet":"172.11.4.0/22","Assign":false}'


def subnets_near(network: IPv4Network) -> st.SearchStrategy[IPv4Network]:
    """Subnets in and around `network`, of all sizes down to a few addresses."""
    lowest = int(network.network_address) - network.num_addresses
    starts = st.integers(lowest, lowest + 3 * network.num_addresses - 1)
    lengths = st.integers(network.prefixlen - 1, 32)
    return st.builds(lambda start, length: IPv4Network((start, length), False), starts, lengths)


def test_the_written_form_is_the_one_that_users_know() -> None:
    record = decode(HostSubnet, "subnets/192.168.0.11", WRITTEN)
    assert record == HostSubnet(
        "node1", IPv4Address("192.168.0.11"), IPv4Network("172.11.4.0/22"), assign=False
    )
    assert record.gateway == IPv4Address("172.11.4.1")
    assert encode(record) == WRITTEN


@pytest.mark.parametrize("nothing", ["", None])
def test_a_host_may_have_no_subnet_yet(nothing: str | None) -> None:
    asked = {"Host": "lb", "HostIP": "192.168.0.50", "Subnet": nothing, "Assign": True}
    record = decode(HostSubnet, "subnets/192.168.0.50", json.dumps(asked).encode())
    assert record.subnet is None
    assert json.loads(encode(record)) == asked | {"Subnet": ""}
    with pytest.raises(ValueError, match="lb has no subnet yet"):
        _ = record.gateway


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("Subnet", "172.11.4.9/22", 'found "172.11.4.9/22", host bits are set, expected'),
        ("Subnet", 0, "found 0, expected an IPv4 CIDR"),
        ("Subnet", [], "found [], expected an IPv4 CIDR"),
        ("Subnet", False, "found false, expected an IPv4 CIDR"),
        ("HostIP", "192.168.0", 'found "192.168.0", expected an IPv4 address such as'),
        ("HostIP", "192.168.0.011", 'found "192.168.0.011", expected an IPv4 address'),
        ("HostIP", 3232235531, "found 3232235531, expected an IPv4 address"),
        ("HostIP", "fd00::1", 'found "fd00::1", expected an IPv4 address'),
        ("Assign", "false", 'found "false", expected true or false'),
        ("Assign", 0, "found 0, expected true or false"),
        ("Host", None, "found null, expected a string"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(field: str, value: object, message: str) -> None:
    data = json.dumps(json.loads(WRITTEN) | {field: value}).encode()
    with pytest.raises(InvalidRecord) as refused:
        decode(HostSubnet, "subnets/192.168.0.11", data)
    assert str(refused.value).startswith(f"subnets/192.168.0.11: {field}: {message}")


@pytest.mark.parametrize(
    ("key", "record", "problem"),
    [
        (
            "192.168.0.99",
            sample_host(1),
            "HostIP: found 192.168.0.11, expected 192.168.0.99 as in the key",
        ),
        (
            "172.11.3.3",
            evolve(sample_host(1), host_ip=IPv4Address("172.11.3.3")),
            "HostIP: found 172.11.3.3, expected one outside Network 172.11.0.0/16",
        ),
        (
            "192.168.0.11",
            evolve(sample_host(1), subnet=IPv4Network("172.12.0.0/22")),
            "Subnet: found 172.12.0.0/22, expected one inside Network 172.11.0.0/16",
        ),
        (
            "192.168.0.11",
            evolve(sample_host(1), subnet=IPv4Network("172.0.0.0/8")),
            "Subnet: found 172.0.0.0/8, expected one inside Network 172.11.0.0/16",
        ),
        (
            "192.168.0.11",
            evolve(sample_host(1), subnet=IPv4Network("172.11.4.0/31")),
            "Subnet: found 172.11.4.0/31, expected /30 or wider, as pods need",
        ),
    ],
)
def test_a_record_that_does_not_fit_the_network_says_why(
    key: str, record: HostSubnet, problem: str
) -> None:
    assert subnet_problem(sample_config(), key, record) == problem


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("172.11.3.3", "found 172.11.3.3, expected one outside Network 172.11.0.0/16"),
        ("10.96.0.1", "found 10.96.0.1, expected one outside ServiceNetwork 10.96.0.0/12"),
        *(
            (address, f"found {address}, expected an address under which other hosts reach it")
            for address in ("127.0.0.1", "0.1.2.3", "224.0.0.1", "255.255.255.255")
        ),
        ("192.168.0.200", None),
        ("169.254.1.1", None),
    ],
)
def test_a_host_has_an_address_under_which_others_reach_it(
    address: str, problem: str | None
) -> None:
    assert host_ip_problem(IPv4Address(address), sample_config()) == problem


@given(taken=st.lists(subnets_near(CONFIG.network), max_size=8))
def test_what_is_free_overlaps_nothing_and_all_that_is_free_is_found(
    taken: list[IPv4Network],
) -> None:
    blocks = list(CONFIG.network.subnets(new_prefix=CONFIG.node_prefix))
    free = list(free_subnets(CONFIG, taken))
    assert free == [each for each in blocks if not any(each.overlaps(one) for one in taken)]


@given(
    taken=st.lists(subnets_near(CONFIG.network), max_size=8),
    host_bits=st.integers(2, 32 - CONFIG.network.prefixlen),
)
def test_free_subnets_of_any_size_are_all_that_overlap_nothing(
    taken: list[IPv4Network], host_bits: int
) -> None:
    blocks = CONFIG.network.subnets(new_prefix=32 - host_bits)
    free = list(free_subnets(CONFIG, taken, host_bits))
    assert free == [each for each in blocks if not any(each.overlaps(one) for one in taken)]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, None),
        ({"host_subnet_length": 2}, None),
        ({"host_subnet_length": 12}, None),
        ({"host_subnet_length": 13}, "HostSubnetLength: found 13, expected 2 to 12"),
        ({"host_subnet_length": 1}, "HostSubnetLength: found 1, expected 2 to 12"),
        ({"subnet": IPv4Network("172.11.8.0/24")}, None),
        (
            {"subnet": IPv4Network("172.11.4.0/23")},
            "Subnet: found 172.11.4.0/23, expected one that does not overlap "
            "172.11.4.0/24 of 192.168.0.11",
        ),
        (
            {"subnet": IPv4Network("172.11.16.0/24")},
            "Subnet: found 172.11.16.0/24, expected one inside Network 172.11.0.0/20",
        ),
        (
            {"host_ip": IPv4Address("192.168.0.51")},
            "HostIP: found 192.168.0.51, expected 192.168.0.50 as in the key",
        ),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(
    fields: dict[str, object], problem: str | None
) -> None:
    asked = evolve(HostSubnet("lb", IPv4Address("192.168.0.50"), assign=True), **fields)
    taken = {IPv4Network("172.11.4.0/24"): "192.168.0.11"}
    assert request_problem("192.168.0.50", asked, CONFIG, taken) == problem


def test_a_refusal_and_another_size_have_their_fields_and_absent_ones_have_none() -> None:
    refused = b'{"Host":"lb","HostIP":"192.168.0.50","Subnet":"","Assign":false,"Reason":"why",'
    refused += b'"HostSubnetLength":4}'
    record = decode(HostSubnet, "subnets/192.168.0.50", refused)
    assert (record.reason, record.host_subnet_length) == ("why", 4)
    assert encode(record) == refused


def test_a_huge_network_gives_its_first_subnet_at_once() -> None:
    huge = sample_config(
        network=IPv4Network("10.0.0.0/8"),
        service_network=IPv4Network("172.30.0.0/16"),
        host_subnet_length=2,
    )
    assert list(islice(free_subnets(huge, [IPv4Network("10.0.0.0/30")]), 2)) == [
        IPv4Network("10.0.0.4/30"),
        IPv4Network("10.0.0.8/30"),
    ]
