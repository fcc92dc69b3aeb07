"""The benchmark of scale: the clusters that it makes, and what happens in them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from tests.bench.scale.cluster import CONFIG, Cluster, Size, make_cluster, network_config, records
from tests.bench.scale.living import Living, trace
from tests.bench.scale.objects import objects

from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.codec import decode
from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.model.subnet import HostSubnet, subnet_problem

SIZE = Size(nodes=50, namespaces=40, tenants=30, pods=100, services=7)
REAL = {"node1": IPv4Address("192.168.0.11")}
NAME = CONFIG["Name"]


@pytest.fixture(scope="module")
def manager() -> PluginManager:
    return load_plugins(str(CONFIG["PluginName"]))


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return make_cluster(SIZE, 1, REAL)


def decoded(manager: PluginManager, found: Mapping[str, bytes]) -> dict[str, dict[str, object]]:
    """What the project itself reads in records, by kind and key; statuses are for people."""
    kinds: dict[str, dict[str, object]] = {}
    for path, value in found.items():
        name, kind, key = path.split("/")
        assert name == NAME
        if kind == "status":
            kinds.setdefault(kind, {})[key] = decode(NodeStatus, path, value)
        else:
            kinds.setdefault(kind, {})[key] = manager.kinds[kind].decode(path, value)
    return kinds


def test_the_project_reads_all_records_and_none_contradicts(
    manager: PluginManager, cluster: Cluster
) -> None:
    found = records(cluster)
    assert json.loads(found.pop("config")) == CONFIG
    kinds = decoded(manager, found)

    busy = sum(node.pods for node in cluster.nodes)
    assert {kind: len(each) for kind, each in kinds.items()} == {
        "subnets": 50,
        "given": 50,
        "used": busy,
        "status": 49,
        "vnids": 40,
        "netnamespaces": 40,
        "netids": 1,
    }
    assert 40 < busy < 49
    assert contradictions(kinds["subnets"]) == []


def contradictions(subnets: Mapping[str, HostSubnet]) -> list[str]:
    """What is wrong in these records, and which of them overlap."""
    wrong = [subnet_problem(network_config(), key, each) for key, each in subnets.items()]
    held = sorted(each.subnet for each in subnets.values() if each.subnet is not None)
    overlaps = [f"{one} {other}" for one, other in pairwise(held) if one.overlaps(other)]
    return [*(each for each in wrong if each), *overlaps]


def test_tenants_and_numbers_are_as_asked_for(cluster: Cluster) -> None:
    tenants = Counter(each.net_id for each in cluster.namespaces)
    assert len(tenants) == 30
    assert [each.net_id for each in cluster.namespaces if each.name == "kube-system"] == [0]
    assert len({each.vni for each in cluster.namespaces}) == 40


def test_objects_are_of_the_same_cluster(manager: PluginManager, cluster: Cluster) -> None:
    found = list(objects(cluster))
    kinds = Counter(each["kind"] for each in found)
    assert kinds == {"Node": 50, "Namespace": 40, "Pod": 100, "Service": 7}
    for each in found[:50]:
        node = manager.resources["nodes"].decode(each["metadata"]["name"], each)
        assert [str(address) for address in node.addresses] == [
            next(str(own.address) for own in cluster.nodes if own.name == node.name)
        ]
    uids = {each.name: each.uid for each in cluster.namespaces}
    for each in found[50:90]:
        name = each["metadata"]["name"]
        assert manager.resources["namespaces"].decode(name, each) == uids[name]


def test_the_same_seed_makes_the_same_cluster_and_the_same_trace(cluster: Cluster) -> None:
    again = make_cluster(SIZE, 1, REAL)
    assert records(again) == records(cluster)
    assert list(objects(again)) == list(objects(cluster))
    assert list(trace(Living(again), 60, 3)) == list(trace(Living(cluster), 60, 3))
    other = make_cluster(SIZE, 2, REAL)
    assert records(other) != records(cluster)


def test_what_happens_keeps_the_records_valid(manager: PluginManager) -> None:
    size = Size(nodes=200, namespaces=400, tenants=300, pods=300)
    cluster = make_cluster(size, 1, REAL)
    living, found = Living(cluster), records(cluster)
    happened = list(trace(living, 2000, 3))
    changes = [change for _, change in happened]
    changes += [living.node_record() for _ in range(3)]
    for change in changes:
        for written in (change.asked, change.answer):
            for path, value in written.items():
                if value is None:
                    del found[f"{NAME}/{path}"]
                else:
                    found[f"{NAME}/{path}"] = value

    moments = [at for at, _ in happened]
    assert moments == sorted(moments)
    assert {"node joins", "namespace made", "namespace deleted", "join", "isolate"} <= {
        change.what for change in changes
    }
    del found["config"]
    subnets = decoded(manager, found)["subnets"]
    assert len(subnets) > 200
    assert contradictions(subnets) == []


def test_nothing_happens_to_the_namespaces_that_are_kept(cluster: Cluster) -> None:
    kept = [each.name for each in cluster.namespaces if each.name.startswith("project")][:30]
    living = Living(cluster, kept)
    before = {name: living.namespaces[name] for name in kept}
    happened = Counter(change.what for _, change in trace(living, 5000, 3))
    assert happened["namespace deleted"] > 0
    assert {name: living.namespaces[name] for name in kept} == before


def test_a_size_that_no_cluster_has_is_refused() -> None:
    with pytest.raises(ValueError, match="tenants"):
        Size(nodes=50, namespaces=20, tenants=21, pods=0)
    with pytest.raises(ValueError, match="per node with pods"):
        make_cluster(Size(nodes=5, namespaces=20, tenants=10, pods=10_000), 1, REAL)
