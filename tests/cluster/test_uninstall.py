"""Removed as docs/operations.md tells it, the network leaves nodes as they were before it came."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.cluster import MANIFEST, Cluster
from tests.cluster.conftest import Installed
from tests.cluster.node import snapshot
from tests.cluster.traces import await_no_stale

UNINSTALL = MANIFEST.with_name("k8s-ovs-uninstall.yaml")
# STAYS: what others may rely on by now, as docs/operations.md tells; the first one takes the next
# two with it.
STAYS = {
    f"net.ipv4.{name}"
    for name in ("ip_forward", "conf.all.forwarding", "conf.all.accept_redirects")
} | {"net.ipv4.conf.all.send_redirects"}


@pytest.mark.usefixtures("restored")
def test_nodes_are_as_they_were_before(
    cluster: Cluster, installed: Installed, ways: dict[str, str]
) -> None:
    nodes = cluster.place.nodes
    cluster.drain(*(node.name for node in nodes))
    for node in nodes:
        await_no_stale(cluster, node)  # these pods have no grace period that drain would wait for
    cluster.remove_manifest()
    assert {node.name: snapshot(node) for node in nodes} != installed.hosts

    cluster.kubectl("apply", "-f", str(UNINSTALL))
    cluster.await_rollout("daemonset/k8s-ovs-uninstall")
    cluster.kubectl("delete", "-f", str(UNINSTALL), timeout=120)

    for node in nodes:
        assert but_for_settings(snapshot(node)) == but_for_settings(installed.hosts[node.name])


def but_for_settings(snapshot: dict[str, Any]) -> dict[str, Any]:
    """The snapshot of a node without the settings that stay."""
    left = [each for each in snapshot["settings"] if each.split(" = ")[0] not in STAYS]
    return snapshot | {"settings": left}
