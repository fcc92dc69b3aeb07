"""A pod's pair of devices: made, set up, checked, deleted.

The hot path of every pod. The pair is made with its far end already in the pod's namespace
(moving one there costs twenty times as much), and the pod's end is set up by one batch through a
socket that was opened inside.
"""

from __future__ import annotations

import fcntl
import hashlib
import socket
import struct
import sys
from collections.abc import Iterable
from errno import EEXIST, ENODEV
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from attrs import frozen

from k8s_ovs.link import encode
from k8s_ovs.link.ethtool import disable_tx_checksums
from k8s_ovs.link.lookup import Device, device
from k8s_ovs.link.namespace import entered, opened
from k8s_ovs.link.netlink import (
    NLM_F_CREATE_EXCL,
    LinkError,
    Step,
    attribute,
    open_route_socket,
    perform,
)
from k8s_ovs.link.rtnetlink import talk
from k8s_ovs.link.sysctl import SYSCTL

__all__ = [
    "PREFIX",
    "PodLink",
    "check",
    "create",
    "delete",
    "delete_inside",
    "disown",
    "host_name_of",
    "index_of",
    "mtu_of",
]

#: Begins the name of every pod's device on the node, and of no other device.
PREFIX = "kovs"

_IFLA_ADDRESS, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 1, 18, 26, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
_IFLA_GROUP = 27
#: The group of devices that are being deleted; a number that nobody else would choose.
_DOOMED = int.from_bytes(PREFIX.encode(), "big")
_SIOCGIFMTU, _SIOCGIFINDEX = 0x8921, 0x8933
#: Bytes. The kernel takes IPv6 away from a device with a smaller MTU (RFC 8200 section 5).
_IPV6_MIN_MTU = 1280

_NO_IPV6_ADDRESS = attribute(
    _IFLA_AF_SPEC,
    attribute(
        socket.AF_INET6, attribute(_IFLA_INET6_ADDR_GEN_MODE, struct.pack("=B", _ADDR_GEN_NONE))
    ),
)


@frozen
class PodLink:
    """The desired state of a pod's pair of devices.

    host_name: the node's end; netns: a path. routes: (destination, gateway or None for on-link).
    memory: whose it is, in 255 bytes at most, which the node's end says (its alias).
    in_user_space: Open vSwitch reads and sends packets there, not in the kernel.
    """

    host_name: str
    netns: str
    ifname: str
    mac: str
    address: IPv4Interface
    gateway: IPv4Address
    mtu: int
    routes: tuple[tuple[IPv4Network, IPv4Address | None], ...]
    in_user_space: bool = False
    memory: str = ""


def host_name_of(container_id: str, ifname: str) -> str:
    """The name of the node's end: always the same for the same interface of the same sandbox."""
    digest = hashlib.blake2b(f"{container_id}/{ifname}".encode(), digest_size=6).hexdigest()
    return PREFIX + digest[: 15 - len(PREFIX)]


def create(link: PodLink) -> None:
    """Make the pair and set the pod's end up; an orphaned device of the same name is replaced.

    Raises LinkError naming the step; no device is left then.
    """
    with opened(link.netns) as netns, _pod_socket(netns) as pod, open_route_socket() as node:
        _create_pair(node, netns, link)
        try:
            _set_host_up(node, link)
            _set_up(pod, link)
        except LinkError:
            _delete(node, [link.host_name])
            raise


def delete(host_names: Iterable[str]) -> None:
    """Delete the devices, each with its end in the pod; a missing one is no error.

    Takes about 20 ms in all, however many they are. Raises LinkError.
    """
    with open_route_socket() as node:
        _delete(node, host_names)


def disown(host_names: Iterable[str]) -> None:
    """Say of devices that they are nobody's, so that they go even if nobody lives to delete them; a
    missing one is no error. Raises LinkError."""
    with open_route_socket() as node:
        _disown(node, host_names)


def delete_inside(link: PodLink) -> None:
    """Delete the pod's end, and with it the other one, whatever its name is and wherever somebody
    moved it. Nothing happens to an interface that is not this link's. Raises LinkError."""
    with opened(link.netns) as netns:
        with entered(netns):
            found = talk(lambda kernel: device(kernel, link.ifname))
        if found is not None and found.mac == link.mac:
            body = encode.device() + encode.name(link.ifname)
            with _pod_socket(netns) as pod:
                _unless_missing(pod, Step(f"delete {link.ifname}", encode.RTM_DELLINK, 0, body))


def check(link: PodLink) -> list[str]:
    """How the devices differ from `link`, each as a sentence; empty when all is well.

    Anything else in the pod (more routes, more addresses) is ignored.
    """
    try:
        host = talk(lambda kernel: device(kernel, link.host_name))
        with opened(link.netns) as netns, entered(netns):
            pod = talk(lambda kernel: device(kernel, link.ifname))
    except LinkError as error:
        return [str(error)]
    return [*_node_problems(host, link), *_pod_problems(pod, link)]


def _node_problems(host: Device | None, link: PodLink) -> list[str]:
    if host is None:
        return [f"{link.host_name} is missing on the node"]
    return [] if host.up else [f"{link.host_name} is down on the node"]


def _pod_problems(pod: Device | None, link: PodLink) -> list[str]:
    if pod is None:
        return [f"{link.ifname} is missing in {link.netns}"]
    has_routes = {(each.to, each.via) for each in pod.routes}
    return [
        *([] if pod.up else [f"{link.ifname} is down"]),
        *_differs(f"{link.ifname}'s MAC", pod.mac, link.mac),
        *_differs(f"{link.ifname}'s MTU", pod.mtu, link.mtu),
        *(f"{link.ifname} has no address {address}" for address in {link.address} - pod.addresses),
        *(
            f"{link.ifname} has no route to {to}" + (f" via {via}" if via else "")
            for to, via in link.routes
            if (to, via) not in has_routes
        ),
    ]


def _differs(what: str, found: object, expected: object) -> list[str]:
    return [] if found == expected else [f"{what} is {found}, expected {expected}"]


def _pod_socket(netns: int) -> socket.socket:
    with entered(netns):
        return open_route_socket()


def _create_pair(node: socket.socket, netns: int, link: PodLink) -> None:
    step = _pair_step(netns, link)
    try:
        perform(node, [step])
    except LinkError as error:
        if error.errno != EEXIST:
            raise
        if link.host_name not in (name for _, name in socket.if_nameindex()):
            message = f"interface {link.ifname} exists already in {link.netns}"
            raise LinkError(message, EEXIST) from error
        _delete(node, [link.host_name])
        perform(node, [step])


def _pair_step(netns: int, link: PodLink) -> Step:
    host_name, mtu = encode.name(link.host_name), encode.mtu(link.mtu)
    peer = (
        encode.device()
        + encode.name(link.ifname)
        + attribute(_IFLA_NET_NS_FD, struct.pack("=I", netns))
        + attribute(_IFLA_ADDRESS, bytes.fromhex(link.mac.replace(":", "")))
        + mtu
    )
    info = attribute(_IFLA_INFO_KIND, b"veth") + attribute(
        _IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, peer)
    )
    pair = encode.device() + host_name + mtu + attribute(_IFLA_LINKINFO, info)
    what = f"make the pair {link.host_name} and {link.ifname} in {link.netns}"
    return Step(what, encode.RTM_NEWLINK, NLM_F_CREATE_EXCL, pair)


def _set_host_up(node: socket.socket, link: PodLink) -> None:
    """The node's end up, without addresses and ARP of its own.

    The node's kernel must not talk to the pod: an answer to ARP would lead the pod around Open
    vSwitch. And IPv6 on a device brings a route, even without an address; with each new route
    ovs-vswitchd reads all routes and devices of the node again before it goes on.
    """
    name = link.host_name
    try:
        (SYSCTL / f"ipv6/conf/{name}/disable_ipv6").write_bytes(b"1")
    except FileNotFoundError:
        pass  # there is no IPv6 in this kernel (ipv6.disable=1), or with this MTU
    except OSError as error:
        raise LinkError(f"cannot disable IPv6 of {name}: {error.strerror}") from error
    perform(node, [_host_step(name, link.memory)])


def _host_step(name: str, memory: str) -> Step:
    up = encode.device(flags=encode.IFF_UP | encode.IFF_NOARP) + encode.name(name)
    what = f"set {name} up"
    return Step(what, encode.RTM_NEWLINK, 0, up + (encode.alias(memory) if memory else b""))


@cache
def _quiet() -> bytes:
    """Without IPv6 in the kernel (ipv6.disable=1) the setting is refused, and not needed."""
    return _NO_IPV6_ADDRESS if (SYSCTL / "ipv6").exists() else b""


def _set_up(pod: socket.socket, link: PodLink) -> None:
    perform(pod, _pod_steps(index_of(pod, link.ifname), link))
    if link.in_user_space:
        disable_tx_checksums(pod, link.ifname)


def _pod_steps(index: int, link: PodLink) -> list[Step]:
    """Loopback up, the interface up, its address, its routes.

    Without an IPv6 address: the network has no IPv6, and each pod would begin with packets to
    nobody (duplicate address detection, solicitations), which Open vSwitch would look at.
    """
    where = f"of {link.ifname} in {link.netns}"
    address = encode.address(index, link.address)
    quiet = encode.device(index) + (_quiet() if link.mtu >= _IPV6_MIN_MTU else b"")
    return [
        _up("lo", encode.LOOPBACK, link.netns),
        Step(f"disable IPv6 addresses {where}", encode.RTM_NEWLINK, 0, quiet),
        _up(link.ifname, index, link.netns),
        Step(f"set address {link.address} {where}", encode.RTM_NEWADDR, NLM_F_CREATE_EXCL, address),
        *(
            Step(
                f"set route {to} {where}",
                encode.RTM_NEWROUTE,
                NLM_F_CREATE_EXCL,
                encode.route(index, to, via),
            )
            for to, via in link.routes
        ),
    ]


def _up(name: str, index: int, netns: str) -> Step:
    body = encode.device(index, encode.IFF_UP)
    return Step(f"set {name} up in {netns}", encode.RTM_NEWLINK, 0, body)


def index_of(channel: socket.socket, ifname: str) -> int:
    """The number of an interface in the socket's namespace (SIOCGIFINDEX). Raises LinkError."""
    return _ask(channel, ifname, _SIOCGIFINDEX)


def mtu_of(channel: socket.socket, ifname: str) -> int:
    """The MTU of an interface in the socket's namespace (SIOCGIFMTU). Raises LinkError."""
    return _ask(channel, ifname, _SIOCGIFMTU)


def _ask(channel: socket.socket, ifname: str, question: int) -> int:
    """netdevice(7)."""
    request = struct.pack("16sI20x", ifname.encode(), 0)
    try:
        answer = fcntl.ioctl(channel.fileno(), question, request)
    except OSError as error:
        raise LinkError(f"interface {ifname}: {error.strerror}", error.errno or 0) from error
    return int.from_bytes(answer[16:20], sys.byteorder)


def _delete(node: socket.socket, host_names: Iterable[str]) -> None:
    """Deleting waits until no processor uses a device any more: once for a whole group of them."""
    _disown(node, host_names)
    pending = encode.device() + _doomed()
    _unless_missing(node, Step("delete devices", encode.RTM_DELLINK, 0, pending))


def _disown(node: socket.socket, host_names: Iterable[str]) -> None:
    for name in host_names:
        mark = encode.device() + encode.name(name) + encode.alias("") + _doomed()
        _unless_missing(node, Step(f"mark {name} for deletion", encode.RTM_NEWLINK, 0, mark))


def _doomed() -> bytes:
    return attribute(_IFLA_GROUP, struct.pack("=I", _DOOMED))


def _unless_missing(node: socket.socket, step: Step) -> None:
    try:
        perform(node, [step])
    except LinkError as error:
        if error.errno != ENODEV:
            raise
