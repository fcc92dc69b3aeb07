"""What a runtime may ask at the wrong moment or twice, and what else wants the daemon's place."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest
from attrs import evolve

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import LabPod, cni
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.underlay import remove_namespaces

WITHIN = 20.0
ROOM = 29


class TestAdd:
    def test_asked_twice_a_pod_has_one_port_and_one_address(self, shaken: LabNet) -> None:
        with shaken.attached("node1", "twice") as pod:
            before = ports(shaken)
            assert shaken.attach(pod) == pod
            assert ports(shaken) == before
            assert pod.ip is not None
            assert shaken.pings("y", pod.ip)

    def test_asked_twice_what_is_broken_of_a_pod_is_made_anew(self, shaken: LabNet) -> None:
        with shaken.attached("node1", "broken") as pod:
            before = ports(shaken)
            inside(shaken, pod, "ip", "link", "delete", "eth0")
            assert shaken.attach(pod) == pod
            assert ports(shaken) == before
            assert pod.ip is not None
            assert shaken.pings("y", pod.ip)

    def test_twenty_at_once_get_twenty_addresses(self, shaken: LabNet) -> None:
        with pods(shaken, 20) as attached:
            addresses = {pod.ip for pod in attached}
            assert len(addresses | {shaken.address("x")}) == 21
            assert all(shaken.pings("y", address) for address in addresses if address)

    def test_a_namespace_that_is_not_there_is_named(self, shaken: LabNet) -> None:
        pod = shaken.bare_pod("node1", "nowhere")
        remove_namespaces([pod.netns])
        with pytest.raises(K8sOvsError, match=rf"/run/netns/{pod.netns}: No such file"):
            shaken.attach(pod)
        shaken.remove(pod)


class TestAddresses:
    def test_when_all_are_used_up_it_is_said_and_a_freed_one_is_given(self, shaken: LabNet) -> None:
        shaken.lab.stop_daemon("node1")
        shaken.lab.start_daemon("node1", "--cni-wait=2")
        subnet = shaken.subnet("node1")
        with pods(shaken, ROOM - 1) as attached:
            late = shaken.bare_pod("node1", "late")
            full = f"waited 2 s for: subnet {subnet}: all {ROOM} addresses are in use.*code 11"
            with pytest.raises(K8sOvsError, match=full):
                shaken.attach(late)
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(shaken.attach, late)
                shaken.cni("DEL", attached[0])
                assert waiting.result(WITHIN).ip == attached[0].ip
            shaken.remove(late)
        shaken.lab.restart_daemon("node1")

    def test_the_least_recently_used_comes_first_even_after_a_restart(self, shaken: LabNet) -> None:
        with shaken.attached("node1", "first") as first:
            pass
        shaken.lab.part("node1/daemon").kill()
        shaken.lab.start_daemon("node1")
        seen: list[IPv4Address | None] = [first.ip]
        for number in range(ROOM - 2):
            with shaken.attached("node1", f"next{number}") as pod:
                seen.append(pod.ip)
        assert len(set(seen)) == ROOM - 1
        with shaken.attached("node1", "again") as again:
            assert again.ip == first.ip


class TestDel:
    def test_of_what_was_never_there_it_succeeds(self, shaken: LabNet) -> None:
        pod = shaken.bare_pod("node1", "never")
        shaken.cni("DEL", pod)
        shaken.remove(pod)

    def test_twice_and_without_the_namespace_it_succeeds_and_nothing_is_left(
        self, shaken: LabNet
    ) -> None:
        before = ports(shaken)
        pod = shaken.attach(shaken.bare_pod("node1", "gone"))
        remove_namespaces([pod.netns])
        shaken.cni("DEL", pod)
        shaken.cni("DEL", evolve(pod, netns="nowhere"))
        assert ports(shaken) == before
        await_that(
            "no flow of it",
            lambda: not [flow for flow in shaken.flows("node1") if f"={pod.ip} " in flow],
            WITHIN,
        )


class TestCheck:
    def test_a_pod_as_it_was_made_is_well(self, shaken: LabNet) -> None:
        with shaken.attached("node1", "well") as pod:
            assert shaken.cni("CHECK", pod, {"prevResult": result(pod)}) is None

    @pytest.mark.parametrize(
        ("harm", "told"),
        [
            ("ip route delete default", "eth0 has no route to 0.0.0.0/0"),
            ("ip address flush dev eth0", "eth0 has no address"),
            ("ip link set eth0 mtu 1400", "eth0's MTU is 1400, expected 1450"),
            ("ip link set eth0 down", "eth0 is down"),
        ],
    )
    def test_what_was_changed_is_told(self, shaken: LabNet, harm: str, told: str) -> None:
        with shaken.attached("node1", "harmed") as pod:
            inside(shaken, pod, *harm.split())
            with pytest.raises(K8sOvsError, match=rf"bare/harmed is not as it should.*{told}"):
                shaken.cni("CHECK", pod, {"prevResult": result(pod)})

    def test_a_pod_is_as_it_was_given_although_the_mtu_of_new_ones_is_another(
        self, shaken: LabNet
    ) -> None:
        key = f"{ETCD_PREFIX}/config"
        before = shaken.lab.etcdctl("get", "--print-value-only", key).strip()
        with shaken.attached("node1", "older") as pod:
            shaken.lab.etcdctl("put", key, json.dumps(json.loads(before) | {"MTU": 1400}))
            try:
                await_that("the MTU is applied", lambda: tun0_mtu(shaken) == 1400, WITHIN)
                assert shaken.cni("CHECK", pod, {"prevResult": result(pod)}) is None
                with shaken.attached("node1", "newer") as newer:
                    assert "mtu 1400" in inside(shaken, newer, "ip", "link", "show", "eth0")
            finally:
                shaken.lab.etcdctl("put", key, before)
                await_that("all is as before", lambda: tun0_mtu(shaken) == 1450, WITHIN)

    def test_a_pod_that_is_not_there_is_told(self, shaken: LabNet) -> None:
        pod = shaken.bare_pod("node1", "never")
        with pytest.raises(K8sOvsError, match=rf"no such pod.*{pod.container}.*code 3"):
            shaken.cni("CHECK", pod)
        shaken.remove(pod)


def test_gc_removes_what_is_not_valid_and_only_that(shaken: LabNet) -> None:
    with pods(shaken, 3) as attached:
        kept = [shaken.lab.pod("x"), attached[1]]
        valid = [{"containerID": pod.container, "ifname": "eth0"} for pod in kept]
        before = ports(shaken)
        shaken.cni("GC", kept[0], {"cni.dev/valid-attachments": valid})
        assert len(before - ports(shaken)) == 2
        assert attached[1].ip is not None
        assert shaken.pings("y", attached[1].ip)
        with pytest.raises(K8sOvsError, match=r"cni\.dev/valid-attachments.*code 7"):
            shaken.cni("GC", kept[0])
        assert len(before - ports(shaken)) == 2


def test_gc_for_another_network_leaves_ours_alone(shaken: LabNet) -> None:
    with pods(shaken, 2) as attached:
        before = ports(shaken)
        others = {"name": "another", "cni.dev/valid-attachments": []}
        shaken.cni("GC", attached[0], others)
        assert ports(shaken) == before


def test_the_nodes_own_namespace_is_no_pods(shaken: LabNet) -> None:
    pod = shaken.bare_pod("node1", "node")
    own = evolve(pod, netns=shaken.lab.netns("node1"))
    routes = shaken.lab.exec("node1", ["ip", "route"]).stdout
    with pytest.raises(K8sOvsError, match=r"own network namespace.*CNI_NETNS.*code 4"):
        shaken.cni("ADD", own)
    assert shaken.lab.exec("node1", ["ip", "route"]).stdout == routes
    shaken.remove(pod)


def test_a_second_interface_of_a_sandbox_has_an_address_and_no_default_route(
    shaken: LabNet,
) -> None:
    with shaken.attached("node1", "twice") as pod:
        second = shaken.cni("ADD", pod, ifname="net1")
        assert shaken.cni("CHECK", pod, {"prevResult": second}, ifname="net1") is None
        assert shaken.cni("CHECK", pod, {"prevResult": result(pod)}) is None
        assert inside(shaken, pod, "ip", "route", "show", "default").count("default") == 1
        assert pod.ip is not None
        assert shaken.pings("x", pod.ip)
        shaken.cni("DEL", pod, ifname="net1")
        assert shaken.pings("x", pod.ip)


class TestStart:
    def test_a_second_daemon_names_the_socket_and_who_has_it(self, shaken: LabNet) -> None:
        socket = shaken.lab.node("node1").cni_socket
        done = shaken.lab.exec(
            "node1",
            [sys.executable, "-m", "k8s_ovs.cli.main", "node", f"--cni-socket={socket}"],
            check=False,
        )
        assert done.returncode == 1
        pid = shaken.status("node1")["pid"]
        assert f"{socket} is in use by a live daemon (process {pid})" in done.stderr
        assert "Traceback" not in done.stderr
        cni.call(shaken.lab.node("node1"), "STATUS", {}, "the network")

    def test_who_is_not_root_is_told_so(self, shaken: LabNet) -> None:
        program = (
            "import os, k8s_ovs.cli.host.node, k8s_ovs.cli.main\n"
            "os.setuid(65534)\n"
            "k8s_ovs.cli.main.main()\n"
        )
        words = [sys.executable, "-W", "ignore", "-c", program, "node"]
        done = shaken.lab.exec("node1", words, check=False)
        assert done.returncode == 1
        assert done.stderr.strip() == "error: k8s-ovs node must run as root, found uid 65534"


@contextmanager
def pods(world: LabNet, count: int) -> Iterator[list[LabPod]]:
    """Meanwhile so many bare pods on node1, attached at once and detached at once."""
    bare = [world.bare_pod("node1", f"pod{number}") for number in range(count)]
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        stack.callback(remove_namespaces, [pod.netns for pod in bare])
        try:
            yield list(pool.map(world.attach, bare))
        finally:
            list(pool.map(world.remove, bare))


def ports(world: LabNet) -> set[str]:
    """Ports of pods on node1."""
    words = ["ovs-vsctl", "list-ports", "br0"]
    return {port for port in world.lab.exec("node1", words).stdout.split() if port[:4] == "kovs"}


def inside(world: LabNet, pod: LabPod, *words: str) -> str:
    """What a command says in the namespace of a bare pod."""
    return world.lab.exec("fabric", ["nsenter", f"--net=/run/netns/{pod.netns}", *words]).stdout


def tun0_mtu(world: LabNet) -> int:
    shown = world.lab.exec("node1", ["ip", "-json", "link", "show", "tun0"]).stdout
    return int(json.loads(shown)[0]["mtu"])


def result(pod: LabPod) -> dict[str, Any]:
    """As much of the answer to ADD as a runtime gives back."""
    return {"cniVersion": "1.1.0", "ips": [{"address": f"{pod.ip}/27"}]}
