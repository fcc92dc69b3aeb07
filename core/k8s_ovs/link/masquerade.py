"""The node's nftables table: what leaves the cluster gets the node's address, and two protections.

Made by nft(8) in one transaction that replaces the table as a whole.
"""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Network

from k8s_ovs.errors import TimedOut, Unavailable
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.veth import PREFIX

__all__ = ["TABLE", "apply", "is_there", "remove", "rules"]

#: Of family inet, so that one table has the IPv6 protection, too (nat there: Linux 5.2).
TABLE = "k8s-ovs"

_TIMEOUT = 10.0

# Adding it first makes the deletion succeed where there is no table yet (nft(8)).
_REPLACE = f"add table inet {TABLE}\ndelete table inet {TABLE}\n"


def rules(network: IPv4Network, vxlan_port: int, node_port: str = "tun0") -> str:
    """The table, in nft's language.

    from_pods: with the userspace datapath the node's kernel receives a pod's packets, too; they may
    only reach Open vSwitch. no_tunnel: a sender that reaches a node's VXLAN port, even through a
    service, could impersonate any tenant.
    """
    return f"""{_REPLACE}table inet {TABLE} {{
  chain from_pods {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{PREFIX}*" drop
  }}
  chain leave {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname != "{node_port}" ip saddr {network} ip daddr != {network} masquerade
  }}
  chain no_tunnel_in {{
    type filter hook input priority filter; policy accept;
    iifname "{node_port}" udp dport {vxlan_port} drop
  }}
  chain no_tunnel_through {{
    type filter hook forward priority filter; policy accept;
    iifname "{node_port}" udp dport {vxlan_port} drop
  }}
}}
"""


def apply(network: IPv4Network, vxlan_port: int, node_port: str = "tun0") -> None:
    """Replace the table. Raises LinkError, Unavailable, TimedOut."""
    _nft(rules(network, vxlan_port, node_port))


def remove() -> None:
    """Remove the table; no error if there is none. Raises LinkError, Unavailable, TimedOut."""
    _nft(_REPLACE)


def is_there(network: IPv4Network | None = None) -> bool:
    """Whether the table exists, made for `network`, or for any if that is None.

    Raises LinkError, Unavailable, TimedOut.
    """
    listing = _nft("list ruleset inet\n")
    made_for = f"ip saddr {network} " if network else ""
    return f"table inet {TABLE} {{" in listing and made_for in listing


def _nft(commands: str) -> str:
    try:
        done = subprocess.run(
            ["nft", "-f", "-"],
            input=commands,
            text=True,
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
    except FileNotFoundError as error:
        raise Unavailable("nft is not installed: expected nftables on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"nft did not finish within {_TIMEOUT:g} s") from error
    except subprocess.CalledProcessError as error:
        raise LinkError(f"nft refused table inet {TABLE}: {error.stderr.strip()}") from error
    return done.stdout
