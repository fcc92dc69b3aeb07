"""A bridge with the ports of ten pods, and how a client of ovsdb-server waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ovs.poller

from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.state import Bridge
from k8s_ovs.ovs.ovsdb.transaction import BridgeSettings, PortSettings

__all__ = ["BRIDGE", "PODS", "Poller", "bridge", "wait_until"]

# The library's classes carry no types.
Poller: Any = ovs.poller.Poller

BRIDGE = BridgeSettings("dummy", external_ids={"owner": "k8s-ovs"}, tables={0: "CLASSIFY"})

PODS = tuple(
    PortSettings(
        f"veth{number}",
        ofport_request=number,
        external_ids={"pod": f"web-{number}", "ip": f"10.0.0.{number}"},
    )
    for number in range(10, 20)
)


def bridge(client: Ovsdb) -> Bridge:
    found = client.bridge("br0")
    assert found is not None
    return found


def wait_until(client: Ovsdb, ready: Callable[[], bool], limit: float = 10.0) -> None:
    """What a daemon's loop does: block until there is something, and take it in."""
    deadline = time.monotonic() + limit
    client.run()
    while not ready():
        assert time.monotonic() < deadline, "it did not come about in time"
        poller = Poller()
        client.wait(poller)
        poller.timer_wait(1000)
        poller.block()
        client.run()
