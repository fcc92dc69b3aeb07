"""What cannot be done, what comes too early, what breaks: each is told, and disturbs no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from attrs import evolve

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.servers import objects
from k8s_ovs_lab.tenants import Tenants
from k8s_ovs_testing.traffic.traffic import PingStream

WITHIN = 30.0
NODES = ("node1", "node2")


def asking(action: str, other: str = "", net_id: int = 99, name: str = "red") -> str:
    fields = {"NetName": name, "NetID": net_id, "Action": action, "Namespace": other}
    return json.dumps(fields)


#: What is put under netnamespaces/red, and the reason that is given.
REFUSED = {
    "an unknown namespace": (
        asking("join", "nowhere"),
        'found "nowhere", expected one that exists',
    ),
    "itself": (asking("join", "red"), 'found "red", expected another one than itself'),
    "no namespace": (asking("join"), "Namespace: missing"),
    "an unknown action": (
        asking("marry", "green"),
        'found "marry", expected join, isolate or global',
    ),
    "malformed JSON": ('{"NetName":"red","NetID":', "not JSON"),
    "no object": ("[]", "found [], expected a JSON object"),
    "another name": (asking("", name="green"), 'NetName: found "green", expected "red"'),
    "a number too large": (asking("", net_id=1 << 24), "NetID: found 16777216, expected"),
    "a negative number": (asking("", net_id=-1), "NetID: found -1, expected"),
    "a number that is reserved": (asking("", net_id=9), "NetID: found 9, expected 0 or 10 to"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_answered_with_the_reason_and_changes_nothing(
    tenant_world: LabNet, tenants: Tenants, text: str, reason: str
) -> None:
    before = everywhere(tenant_world)
    others = {name: tenants.text(name) for name in ("green", "blue", "kube-system")}
    net_id = tenants.net_ids()["red"]
    tenants.put("red", text)
    answer = json.loads(tenants.text("red"))
    assert reason in answer.pop("Reason")
    assert answer == {"NetName": "red", "NetID": net_id, "Action": "", "Namespace": ""}
    assert everywhere(tenant_world) == before
    assert {name: tenants.text(name) for name in others} == others
    told = objects(tenant_world.lab.layout).events_of("Namespace", "red")
    assert any(reason in message for message in told)


def test_a_reason_goes_with_the_next_action_that_can_be_done(tenants: Tenants) -> None:
    tenants.ask("red", "join", "nowhere")
    assert "Reason" in tenants.text("red")
    tenants.ask("red", "isolate")
    assert "Reason" not in tenants.text("red")


def test_a_pod_that_comes_before_its_namespace_waits_for_its_record(
    tenant_world: LabNet, tenants: Tenants
) -> None:
    kube = objects(tenant_world.lab.layout)
    pod = tenant_world.stranger("node1", "early", "later")
    with ThreadPoolExecutor(1) as pool:
        attached = pool.submit(tenant_world.attach, pod)
        # Somebody else's network is served meanwhile.
        with tenant_world.attached("node1", "other", "red") as other:
            assert other.ip is not None
            assert tenant_world.pings("red/two", other.ip)
        assert not attached.done()
        assert tenants.text("later") == ""
        uid = kube.create_pod(tenant_world.lab.node("node1"), "later", "early", {}, {})
        address = attached.result(WITHIN).ip
    assert address is not None
    tenants.await_settled("later")
    assert tenant_world.pings("kube-system/dns", address)
    assert not tenant_world.pings("red/one", address)
    tenant_world.remove(evolve(pod, uid=uid))
    kube.delete_namespace("later")


def test_the_record_of_a_namespace_goes_with_it(tenant_world: LabNet, tenants: Tenants) -> None:
    kube = objects(tenant_world.lab.layout)
    tenant_world.lab.run_pod("node1", "last", "short")
    tenants.await_settled("short")
    tenant_world.lab.delete_pod("last", "short")
    kube.delete_namespace("short")
    keys = ("k8ssdn/netnamespaces/short", "k8ssdn/vnids/short")
    await_that(
        "its records to go",
        lambda: not any(key in tenant_world.records() for key in keys),
        WITHIN,
    )


def test_pods_go_on_while_the_record_of_their_namespace_makes_no_sense(
    tenant_world: LabNet, tenants: Tenants
) -> None:
    """Nobody repairs it, since nobody reaches Kubernetes."""
    key = f"{ETCD_PREFIX}/k8ssdn/netnamespaces/red"
    before = everywhere(tenant_world)
    with no_allocator(tenant_world):
        tenant_world.lab.etcdctl("put", key, '{"NetName":"red","NetID":')
        for node in NODES:
            await_told(tenant_world, node, "not JSON", expected=True)
        assert everywhere(tenant_world) == before
        assert tenant_world.pings("red/one", tenant_world.address("red/two"))
        with tenant_world.attached("node2", "new", "red", known=False) as pod:
            assert pod.ip is not None
            assert tenant_world.pings("red/one", pod.ip)
            assert not tenant_world.pings("green/one", pod.ip)
    tenants.await_settled("red")
    assert "not JSON" in json.loads(tenants.text("red"))["Reason"]
    for node in NODES:
        await_told(tenant_world, node, "netnamespaces/red", expected=False)


def test_a_restart_changes_no_flow_and_loses_no_packet(
    tenant_world: LabNet, tenants: Tenants
) -> None:
    tenants.ask("red", "join", "green")
    tenants.ask("blue", "global")
    before = everywhere(tenant_world)
    stream = PingStream(tenant_world.netns("red/one"), tenant_world.address("green/two"))
    for node in NODES:
        tenant_world.lab.restart_daemon(node)
    assert stream.stop() == 0
    assert everywhere(tenant_world) == before


def test_an_add_that_waits_in_vain_is_told_whose_record_is_missing(tenant_world: LabNet) -> None:
    tenant_world.lab.stop_daemon("node1")
    tenant_world.lab.start_daemon("node1", "--cni-wait=1")
    try:
        with (
            pytest.raises(K8sOvsError, match=r"waited 1 s for: .*a tenant for namespace nowhere"),
            tenant_world.attached("node1", "vain", "nowhere", known=False),
        ):
            pass
    finally:
        tenant_world.lab.restart_daemon("node1")


@contextmanager
def no_allocator(world: LabNet) -> Iterator[None]:
    """Meanwhile the API server hangs, so that the leader writes nothing."""
    apiserver = world.lab.part("apiserver")
    apiserver.pause()
    try:
        for node in NODES:
            await_blind(world, node)
        yield
    finally:
        apiserver.resume()


def everywhere(world: LabNet) -> set[tuple[str, str]]:
    """All flows of all nodes: (node, cookie)."""
    return {
        (node, flow.partition("cookie=")[2].partition(",")[0])
        for node in NODES
        for flow in world.flows(node)
    }


def await_told(world: LabNet, node: str, text: str, *, expected: bool) -> None:
    """Wait until this is among a node's problems, or no longer."""

    def holds() -> bool:
        return any(text in problem for problem in world.status(node)["problems"]) is expected

    await_that(f"{node} to tell of {text}: {expected}", holds, WITHIN)


def await_blind(world: LabNet, node: str) -> None:
    """Wait until a node says that it does not see Kubernetes' namespaces."""

    def away() -> bool:
        return not world.status(node)["sources"]["kube:namespaces"]

    await_that("the API server to be disconnected", away, WITHIN)
