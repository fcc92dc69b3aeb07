"""What container runtimes and CNI programs say to each other, as values: the CNI specification.

https://github.com/containernetworking/cni/blob/spec-v1.1.0/SPEC.md. Nothing here touches a socket.

A request on the wire is what the runtime gave the CNI program: its `CNI_...` environment as
`KEY=VALUE` items, each ended by a NUL, one more NUL, then the network configuration as it came on
stdin. The reply is one byte, the exit status, and then what to print.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_interface
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from k8s_ovs.errors import K8sOvsError, shown
from k8s_ovs.model.json_text import parse_json, shown_json

__all__ = [
    "ANSWER_SECONDS",
    "MAX_REQUEST",
    "VERSIONS",
    "Answer",
    "CniError",
    "CniRequest",
    "CniResult",
    "Code",
    "asked_version",
    "encode_reply",
    "parse_request",
    "previous_addresses",
    "valid_attachments",
    "version_answer",
]

#: Seconds within which every request is answered; the CNI program waits a little longer.
ANSWER_SECONDS = 30.0

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

#: Characters of a version that is repeated to who asked in it, whether or not we know it.
_LONGEST_VERSION = 32

#: Bytes of the largest request that is read.
MAX_REQUEST = 1 << 20

#: The version that introduced a command (section "CNI operations" and its history).
_COMMANDS = {
    "ADD": "0.3.0",
    "DEL": "0.3.0",
    "VERSION": "0.3.0",
    "CHECK": "0.4.0",
    "STATUS": "1.1.0",
    "GC": "1.1.0",
}

#: Section 2, "CNI operations": the parameters that a command requires.
_REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
}

_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*\Z")
_IFNAME = re.compile(r"(?!\.{1,2}\Z)[^/:\s]{1,15}\Z")


class Code(IntEnum):
    """Section "Error": the specification's codes; from 100 on they are the CNI program's own."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODING_FAILURE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    NOT_AVAILABLE_LIMITED = 51
    FAILED = 100


@frozen
class CniError(K8sOvsError):
    """A negative answer: raised while a request is read, or passed to its `reply`.

    msg: short, what is wrong; details: what was found and what to look at.
    """

    code: int
    msg: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.msg}: {self.details}" if self.details else self.msg


#: Fields of `dns` in a network configuration and in a result.
_DNS = ("nameservers", "domain", "search", "options")


@frozen
class CniRequest:
    """One call of a runtime. What a command does not need may be empty (`netns` of a DEL).

    args: the items of CNI_ARGS; config: the network configuration; arrived: time.monotonic().
    """

    command: str
    container_id: str
    netns: str
    ifname: str
    args: Mapping[str, str]
    config: Mapping[str, Any]
    cni_version: str
    arrived: float

    @property
    def network(self) -> str:
        """The name of the network configuration."""
        return str(self.config.get("name", ""))

    @property
    def dns(self) -> Mapping[str, Any]:
        """What the network configuration says of DNS; the answer to ADD says the same."""
        return self.config.get("dns") or {}

    @property
    def pod(self) -> str:
        """The pod's name, "" when the runtime is not Kubernetes'."""
        return self.args.get("K8S_POD_NAME", "")

    @property
    def namespace(self) -> str:
        """The pod's Kubernetes namespace, "" when unknown."""
        return self.args.get("K8S_POD_NAMESPACE", "")

    @property
    def uid(self) -> str:
        """The pod's UID, "" when unknown."""
        return self.args.get("K8S_POD_UID", "")


@frozen
class CniResult:
    """An answer to ADD: the pair of devices, and the one address of the pod's side.

    host_name: the node's side of the veth; ifname: the pod's, in namespace `sandbox`.
    routes: (destination, gateway or None for on-link), as set in the pod.
    """

    host_name: str
    ifname: str
    sandbox: str
    mac: str
    mtu: int
    address: IPv4Interface
    gateway: IPv4Address
    routes: tuple[tuple[IPv4Network, IPv4Address | None], ...] = field(default=())


#: None: done, no output (DEL, CHECK, GC, STATUS).
Answer = CniResult | CniError | None


def parse_request(wire: bytes, arrived: float) -> CniRequest:
    """A request as a value.

    Raises CniError with code 1 (version), 4 (environment), 6 (not JSON) or 7 (configuration).
    """
    head, _, stdin = wire.partition(b"\0\0")
    try:
        environment = dict(item.split("=", 1) for item in head.decode().split("\0"))
    except ValueError as error:
        raise CniError(Code.DECODING_FAILURE, "the request is malformed", str(error)) from error
    command = environment.get("CNI_COMMAND", "")
    _check_environment(command, environment)
    config = _config(stdin)
    if command == "CHECK":
        previous_addresses(config)
    if command == "ADD":
        _check_dns(config.get("dns") or {})
    return CniRequest(
        command=command,
        container_id=environment.get("CNI_CONTAINERID", ""),
        netns=environment.get("CNI_NETNS", ""),
        ifname=environment.get("CNI_IFNAME", ""),
        args=_arguments(environment.get("CNI_ARGS", "")),
        config=config,
        cni_version=_version(command, config),
        arrived=arrived,
    )


def version_answer(cni_version: str) -> dict[str, Any]:
    """The answer to VERSION."""
    return {"cniVersion": cni_version, "supportedVersions": list(VERSIONS)}


def asked_version(wire: bytes) -> str:
    """The version in which to answer a request that may be malformed: its own, or else ours."""
    try:
        asked = parse_json(wire.partition(b"\0\0")[2])["cniVersion"]
    except (ValueError, LookupError, TypeError):
        return VERSIONS[-1]
    return asked if isinstance(asked, str) and len(asked) <= _LONGEST_VERSION else VERSIONS[-1]


def valid_attachments(request: CniRequest) -> frozenset[tuple[str, str]]:
    """GC: the (container id, interface) pairs that are to stay.

    Raises CniError (7) when the list is missing or malformed: guessing would cut living pods off.
    """
    # libcni 1.2.0 to 1.2.2 wrote the second name.
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        if key in request.config:
            break
    else:
        raise CniError(Code.INVALID_CONFIG, "GC without cni.dev/valid-attachments")
    items = request.config[key]
    if items is None:  # what Go writes for an empty list
        return frozenset()
    if not isinstance(items, list):
        raise _malformed(key, items, "a list of objects with containerID and ifname")
    return frozenset(_attachment(f"{key}[{place}]", item) for place, item in enumerate(items))


def _attachment(where: str, item: object) -> tuple[str, str]:
    if isinstance(item, dict):
        container, ifname = item.get("containerID"), item.get("ifname")
        if isinstance(container, str) and isinstance(ifname, str):
            return container, ifname
    raise _malformed(where, item, "an object with the texts containerID and ifname")


def previous_addresses(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses, without lengths, that CHECK's prevResult has; none where it has no `ips`.

    Raises CniError (7) for one that no plugin can have written (section "ADD Success").
    """
    if "prevResult" not in config:
        return ()
    previous = config["prevResult"]
    if not isinstance(previous, dict):
        raise _malformed("prevResult", previous, "an object")
    ips = previous.get("ips", [])
    if not isinstance(ips, list):
        raise _malformed("prevResult.ips", ips, "a list of objects with an address")
    return tuple(_address(f"prevResult.ips[{place}]", each) for place, each in enumerate(ips))


def _check_dns(dns: object) -> None:
    """Raises CniError (7) for what the specification does not have (section "Result types")."""
    if not isinstance(dns, dict):
        raise _malformed("dns", dns, "an object")
    for name, value in dns.items():
        if name not in _DNS:
            raise _malformed("dns", dns, f"no other fields than {', '.join(_DNS)}")
        if name == "domain" and not isinstance(value, str):
            raise _malformed("dns.domain", value, "a text")
        if name != "domain" and not (
            isinstance(value, list) and all(isinstance(each, str) for each in value)
        ):
            raise _malformed(f"dns.{name}", value, "a list of texts")


def _address(where: str, item: object) -> str:
    text = item.get("address") if isinstance(item, dict) else None
    if isinstance(text, str):
        with suppress(ValueError):
            return str(ip_interface(text).ip)
    raise _malformed(where, item, 'an object with an address such as "172.11.4.2/22"')


def encode_reply(
    answer: CniResult | CniError | Mapping[str, Any] | None,
    cni_version: str,
    dns: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """The reply on the wire. None: the command succeeded without output. dns: of the network
    configuration, for the answer to ADD."""
    if answer is None:
        return b"\0"
    if isinstance(answer, CniError):
        return b"\x01" + json.dumps(_error_json(answer, cni_version)).encode()
    if isinstance(answer, CniResult):
        answer = {**_result_json(answer, cni_version), "dns": dict(dns)}
    return b"\0" + json.dumps(answer).encode()


def _check_environment(command: str, environment: Mapping[str, str]) -> None:
    if command not in _COMMANDS:
        found = f"found {shown(command)}, expected one of {', '.join(_COMMANDS)}"
        raise CniError(Code.INVALID_ENVIRONMENT, "unknown CNI_COMMAND", found)
    needed = _REQUIRED.get(command, ())
    if missing := [name for name in needed if not environment.get(name)]:
        raise CniError(
            Code.INVALID_ENVIRONMENT, "required environment is missing", ", ".join(missing)
        )
    if not needed:
        return
    container, ifname = environment["CNI_CONTAINERID"], environment["CNI_IFNAME"]
    if not _CONTAINER_ID.match(container):
        found = f"found {shown(container)}, expected letters, digits, '_', '.', '-'"
        raise CniError(Code.INVALID_ENVIRONMENT, "CNI_CONTAINERID is invalid", found)
    if not _IFNAME.match(ifname):
        found = f"found {shown(ifname)}, expected 1 to 15 characters, no '/', ':'"
        raise CniError(Code.INVALID_ENVIRONMENT, "CNI_IFNAME is invalid", found)


def _config(stdin: bytes) -> Mapping[str, Any]:
    try:
        config = parse_json(stdin)
    except ValueError as error:
        raise CniError(
            Code.DECODING_FAILURE, "the network configuration is not JSON", str(error)
        ) from error
    if not isinstance(config, dict):
        found = f"found {shown_json(config, 200)}, expected an object"
        raise CniError(Code.INVALID_CONFIG, "the network configuration is invalid", found)
    return config


def _version(command: str, config: Mapping[str, Any]) -> str:
    """The version to speak. A configuration without one means 0.1.0, says the specification."""
    version = config.get("cniVersion") or "0.1.0"
    if command == "VERSION":
        return version if version in VERSIONS else VERSIONS[-1]
    if version not in VERSIONS:
        found = f"found {shown_json(version, 200)}, expected one of {', '.join(VERSIONS)}"
        raise CniError(Code.INCOMPATIBLE_VERSION, "incompatible cniVersion", found)
    since = _COMMANDS[command]
    if VERSIONS.index(version) < VERSIONS.index(since):
        found = f"the configuration's cniVersion is {version}, {command} exists since {since}"
        raise CniError(Code.INCOMPATIBLE_VERSION, f"cniVersion does not allow {command}", found)
    if command != "STATUS" and not (isinstance(config.get("name"), str) and config["name"]):
        found = f"found {shown_json(config.get('name'), 200)}, expected the network's name"
        raise CniError(Code.INVALID_CONFIG, "the network configuration has no name", found)
    return str(version)


def _arguments(text: str) -> dict[str, str]:
    """CNI_ARGS, "K8S_POD_NAME=a;K8S_POD_NAMESPACE=b", as a mapping."""
    items = (item.partition("=") for item in text.split(";") if item)
    arguments = {}
    for key, equals, value in items:
        if not equals:
            found = f"found {shown(key)} in {shown(text)}, expected KEY=VALUE separated by ';'"
            raise CniError(Code.INVALID_ENVIRONMENT, "CNI_ARGS is invalid", found)
        arguments[key] = value
    return arguments


def _malformed(what: str, value: object, expected: str) -> CniError:
    found = f"found {shown_json(value, 200)}, expected {expected}"
    return CniError(Code.INVALID_CONFIG, f"{what} is malformed", found)


def _error_json(error: CniError, cni_version: str) -> dict[str, Any]:
    answer = {"cniVersion": cni_version, "code": int(error.code), "msg": error.msg}
    if error.details:
        answer["details"] = error.details
    return answer


def _result_json(result: CniResult, cni_version: str) -> dict[str, Any]:
    """Section "ADD Success": 0.x has the address family in `ips`, 1.1.0 the MTU in `interfaces`."""
    mtu = {"mtu": result.mtu} if cni_version == "1.1.0" else {}
    family = {"version": "4"} if cni_version.startswith("0.") else {}
    pod_side = {"name": result.ifname, "mac": result.mac, "sandbox": result.sandbox}
    ip = {"interface": 1, "address": str(result.address), "gateway": str(result.gateway)}
    return {
        "cniVersion": cni_version,
        "interfaces": [{"name": result.host_name, **mtu}, {**pod_side, **mtu}],
        "ips": [{**family, **ip}],
        "routes": [
            {"dst": str(to)} if via is None else {"dst": str(to), "gw": str(via)}
            for to, via in result.routes
        ],
    }
