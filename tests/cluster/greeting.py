"""Who answers at an address, and as whom does it see its client?"""

from __future__ import annotations

import socket

from attrs import frozen
from tests.cluster.cluster import Cluster

from k8s_ovs_lab.command import inside

__all__ = ["GREETER", "Greeting", "greeting_by", "greeting_from"]

WITHIN_S = 3
# GREETER: what a pod runs that says its name, and its client's address, at port 8080.
GREETER = (
    "socat",
    f"-t{WITHIN_S}",
    "TCP-LISTEN:8080,reuseaddr,fork",
    "SYSTEM:echo $(cat /etc/hostname) $SOCAT_PEERADDR",
)


@frozen
class Greeting:
    """The name of the pod that answered, and the address that its client had for it."""

    pod: str
    client: str


def greeting_from(netns: str, address: str, port: int) -> list[Greeting]:
    """What a client in this network namespace is told; empty: nothing, within three seconds."""
    try:
        with inside(netns), socket.create_connection((address, port), WITHIN_S) as channel:
            said = channel.makefile().read()
    except OSError:
        return []
    return _greetings(said)


def greeting_by(
    cluster: Cluster, pod: str, namespace: str, address: str, port: int = 80, *, times: int = 1
) -> list[Greeting]:
    """What a client in a pod is told; empty: nothing, within three seconds. times: it asks."""
    socat = f"socat -T{WITHIN_S} -t{WITHIN_S} - TCP:{address}:{port},connect-timeout={WITHIN_S}"
    loop = f"for each in $(seq {times}); do {socat} || true; done"
    return _greetings(cluster.exec(pod, "sh", "-c", loop, namespace=namespace))


def _greetings(said: str) -> list[Greeting]:
    return [Greeting(*line.split()) for line in said.splitlines()]
