"""Bandwidth as kubelet's users write it: two annotations of a pod, and iperf3 between two nodes."""

from __future__ import annotations

import json

from tests.cluster.cluster import Cluster

LIMIT = {
    "kubernetes.io/ingress-bandwidth": "10M",
    "kubernetes.io/egress-bandwidth": "10M",
}


def test_an_annotated_pod_gets_its_bandwidth_and_another_one_more(cluster: Cluster) -> None:
    server = cluster.run_pod("node2", "server", command=("iperf3", "-s"))
    cluster.run_pod("node1", "limited", annotations=LIMIT)
    cluster.run_pod("node1", "free")

    def received(pod: str, *flags: str) -> float:
        """Mbit/s that arrive within four seconds."""
        said = cluster.exec(pod, "iperf3", "-J", "-t", "4", "-c", server, *flags)
        return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e6

    for direction in ((), ("-R",)):
        assert received("limited", *direction) < 12
        assert received("free", *direction) > 20
    cluster.kubectl("delete", "pod/server", "pod/limited", "pod/free")
