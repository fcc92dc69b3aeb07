"""How is the chart used? By Helm, on its own or at a cluster's API server."""

from __future__ import annotations

from tests.cluster import binaries
from tests.cluster.place import Place
from tests.kernel.drives import TREE

from k8s_ovs_lab.command import run

__all__ = ["CHART", "helm"]

CHART = TREE / "deploy" / "chart"


def helm(*words: str, place: Place | None = None, timeout: float = 30.0) -> str:
    """What `helm WORDS` prints; place: whose API server it asks.

    Raises K8sOvsError with its complaint when it fails, TimedOut.
    """
    environment = {"KUBECONFIG": str(place.kubeconfig)} if place else {}
    netns = place.layout.fabric if place else None
    command = [str(binaries.helm()), *words]
    return run(command, netns=netns, environment=environment, timeout=timeout).stdout
