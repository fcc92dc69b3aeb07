"""What a new configuration changes, and what prevents it."""

from __future__ import annotations

from ipaddress import IPv4Network

from attrs import evolve

from k8s_ovs.cli.cluster.config_change import FieldChange, changed_fields, obstacles
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs_testing.world import sample_config, sample_host

OLD = sample_config()
RECORDS = {str(host.host_ip): host for host in map(sample_host, (1, 2))}


def moved(record: HostSubnet, subnet: str) -> dict[str, HostSubnet]:
    """RECORDS with another subnet for one of them."""
    changed = evolve(record, subnet=IPv4Network(subnet))
    return RECORDS | {str(record.host_ip): changed}


def test_the_first_configuration_changes_every_field() -> None:
    assert [change.field for change in changed_fields(None, OLD)] == [
        "Name",
        "Network",
        "HostSubnetLength",
        "ServiceNetwork",
        "PluginName",
        "VXLANPort",
    ]


def test_only_what_differs_is_a_change() -> None:
    assert changed_fields(OLD, OLD) == []
    assert changed_fields(OLD, sample_config(mtu=1400, vxlan_port=4790)) == [
        FieldChange("MTU", None, "1400"),
        FieldChange("VXLANPort", "4789", "4790"),
    ]


def test_a_field_that_goes_is_a_change_though_nobody_knows_it() -> None:
    old = evolve(OLD, extra={"Colour": "blue"})
    assert changed_fields(old, OLD) == [FieldChange("Colour", "blue", None)]


def test_nothing_prevents_a_wider_network() -> None:
    wider = sample_config(network=IPv4Network("172.8.0.0/13"))
    assert obstacles(OLD, wider, RECORDS) == []


def test_a_network_that_does_not_contain_the_subnets_is_refused_for_each() -> None:
    other = sample_config(network=IPv4Network("172.12.0.0/16"))
    assert obstacles(OLD, other, RECORDS) == [
        "subnets/192.168.0.11: Subnet: found 172.11.4.0/22, "
        "expected one inside Network 172.12.0.0/16",
        "subnets/192.168.0.12: Subnet: found 172.11.8.0/22, "
        "expected one inside Network 172.12.0.0/16",
    ]


def test_a_record_that_was_wrong_before_is_no_obstacle() -> None:
    records = moved(sample_host(2), "10.0.0.0/22")
    assert obstacles(OLD, sample_config(mtu=1400), records) == []


def test_another_name_would_give_every_host_another_subnet() -> None:
    assert obstacles(OLD, sample_config(name="other"), RECORDS) == [
        "Name: 2 hosts have subnets under k8ssdn; under other each gets another one, and nodes "
        "that run pods refuse that"
    ]


def test_without_an_old_configuration_or_records_nothing_prevents_it() -> None:
    other: NetworkConfig = sample_config(name="other")
    assert obstacles(None, other, RECORDS) == []
    assert obstacles(OLD, other, {}) == []
