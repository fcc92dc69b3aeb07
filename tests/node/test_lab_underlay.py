"""The lab's wires, its processes and its way out: what is true before any daemon runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from k8s_ovs.errors import K8sOvsError, TimedOut, Unavailable
from k8s_ovs_lab.command import inside, run
from k8s_ovs_lab.kube.service import Endpoint, Service, install, translation
from k8s_ovs_lab.layout import LabNode, LabSettings, Layout
from k8s_ovs_lab.lifecycle import bring_up, tear_down
from k8s_ovs_lab.process import LabProcess, await_that
from k8s_ovs_lab.underlay import (
    add_namespace,
    address_node,
    bridge_node,
    namespaces,
    remove_namespaces,
    wire,
)
from k8s_ovs_testing.ovs import OvsProcess

OUTSIDE = IPv4Address("203.0.113.10")
SERVICE = IPv4Address("10.96.0.11")
#: Answers each connection with the client's address and its own port.
SERVER = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
while True:
    connection, client = server.accept()
    connection.sendall(f"{client[0]} {sys.argv[1]}".encode())
    connection.close()
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as connection:
    print(connection.recv(100).decode())
"""


def silent(_: str) -> None:
    """Tells nobody."""


@pytest.fixture
def layout() -> Iterator[Layout]:
    """A lab's names, all its own; whatever is made of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lab-") as directory:
        layout = Layout(f"u{os.getpid()}", Path(directory) / "s")
        try:
            yield layout
        finally:
            tear_down(layout, silent)


@pytest.fixture
def wired(layout: Layout) -> tuple[LabNode, LabNode]:
    """Two nodes whose addresses are on their cables, as with the kernel's datapath."""
    one, two = layout.nodes(2)
    wire(layout, (one, two))
    address_node(one, "eth0")
    address_node(two, "eth0")
    return one, two


def reaches(netns: str, address: IPv4Address | str) -> bool:
    ping = run(["ping", "-c1", "-W2", str(address)], netns=netns, check=False)
    return ping.returncode == 0


def served(netns: str, ports: tuple[int, ...], directory: Path) -> list[LabProcess]:
    """Servers in a namespace that say who asks them. The lab's end ends them."""
    servers = [LabProcess(directory, f"server-{netns}-{port}") for port in ports]
    for server, port in zip(servers, ports, strict=True):
        server.start([sys.executable, "-Ic", SERVER, str(port)], netns)
        await_that(f"port {port}", lambda port=port: asked(netns, "127.0.0.1", port) != "", 10)
    return servers


def asked(netns: str, address: object, port: int) -> str:
    """What a server answers."""
    words = [sys.executable, "-Ic", CLIENT, str(address), str(port)]
    return run(words, netns=netns).stdout.strip()


def test_nodes_and_the_outside_reach_each_other(
    layout: Layout, wired: tuple[LabNode, LabNode]
) -> None:
    one, two = wired
    assert reaches(one.netns, two.address)
    assert reaches(one.netns, OUTSIDE)
    assert reaches(layout.outside, two.address)


def test_the_outside_knows_no_way_to_pods(layout: Layout, wired: tuple[LabNode, LabNode]) -> None:
    way = run(["ip", "route", "get", "172.11.0.2"], netns=layout.outside, check=False)
    assert "unreachable" in way.stderr


def test_tcp_crosses_a_node_of_the_userspace_datapath(layout: Layout) -> None:
    node = layout.node(1)
    wire(layout, (node,))
    ovs = OvsProcess.start(node.ovs_directory, node.netns)
    try:
        bridge_node(layout, node, ovs)
        served(layout.outside, (8001,), layout.directory)
        assert asked(node.netns, OUTSIDE, 8001) == f"{node.address} 8001"
    finally:
        ovs.stop()


def translate(node: LabNode, network: str, *endpoints: Endpoint) -> None:
    service = Service("default", "web", SERVICE, 80, "tcp", endpoints)
    install(node.netns, translation("t", [service], IPv4Network(network)))


def test_a_service_is_all_of_its_endpoints(layout: Layout, wired: tuple[LabNode, LabNode]) -> None:
    one, _ = wired
    served(layout.outside, (8001, 8002), layout.directory)
    translate(one, "172.11.0.0/16", Endpoint(OUTSIDE, 8001), Endpoint(OUTSIDE, 8002))
    answers = {asked(one.netns, SERVICE, 80) for _ in range(30)}
    assert answers == {f"{one.address} 8001", f"{one.address} 8002"}


def test_a_service_without_endpoints_refuses_at_once(wired: tuple[LabNode, LabNode]) -> None:
    one, _ = wired
    translate(one, "172.11.0.0/16")
    with pytest.raises(K8sOvsError, match="ConnectionRefusedError"):
        asked(one.netns, SERVICE, 80)


@pytest.mark.parametrize(
    ("network", "endpoint", "seen"),
    [
        # Node 2 sends by node 1, so that node 1 sees both directions, as with pods.
        ("203.0.113.0/24", "192.168.0.12", "203.0.113.10"),
        ("172.11.0.0/16", "192.168.0.12", "192.168.0.11"),
        ("203.0.113.0/24", "203.0.113.10", "192.168.0.11"),
    ],
    ids=["a client inside keeps its address", "a stranger does not", "nor who gets itself"],
)
def test_whose_address_a_server_sees(
    layout: Layout, wired: tuple[LabNode, LabNode], network: str, endpoint: str, seen: str
) -> None:
    one, two = wired
    run(["ip", "route", "add", str(SERVICE), "via", "203.0.113.1"], netns=layout.outside)
    run(["ip", "route", "add", str(SERVICE), "via", str(one.address)], netns=layout.fabric)
    run(["tee", "/proc/sys/net/ipv4/ip_forward"], netns=one.netns, text="1\n")
    run(["ip", "route", "replace", "default", "via", str(one.address)], netns=two.netns)
    served(layout.outside if endpoint == str(OUTSIDE) else two.netns, (8001,), layout.directory)
    translate(one, network, Endpoint(IPv4Address(endpoint), 8001))
    assert asked(layout.outside, SERVICE, 80) == f"{seen} 8001"


def test_a_namespace_goes_with_what_runs_in_it(layout: Layout) -> None:
    netns = layout.pod_netns("node1", "default", "web")
    add_namespace(netns)
    with subprocess.Popen(["nsenter", f"--net=/run/netns/{netns}", "sleep", "60"]) as sleeper:
        await_that("nsenter", lambda: comm(sleeper.pid) == b"sleep", 10)
        remove_namespaces([netns])
        assert sleeper.wait(5) == -signal.SIGTERM
    assert namespaces(layout) == []


def comm(pid: int) -> bytes:
    return Path(f"/proc/{pid}/comm").read_bytes().strip()


def test_a_foreign_namespace_is_not_taken(layout: Layout) -> None:
    run(["ip", "netns", "add", layout.fabric])
    with pytest.raises(K8sOvsError, match=f"{layout.fabric} is there"):
        bring_up(layout, LabSettings(layout.name), silent)


def test_a_directory_of_other_things_is_not_taken(layout: Layout) -> None:
    layout.directory.mkdir()
    precious = layout.directory / "thesis.txt"
    precious.touch()
    with pytest.raises(K8sOvsError, match=r"holds other things \(thesis.txt\)"):
        bring_up(layout, LabSettings(layout.name), silent)
    tear_down(layout, silent)
    assert precious.exists()


def killed_half_way(layout: Layout) -> None:
    """A `lab up` that dies when it is about to start the API server."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from k8s_ovs_lab.layout import LabSettings, Layout\n"
        "from k8s_ovs_lab.lifecycle import bring_up\n"
        "def report(step):\n"
        "    if step == 'API server': os.kill(os.getpid(), signal.SIGKILL)\n"
        "bring_up(Layout(sys.argv[1], Path(sys.argv[2])), LabSettings(sys.argv[1]), report)\n"
    )
    words = [sys.executable, "-c", program, layout.name, str(layout.directory)]
    assert subprocess.run(words, timeout=60, check=False).returncode == -signal.SIGKILL
    assert len(namespaces(layout)) == 4
    assert commands_naming(layout.directory)


def test_a_lab_that_was_killed_half_way_is_cleaned_away(layout: Layout) -> None:
    killed_half_way(layout)
    assert tear_down(layout, silent)
    assert namespaces(layout) == []
    assert commands_naming(layout.directory) == []
    assert not layout.directory.exists()
    assert not tear_down(layout, silent)


def test_up_begins_anew_where_it_was_killed(layout: Layout) -> None:
    killed_half_way(layout)
    pids = {path.read_text() for path in layout.directory.rglob("*.pid")}
    steps: list[str] = []

    def report(step: str) -> None:
        steps.append(step)
        if step == "API server":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        bring_up(layout, LabSettings(layout.name), report)
    assert steps[0] == "cleaning up what an earlier lab left"
    assert not pids & {path.read_text() for path in layout.directory.rglob("*.pid")}


def commands_naming(directory: Path) -> list[bytes]:
    """Command lines of processes that work in a directory."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:
            continue
    return [line for line in lines if str(directory).encode() in line]


def test_a_process_is_found_again_and_never_mistaken(layout: Layout) -> None:
    process = LabProcess(layout.directory, "sleeper")
    process.start(["sleep", "60"])
    pid = process.pid()
    assert pid is not None
    again = LabProcess(layout.directory, "sleeper")
    assert again.pid() == pid
    again.stop()
    assert not process.running()
    # Its number has gone to another process meanwhile: to this one.
    (layout.directory / "sleeper.pid").write_text(f"{os.getpid()} 1\n")
    assert not again.running()
    again.stop()


def test_what_never_comes_up_is_shown_with_its_last_words(layout: Layout) -> None:
    process = LabProcess(layout.directory, "server")
    process.start(["sh", "-c", "echo the reason >&2; exit 1"])
    with pytest.raises(Unavailable, match=r"the server: its process has ended(.|\n)*the reason"):
        await_that("the server", lambda: False, 10, process.log, process)
    with pytest.raises(TimedOut, match=r"the server: not within 0 s(.|\n)*the reason"):
        await_that("the server", lambda: False, 0, process.log)


def test_a_thread_works_in_a_namespace_and_comes_back(layout: Layout) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    add_namespace(layout.outside)
    with inside(layout.outside):
        assert os.readlink("/proc/thread-self/ns/net") != home
    assert os.readlink("/proc/thread-self/ns/net") == home
    with pytest.raises(K8sOvsError, match=layout.fabric), inside(layout.fabric):
        pass
