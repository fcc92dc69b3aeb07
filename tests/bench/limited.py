"""Which pods are measured? One with a limit and one without, on one node, of each subject.

k8s-ovs limits a pod by the annotations of its object; Debian's CNI program `bandwidth`, chained
behind `bridge` and `host-local`, by what its runtime says in `runtimeConfig`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from attrs import frozen

from k8s_ovs.errors import Unavailable
from k8s_ovs.model.pod import Rates
from k8s_ovs_lab import Lab
from k8s_ovs_lab import cni as lab_cni
from k8s_ovs_lab.command import run
from k8s_ovs_lab.underlay import add_namespace, remove_namespaces

__all__ = [
    "ANNOTATIONS",
    "FROM_POD",
    "TO_POD",
    "Limited",
    "Pair",
    "Place",
    "bandwidth",
    "k8s_ovs",
    "rates_of",
]

FROM_POD, TO_POD = "from pod", "to pod"
#: Kubernetes' own, by direction.
ANNOTATIONS = {
    FROM_POD: "kubernetes.io/egress-bandwidth",
    TO_POD: "kubernetes.io/ingress-bandwidth",
}

_PEERS = Path("/usr/lib/cni")
#: Bytes; what pods of k8s-ovs have on a network of 1500, so that both send the same frames.
_MTU = 1450
_BRIDGE: dict[str, Any] = {
    "type": "bridge",
    "bridge": "cni0",
    "mtu": _MTU,
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/16"}]]},
}


@frozen
class Place:
    """A pod's network namespace, by name, and its address."""

    netns: str
    address: str


@frozen
class Pair:
    """Two pods of one node."""

    limited: Place
    free: Place

    def ends(self, direction: str) -> tuple[Place, Place]:
        """Who sends and who receives, so that it goes through the limit of that direction."""
        both = (self.limited, self.free)
        return both if direction == FROM_POD else both[::-1]


@frozen
class Limited:
    """A subject. pair: makes two pods, the first with these rate limits, and removes them."""

    title: str
    pair: Callable[[Rates], AbstractContextManager[Pair]]


def rates_of(direction: str, rate: int | None) -> Rates:
    """A limit of one direction, in bits per second."""
    return Rates(from_pod=rate) if direction == FROM_POD else Rates(to_pod=rate)


def k8s_ovs(lab: Lab) -> Limited:
    """Pods of the lab's first node."""
    node = lab.nodes[0].name

    @contextmanager
    def pair(rates: Rates) -> Iterator[Pair]:
        asked = {FROM_POD: rates.from_pod, TO_POD: rates.to_pod}
        annotations = {ANNOTATIONS[each]: str(rate) for each, rate in asked.items() if rate}
        with ExitStack() as stack:
            places = []
            for name, said in (("limited", annotations), ("free", {})):
                pod = lab.run_pod(node, name, annotations=said)
                stack.callback(lab.delete_pod, name)
                places.append(Place(pod.netns, str(pod.ip)))
            yield Pair(*places)

    return Limited("k8s-ovs", pair)


def bandwidth(title: str, netns: str, directory: Path, burst: Callable[[int], int]) -> Limited:
    """Pods of the bare node `netns`. burst: of a rate, in bits, as the runtime gives it."""

    @contextmanager
    def pair(rates: Rates) -> Iterator[Pair]:
        limits = _runtime_config(rates, burst)
        with ExitStack() as stack:
            places = []
            for number, config in enumerate((limits, {})):
                chain = _Chain(netns, directory, f"{netns}-pod{number}", config)
                add_namespace(chain.pod)
                stack.callback(remove_namespaces, [chain.pod])
                stack.callback(chain.delete)
                places.append(Place(chain.pod, chain.add()))
            yield Pair(*places)

    for plugin in ("bridge", "host-local", "bandwidth"):
        if not (_PEERS / plugin).exists():
            raise Unavailable(f"{_PEERS / plugin} is missing: install containernetworking-plugins")
    return Limited(title, pair)


def _runtime_config(rates: Rates, burst: Callable[[int], int]) -> dict[str, int]:
    """The capability `bandwidth`, as container runtimes fill it in: bits per second, and bits."""
    asked = {"ingress": rates.to_pod, "egress": rates.from_pod}
    limits: dict[str, int] = {}
    for direction, rate in asked.items():
        if rate is not None:
            limits |= {f"{direction}Rate": rate, f"{direction}Burst": burst(rate)}
    return limits


@frozen
class _Chain:
    """The CNI programs of a configuration list, called for one pod as libcni calls them."""

    netns: str
    directory: Path
    pod: str
    limits: Mapping[str, int]

    def add(self) -> str:
        """The pod's address. Raises K8sOvsError with what a CNI program says when it fails."""
        result = self._call("ADD", self._bridge)
        self._call("ADD", {**self._bandwidth, "prevResult": result})
        return str(IPv4Interface(result["ips"][0]["address"]).ip)

    def delete(self) -> None:
        """What `add` made."""
        self._call("DEL", self._bandwidth)
        self._call("DEL", self._bridge)

    @property
    def _bridge(self) -> dict[str, Any]:
        return _BRIDGE | {"ipam": {**_BRIDGE["ipam"], "dataDir": str(self.directory)}}

    @property
    def _bandwidth(self) -> dict[str, Any]:
        limits = {"runtimeConfig": {"bandwidth": dict(self.limits)}} if self.limits else {}
        return {"type": "bandwidth", "capabilities": {"bandwidth": True}, **limits}

    def _call(self, command: str, config: Mapping[str, Any]) -> Any:
        given = {"cniVersion": "1.0.0", "name": "peer", **config}
        environment = {
            "CNI_COMMAND": command,
            "CNI_PATH": str(_PEERS),
            **lab_cni.pod_environment(self.pod, self.pod, "default", self.pod, self.pod),
        }
        program = str(_PEERS / config["type"])
        done = run([program], netns=self.netns, text=json.dumps(given), environment=environment)
        return json.loads(done.stdout) if done.stdout.strip() else None
