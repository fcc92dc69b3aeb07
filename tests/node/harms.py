"""How can somebody harm a thing that a node has? Commands for each, made from what it should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import singledispatch

from k8s_ovs.pipeline.action import Meter
from k8s_ovs.pipeline.wire import WireFlow
from k8s_ovs.state.value import (
    Address,
    Bridge,
    Device,
    Interface,
    NftTable,
    Offload,
    Port,
    PortConfig,
    RateLimit,
    Route,
    Sysctl,
    Value,
    Veth,
)

__all__ = ["harms_of", "harms_to_flow", "harms_to_meter"]

_OFCTL = "ovs-ofctl -OOpenFlow15"


def harms_of(values: Iterable[Value]) -> Iterator[tuple[str, str]]:
    """(the thing, a command that takes it away or changes one of its attributes)."""
    for each in values:
        for command in _harms(each):
            yield str(each.key), command


def harms_to_flow(flow: WireFlow, table: int) -> Iterator[tuple[str, str]]:
    """table: its number, as only flows of one table can be changed."""
    name, cookie = f"flow {flow.cookie:#x}", f"cookie={flow.cookie:#x}/-1"
    yield name, f"{_OFCTL} del-flows br0 {cookie}"
    yield name, f"{_OFCTL} mod-flows br0 table={table},{cookie},actions=note:01"


def harms_to_meter(meter: Meter) -> Iterator[tuple[str, str]]:
    name = f"meter {meter.number}"
    yield name, f"{_OFCTL} del-meter br0 meter={meter.number}"
    changed = f"meter={meter.number},kbps,band=type=drop,rate=1"
    yield name, f"{_OFCTL} mod-meter br0 {changed}"


@singledispatch
def _harms(value: Value) -> Iterable[str]:
    raise NotImplementedError(value.kind)


@_harms.register
def _(value: Bridge) -> Iterator[str]:
    yield f"ovs-vsctl del-br {value.name}"
    yield f"ovs-vsctl clear bridge {value.name} flow_tables"
    yield f"ovs-vsctl del-fail-mode {value.name}"
    yield f"ovs-vsctl set-fail-mode {value.name} standalone"
    change = f"ovs-vsctl set bridge {value.name}"
    yield f"{change} stp_enable=true"
    yield f"{change} rstp_enable=true"
    yield f"{change} protocols=OpenFlow10"
    yield f"ovs-vsctl set-controller {value.name} tcp:127.0.0.1:6699"
    into = "-- --id=@port get port tun0"
    mirror = "-- --id=@mirror create mirror name=theirs select_all=true output_port=@port"
    yield f"{change} mirrors=@mirror {into} {mirror}"
    limited = "-- --id=@table create flow_table name=POD_OUT flow_limit=1 overflow_policy=refuse"
    yield f"{change} flow_tables:20=@table {limited}"


@_harms.register
def _(value: Port) -> Iterator[str]:
    yield f"ovs-vsctl del-port br0 {value.name}"
    change = f"ovs-vsctl set interface {value.name}"
    for key in value.options:
        yield f"ovs-vsctl remove interface {value.name} options {key}"
    for key in value.ids:
        yield f"ovs-vsctl remove interface {value.name} external_ids {key}"
        # Addresses and numbers that parse, and are not the pod's.
        wrong = {"k8s-ovs-ip": "192.0.2.9", "k8s-ovs-serial": "77"}.get(key, "1000")
        yield f"{change} external_ids:{key}={wrong}"
    if value.qos:
        yield f"ovs-vsctl clear port {value.name} qos"
        theirs = "--id=@theirs create qos type=linux-htb"
        yield f"ovs-vsctl set port {value.name} qos=@theirs -- {theirs}"
    if "dst_port" in value.options:
        yield f"{change} options:dst_port=4790"
    if value.ofport is not None:
        yield f"{change} ofport_request=99"
    if value.mac is not None:
        yield f"""{change} 'mac="02:00:00:00:00:09"'"""
        yield f"ovs-vsctl clear interface {value.name} mac"
    yield f"{change} ingress_policing_rate=1"
    if value.mtu is not None:
        yield f"{change} mtu_request=1300"


@_harms.register
def _(value: PortConfig) -> Iterator[str]:
    yield f"ovs-ofctl mod-port br0 {value.name} no-forward"
    yield f"ovs-ofctl mod-port br0 {value.name} no-receive"


@_harms.register
def _(value: Device) -> Iterator[str]:
    yield f"ip link set {value.name} down"
    yield f"ip link del {value.name}"
    yield f"sh -c 'ip link set {value.name} down; ip link set {value.name} name theirs'"


@_harms.register
def _(value: Address) -> Iterator[str]:
    yield f"ip addr del {value.address} dev {value.device}"
    yield f"ip addr add 192.0.2.9/24 dev {value.device}"


@_harms.register
def _(value: Route) -> Iterator[str]:
    yield f"ip route del {value.to} dev {value.device}"
    yield f"ip route replace blackhole {value.to}"
    yield f"ip route add 192.0.2.0/24 dev {value.device}"


@_harms.register
def _(value: Sysctl) -> Iterator[str]:
    yield f"sysctl -qw net/{value.name}={1 - min(int(value.value), 1)}"


@_harms.register
def _(value: NftTable) -> Iterator[str]:
    yield "nft flush ruleset"
    yield f"nft delete table inet {value.name}"
    yield f"nft flush table inet {value.name}"
    yield f"nft add chain inet {value.name} theirs"
    yield f"nft add table inet {value.name} '{{ flags dormant; }}'"
    for chain in ("from_pods", "leave", "inward", "through", "outward"):
        yield f"nft flush chain inet {value.name} {chain}"
        yield f"nft insert rule inet {value.name} {chain} accept"


@_harms.register
def _(_value: Offload) -> Iterable[str]:
    return ()  # once it is off, the device offers it no more


@_harms.register
def _(value: Veth) -> Iterator[str]:
    yield f"ip link del {value.name}"
    yield f"ip link set {value.name} down"
    yield f"ip link set {value.name} alias nobody"
    yield f"ip link set {value.name} mtu 1280"
    yield f"sh -c 'ip link set {value.name} down; ip link set {value.name} name theirs'"


@_harms.register
def _(_value: Interface) -> Iterable[str]:
    return ()  # what is in a pod is told, and not put back


@_harms.register
def _(value: RateLimit) -> Iterator[str]:
    in_pod = f"nsenter --net={value.netns} tc qdisc"
    for tc, device in (("tc qdisc", value.name), (in_pod, value.ifname)):
        yield f"{tc} del dev {device} root"
        yield f"{tc} replace dev {device} root tbf rate 1mbit burst 20k latency 50ms"
        yield f"{tc} del dev {device} parent 6b6f:1"
