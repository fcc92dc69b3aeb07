"""A pod's pair of devices in real namespaces; iproute2 says what is there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.veth import PodLink, check, create, delete, host_name_of
from k8s_ovs.link.veth_driver import VethDriver
from k8s_ovs_testing.ovs import OvsProcess

LIMIT = 30.0
GATEWAY = IPv4Address("172.11.4.1")
EVERYWHERE = IPv4Network("0.0.0.0/0")


@pytest.fixture
def pod(new_netns: Callable[[str], Any], node: Any) -> Any:
    # After `node`: the test leaves the node's namespace before the pod's is deleted.
    return new_netns("pod")


@pytest.fixture
def link(pod: Any) -> PodLink:
    return pod_link(pod.path, 2)


def pod_link(netns: str, number: int, **more: Any) -> PodLink:
    return PodLink(
        host_name=host_name_of(netns, "eth0"),
        netns=netns,
        ifname="eth0",
        mac=f"0a:58:ac:0b:04:{number:02x}",
        address=IPv4Interface(f"172.11.4.{number}/22"),
        gateway=GATEWAY,
        mtu=1450,
        routes=((IPv4Network("172.11.0.0/16"), None), (EVERYWHERE, GATEWAY)),
        **more,
    )


def device(netns: Any, name: str) -> dict[str, Any]:
    (found,) = json.loads(netns.run(f"ip -json -details addr show dev {name}"))
    return dict(found)


def devices_of_pods() -> set[str]:
    """Their names, in the node."""
    return {each.key.name for each in VethDriver().read(())}


def test_a_name_is_short_and_the_same_for_the_same_interface() -> None:
    container = "c" * 64
    name = host_name_of(container, "eth0")
    assert len(name) == 15
    assert name == host_name_of(container, "eth0")
    assert name != host_name_of(container, "net1")
    assert name != host_name_of("d" * 64, "eth0")


class TestCreate:
    def test_the_pod_gets_its_interface_address_and_routes(self, pod: Any, link: PodLink) -> None:
        create(link)
        eth0 = device(pod, "eth0")
        assert "UP" in eth0["flags"]
        assert (eth0["address"], eth0["mtu"]) == ("0a:58:ac:0b:04:02", 1450)
        (ip,) = eth0["addr_info"]
        assert (ip["local"], ip["prefixlen"], ip["broadcast"]) == (
            "172.11.4.2",
            22,
            "172.11.7.255",
        )
        routes = {
            (each["dst"], each.get("gateway")) for each in json.loads(pod.run("ip -json route"))
        }
        assert routes == {
            ("default", "172.11.4.1"),
            ("172.11.0.0/16", None),
            ("172.11.4.0/22", None),
        }

    def test_the_pod_does_not_speak_before_it_is_asked_to(self, pod: Any, link: PodLink) -> None:
        create(link)
        families = {each["family"] for each in device(pod, "eth0")["addr_info"]}
        assert families == {"inet"}
        assert "addrgenmode none" in pod.run("ip -details link show dev eth0")

    @pytest.mark.parametrize("mtu", [68, 1279, 1280])
    def test_an_mtu_that_ipv6_does_not_fit_into_is_as_good(
        self, pod: Any, link: PodLink, mtu: int
    ) -> None:
        create(evolve(link, mtu=mtu))
        assert device(pod, "eth0")["mtu"] == mtu
        assert check(evolve(link, mtu=mtu)) == []
        assert "inet6" not in pod.run("ip addr show dev eth0")

    def test_loopback_is_up_in_the_pod(self, pod: Any, link: PodLink) -> None:
        pod.run("ip link set lo down")
        create(link)
        assert "UP" in device(pod, "lo")["flags"]

    def test_the_nodes_end_is_up_and_has_no_voice_of_its_own(
        self, node: Any, link: PodLink
    ) -> None:
        create(link)
        host = device(node, link.host_name)
        assert {"UP", "LOWER_UP", "NOARP"} <= set(host["flags"])
        assert host["mtu"] == 1450
        assert host["addr_info"] == []
        assert node.run(f"ip -6 route show table all dev {link.host_name}") == ""

    def test_the_nodes_ends_are_those_with_our_prefix(self, node: Any, link: PodLink) -> None:
        node.run("ip link add veth0 type veth peer name veth1")
        create(link)
        assert devices_of_pods() == {link.host_name}

    def test_many_at_once_do_not_disturb_each_other(
        self, new_netns: Callable[[str], Any], node: Any
    ) -> None:
        pods = [new_netns(f"pod{number}") for number in range(2, 10)]
        links = [pod_link(each.path, number) for number, each in enumerate(pods, 2)]
        failures: list[Exception] = []

        def work(one: PodLink) -> None:
            try:
                create(one)
            except LinkError as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(each,)) for each in links]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        assert failures == []
        assert [check(each) for each in links] == [[]] * len(links)

    def test_the_caller_stays_in_its_own_namespace(self, node: Any, link: PodLink) -> None:
        before = os.readlink("/proc/thread-self/ns/net")
        create(link)
        with pytest.raises(LinkError):
            create(evolve(link, netns="/proc/self/ns/uts", host_name="kovsother"))
        assert os.readlink("/proc/thread-self/ns/net") == before

    def test_checksums_are_finished_by_the_kernel_where_asked_for(
        self, pod: Any, link: PodLink
    ) -> None:
        create(evolve(link, in_user_space=True))
        assert "tx-checksumming: off" in pod.run("ethtool -k eth0")

    def test_what_a_killed_daemon_left_is_replaced(self, pod: Any, link: PodLink) -> None:
        create(link)
        pod.run("ip addr flush dev eth0")
        create(link)
        assert check(link) == []


class TestRefusals:
    def test_a_namespace_that_is_gone_is_named(self, node: Any, link: PodLink) -> None:
        with pytest.raises(LinkError, match="/run/netns/kovst-gone: No such file"):
            create(evolve(link, netns="/run/netns/kovst-gone"))
        assert devices_of_pods() == set()

    def test_a_file_that_is_no_namespace_is_named(
        self, node: Any, link: PodLink, tmp_path: Path
    ) -> None:
        file = tmp_path / "file"
        file.touch()
        with pytest.raises(LinkError, match=f"{file} is not a network namespace"):
            create(evolve(link, netns=str(file)))

    def test_an_interface_that_exists_already_is_named_and_left_alone(
        self, node: Any, pod: Any, link: PodLink
    ) -> None:
        pod.run("ip link add eth0 type veth peer name other")
        with pytest.raises(LinkError, match=f"eth0 exists already in {pod.path}"):
            create(link)
        assert device(pod, "eth0")["address"] != link.mac
        assert devices_of_pods() == set()

    def test_a_step_that_fails_is_named_and_nothing_is_left(
        self, node: Any, pod: Any, link: PodLink
    ) -> None:
        astray = (IPv4Network("10.0.0.0/8"), IPv4Address("192.0.2.1"))
        with pytest.raises(LinkError, match=r"cannot set route 10\.0\.0\.0/8 of eth0.*gateway"):
            create(evolve(link, routes=(astray, *link.routes)))
        assert devices_of_pods() == set()
        assert "eth0" not in pod.run("ip link")


class TestDelete:
    def test_both_ends_go_and_what_is_not_there_is_no_error(self, pod: Any, link: PodLink) -> None:
        create(link)
        delete([link.host_name, "kovsabsent"])
        assert devices_of_pods() == set()
        assert "eth0" not in pod.run("ip link")
        delete([link.host_name])

    def test_many_go_in_one_call_and_others_stay(
        self, new_netns: Callable[[str], Any], node: Any, link: PodLink
    ) -> None:
        create(link)
        links = [pod_link(new_netns(f"pod{number}").path, number) for number in range(3, 8)]
        for each in links:
            create(each)
        delete(each.host_name for each in links)
        assert devices_of_pods() == {link.host_name}
        assert check(link) == []


class TestCheck:
    def test_a_healthy_pod_has_no_problems_whatever_else_it_was_given(
        self, pod: Any, link: PodLink
    ) -> None:
        create(link)
        pod.run("ip addr add 172.11.4.9/22 dev eth0")
        pod.run("ip route add 192.0.2.0/24 via 172.11.4.1")
        assert check(link) == []

    @pytest.mark.parametrize(
        ("damage", "problem"),
        [
            ("ip link set eth0 mtu 1400", "eth0's MTU is 1400, expected 1450"),
            (
                "ip link set eth0 address 0a:58:00:00:00:01",
                "eth0's MAC is 0a:58:00:00:00:01, expected 0a:58:ac:0b:04:02",
            ),
            ("ip link set eth0 down", "eth0 is down"),
            ("ip addr delete 172.11.4.2/22 dev eth0", "eth0 has no address 172.11.4.2/22"),
            ("ip route delete default", "eth0 has no route to 0.0.0.0/0 via 172.11.4.1"),
            ("ip route delete 172.11.0.0/16", "eth0 has no route to 172.11.0.0/16"),
            ("ip link delete eth0", "eth0 is missing in"),
        ],
    )
    def test_damage_in_the_pod_is_told(
        self, pod: Any, link: PodLink, damage: str, problem: str
    ) -> None:
        create(link)
        pod.run(damage)
        told = check(link)
        assert any(each.startswith(problem) for each in told), told

    def test_a_node_end_that_is_down_is_told(self, node: Any, link: PodLink) -> None:
        create(link)
        node.run(f"ip link set {link.host_name} down")
        assert f"{link.host_name} is down on the node" in check(link)

    def test_a_namespace_that_is_gone_is_told(self, node: Any, link: PodLink) -> None:
        (problem,) = check(evolve(link, netns="/run/netns/kovst-gone"))
        assert "/run/netns/kovst-gone" in problem


@pytest.fixture
def userspace_ovs(node: Any) -> Iterator[OvsProcess]:
    with tempfile.TemporaryDirectory(prefix="veth-") as directory:
        ovs = OvsProcess.start(directory, netns=node.name)
        try:
            ovs.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
            yield ovs
        finally:
            ovs.stop()


SERVE = """
import socket
server = socket.create_server(("", 8080))
server.settimeout(30)
print("ready", flush=True)
connection, _ = server.accept()
size = 0
while part := connection.recv(65536):
    size += len(part)
print(size, flush=True)
"""


def test_tcp_passes_the_userspace_datapath(
    new_netns: Callable[[str], Any], pod: Any, link: PodLink, userspace_ovs: OvsProcess
) -> None:
    """Unfinished checksums would let the handshake fail, unfinished segments the rest."""
    client = evolve(link, in_user_space=True)
    server = pod_link(new_netns("server").path, 3, in_user_space=True)
    for each in (client, server):
        create(each)
        userspace_ovs.vsctl("add-port", "br0", each.host_name)
    listening = subprocess.Popen(
        ["nsenter", f"--net={server.netns}", sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "ready\n"
        send = (
            "import socket\n"
            "with socket.create_connection(('172.11.4.3', 8080), 20) as channel:\n"
            "    channel.sendall(bytes(1_000_000))\n"
        )
        subprocess.run(
            ["nsenter", f"--net={client.netns}", sys.executable, "-c", send],
            check=True,
            timeout=LIMIT,
        )
        assert listening.stdout.readline() == "1000000\n"
    finally:
        listening.kill()
        listening.wait(LIMIT)
        assert listening.stdout is not None
        listening.stdout.close()


def test_sockets_that_were_used_are_closed(node: Any, link: PodLink) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    create(link)
    check(link)
    delete([link.host_name])
    with pytest.raises(LinkError):
        create(evolve(link, netns="/run/netns/kovst-gone"))
    assert descriptors() == before
    assert socket.if_nameindex() == [(1, "lo")]
