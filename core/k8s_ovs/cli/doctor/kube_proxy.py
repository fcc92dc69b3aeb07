"""Does kube-proxy show pods who speaks to them? Where it does not, all senders are the node, and so
the global tenant: nothing else says that tenants are open."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from ipaddress import IPv4Network
from typing import Any

from k8s_ovs.errors import shown
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.node.switch import NODE_PORT
from k8s_ovs.plugin.values import Check

__all__ = ["ask_kube_proxy", "check_kube_proxy"]

#: kube-proxy's own configuration, as it tells it to its node (--metrics-bind-address).
_CONFIGZ = "http://127.0.0.1:10249/configz"
_TIMEOUT = 2.0
_MOST = 1 << 20


def ask_kube_proxy(url: str = _CONFIGZ) -> Any:
    """Its configuration as JSON; None: none runs here, or it does not tell."""
    # No proxy of the environment knows this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT) as answer:
            return parse_json(answer.read(_MOST))
    except (OSError, ValueError, HTTPException):
        return None


def check_kube_proxy(found: Any, config: NetworkConfig) -> Iterator[Check]:
    """found: kube-proxy's configuration. Its fields have moved between releases, so they are looked
    for by name."""
    if not isinstance(found, dict):
        return
    if any(value is True for value in _named(found, "masqueradeall")):
        advice = "remove masqueradeAll from kube-proxy's configuration and restart it"
        told = "masqueradeAll: who uses a service is taken for the node, in the global tenant"
        yield Check("kube-proxy", False, told, advice)
        return
    modes = [each for each in _named(found, "detectlocalmode") if each]
    if modes and modes != ["ClusterCIDR"]:
        by = [*_texts(found, "bridgeinterface"), *_texts(found, "interfacenameprefix")]
        told = f"tells pods by detectLocalMode {shown(modes[0])} ({', '.join(by) or 'nothing'})"
        advice = "who uses a service is taken for the node: tell pods by clusterCIDR"
        yield Check("kube-proxy", NODE_PORT in by, told, "" if NODE_PORT in by else advice)
        return
    ranges = [each for name in ("clustercidr", "clustercidrs") for each in _texts(found, name)]
    if not ranges or any(_holds(each, config.network) for each in ranges):
        found_ranges = ", ".join(ranges) or "no clusterCIDR"
        yield Check("kube-proxy", True, f"shows pods who speaks to them ({found_ranges})")
    else:
        told = f"clusterCIDR: found {', '.join(ranges)}, expected {config.network}"
        advice = "who uses a service is taken for the node: set clusterCIDR, restart kube-proxy"
        yield Check("kube-proxy", False, told, advice)


def _named(found: Any, name: str) -> Iterator[Any]:
    """Values of fields of this name, at any depth."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key.lower() == name:
                yield value
            yield from _named(value, name)


def _texts(found: Any, name: str) -> Iterator[str]:
    for value in _named(found, name):
        listed = value if isinstance(value, list) else [value]
        for each in listed:
            yield from (text for text in str(each or "").split(",") if text)


def _holds(text: str, network: IPv4Network) -> bool:
    try:
        return network.subnet_of(IPv4Network(text))
    except ValueError:
        return False
