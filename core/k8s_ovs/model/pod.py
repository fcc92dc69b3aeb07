"""A pod on this node as the network has it.

The external_ids of its port in OVSDB are its memory, and its device says the same again, for when
somebody takes the port away.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from attrs import field, frozen

from k8s_ovs.model.checked import as_whole_or_none, whole

__all__ = [
    "SERVICE_SOURCES",
    "Pod",
    "Rates",
    "mac_of",
    "pod_from_ids",
    "pod_from_memory",
    "pod_ids",
    "pod_memory",
    "rate_ids",
    "service_source_of",
]

#: No packet on a wire has such a source (RFC 6890).
SERVICE_SOURCES = IPv4Network("0.0.0.0/8")

#: The alias of a device has so many bytes (IFALIASZ of linux/if.h, less the last zero).
_MOST_MEMORY = 255
_MEMORY = "k8s-ovs"

_TO_POD, _FROM_POD = "k8s-ovs-to-pod", "k8s-ovs-from-pod"
_MTU, _NETWORK = "k8s-ovs-mtu", "k8s-ovs-network"
#: Of any rate; the kernel and Open vSwitch have limits of their own, and say so.
_BITS = whole(0, (1 << 63) - 1)


@frozen
class Rates:
    """How fast a pod's interface may be, in bits a second, counted in Ethernet frames.

    to_pod: what it receives, from_pod: what it sends; None: as fast as it can.
    """

    to_pod: int | None = field(default=None, converter=as_whole_or_none, validator=_BITS)
    from_pod: int | None = field(default=None, converter=as_whole_or_none, validator=_BITS)


@frozen
class Pod:
    """A pod's interface.

    port: name of its port on br0 (the host's end of its veth). ofport: that port's OpenFlow number.
    container: the sandbox's id, ifname: the interface's name inside, netns: path of the sandbox's
    network namespace. serial: counts the ADDs of this node, so the youngest is known. rates: the
    limits that its interface was given last. mtu: bytes, as its interface was given; 0: unknown.
    network: the name of the CNI configuration that it was attached by; "": unknown.
    """

    port: str
    ofport: int
    container: str
    ifname: str
    netns: str
    namespace: str
    name: str
    uid: str
    ip: IPv4Address
    serial: int = 0
    rates: Rates = field(factory=Rates)
    mtu: int = 0
    network: str = ""

    @property
    def mac(self) -> str:
        return mac_of(self.ip)

    @property
    def service_source(self) -> IPv4Address:
        return service_source_of(self.ip)

    @property
    def identity(self) -> str:
        """`namespace/name`, as kubectl names it."""
        return f"{self.namespace}/{self.name}"


def mac_of(address: IPv4Address) -> str:
    """The MAC that belongs to `address`: 0a:58 and its four bytes, so it never changes hands."""
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in address.packed)


def service_source_of(address: IPv4Address) -> IPv4Address:
    """The source under which connections of the pod at `address` to services are tracked.

    Of its own among the pods of a node. It has the checksum of `address` (RFC 6296 section 2.6), so
    that a packet is valid with either, a fragment too.
    """
    high, low = divmod(int(address), 1 << 16)
    return IPv4Address((high & 0xFF) << 16 | (low + (high & 0xFF00)) % 0xFFFF)


def pod_ids(pod: Pod) -> dict[str, str]:
    """`pod` as external_ids of its Interface. iface-id and attached-mac are what OVS tools expect
    (Open vSwitch's IntegrationGuide)."""
    return {
        "iface-id": f"{pod.namespace}/{pod.name}",
        "attached-mac": pod.mac,
        "k8s-ovs-container": pod.container,
        "k8s-ovs-ifname": pod.ifname,
        "k8s-ovs-netns": pod.netns,
        "k8s-ovs-namespace": pod.namespace,
        "k8s-ovs-pod": pod.name,
        "k8s-ovs-uid": pod.uid,
        "k8s-ovs-ip": str(pod.ip),
        "k8s-ovs-serial": str(pod.serial),
        **({_MTU: str(pod.mtu)} if pod.mtu else {}),
        **({_NETWORK: pod.network} if pod.network else {}),
        **{key: text for key, text in rate_ids(pod.rates).items() if text is not None},
    }


def rate_ids(rates: Rates) -> dict[str, str | None]:
    """`rates` as external_ids; None: the key is not there."""
    both = {_TO_POD: rates.to_pod, _FROM_POD: rates.from_pod}
    return {key: None if rate is None else str(rate) for key, rate in both.items()}


def pod_from_ids(port: str, ofport: int, ids: Mapping[str, str]) -> Pod | None:
    """The pod that `ids` of the port's Interface speak of; None if the port is no pod's."""
    try:
        return Pod(
            port=port,
            ofport=ofport,
            container=ids["k8s-ovs-container"],
            ifname=ids["k8s-ovs-ifname"],
            netns=ids["k8s-ovs-netns"],
            namespace=ids["k8s-ovs-namespace"],
            name=ids["k8s-ovs-pod"],
            uid=ids["k8s-ovs-uid"],
            ip=IPv4Address(ids["k8s-ovs-ip"]),
            serial=int(ids["k8s-ovs-serial"]),
            rates=Rates(_rate(ids.get(_TO_POD)), _rate(ids.get(_FROM_POD))),
            mtu=int(ids.get(_MTU, 0)),
            network=ids.get(_NETWORK, ""),
        )
    except (KeyError, ValueError):
        return None


def _rate(text: str | None) -> int | None:
    return None if text is None else int(text)


def pod_memory(pod: Pod) -> str:
    """`pod` as the alias of its device. A long name leaves no room for uid and container; one of
    more than some 130 characters is cut."""
    head = [_MEMORY, str(pod.ip), str(pod.serial), pod.ifname, pod.netns, pod.namespace]
    end = [str(pod.mtu)] if pod.mtu else []
    for known in ([pod.uid, pod.container], [pod.uid, ""], ["", ""]):
        text = "|".join([*head, pod.name, *known, *end])
        if len(text.encode()) <= _MOST_MEMORY:
            return text
    room = _MOST_MEMORY - len("|".join([*head, "", "", "", *end]).encode())
    return "|".join([*head, pod.name[: max(room, 0)], "", "", *end])


def pod_from_memory(port: str, ofport: int, text: str) -> Pod | None:
    """The pod that the alias of the device `port` tells of; None: it is none of ours."""
    words = text.split("|")
    if len(words) not in (9, 10) or words[0] != _MEMORY:
        return None
    _, ip, serial, ifname, netns, namespace, name, uid, container, *rest = words
    try:
        return Pod(
            port=port,
            ofport=ofport,
            container=container,
            ifname=ifname,
            netns=netns,
            namespace=namespace,
            name=name,
            uid=uid,
            ip=IPv4Address(ip),
            serial=int(serial),
            mtu=int(rest[0]) if rest else 0,
        )
    except ValueError:
        return None
