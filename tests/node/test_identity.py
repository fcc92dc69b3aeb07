"""Nothing is given twice: what nodes and namespaces have stays theirs, whatever becomes of the
objects and records that say so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab, cni, servers
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.tenants import Tenants
from k8s_ovs_testing.servers.etcd import EtcdProcess
from k8s_ovs_testing.traffic.traffic import PingStream

PODS = {"a": "node1", "b": "node2", "c": "node3"}
CONFIG = f"{ETCD_PREFIX}/config"
BASE = f"{ETCD_PREFIX}/k8ssdn"


@pytest.fixture(scope="module")
def site(lab_of: Callable[..., Lab]) -> LabNet:
    """Three nodes with a pod each; the pods of the namespace red are a tenant of their own."""
    lab = lab_of("idt", plugin="k8s-ovs-multitenant", nodes=3)
    for name, node in PODS.items():
        lab.run_pod(node, name)
    lab.run_pod("node1", "one", "red")
    lab.run_pod("node2", "two", "red")
    await_that("which subnets pods are in to be noted", lambda: len(used(LabNet(lab))) == 3, 30)
    return LabNet(lab)


def used(site: LabNet) -> dict[str, IPv4Network]:
    records = site.records().items()
    return {
        key.rpartition("/")[2]: IPv4Network(json.loads(text)["Subnet"])
        for key, text in records
        if "/used/" in key
    }


def lasting(site: LabNet) -> dict[str, object]:
    """What no history may change: subnets, numbers, and whose they are."""
    kinds = "subnets", "given", "vnids", "netnamespaces"
    return {
        key: json.loads(text)
        for key, text in site.records().items()
        if key.split("/")[1:2] and key.split("/")[1] in kinds
    }


def leave(site: LabNet, *nodes: str) -> None:
    for node in nodes:
        servers.objects(site.lab.layout).delete_node(node)


def come(site: LabNet, *nodes: str) -> None:
    for node in nodes:
        servers.objects(site.lab.layout).ensure_node(site.lab.node(node))


def await_ready(site: LabNet) -> None:
    for node in PODS.values():
        await_that(f"{node} to be ready", lambda node=node: site.status(node)["ready"], 30)


def same(found: object, wanted: object) -> bool:
    if found != wanted:
        raise K8sOvsError(f"found {found}, expected {wanted}")
    return True


@contextmanager
def unharmed(site: LabNet) -> Iterator[None]:
    """Nothing that lasts changes meanwhile, and no packet between pods is lost."""
    await_ready(site)
    before = lasting(site)
    pairs = [("a", "b"), ("b", "c"), ("red/one", "red/two")]
    for client, server in pairs:
        assert site.pings(client, site.address(server))
    streams = [PingStream(site.netns(c), site.address(s), 0.01) for c, s in pairs]
    try:
        yield
        await_that("all that lasts to be there", lambda: same(lasting(site), before), 30)
        await_ready(site)
    finally:
        lost = [stream.stop() for stream in streams]
    assert lost == [0, 0, 0]
    assert not site.pings("a", site.address("red/two"))
    assert lasting(site) == before


@contextmanager
def leader_blind(site: LabNet) -> Iterator[None]:
    """Meanwhile the API server hangs, so that the leader writes nothing."""
    site.lab.part("apiserver").pause()
    try:
        for node in PODS.values():
            await_that(
                f"{node} to see that",
                lambda node=node: not all(site.status(node)["sources"].values()),
                30,
            )
        yield
    finally:
        site.lab.part("apiserver").resume()


def test_nodes_made_anew_in_the_other_order_keep_what_their_pods_are_in(site: LabNet) -> None:
    with unharmed(site):
        leave(site, "node1", "node2")
        await_that("node1 to be missed", lambda: not site.status("node1")["ready"], 30)
        come(site, "node2", "node1")


def test_a_wrong_list_of_nodes_is_no_reason_to_stop_the_cluster(site: LabNet) -> None:
    with unharmed(site):
        leave(site, *PODS.values())
        await_that("node1 to be missed", lambda: not site.status("node1")["ready"], 30)
        come(site, *reversed(PODS.values()))


def test_etcd_emptied_has_all_again(site: LabNet) -> None:
    config = site.lab.etcdctl("get", "--print-value-only", CONFIG).strip()
    with unharmed(site):
        site.lab.etcdctl("del", "--prefix", ETCD_PREFIX)
        for node in PODS.values():
            await_that(
                f"{node} to say so",
                lambda node=node: "does not exist" in str(site.status(node)["problems"]),
                30,
            )
        assert lasting(site) == {}, "without a configuration nothing is written"
        site.lab.etcdctl("put", CONFIG, config)


def test_etcd_made_anew_has_all_again(site: LabNet) -> None:
    config = site.lab.etcdctl("get", "--print-value-only", CONFIG).strip()
    with unharmed(site):
        with another_etcd(site) as data:
            (data / "member").rename(data.parent / "old")
        site.lab.etcdctl("put", CONFIG, config)


def test_etcd_restored_to_yesterday_keeps_what_came_since(site: LabNet, tmp_path: Path) -> None:
    backup = tmp_path / "yesterday"
    site.lab.etcdctl("snapshot", "save", str(backup))
    site.lab.run_pod("node3", "three", "green")
    site.lab.run_pod("node1", "four", "green")
    await_that("green to be there", lambda: "green" in Tenants(site.lab).net_ids(), 30)
    with unharmed(site):
        with another_etcd(site) as data:
            EtcdProcess.restore_data(backup, data)
        await_that("etcd to be back", lambda: "green" in Tenants(site.lab).net_ids(), 60)
        assert site.pings("green/three", site.address("green/four"))
        assert not site.pings("green/three", site.address("a"))


def test_what_is_waited_for_after_a_restore_is_done(site: LabNet, tmp_path: Path) -> None:
    backup = tmp_path / "early"
    site.lab.etcdctl("snapshot", "save", str(backup))
    for _ in range(20):
        site.lab.etcdctl("put", f"{BASE}/none", "-")
    with unharmed(site):
        with another_etcd(site) as data:
            EtcdProcess.restore_data(backup, data)
        site.lab.etcdctl("put", f"{BASE}/none", "-")


def test_a_namespace_made_anew_is_apart_from_the_one_before(site: LabNet) -> None:
    tenants = Tenants(site.lab)
    site.lab.run_pod("node1", "old", "blue")
    await_that("blue to be there", lambda: "blue" in tenants.net_ids(), 30)
    tenants.ask("blue", "global")
    before = tenants.net_ids()["blue"]
    assert before == 0
    daemons = [f"{node}/daemon" for node in PODS.values()]
    # Nobody sees that it is gone in between.
    for daemon in daemons:
        site.lab.part(daemon).pause()
    try:
        remove_namespace(site, "blue")
        servers.objects(site.lab.layout).ensure_namespace("blue")
    finally:
        for daemon in daemons:
            site.lab.part(daemon).resume()
    await_that("another tenant", lambda: tenants.net_ids().get("blue", 0) != 0, 30)
    site.lab.run_pod("node2", "new", "blue")
    assert not site.pings("blue/new", site.address("a"))


def remove_namespace(site: LabNet, name: str) -> None:
    """Its objects go at once, its pods from their nodes when the daemons hear of it."""
    objects = servers.objects(site.lab.layout)
    for pod in site.lab.pods().values():
        if pod.namespace == name:
            objects.delete_pod(pod)
    objects.delete_namespace(name)


def test_while_the_api_server_is_away_nothing_is_given(site: LabNet) -> None:
    """What is asked for meanwhile is answered when the nodes are known again."""
    key = f"{BASE}/subnets/192.168.0.77"
    asked = {"Host": "lb", "HostIP": "192.168.0.77", "Subnet": "", "Assign": True}
    with unharmed(site):
        with leader_blind(site):
            site.lab.etcdctl("put", key, json.dumps(asked))
            with pytest.raises(K8sOvsError):
                await_that("an answer", lambda: answer(site, key), 5)
        await_that("an answer", lambda: answer(site, key), 30)
        site.lab.etcdctl("del", key)


def test_a_record_that_moves_a_node_from_its_pods_is_put_back_and_told(site: LabNet) -> None:
    key, text = record_of(site, "node2")
    site.lab.etcdctl("put", key, moved(text))
    await_put_back(site, text)
    told = servers.objects(site.lab.layout).events_of
    await_that("it is told", lambda: "said otherwise" in str(told("Node", "node2")), 30)


def test_a_node_whose_record_does_not_hold_its_pods_takes_no_new_ones(site: LabNet) -> None:
    key, text = record_of(site, "node2")
    told = "expected one that holds"
    with leader_blind(site):
        site.lab.etcdctl("put", key, moved(text))
        await_that("it is told", lambda: told in site.status("node2")["waiting_for"], 30)
        assert not site.status("node2")["ready"]
        with pytest.raises(K8sOvsError, match=f"{told}.*code 50"):
            cni.call(site.lab.node("node2"), "STATUS", {}, "the network")
        assert site.pings("a", site.address("c"))
    await_put_back(site, text)


def record_of(site: LabNet, node: str) -> tuple[str, str]:
    """The key of a node's subnet, and what is written there."""
    records = site.records().items()
    return next(
        (f"{ETCD_PREFIX}/{key}", text)
        for key, text in records
        if "/subnets/" in key and json.loads(text)["Host"] == node
    )


def await_put_back(site: LabNet, text: str) -> None:
    before = json.loads(text)
    await_that("it is back", lambda: same(json.loads(record_of(site, "node2")[1]), before), 30)
    await_ready(site)
    assert site.pings("a", site.address("b"))


def moved(text: str) -> str:
    return json.dumps(json.loads(text) | {"Subnet": "172.11.240.0/22"})


def answer(site: LabNet, key: str) -> bool:
    return not json.loads(site.lab.etcdctl("get", "--print-value-only", key))["Assign"]


@contextmanager
def another_etcd(site: LabNet) -> Iterator[Path]:
    """While etcd is stopped, its data directory."""
    site.lab.part("etcd").kill()
    yield site.lab.layout.directory / "etcd" / "data"
    site.lab.start_part("etcd")
