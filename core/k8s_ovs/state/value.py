"""The things that a node should have, each a frozen value under an identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import ClassVar, NamedTuple, TypeAlias

from attrs import field, frozen

__all__ = [
    "Address",
    "Bridge",
    "Device",
    "Directory",
    "File",
    "Interface",
    "Key",
    "NftTable",
    "Offload",
    "Port",
    "PortConfig",
    "RateLimit",
    "Route",
    "Sysctl",
    "Value",
    "Veth",
]


class Key(NamedTuple):
    """Which thing: two values with one key are the same thing at two times."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class _Named:
    """A thing that its kind and its name identify."""

    __slots__ = ()
    kind: ClassVar[str]

    @property
    def key(self) -> Key:
        return Key(self.kind, self.name)  # type: ignore[attr-defined]  # each of these has one


@frozen
class Bridge(_Named):
    """A bridge of Open vSwitch. tables: names of its OpenFlow tables, by number. fail_mode: whether
    it works as a plain switch where it has no flows ("standalone") or drops ("secure"). foreign:
    what keeps us from our work, by the column of OVSDB."""

    kind: ClassVar[str] = "bridge"
    name: str
    datapath: str
    tables: Mapping[int, str] = field(hash=False)
    fail_mode: str = "secure"
    foreign: Mapping[str, str] = field(factory=dict, hash=False)


@frozen
class Port(_Named):
    """A port of the bridge, as OVSDB has it. type: "" for a device of the kernel.

    mac, mtu: what Open vSwitch is asked to give its device; None: nothing. ids: external_ids.
    qos: the kind of queue that it is asked to give it; "": none. policing: kilobits per second
    above which it drops what comes in; 0: never.
    pod: `namespace/name` of the pod that it is of; "" for the bridge's own.
    """

    kind: ClassVar[str] = "port"
    name: str
    type: str = ""
    ofport: int | None = None
    options: Mapping[str, str] = field(factory=dict, hash=False)
    mac: str | None = None
    mtu: int | None = None
    ids: Mapping[str, str] = field(factory=dict, hash=False)
    qos: str = ""
    policing: int = 0
    pod: str = field(default="", eq=False)


@frozen
class PortConfig(_Named):
    """What a port of the bridge does not do, as OpenFlow has it: `no-receive`, `no-forward`."""

    kind: ClassVar[str] = "port configuration"
    name: str
    off: str = ""
    pod: str = field(default="", eq=False)


@frozen
class Device(_Named):
    """A network device of the node itself. mtu None: whatever it is."""

    kind: ClassVar[str] = "device"
    name: str
    up: bool = True
    mtu: int | None = None


@frozen
class Address:
    """An address of a device."""

    kind: ClassVar[str] = "address"
    device: str
    address: IPv4Interface

    @property
    def key(self) -> Key:
        return Key(self.kind, f"{self.address} of {self.device}")


@frozen
class Route:
    """A destination that is on-link at a device."""

    kind: ClassVar[str] = "route"
    device: str
    to: IPv4Network

    @property
    def key(self) -> Key:
        return Key(self.kind, f"{self.to} by {self.device}")


@frozen
class Sysctl:
    """A kernel setting below net/."""

    kind: ClassVar[str] = "sysctl"
    name: str
    value: str

    @property
    def key(self) -> Key:
        return Key(self.kind, f"net/{self.name}")


@frozen
class NftTable(_Named):
    """A table of nftables. rules: in nft's language; content: what nft lists of them, as JSON."""

    kind: ClassVar[str] = "nftables table"
    name: str
    content: str = field(repr=False)
    rules: str = field(default="", eq=False, repr=False)


@frozen
class Offload:
    """Whether the kernel leaves transmit checksums of a device to hardware."""

    kind: ClassVar[str] = "checksum offload"
    device: str
    on: bool = False

    @property
    def key(self) -> Key:
        return Key(self.kind, self.device)


@frozen
class Veth(_Named):
    """A pod's pair of devices, by its end on the node. memory: whose it is, as the device says.
    mtu: bytes; None: whatever it is."""

    kind: ClassVar[str] = "veth"
    name: str
    up: bool = True
    memory: str = ""
    mtu: int | None = None
    pod: str = field(default="", eq=False)


@frozen
class Interface(_Named):
    """What a pod has of its pair of devices. name: of the end on the node. address None: not its
    own."""

    kind: ClassVar[str] = "interface"
    name: str
    address: IPv4Address | None
    netns: str = field(default="", eq=False)
    ifname: str = field(default="", eq=False)
    pod: str = field(default="", eq=False)


@frozen
class RateLimit(_Named):
    """How fast a pod's interface may be, bits per second; None: no limit.

    name: of its end on the node; netns and ifname: where its other end is. queues: what somebody
    did to them.
    """

    kind: ClassVar[str] = "rate limit"
    name: str
    to_pod: int | None = None
    from_pod: int | None = None
    queues: str = "as set"
    netns: str = field(default="", eq=False)
    ifname: str = field(default="", eq=False)
    in_user_space: bool = field(default=False, eq=False)
    pod: str = field(default="", eq=False)

    @property
    def host_name(self) -> str:
        return self.name


@frozen
class File(_Named):
    """A file, by its path. content: its SHA-256. mode: its permissions, as chmod takes them.

    source: makes the content; it may be large, so it is not kept.
    """

    kind: ClassVar[str] = "file"
    name: str
    content: str = field(repr=False)
    mode: str
    source: Callable[[], bytes] = field(default=bytes, eq=False, repr=False)


@frozen
class Directory(_Named):
    """A directory, by its path."""

    kind: ClassVar[str] = "directory"
    name: str


Value: TypeAlias = (
    Bridge
    | Port
    | PortConfig
    | Device
    | Address
    | Route
    | Sysctl
    | NftTable
    | Offload
    | Veth
    | Interface
    | RateLimit
    | File
    | Directory
)
