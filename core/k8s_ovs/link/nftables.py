"""The node's nftables table: what leaves the cluster gets the node's address, and the locks.

Made by nft(8) in one transaction that replaces the table as a whole, and compared as a whole: what
nft lists of it beside what this very nft lists of our rules, loaded into an empty namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Iterable, Sequence
from errno import ENOENT
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any

from attrs import frozen

from k8s_ovs.errors import TimedOut
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.veth import PREFIX
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import LocalNode
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import NftTable, Value

__all__ = ["TABLE", "EtcdSockets", "NftDriver", "etcd_sockets", "nft_table", "rules"]

#: Of family inet, so that one table holds the IPv6 lock, too (nat there: Linux 5.2).
TABLE = "k8s-ovs"

_TIMEOUT = 10.0

# Adding it first makes the deletion succeed where there is no table yet (nft(8)).
_REPLACE = f"add table inet {TABLE}\ndelete table inet {TABLE}\n"

#: Words of a listing that differ from one to the next although the rules are the same.
_OF_THE_MOMENT = frozenset({"handle", "index", "packets", "bytes"})


class NftDriver:
    """The table k8s-ovs of the calling thread's network namespace."""

    kinds = frozenset({NftTable.kind})

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        try:
            listing = _nft(["-j", "list", "table", "inet", TABLE])
        except LinkError as error:
            if os.strerror(ENOENT) in str(error):
                return []
            raise
        try:
            return [NftTable(TABLE, _content(listing))]
        except LinkError as error:
            # Some versions of nft list flags of a table as rubbish; ours has none.
            return [NftTable(TABLE, str(error))]

    def apply(self, differences: Sequence[Difference]) -> None:
        for each in differences:
            made = each.expected.rules if isinstance(each.expected, NftTable) else _REPLACE
            _nft(["-f", "-"], made)


@frozen
class EtcdSockets:
    """Where etcd listens, by TCP. own_ports: those where it listens on this machine, of which no
    address must lead there."""

    sockets: frozenset[tuple[IPv4Address, int]] = frozenset()
    own_ports: frozenset[int] = frozenset()


def etcd_sockets(
    sockets: Iterable[tuple[IPv4Address, int]], own: Collection[IPv4Address]
) -> EtcdSockets:
    """Tell apart which of them this machine has. own: its addresses."""
    found = frozenset(sockets)
    ports = {port for address, port in found if address.is_loopback or address in own}
    return EtcdSockets(found, frozenset(ports))


def nft_table(
    local_node: LocalNode,
    config: NetworkConfig,
    etcd: EtcdSockets = EtcdSockets(),
    node_port: str = "tun0",
) -> NftTable:
    """The table as it should be. Raises LinkError, TimedOut."""
    made = rules(local_node.host_ip, config, etcd, node_port)
    return NftTable(TABLE, _content_of(made), made)


def rules(
    host_ip: IPv4Address,
    config: NetworkConfig,
    etcd: EtcdSockets,
    node_port: str = "tun0",
) -> str:
    """The table, in nft's language. host_ip: the node's, where its tunnels end.

    from_pods: with the userspace datapath the node's kernel hears a pod's packets, too; all that
    they may do is reach Open vSwitch. Nobody beyond tun0 has an address of the network, so that
    none passes as a pod of this node. Tunnels are never translated, and what Open vSwitch makes of
    them is its own business: each rule costs them throughput, so they pass few.
    inward, through, outward: who could send to a node's VXLAN port, even through a service, a
    NodePort or a hostPort of any node, could speak as any tenant. Who has that port as a hostPort,
    or a node's address among a service's externalIPs, would get all tunnels. etcd: see
    `_etcd_locks`. From outside: see `_no_way_in`.
    """
    network, vxlan_port = config.network, config.vxlan_port
    translated = f"ct status dnat udp dport {vxlan_port} drop"
    from_a_pod = f'iifname "{node_port}" udp dport {vxlan_port} drop'
    locks = _etcd_locks(etcd, node_port)
    return f"""{_REPLACE}table inet {TABLE} {{
  chain from_pods {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{PREFIX}*" drop
    ip daddr {host_ip} udp dport {vxlan_port} notrack accept
    iifname != {{ "lo", "{node_port}" }} ip saddr {network} drop
    {locks.before}
  }}
  chain tunnels_out {{
    type filter hook output priority raw; policy accept;
    udp dport {vxlan_port} notrack
  }}
  chain leave {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname != "{node_port}" ip saddr {network} ip daddr != {network} masquerade
  }}
  chain inward {{
    type filter hook input priority filter; policy accept;
    iifname != "{node_port}" ct state untracked accept
    {from_a_pod}
    {translated}
    {locks.inward}
  }}
  chain through {{
    type filter hook forward priority filter; policy accept;
    {from_a_pod}
    {translated}
    {locks.through}
    {_no_way_in(node_port) if config.from_outside == "services" else ""}
  }}
  chain outward {{
    type filter hook output priority filter; policy accept;
    {translated}
  }}
}}
"""


def _no_way_in(node_port: str) -> str:
    """Nobody routes into the network by this node, where he would be in the global tenant. What a
    service or a host port leads there, and answers, pass."""
    into = f'iifname != "{node_port}" oifname "{node_port}"'
    passes = "ct status dnat accept", "ct direction reply accept"
    return "\n    ".join([*(f"{into} {each}" for each in passes), f"{into} drop"])


@frozen
class _EtcdLocks:
    """Rules, each one or some lines: before a service is translated, and after it."""

    before: str = ""
    inward: str = ""
    through: str = ""


def _etcd_locks(etcd: EtcdSockets, node_port: str) -> _EtcdLocks:
    """Nothing that a pod sends reaches etcd: who writes there commands all nodes.

    What a service, a NodePort or a hostPort leads there is dropped from any sender, as another node
    may have put its own address in the place of a pod's. The node's own connections are not seen
    here: they leave by `output`, and come to the node itself by `lo`.
    """
    if not etcd.sockets:
        return _EtcdLocks()
    listed = ", ".join(f"{address} . {port}" for address, port in sorted(etcd.sockets))
    there = f"ip daddr . tcp dport {{ {listed} }}"
    senders = f'iifname "{node_port}"', 'iifname != "lo" ct status dnat'
    through = [f"{sender} {there} drop" for sender in senders]
    inward = list(through)
    if etcd.own_ports:
        ports = ", ".join(map(str, sorted(etcd.own_ports)))
        inward += [f"{sender} tcp dport {{ {ports} }} drop" for sender in senders]
    lines = "\n    ".join
    return _EtcdLocks(through[0], lines(inward), lines(through))


@lru_cache(maxsize=8)
def _content_of(made: str) -> str:
    """What this nft lists of these rules: each version has its own words."""
    script = f"nft -f - && nft -j list table inet {TABLE}"
    return _content(_run(["unshare", "--net", "sh", "-c", script], made))


def _content(listing: str) -> str:
    """A listing without what is only of the moment, to be compared."""
    objects = [each for each in _listed(listing) if "metainfo" not in each]
    return json.dumps(_lasting(objects), sort_keys=True)


def _lasting(found: Any) -> Any:
    if isinstance(found, dict):
        return {k: _lasting(v) for k, v in found.items() if k not in _OF_THE_MOMENT}
    return [_lasting(each) for each in found] if isinstance(found, list) else found


def _listed(listing: str) -> list[dict[str, Any]]:
    try:
        found = parse_json(listing)["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        raise LinkError(f"nft answered with no JSON listing: {listing[:80]!r}") from error
    return found if isinstance(found, list) else []


def _nft(arguments: Sequence[str], text: str = "") -> str:
    return _run(["nft", *arguments], text)


def _run(command: Sequence[str], text: str) -> str:
    try:
        done = subprocess.run(
            command,
            input=text,
            text=True,
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
            env=os.environ | {"LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise LinkError(
            f"{command[0]} is not installed: expected nftables and util-linux on the PATH"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"nft did not finish within {_TIMEOUT:g} s") from error
    except subprocess.CalledProcessError as error:
        raise LinkError(f"nft refused table inet {TABLE}: {error.stderr.strip()}") from error
    return done.stdout
