"""What others may put before a daemon, drawn: requests, records, objects, things in the switch."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.unit.any_values import BYTES, JSON

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.switch import PODS_FROM
from k8s_ovs_lab import Lab, servers
from k8s_ovs_lab.command import inside
from k8s_ovs_lab.layout import ETCD_PREFIX, LabNode

__all__ = ["FEEDS", "Feed", "put", "take_away"]

#: Numbers of ports and meters: also those that the next pods will ask for.
_NUMBERS = st.integers(PODS_FROM, PODS_FROM + 12) | st.integers(1, 0xFE00)
_NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@frozen
class Feed:
    """All that is put at once.

    requests: to the CNI socket. records: below etcd's prefix. objects: path of the list, name and
    object. commands: for a shell on the node, each with the one that takes away what it put.
    """

    requests: list[bytes]
    records: dict[str, bytes]
    objects: list[tuple[str, str, dict[str, Any]]]
    commands: list[tuple[str, str]]


def _request(command: str, items: Mapping[str, str], stdin: bytes) -> bytes:
    named = {"CNI_COMMAND": command, "CNI_IFNAME": "eth0"} | dict(items)
    head = b"\0".join(f"{k}={v}".encode(errors="surrogatepass") for k, v in named.items())
    return head + b"\0\0" + stdin


_VARIABLES = st.sampled_from(
    ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "OTHER"]
)
_WORDS = st.text(max_size=20) | st.sampled_from(
    ["/run/netns/none", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=one", "c1", "../..", "x" * 70_000]
)
_FIELDS = ["cniVersion", "name", "type", "prevResult", "args", "cni.dev/valid-attachments"]
_CONFIGS = st.builds(
    lambda wrong: {"cniVersion": "1.1.0", "name": "k8s-ovs", "type": "k8s-ovs"} | wrong,
    # A list that is sound, and empty, has all pods removed.
    st.dictionaries(st.sampled_from(_FIELDS), JSON.filter(lambda value: value not in (None, []))),
)
_REQUESTS = st.binary(max_size=300) | st.builds(
    _request,
    st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", "NONE"]),
    st.dictionaries(_VARIABLES, _WORDS),
    BYTES | _CONFIGS.map(lambda config: json.dumps(config).encode()),
)

_KINDS = ["subnets", "vnids", "netnamespaces", "external", "given", "status", "none", ""]
_RECORD = {
    "Host": "node9",
    "HostIP": "192.0.2.9",
    "Subnet": "172.11.128.0/22",
    "NetName": "none",
    "NetID": 7,
    "Action": "join",
    "Assign": True,
}
_RECORDS = st.dictionaries(
    st.tuples(
        st.sampled_from(_KINDS), st.text(max_size=8) | st.sampled_from(["192.0.2.9", "none"])
    ).map("/".join),
    BYTES
    | st.dictionaries(st.sampled_from([*_RECORD]), JSON, max_size=3).map(
        lambda wrong: json.dumps(_RECORD | wrong).encode()
    ),
    min_size=3,
    max_size=12,
)

_ANNOTATIONS = st.dictionaries(
    st.sampled_from(["kubernetes.io/egress-bandwidth", "kubernetes.io/ingress-bandwidth", "other"]),
    JSON | st.sampled_from(["1M", "-1", "1e99", "0.1", "P"]),
)
_ADDRESSES = st.lists(
    st.fixed_dictionaries({"type": st.just("InternalIP"), "address": JSON}) | JSON, max_size=3
)


def _object(name: str, annotations: Any, addresses: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"fed-{name}", "annotations": annotations},
        "spec": {"nodeName": "node1", "containers": []},
        "status": {"addresses": addresses, "phase": "Running"},
    }


_OBJECTS = st.tuples(
    st.sampled_from(["/api/v1/nodes", "/api/v1/namespaces", "/api/v1/namespaces/default/pods"]),
    st.builds(_object, _NAMES, _ANNOTATIONS | JSON, _ADDRESSES | JSON),
).map(lambda drawn: (drawn[0], drawn[1]["metadata"]["name"], drawn[1]))


def _groups() -> SearchStrategy[tuple[str, str]]:
    return st.builds(
        lambda number, kind: (
            f"ovs-ofctl -OOpenFlow15 add-group br0 group_id={number},type={kind},bucket=output:1",
            f"ovs-ofctl -OOpenFlow15 del-groups br0 group_id={number}",
        ),
        _NUMBERS,
        st.sampled_from(["all", "select", "indirect"]),
    )


def _meters() -> SearchStrategy[tuple[str, str]]:
    """Some numbers are for ovs-vswitchd's own use: ovs-ofctl(8), add-meter."""
    return st.builds(
        lambda number, rate: (
            f"ovs-ofctl -OOpenFlow15 add-meter br0 meter={number},stats,{rate}",
            f"ovs-ofctl -OOpenFlow15 del-meter br0 meter={number}",
        ),
        _NUMBERS | st.sampled_from(["controller", "slowpath"]),
        st.sampled_from(
            ["kbps,band=type=drop,rate=1", "pktps,burst,band=type=drop,rate=20000,burst_size=2000"]
        ),
    )


def _flows() -> SearchStrategy[tuple[str, str]]:
    """Cookies of ours have a flow's hash; `$ours` is one that the bridge has."""
    return st.builds(
        lambda cookie, table, priority, match, actions: (
            f"ovs-ofctl -OOpenFlow15 add-flow br0 "
            f'"cookie={cookie},table={table},priority={priority},{match},actions={actions}"',
            f"ovs-ofctl -OOpenFlow15 --strict del-flows br0 "
            f"table={table},priority={priority},{match}",
        ),
        st.sampled_from(["0", "0x1", "0xffffffffffffffff", "$ours"]),
        st.sampled_from([0, 10, 20, 30, 60, 200, 253]),
        st.sampled_from([0, 1, 100, 65535]),
        st.sampled_from(["in_port=1", "ip", "arp", "ip,nw_dst=172.11.0.0/16", "ipv6", "dl_vlan=7"]),
        st.sampled_from(
            ["drop", "normal", "flood", "group:18", "meter:18,normal", "ct(commit),resubmit(,0)"]
        ),
    )


def _ids(number: int) -> dict[str, str]:
    """As of a pod: of none that ever was, and that seems to live."""
    return {
        "k8s-ovs-container": f"c{number}",
        "k8s-ovs-ifname": "eth0",
        "k8s-ovs-netns": "/proc/self/ns/net",
        "k8s-ovs-namespace": "default",
        "k8s-ovs-pod": "none",
        "k8s-ovs-uid": "none",
        "k8s-ovs-ip": f"172.11.0.{number % 250 + 2}",
        "k8s-ovs-serial": str(10**number),
    }


def _ports() -> SearchStrategy[tuple[str, str]]:
    def port(name: str, kind: str, number: int, others: Mapping[str, str]) -> tuple[str, str]:
        ids = [f"external_ids:{k}='{v}'" for k, v in (_ids(number % 30) | others).items() if v]
        made = f"ip link add {name} type veth peer name {name}p; " if kind == "veth" else ""
        row = f"set interface {name} ofport_request={number} {' '.join(ids)}"
        of_type = "" if kind == "veth" else f" type={kind}"
        return (
            f"{made}ovs-vsctl -t5 add-port br0 {name} -- {row}{of_type}",
            f"ovs-vsctl -t5 --if-exists del-port br0 {name}; ip link del {name}",
        )

    wrong = st.dictionaries(
        st.sampled_from([*_ids(1)]), st.sampled_from(["", "-1", "1.2.3", "/", "9" * 5000])
    )
    names = st.builds("{}{}".format, st.sampled_from(["kovs", "their"]), _NAMES)
    return st.builds(port, names, st.sampled_from(["internal", "veth", "vxlan"]), _NUMBERS, wrong)


def _bridges() -> SearchStrategy[tuple[str, str]]:
    return _NAMES.map(
        lambda name: (
            f"ovs-vsctl -t5 add-br b{name} -- set bridge b{name} datapath_type=netdev -- "
            f"add-port b{name} p{name} -- set interface p{name} type=internal",
            f"ovs-vsctl -t5 --if-exists del-br b{name}",
        )
    )


_COMMANDS = st.tuples(
    *(
        st.lists(each(), min_size=1, max_size=4)
        for each in (_groups, _meters, _flows, _ports, _bridges)
    )
).map(lambda kinds: [pair for pairs in kinds for pair in pairs])

FEEDS = st.builds(
    Feed,
    st.lists(_REQUESTS, min_size=5, max_size=15),
    _RECORDS,
    st.lists(_OBJECTS, min_size=3, max_size=8, unique_by=lambda each: each[:2]),
    _COMMANDS,
)


def put(lab: Lab, node: LabNode, network: str, feed: Feed) -> None:
    """All of it; what somebody refuses before the daemon sees it is left out."""
    _etcd(lab, "requestPut", [(f"{network}/{key}", data) for key, data in feed.records.items()])
    _objects(lab, feed, lambda kube, path, _name, body: kube.create(path, body))
    ours = (
        "ours=$(ovs-ofctl dump-flows br0 | sed -n 's/.*cookie=\\(0x[0-9a-f]*\\).*/\\1/p' | tail -1)"
    )
    _shell(lab, node, [ours, *(done for done, _ in feed.commands)])
    for request in feed.requests:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(0.2)
            channel.connect(str(node.cni_socket))
            channel.sendall(request)
            channel.shutdown(socket.SHUT_WR)
            channel.recv(1 << 16)  # who waits for longer hangs up


def take_away(lab: Lab, node: LabNode, network: str, feed: Feed) -> None:
    _shell(lab, node, [undone for _, undone in feed.commands])
    _objects(lab, feed, lambda kube, path, name, _body: kube.delete(f"{path}/{name}"))
    _etcd(lab, "requestDeleteRange", [(f"{network}/{key}", None) for key in feed.records])


def _shell(lab: Lab, node: LabNode, commands: Iterable[str]) -> None:
    lab.exec(node.name, ["sh"], text="\n".join(commands), check=False)


def _objects(lab: Lab, feed: Feed, change: Callable[[Any, str, str, Any], object]) -> None:
    objects = servers.objects(lab.layout)
    with inside(objects.netns):
        for path, name, body in feed.objects:
            with suppress(K8sOvsError):
                change(objects.kube, path, name, body)


def _etcd(lab: Lab, operation: str, records: Iterable[tuple[str, bytes | None]]) -> None:
    """In one transaction, by etcd's gateway: keys and values are any bytes."""

    def told(data: bytes) -> str:
        return base64.b64encode(data).decode()

    done = [
        {
            operation: {"key": told(f"{ETCD_PREFIX}/{key}".encode(errors="surrogatepass"))}
            | ({} if data is None else {"value": told(data)})
        }
        for key, data in records
    ]
    address = f"{lab.layout.etcd_url}/v3/kv/txn"
    words = ["curl", "-sf", "--data-binary", "@-", address]
    lab.exec("fabric", words, text=json.dumps({"success": done}))
