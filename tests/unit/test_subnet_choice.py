"""The next free subnet is found block by block, and is the one that looking at all would find."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.builtin.subnet_choice import SubnetChoice
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.subnet import HostSubnet, blocks_of, free_subnets
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.world import SUBNETS, USED
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import indexed, sample_config, sample_world

MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant()})
_NODES = 100


def network(address: int, prefix: int) -> IPv4Network:
    return IPv4Network((address >> (32 - prefix) << (32 - prefix), prefix))


@st.composite
def configs(draw: st.DrawFn) -> NetworkConfig:
    prefix = draw(st.integers(8, 22))
    inside = network(int(IPv4Address("10.0.0.0")) + draw(st.integers(0, (1 << 24) - 1)), prefix)
    bits = draw(st.integers(2, min(20, 32 - prefix)))
    services = IPv4Network("192.168.64.0/20")
    return sample_config(network=inside, host_subnet_length=bits, service_network=services)


@given(data=st.data(), config=configs())
def test_the_lowest_that_is_free_first(data: st.DataObject, config: NetworkConfig) -> None:
    first = int(config.network.network_address)
    near = st.integers(first, first + min(config.network.num_addresses, 1 << 18) - 1)
    somewhere = st.one_of(near, st.integers(0, (1 << 32) - 1))
    taken = data.draw(st.lists(st.builds(network, somewhere, st.integers(1, 30)), max_size=12))
    hosts = {f"192.168.1.{place}": each for place, each in enumerate(taken[::2])}
    used = {f"other{place}": each for place, each in enumerate(taken[1::2])}
    records = {
        SUBNETS: {key: HostSubnet(key, IPv4Address(key), each) for key, each in hosts.items()},
        USED: {name: SubnetUse(name, each) for name, each in used.items()},
    }
    world = sample_world(hosts=(), pods=(), config=config, records=records)
    choice = SubnetChoice(MANAGER.view(indexed(world, MANAGER)))
    wanted = list(islice(free_subnets(config, taken), _NODES))
    for place, subnet in enumerate(wanted):
        assert choice.of(f"node{place}", f"192.168.0.{place}") == subnet
    if len(wanted) < _NODES:
        assert "are taken" in str(choice.of("late", "192.168.2.1"))


@given(data=st.data())
def test_what_overlaps_shares_a_block(data: st.DataObject) -> None:
    a, b = (
        network(data.draw(st.integers(0, (1 << 32) - 1)), data.draw(st.integers(8, 32)))
        for _ in range(2)
    )
    assert not a.overlaps(b) or set(blocks_of(a)) & set(blocks_of(b))
