"""The life of an external host: requested, given, reported, moved, removed, in both modes.

A lab of two nodes with pods of three namespaces, and the host lb1 that Kubernetes does not know.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from itertools import pairwise
from typing import Any

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab, cni
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.status import examine

BASE = "/k8s.ovs.com/ovs/network/k8ssdn"
LB1, ELSEWHERE, NODE1 = "192.168.0.199", "192.168.0.240", "192.168.0.11"
PODS = {"red/one": "node1", "green/one": "node2", "kube-system/dns": "node2"}
#: As the document has it.
REQUEST = f'{{"Host":"lb1","HostIP":"{LB1}","Subnet":"","Assign":true}}'
_WITHIN = 30.0

External = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def world(lab_of: Callable[..., Lab]) -> LabNet:
    """lb1 is there, and nobody has asked for anything."""
    lab = lab_of("ext", plugin="k8s-ovs-multitenant")
    for title, node in PODS.items():
        namespace, _, name = title.partition("/")
        lab.run_pod(node, name, namespace)
    lab.add_host("lb1")
    lab.start_daemon("lb1", wait=False)
    return LabNet(lab)


@pytest.fixture
def external(world: LabNet) -> External:
    """Runs `k8s-ovs external ...` on node1."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["env", "PYTHONWARNINGS=ignore", "k8s-ovs", "external", *words]
        return world.lab.exec("node1", command, check=False, timeout=60)

    return run


@pytest.fixture
def joined(world: LabNet, external: External) -> Iterator[IPv4Network]:
    """The subnet of lb1, which is there while the test runs."""
    added = external("add", "lb1", LB1, "--wait")
    assert added.returncode == 0, added.stderr
    await_joined(world)
    yield world.subnet("lb1")
    external("remove", "lb1", "--wait")


@pytest.fixture(params=["k8s-ovs-subnet", "k8s-ovs-multitenant"])
def mode(world: LabNet, request: pytest.FixtureRequest) -> Iterator[str]:
    """The network's mode meanwhile."""
    yield from configured(world, request.param)


@pytest.fixture
def left_out(world: LabNet) -> Iterator[str]:
    """The network does not have the feature meanwhile."""
    yield from configured(world, "k8s-ovs-multitenant,-k8s-ovs-extlb")


def configured(world: LabNet, plugins: str) -> Iterator[str]:
    before = world.lab.state.settings.network_config()
    put_config(world, {**before, "PluginName": plugins})
    yield plugins
    put_config(world, before)


def put_config(world: LabNet, config: dict[str, Any]) -> None:
    """Configure the network, and wait until all have taken it over."""
    world.lab.etcdctl("put", "/k8s.ovs.com/ovs/network/config", json.dumps(config))
    mode, *others = config["PluginName"].split(",")
    extlb = "-k8s-ovs-extlb" not in others

    def taken() -> bool:
        running = [world.status(name).get("plugins", []) for name in ("node1", "node2", "lb1")]
        return all(mode in names and ("k8s-ovs-extlb" in names) == extlb for names in running)

    await_that("the configuration everywhere", taken, _WITHIN)


def put(world: LabNet, text: str, address: str = LB1) -> None:
    """Write a record as a person does."""
    world.lab.etcdctl("put", f"{BASE}/subnets/{address}", text)


def written(world: LabNet, path: str) -> Any:
    """A record below the network's name; None: there is none."""
    text = world.records().get(f"k8ssdn/{path}")
    return None if text is None else json.loads(text)


def answered(world: LabNet, address: str = LB1) -> Any:
    """The record once it asks for nothing."""
    await_that(
        "an answer",
        lambda: written(world, f"subnets/{address}")["Assign"] is False,
        _WITHIN,
    )
    return written(world, f"subnets/{address}")


def await_joined(world: LabNet) -> None:
    """Wait until lb1 is in the network under the subnet that its record has."""

    def has_joined() -> bool:
        status = world.status("lb1")
        if not status.get("ready"):
            raise K8sOvsError(status.get("waiting_for", "no word of its daemon yet"))
        return bool(status["here"]["subnet"] == str(world.subnet("lb1")))

    await_that("lb1 in the network", has_joined, _WITHIN)


def reach(world: LabNet) -> dict[str, tuple[bool, bool]]:
    """For each pod, whether lb1 reaches it, and it lb1."""
    host = world.subnet("lb1").network_address + 1
    return {pod: (world.pings("lb1", world.address(pod)), world.pings(pod, host)) for pod in PODS}


BOTH_WAYS = dict.fromkeys(PODS, (True, True))


def shown(external: External) -> dict[str, Any]:
    """`external list` as JSON, by address."""
    return {each["address"]: each for each in json.loads(external("list", "-o", "json").stdout)}


def flows_to_lb1(world: LabNet, node: str, address: str = LB1) -> int:
    """How many flows of a node speak of lb1's tunnel."""
    return sum(address in flow for flow in world.flows(node))


def holding(world: LabNet) -> set[str]:
    """Keys of the records that hold parts of the network."""
    kinds = {"subnets", "given", "external"}
    return {key for key in world.records() if not kinds.isdisjoint(key.split("/")[1:2])}


def all_subnets(world: LabNet) -> list[IPv4Network]:
    """The subnets of all records, lowest first; one that is in two records is there twice."""
    there = [json.loads(text) for key, text in world.records().items() if "/subnets/" in key]
    return sorted(IPv4Network(each["Subnet"]) for each in there if each["Subnet"])


def flows(world: LabNet, node: str) -> set[str]:
    """A node's flows, each by its cookie, which is a hash of its content."""
    return {flow.split(",")[0] for flow in world.flows(node)}


def test_a_host_without_a_record_says_what_it_waits_for(world: LabNet) -> None:
    def waits() -> bool:
        return f"subnets/{LB1}; the allocator gives" in world.status("lb1").get("waiting_for", "")

    await_that("its word", waits, _WITHIN)
    (host,) = [node for node in examine(world.lab).nodes if node.external]
    assert (host.name, str(host.address), host.ready) == ("lb1", LB1, False)


def test_the_record_of_the_document_is_answered_and_the_host_joins(
    world: LabNet, external: External
) -> None:
    put(world, REQUEST)
    answer = answered(world)
    assert world.records()[f"k8ssdn/subnets/{LB1}"] == REQUEST.replace(
        '""', '"172.11.8.0/22"'
    ).replace("true", "false")
    await_joined(world)
    assert "kube" not in str(world.status("lb1")["sources"]), "it asks no API server"
    put(world, REQUEST)
    assert answered(world) == answer
    assert external("remove", LB1, "--wait").returncode == 0


def test_it_reaches_all_pods_and_all_reach_it(
    world: LabNet, joined: IPv4Network, mode: str
) -> None:
    await_joined(world)
    assert reach(world) == BOTH_WAYS
    for pod in PODS:
        world.ask("tcp", "lb1", world.address(pod), [pod])
    apart = mode == "k8s-ovs-multitenant"
    assert world.pings("red/one", world.address("green/one")) != apart


def test_an_external_host_serves_no_pods(world: LabNet, joined: IPv4Network) -> None:
    host = world.lab.node("lb1")
    pod = cni.pod_environment("c" * 8, "none", "default", "pod", "uid")
    said = r"this host serves no pods: .* no API server is named \(KUBECONFIG, .*\(code 50\)"
    for command in ("STATUS", "ADD", "CHECK"):
        with pytest.raises(K8sOvsError, match=said):
            cni.call(host, command, pod if command != "STATUS" else {}, "a pod")
    assert cni.call(host, "DEL", pod, "a pod") is None


def test_it_keeps_its_subnet_when_it_asks_while_no_daemon_runs(
    world: LabNet, joined: IPv4Network
) -> None:
    daemons = ("node1", "node2", "lb1")
    for name in daemons:
        world.lab.stop_daemon(name)
    put(world, REQUEST)
    for name in daemons:
        world.lab.start_daemon(name, wait=False)
    assert answered(world)["Subnet"] == str(joined)
    await_joined(world)
    assert reach(world) == BOTH_WAYS


def test_what_is_refused_can_be_read_where_people_look(world: LabNet, external: External) -> None:
    taken = written(world, f"subnets/{NODE1}")["Subnet"]
    done = external("add", "lb2", "192.168.0.200", "--subnet", taken)
    reason = f"Subnet: found {taken}, expected one that does not overlap {taken} of {NODE1}"
    assert (done.returncode, done.stderr) == (1, f"error: a subnet for lb2 is refused: {reason}\n")
    assert written(world, "subnets/192.168.0.200")["Reason"] == reason
    assert shown(external)["192.168.0.200"]["state"] == "refused"
    subnets = world.lab.exec("node1", ["env", "PYTHONWARNINGS=ignore", "k8s-ovs", "subnet", "list"])
    assert reason in subnets.stderr
    assert external("remove", "lb2").returncode == 0


def test_the_address_of_a_node_is_refused_by_command_and_by_record(
    world: LabNet, external: External
) -> None:
    before = written(world, f"subnets/{NODE1}")
    for words in (("add", "lb1", NODE1), ("remove", NODE1), ("remove", "node1")):
        done = external(*words)
        assert done.returncode == 1
        assert f"{NODE1} is the address of node node1" in done.stderr
    put(world, REQUEST.replace(LB1, NODE1), NODE1)
    reason = {"Reason": f"{NODE1} is the address of node node1"}
    assert answered(world, NODE1) == before | reason
    put(world, json.dumps(before), NODE1)


def test_a_record_by_hand_that_overlaps_is_listed_with_its_reason(
    world: LabNet, external: External
) -> None:
    taken = written(world, f"subnets/{NODE1}")["Subnet"]
    by_hand = {"Host": "lb2", "HostIP": "192.168.0.200", "Subnet": taken, "Assign": False}
    put(world, json.dumps(by_hand), "192.168.0.200")
    listed = shown(external)["192.168.0.200"]
    assert listed["state"] == "quarantined"
    assert f"does not overlap {taken} of {NODE1}" in listed["problem"]
    assert external("remove", "192.168.0.200").returncode == 0
    assert "192.168.0.200" not in shown(external)


def test_a_host_may_have_a_small_part(world: LabNet, external: External) -> None:
    done = external("add", "lb2", "192.168.0.200", "--host-subnet-length", "4", "--wait")
    assert done.stdout.splitlines()[0].endswith("/28")
    assert done.stdout.splitlines()[-1].startswith("lb2 has not been seen yet")
    assert external("remove", "lb2").returncode == 0


def test_two_hundred_come_and_go_and_nothing_is_lost_or_given_twice(world: LabNet) -> None:
    before = {node: flows(world, node) for node in ("node1", "node2")}
    records, taken = holding(world), len(all_subnets(world))
    hosts = [f"192.168.7.{number}" for number in range(1, 201)]
    for address in hosts:
        asked = {"Host": f"lb-{address}", "HostIP": address, "Subnet": "", "Assign": True}
        put(world, json.dumps(asked | {"HostSubnetLength": 4}), address)

    def all_have_flows() -> bool:
        return all(flows_to_lb1(world, node, "192.168.7.") == 2 * len(hosts) for node in before)

    await_that("flows of all hosts", all_have_flows, 2 * _WITHIN)
    subnets = all_subnets(world)
    assert len(subnets) == taken + len(hosts)
    assert not any(one.overlaps(other) for one, other in pairwise(subnets))
    world.lab.etcdctl("del", "--prefix", f"{BASE}/subnets/192.168.7.")
    await_that(
        "the same flows",
        lambda: {node: flows(world, node) for node in before} == before,
        2 * _WITHIN,
    )
    await_that("the same records", lambda: holding(world) == records, 2 * _WITHIN)


def test_its_life_is_listed_and_remembered(
    world: LabNet, external: External, joined: IPv4Network
) -> None:
    await_that("its word", lambda: shown(external)[LB1]["live"], _WITHIN)
    listed = shown(external)[LB1]
    assert (listed["name"], listed["subnet"], listed["state"]) == ("lb1", str(joined), "ok")
    world.lab.stop_daemon("lb1")
    gone = shown(external)[LB1]
    assert not gone["live"]
    assert gone["seen"] >= listed["seen"]
    assert (gone["version"], gone["applied"]) == (listed["version"], listed["applied"])
    assert " ago " in external("list").stdout
    world.lab.start_daemon("lb1")


def test_when_its_address_changes_its_subnet_follows(
    world: LabNet, external: External, joined: IPv4Network
) -> None:
    readdress(world, LB1, ELSEWHERE)
    done = external("move", "lb1", ELSEWHERE, "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"lb1 at {ELSEWHERE}: {joined}"
    assert written(world, f"subnets/{LB1}") is None
    assert written(world, f"subnets/{ELSEWHERE}")["Subnet"] == str(joined)
    assert flows_to_lb1(world, "node1") == 0
    assert flows_to_lb1(world, "node1", ELSEWHERE) == 2
    await_that("lb1 at its new address", lambda: at(world) == ELSEWHERE, _WITHIN)
    assert reach(world) == BOTH_WAYS
    readdress(world, ELSEWHERE, LB1)
    assert external("move", ELSEWHERE, LB1, "--wait").returncode == 0
    await_that("lb1 at its old address", lambda: at(world) == LB1, _WITHIN)
    assert reach(world) == BOTH_WAYS


def at(world: LabNet) -> str:
    """The address that lb1's daemon knows to be its own."""
    return str(world.status("lb1")["here"]["address"])


def readdress(world: LabNet, old: str, new: str) -> None:
    """Give lb1 another address on the underlay."""
    device = "br-phy" if world.lab.state.datapath == "netdev" else "eth0"
    for words in (
        f"addr del {old}/24 dev {device}",
        f"addr add {new}/24 dev {device}",
        f"route replace default via 192.168.0.1 dev {device}",
    ):
        world.lab.exec("lb1", ["ip", *words.split()])


def test_when_its_record_is_deleted_it_is_cut_off_and_may_ask_again_at_once(
    world: LabNet, external: External, joined: IPv4Network
) -> None:
    assert reach(world) == BOTH_WAYS
    world.lab.etcdctl("del", f"{BASE}/subnets/{LB1}")
    for node in ("node1", "node2"):
        await_that("its flows gone", lambda node=node: not flows_to_lb1(world, node), _WITHIN)
    assert not world.pings("lb1", world.address("red/one"))
    await_that("no memory of it", lambda: written(world, f"external/{LB1}") is None, _WITHIN)
    free = {"Host": "lb2", "HostIP": "192.168.0.200", "Subnet": str(joined), "Assign": True}
    put(world, json.dumps(free), "192.168.0.200")
    assert answered(world, "192.168.0.200")["Subnet"] == str(joined)
    assert external("remove", "lb2").returncode == 0
    again = external("add", "lb1", LB1, "--wait", "--timeout", "20")
    assert again.returncode == 0, again.stderr
    await_joined(world)
    assert reach(world) == BOTH_WAYS


def test_without_the_plugin_nobody_answers(
    world: LabNet, external: External, left_out: str
) -> None:
    put(world, REQUEST)
    # The leader has seen the request before it gives the namespace its record.
    world.lab.run_pod("node1", "late", "late")
    assert json.dumps(written(world, f"subnets/{LB1}"), separators=(",", ":")) == REQUEST
    assert flows_to_lb1(world, "node1") == 0
    done = external("list")
    assert done.returncode == 1
    assert "not k8s-ovs-extlb, whose command this is" in done.stderr
    world.lab.etcdctl("del", f"{BASE}/subnets/{LB1}")
    world.lab.delete_pod("late", "late")
