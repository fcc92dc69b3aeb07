"""Requests and answers of the CNI specification, as values."""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.node.cni.protocol import (
    VERSIONS,
    CniError,
    CniRequest,
    CniResult,
    Code,
    asked_version,
    encode_reply,
    parse_request,
    valid_attachments,
    version_answer,
)

CONFIG = {"cniVersion": "1.0.0", "name": "k8s-ovs", "type": "k8s-ovs"}
ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c0ffee",
    "CNI_NETNS": "/run/netns/pod",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=hw1;K8S_POD_NAME=web;K8S_POD_UID=u-1",
}
RESULT = CniResult(
    host_name="kovs0123456789a",
    ifname="eth0",
    sandbox="/run/netns/pod",
    mac="0a:58:ac:0b:04:02",
    mtu=1450,
    address=IPv4Interface("172.11.4.2/22"),
    gateway=IPv4Address("172.11.4.1"),
    routes=(
        (IPv4Network("172.11.0.0/16"), None),
        (IPv4Network("0.0.0.0/0"), IPv4Address("172.11.4.1")),
    ),
)


def wire(config: Any = CONFIG, **environment: str | None) -> bytes:
    """A request on the wire; None takes a variable out."""
    items = {**ENVIRONMENT, **environment}
    head = "\0".join(f"{key}={value}" for key, value in items.items() if value is not None)
    body = config if isinstance(config, bytes) else json.dumps(config).encode()
    return head.encode() + b"\0\0" + body


def parsed(config: Any = CONFIG, **environment: str | None) -> CniRequest:
    return parse_request(wire(config, **environment), arrived=1.5)


def refused(config: Any = CONFIG, **environment: str | None) -> CniError:
    with pytest.raises(CniError) as raised:
        parsed(config, **environment)
    return raised.value


def answered(answer: Any, version: str = "1.0.0") -> tuple[int, Any]:
    reply = encode_reply(answer, version)
    return reply[0], json.loads(reply[1:]) if reply[1:] else None


def test_a_request_tells_who_asks_for_what() -> None:
    request = parsed()
    assert (request.command, request.container_id, request.netns, request.ifname) == (
        "ADD",
        "c0ffee",
        "/run/netns/pod",
        "eth0",
    )
    assert (request.namespace, request.pod, request.uid) == ("hw1", "web", "u-1")
    assert (request.config, request.cni_version, request.arrived) == (CONFIG, "1.0.0", 1.5)


def test_a_delete_needs_no_namespace() -> None:
    assert parsed(CNI_COMMAND="DEL", CNI_NETNS=None).netns == ""


def test_an_empty_value_is_not_the_end_of_the_environment() -> None:
    assert parsed(CNI_ARGS="", CNI_PATH="/opt/cni/bin").args == {}


@pytest.mark.parametrize("command", ["STATUS", "GC"])
def test_status_and_gc_need_no_container(command: str) -> None:
    config = {**CONFIG, "cniVersion": "1.1.0"}
    request = parsed(config, CNI_COMMAND=command, CNI_CONTAINERID=None, CNI_IFNAME=None)
    assert request.command == command


@pytest.mark.parametrize("name", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
@pytest.mark.parametrize("absent", [None, ""])
def test_a_missing_variable_is_named(name: str, absent: str | None) -> None:
    error = refused(**{name: absent})
    assert error.code == Code.INVALID_ENVIRONMENT
    assert name in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CNI_COMMAND", "REPLACE"),
        ("CNI_CONTAINERID", "../../etc"),
        ("CNI_CONTAINERID", "-c"),
        ("CNI_CONTAINERID", "c0ffee\n"),
        ("CNI_IFNAME", "eth0/x"),
        ("CNI_IFNAME", "eth0:1"),
        ("CNI_IFNAME", "eth 0"),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "sixteen-letters-"),
        ("CNI_ARGS", "K8S_POD_NAME"),
    ],
)
def test_an_invalid_variable_is_named_with_its_value(name: str, value: str) -> None:
    error = refused(**{name: value})
    assert error.code == Code.INVALID_ENVIRONMENT
    assert name in error.msg
    assert repr(value) in error.details


def test_the_longest_interface_name_is_allowed() -> None:
    assert parsed(CNI_IFNAME="fifteen-letters").ifname == "fifteen-letters"


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (b"{", Code.DECODING_FAILURE),
        (b"\xff", Code.DECODING_FAILURE),
        (b"[" * 100_000, Code.DECODING_FAILURE),
        ([], Code.INVALID_CONFIG),
        ({"cniVersion": "1.0.0"}, Code.INVALID_CONFIG),
        ({"cniVersion": "1.0.0", "name": 7}, Code.INVALID_CONFIG),
        ({"cniVersion": "0.2.0", "name": "n"}, Code.INCOMPATIBLE_VERSION),
        ({"cniVersion": "9.0.0", "name": "n"}, Code.INCOMPATIBLE_VERSION),
        ({"cniVersion": ["1.0.0"], "name": "n"}, Code.INCOMPATIBLE_VERSION),
        ({"name": "n"}, Code.INCOMPATIBLE_VERSION),
    ],
)
def test_a_bad_configuration_has_its_code(config: Any, code: Code) -> None:
    assert refused(config).code == code


def test_an_unknown_version_is_told_those_that_are_known() -> None:
    assert "0.3.1, 0.4.0, 1.0.0, 1.1.0" in refused({**CONFIG, "cniVersion": "2.0.0"}).details


@pytest.mark.parametrize(
    ("command", "version"), [("CHECK", "0.3.1"), ("STATUS", "1.0.0"), ("GC", "1.0.0")]
)
def test_a_command_is_refused_in_versions_before_its_own(command: str, version: str) -> None:
    error = refused({**CONFIG, "cniVersion": version}, CNI_COMMAND=command)
    assert error.code == Code.INCOMPATIBLE_VERSION
    assert command in str(error)


def test_a_request_that_is_no_environment_is_a_decoding_failure() -> None:
    with pytest.raises(CniError) as raised:
        parse_request(b"what is this", 0.0)
    assert raised.value.code == Code.DECODING_FAILURE


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_fail_otherwise(noise: bytes) -> None:
    for text in (noise, wire(noise), noise + b"\0\0" + noise):
        asked_version(text)
        with suppress(CniError):
            parse_request(text, 0.0)


def test_version_answers_in_the_version_that_was_asked_in() -> None:
    request = parsed({"cniVersion": "0.4.0"}, CNI_COMMAND="VERSION")
    assert version_answer(request.cni_version) == {
        "cniVersion": "0.4.0",
        "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }


def test_version_answers_an_unknown_version_in_the_latest() -> None:
    assert parsed({"cniVersion": "9.9.9"}, CNI_COMMAND="VERSION").cni_version == "1.1.0"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_result_has_the_address_at_the_pods_interface(version: str) -> None:
    status, said = answered(RESULT, version)
    assert status == 0
    assert said["cniVersion"] == version
    (ip,) = said["ips"]
    assert said["interfaces"][ip["interface"]]["sandbox"] == "/run/netns/pod"
    assert (ip["address"], ip["gateway"]) == ("172.11.4.2/22", "172.11.4.1")
    assert said["routes"] == [{"dst": "172.11.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "172.11.4.1"}]


@pytest.mark.parametrize("version", VERSIONS)
def test_only_versions_before_1_say_the_family_and_only_1_1_the_mtu(version: str) -> None:
    _, said = answered(RESULT, version)
    assert ("version" in said["ips"][0]) == version.startswith("0.")
    assert [("mtu" in each) for each in said["interfaces"]] == [version == "1.1.0"] * 2


DNS = {"nameservers": ["10.96.0.10"], "domain": "a.b", "search": ["b"], "options": ["ndots:5"]}


def test_the_answer_to_add_has_the_dns_of_the_configuration() -> None:
    assert parsed({**CONFIG, "dns": DNS}).config["dns"] == DNS
    assert json.loads(encode_reply(RESULT, "1.0.0", DNS)[1:])["dns"] == DNS
    assert answered(RESULT)[1]["dns"] == {}


@pytest.mark.parametrize(
    ("dns", "told"),
    [
        (["10.96.0.10"], 'found ["10.96.0.10"], expected an object'),
        ({"nameservers": "10.96.0.10"}, 'found "10.96.0.10", expected a list of texts'),
        ({"search": [1]}, "found [1], expected a list of texts"),
        ({"domain": ["b"]}, 'found ["b"], expected a text'),
        ({"timeout": 5}, 'found {"timeout": 5}, expected no other fields than nameservers, domain'),
    ],
)
def test_dns_that_no_runtime_understands_is_refused(dns: Any, told: str) -> None:
    error = refused({**CONFIG, "dns": dns})
    assert error.code is Code.INVALID_CONFIG
    assert error.details.startswith(told)


def test_success_without_a_result_prints_nothing() -> None:
    assert encode_reply(None, "1.0.0") == b"\0"


def test_an_error_is_a_json_object_with_exit_status_1() -> None:
    error = CniError(Code.TRY_AGAIN_LATER, "no subnet yet", "waited 30 s for etcd")
    assert answered(error, "0.4.0") == (
        1,
        {
            "cniVersion": "0.4.0",
            "code": 11,
            "msg": "no subnet yet",
            "details": "waited 30 s for etcd",
        },
    )


def test_an_error_about_a_broken_request_is_told_in_its_own_version_if_it_has_one() -> None:
    assert asked_version(wire({"cniVersion": "0.3.1"})) == "0.3.1"
    assert asked_version(b"noise") == "1.1.0"


@pytest.mark.parametrize("key", ["cni.dev/valid-attachments", "cni.dev/attachments"])
def test_gc_is_told_what_stays(key: str) -> None:
    listed = [{"containerID": "a", "ifname": "eth0"}, {"containerID": "b", "ifname": "net1"}]
    request = parsed({**CONFIG, "cniVersion": "1.1.0", key: listed}, CNI_COMMAND="GC")
    assert valid_attachments(request) == {("a", "eth0"), ("b", "net1")}


def test_gc_of_an_empty_list_leaves_nothing() -> None:
    config = {**CONFIG, "cniVersion": "1.1.0", "cni.dev/valid-attachments": None}
    assert valid_attachments(parsed(config, CNI_COMMAND="GC")) == frozenset()


@pytest.mark.parametrize("listed", ["all", [{"containerID": "a"}], [7], {"a": "b"}])
def test_gc_with_a_malformed_list_is_refused(listed: Any) -> None:
    config = {**CONFIG, "cniVersion": "1.1.0", "cni.dev/valid-attachments": listed}
    with pytest.raises(CniError) as raised:
        valid_attachments(parsed(config, CNI_COMMAND="GC"))
    assert raised.value.code == Code.INVALID_CONFIG


def test_gc_without_a_list_is_refused() -> None:
    with pytest.raises(CniError, match="valid-attachments"):
        valid_attachments(parsed({**CONFIG, "cniVersion": "1.1.0"}, CNI_COMMAND="GC"))
