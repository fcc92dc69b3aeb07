"""The key `config`: read, written again with nothing lost, and refused with reasons."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.codec import decode, encode, parse_network
from k8s_ovs.model.network import NetworkConfig, incompatibility
from k8s_ovs_testing.world import sample_config

WRITTEN = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 10,
    "ServiceNetwork": "10.96.0.0/12",
    "PluginName": "k8s-ovs-multitenant",
}
MISSING = object()


def read(**changes: Any) -> NetworkConfig:
    found = {name: each for name, each in (WRITTEN | changes).items() if each is not MISSING}
    return decode(NetworkConfig, "config", json.dumps(found).encode())


def test_what_users_write_is_understood_and_written_the_same() -> None:
    config = read()
    assert config.network == IPv4Network("172.11.0.0/16")
    assert config.node_prefix == 22
    assert config.mtu is None
    assert json.loads(encode(config)) == WRITTEN | {"VXLANPort": 4789}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Name": 5}, "config: Name: found 5, expected a string"),
        ({"Name": MISSING}, "config: Name: found nothing, expected a string"),
        (
            {"Name": "a/b"},
            'config: Name: found "a/b", expected letters, digits, dots and dashes',
        ),
        (
            {"Network": MISSING},
            "config: Network: found nothing, expected an IPv4 CIDR such as 172.11.0.0/16",
        ),
        (
            {"Network": "172.11.3.0/16"},
            'config: Network: found "172.11.3.0/16", host bits are set, expected 172.11.0.0/16',
        ),
        (
            {"Network": "172.11.0.0"},
            'config: Network: found "172.11.0.0", expected an IPv4 CIDR such as 172.11.0.0/16',
        ),
        (
            {"Network": "172.11.0.0/255.255.0.0"},
            'config: Network: found "172.11.0.0/255.255.0.0", expected an IPv4 CIDR such as '
            "172.11.0.0/16",
        ),
        (
            {"Network": "172.11.0.0/33"},
            'config: Network: found "172.11.0.0/33", expected an IPv4 CIDR such as 172.11.0.0/16',
        ),
        (
            {"Network": "fd00::/8"},
            'config: Network: found "fd00::/8", expected an IPv4 CIDR such as 172.11.0.0/16',
        ),
        (
            {"Network": 172},
            "config: Network: found 172, expected an IPv4 CIDR such as 172.11.0.0/16",
        ),
        (
            {"ServiceNetwork": "172.11.128.0/20"},
            "config: ServiceNetwork: found 172.11.128.0/20, expected one that does not overlap "
            "Network 172.11.0.0/16",
        ),
        (
            {"HostSubnetLength": "10"},
            'config: HostSubnetLength: found "10", expected a whole number',
        ),
        ({"HostSubnetLength": 10.0}, "config: HostSubnetLength: found 10.0, expected a whole"),
        ({"HostSubnetLength": True}, "config: HostSubnetLength: found true, expected a whole"),
        (
            {"HostSubnetLength": 17},
            "config: HostSubnetLength: found 17, expected 2 to 16: 172.11.0.0/16 has 16 host bits",
        ),
        ({"HostSubnetLength": 1}, "config: HostSubnetLength: found 1, expected 2 to 16"),
        ({"PluginName": None}, "config: PluginName: found null, expected a string"),
        ({"MTU": "1400"}, 'config: MTU: found "1400", expected a whole number'),
        ({"MTU": 575}, "config: MTU: found 575, expected 576 to 65485"),
        ({"VXLANPort": 65536}, "config: VXLANPort: found 65536, expected 1 to 65535"),
        (
            {"FromOutside": "none"},
            'config: FromOutside: found "none", expected all or services',
        ),
        ({"FromOutside": True}, "config: FromOutside: found true, expected a string"),
        ({"VXLANPort": None}, "config: VXLANPort: found null, expected a whole number"),
    ],
)
def test_nonsense_is_refused_with_key_field_found_and_expected(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRecord) as refused:
        read(**changes)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "config: not JSON (Expecting value: line 1 column 1 (char 0)): found "),
        (b"{", "config: not JSON (Expecting property name"),
        (b"\xff\xfe", "config: not JSON ("),
        (b"[" * 100_000, "config: not JSON (more than 200 levels deep)"),
        (b'{"MTU":' + b"9" * 5000 + b"}", "config: not JSON (Exceeds the limit"),
        (b'{"MTU":NaN}', "config: not JSON (NaN is no JSON number)"),
        (b"[1]", "config: found [1], expected a JSON object"),
        (b'"' + b"a" * 500 + b'"', 'config: found "' + "a" * 76 + "..., expected a JSON object"),
    ],
)
def test_bytes_that_are_no_record_are_refused_shortly(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        decode(NetworkConfig, "config", data)
    assert str(refused.value).startswith(message)
    assert len(str(refused.value)) < 300


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(unknown=st.dictionaries(st.text(), json_values, max_size=4))
def test_fields_that_we_do_not_know_survive_a_rewrite(unknown: dict[str, Any]) -> None:
    unknown = {name: each for name, each in unknown.items() if name not in WRITTEN}
    unknown = {
        name: each
        for name, each in unknown.items()
        if name not in ("MTU", "VXLANPort", "FromOutside")
    }
    written = json.loads(encode(read(**unknown)))
    assert written == WRITTEN | {"VXLANPort": 4789} | unknown


@given(data=st.binary(max_size=40) | json_values.map(lambda each: json.dumps(each).encode()))
def test_no_bytes_at_all_raise_anything_else(data: bytes) -> None:
    with pytest.raises(InvalidRecord, match=r"^config: "):
        decode(NetworkConfig, "config", data)


@given(number=st.integers(0, 2**32 - 1), length=st.integers(0, 32))
def test_a_network_is_read_exactly_where_no_host_bit_is_set(number: int, length: int) -> None:
    loose = IPv4Network((number, length), strict=False)
    text = f"{IPv4Network(number).network_address}/{length}"
    if text == str(loose):
        assert parse_network(text) == loose
    else:
        with pytest.raises(ValueError, match=f"host bits are set, expected {loose}"):
            parse_network(text)


SUBNET = IPv4Network("172.11.4.0/22")


def test_a_node_without_pods_follows_any_configuration() -> None:
    new = sample_config(name="other", network=IPv4Network("172.20.0.0/16"))
    assert incompatibility(sample_config(), new, SUBNET, pods=0) is None


def test_a_node_with_pods_keeps_its_network() -> None:
    old = sample_config()
    renamed = incompatibility(old, sample_config(name="other"), SUBNET, pods=3)
    assert renamed == "Name: found other, expected k8ssdn while 3 pods run on this node"
    away = sample_config(network=IPv4Network("172.20.0.0/16"))
    assert incompatibility(old, away, SUBNET, pods=1) == (
        "Network: found 172.20.0.0/16, expected one that holds 172.11.4.0/22 "
        "while 1 pods run on this node"
    )
    wider = sample_config(network=IPv4Network("172.0.0.0/8"))
    assert incompatibility(old, wider, SUBNET, pods=1) is None


def test_fields_that_only_plugins_read_are_part_of_what_a_configuration_says() -> None:
    assert sample_config(extra={"Loud": [1]}) == sample_config(extra={"Loud": [1]})
    assert sample_config(extra={"Loud": [1]}) != sample_config()
    assert len({sample_config(extra={"Loud": [1]}), sample_config()}) == 2
