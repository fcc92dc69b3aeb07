"""What changes in a cluster that lives: each change with what people or kubelet ask for, and what
the leader answers; and how many of each a second.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from attrs import evolve, field, frozen
from tests.bench.scale.cluster import (
    LAST_NUMBER,
    Cluster,
    Namespace,
    Node,
    Pod,
    network_config,
)
from tests.bench.scale.objects import (
    Json,
    namespace_object,
    node_object,
    node_status,
    pod_object,
)

from k8s_ovs.builtin.node_owners import SubnetOwner
from k8s_ovs.model.codec import encode
from k8s_ovs.model.subnet import HostSubnet, free_subnets
from k8s_ovs.model.tenant import GLOBAL_TENANT
from k8s_ovs.model.world import GIVEN, SUBNETS
from k8s_ovs_multitenant.records import (
    NAMESPACE_VNIS,
    NETNAMESPACES,
    Cursor,
    NamespaceVni,
    NetNamespace,
)

__all__ = ["PER_SECOND", "Change", "Living", "Request", "trace"]

_API = "/api/v1"
#: Changes a second in a cluster of 1,000 nodes and 1,000 namespaces, an assumption: kubelet tells a
#: node's status every 5 minutes, each node starts and ends a pod every 5 minutes.
PER_SECOND: Mapping[str, float] = {
    "node status": 3.3,
    "pod made": 3.3,
    "pod deleted": 3.3,
    "node joins": 0.01,
    "namespace made": 0.02,
    "namespace deleted": 0.02,
    "join": 0.01,
    "isolate": 0.01,
    "global": 0.002,
}
_OF_NAMESPACES = ("namespace made", "namespace deleted", "join", "isolate", "global")


@frozen
class Request:
    """One of the API server."""

    method: str
    path: str
    body: Json | None = None


@frozen
class Change:
    """what: its name. request: of the API server; None: none. asked: records that a person writes,
    by path below the network's name. answer: those that the leader writes then; None: it deletes
    one.
    """

    what: str
    request: Request | None = None
    asked: Mapping[str, bytes] = field(factory=dict)
    answer: Mapping[str, bytes | None] = field(factory=dict)


class Living:
    """A cluster whose nodes, namespaces and pods come and go, the same for the same seed.

    kept: namespaces to which nothing happens unless they are named.
    """

    def __init__(self, cluster: Cluster, kept: Collection[str] = ()) -> None:
        self._kept = frozenset(kept)
        self._chance = random.Random(cluster.seed + 1)  # noqa: S311 - to be repeated
        self.nodes = [node for node in cluster.nodes if node.name not in cluster.real]
        self.namespaces = {each.name: each for each in cluster.namespaces}
        self.pods = list(cluster.pods)
        config = network_config()
        self._free = free_subnets(config, [node.subnet for node in cluster.nodes])
        # The leader gives from the beginning of Network, a person here from its end.
        self._given = config.network.broadcast_address + 1
        self._subnet_size = 1 << config.host_subnet_length
        self._last_address = max(node.address for node in self.nodes)
        self._last_number = cluster.last_number
        self._count = 0
        self._beats = 0

    def node_record(self) -> Change:
        """Somebody gives another subnet to a node that has no pods."""
        place = next(n for n, node in enumerate(self.nodes) if not node.pods)
        self._given -= self._subnet_size
        subnet = IPv4Network((self._given, self.nodes[place].subnet.prefixlen))
        node = self.nodes[place] = evolve(self.nodes[place], subnet=subnet)
        return Change("node record", asked=_subnet(node))

    def node_joins(self) -> Change:
        """A Node comes, and gets a subnet."""
        node = self._new_node(next(self._free))
        self.nodes.append(node)
        answer = {**_subnet(node), f"{GIVEN}/{node.address}": encode(SubnetOwner(node.name))}
        request = Request("POST", f"{_API}/nodes", node_object(node))
        return Change("node joins", request, answer=answer)

    def node_status(self) -> Change:
        """Kubelet tells what has not changed."""
        self._beats += 1
        node = self.nodes[self._beats % len(self.nodes)]
        body = {"status": node_status(node, self._beats)}
        return Change("node status", Request("PATCH", f"{_API}/nodes/{node.name}/status", body))

    def namespace_made(self) -> Change:
        """A Namespace comes, and gets its two records."""
        self._count += 1
        name, vni = f"made{self._count}", self._next_number()
        namespace = self.namespaces[name] = Namespace(name, "", vni, vni)
        answer = {
            f"{NAMESPACE_VNIS}/{name}": encode(NamespaceVni(vni)),
            f"{NETNAMESPACES}/{name}": encode(NetNamespace(name, vni)),
            LAST_NUMBER: encode(Cursor(vni)),
        }
        body = namespace_object(namespace)
        return Change("namespace made", Request("POST", f"{_API}/namespaces", body), answer=answer)

    def namespace_deleted(self) -> Change:
        """A Namespace goes, with its records."""
        name = self._some_namespace()
        del self.namespaces[name]
        self.pods = [pod for pod in self.pods if pod.namespace != name]
        answer = {f"{kind}/{name}": None for kind in (NAMESPACE_VNIS, NETNAMESPACES)}
        request = Request("DELETE", f"{_API}/namespaces/{name}")
        return Change("namespace deleted", request, answer=answer)

    def join(self, name: str = "", other: str = "") -> Change:
        """A person joins a namespace to the tenant of another one; empty: to be chosen."""
        name = name or self._some_namespace()
        other = other or self._some_namespace(besides=name)
        net_id = self.namespaces[other].net_id
        return self._tenant_change("join", name, net_id, {}, namespace=other)

    def isolate(self, name: str = "") -> Change:
        """A person gives a namespace a tenant of its own."""
        number = self._next_number()
        cursor = {LAST_NUMBER: encode(Cursor(number))}
        return self._tenant_change("isolate", name or self._some_namespace(), number, cursor)

    def goes_global(self) -> Change:
        """A person makes a namespace global."""
        return self._tenant_change("global", self._some_namespace(), GLOBAL_TENANT, {})

    def pod_made(self) -> Change:
        """A pod comes to some node."""
        self._count += 1
        node = self._chance.choice(self.nodes)
        namespace = self._some_namespace()
        address = node.subnet.network_address + 250
        pod = Pod(f"made-{self._count}", namespace, node.name, "", address)
        self.pods.append(pod)
        path = f"{_API}/namespaces/{namespace}/pods"
        return Change("pod made", Request("POST", path, pod_object(pod)))

    def pod_deleted(self) -> Change:
        """A pod goes."""
        pod = self.pods.pop(self._chance.randrange(len(self.pods)))
        path = f"{_API}/namespaces/{pod.namespace}/pods/{pod.name}"
        return Change("pod deleted", Request("DELETE", path))

    def _tenant_change(
        self,
        action: str,
        name: str,
        net_id: int,
        more: Mapping[str, bytes],
        *,
        namespace: str = "",
    ) -> Change:
        path, old = f"{NETNAMESPACES}/{name}", self.namespaces[name]
        self.namespaces[name] = evolve(old, net_id=net_id)
        asked = NetNamespace(name, old.net_id, action, namespace)
        answered = encode(NetNamespace(name, net_id))
        return Change(action, asked={path: encode(asked)}, answer={path: answered, **more})

    def _new_node(self, subnet: IPv4Network) -> Node:
        self._count += 1
        self._last_address += 1
        return Node(f"joined{self._count}", self._last_address, subnet, pods=False)

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _some_namespace(self, besides: str = "") -> str:
        """One that somebody has made."""
        made = (each for each in self.namespaces if each.startswith(("project", "made")))
        besides_all = self._kept | {besides}
        return self._chance.choice([name for name in made if name not in besides_all])


def trace(living: Living, seconds: float, seed: int) -> Iterator[tuple[float, Change]]:
    """What happens within so many seconds, each with its moment, in order."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    ways: Mapping[str, Callable[[], Change]] = {
        "node status": living.node_status,
        "pod made": living.pod_made,
        "pod deleted": living.pod_deleted,
        "node joins": living.node_joins,
        "namespace made": living.namespace_made,
        "namespace deleted": living.namespace_deleted,
        "join": living.join,
        "isolate": living.isolate,
        "global": living.goes_global,
    }
    rates = _rates(len(living.nodes), len(living.namespaces))
    whole = sum(rates.values())
    at = chance.expovariate(whole)
    while at < seconds:
        (what,) = chance.choices(list(rates), list(rates.values()))
        yield at, ways[what]()
        at += chance.expovariate(whole)


def _rates(nodes: int, namespaces: int) -> dict[str, float]:
    return {
        what: rate * (namespaces if what in _OF_NAMESPACES else nodes) / 1000
        for what, rate in PER_SECOND.items()
    }


def _subnet(node: Node) -> dict[str, bytes]:
    record: Any = HostSubnet(node.name, node.address, node.subnet)
    return {f"{SUBNETS}/{node.address}": encode(record)}
