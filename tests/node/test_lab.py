"""The lab with all its parts: what a person does with it, and that it goes without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab, LabSettings, Layout
from k8s_ovs_lab.lifecycle import tear_down
from k8s_ovs_lab.status import examine
from k8s_ovs_lab.underlay import namespaces

SETTINGS = LabSettings(f"n{os.getpid()}")
PARTS = ("etcd", "apiserver", "node1/daemon", "node1/ovs", "node2/daemon", "node2/ovs")


def silent(_: str) -> None:
    """Tells nobody."""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Where the lab's files are; the path is short because of its sockets."""
    with tempfile.TemporaryDirectory(prefix="lab-") as parent:
        yield Path(parent) / "s"


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    """A lab of two nodes that all tests of this file share."""
    layout = Layout(SETTINGS.name, directory)
    try:
        yield Lab.up(SETTINGS, directory)
    finally:
        tear_down(layout, silent)
    assert namespaces(layout) == []
    assert not directory.exists()


@pytest.fixture(autouse=True)
def no_pods_left(lab: Lab) -> Iterator[None]:
    """Each test begins without pods."""
    yield
    for pod in lab.pods().values():
        lab.delete_pod(pod.title)


def cli(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """`k8s-ovs lab WORDS` as a person types it."""
    program = [sys.executable, "-m", "k8s_ovs.cli.main", "lab"]
    name, state = f"--name={lab.layout.name}", f"--state={lab.layout.directory}"
    return subprocess.run(
        [*program, words[0], name, state, *words[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_lab_that_comes_up_is_whole(lab: Lab) -> None:
    status = examine(lab)
    assert status.problems == ()
    assert status.etcd
    assert status.apiserver
    assert [(node.name, node.ready, node.network) for node in status.nodes] == [
        ("node1", True, ""),
        ("node2", True, ""),
    ]


def test_a_host_that_kubernetes_does_not_know_comes_and_goes(lab: Lab) -> None:
    before = namespaces(lab.layout)
    assert cli(lab, "host", "lb1").stdout == "192.168.0.199\n"
    assert cli(lab, "host", "lb1").stderr == "error: host lb1 is there already\n"
    nodes = [(node.name, node.external, node.daemon, node.ovs) for node in examine(lab).nodes]
    assert nodes[2:] == [("lb1", True, True, True)]
    assert "NotReady, external" in cli(lab, "status").stdout
    knows = "test -z $KUBECONFIG && ovs-vsctl show && ping -c1 -W5 192.168.0.11"
    assert cli(lab, "exec", "lb1", "--", "sh", "-c", knows).returncode == 0
    assert "no external host" in cli(lab, "unhost", "node1").stderr
    assert cli(lab, "unhost", "lb1").returncode == 0
    assert namespaces(lab.layout) == before
    assert lab.hosts == ()


def test_up_again_changes_nothing(lab: Lab, directory: Path) -> None:
    pod = lab.run_pod("node1", "web")
    before = {path: path.read_text() for path in directory.rglob("*.pid")}
    assert Lab.up(SETTINGS, directory).pods() == {"default/web": pod}
    assert {path: path.read_text() for path in directory.rglob("*.pid")} == before
    assert len(before) == 2 + 3 * len(lab.nodes)


def test_up_with_other_settings_is_refused(lab: Lab, directory: Path) -> None:
    with pytest.raises(K8sOvsError, match="nodes: 2, asked for 3"):
        Lab.up(LabSettings(SETTINGS.name, nodes=3), directory)
    assert all(lab.part(name).running() for name in PARTS)


def test_a_program_that_died_is_started_by_up(lab: Lab, directory: Path) -> None:
    for name in ("etcd", "node1/daemon"):
        lab.part(name).kill()
        assert not lab.part(name).running()
    Lab.up(SETTINGS, directory)
    assert all(lab.part(name).running() for name in PARTS)


def test_a_pod_has_an_address_of_its_nodes_subnet(lab: Lab) -> None:
    pod = lab.run_pod("node2", "web", "shop")
    subnets = {node.name: node.subnet for node in examine(lab).nodes}
    assert isinstance(subnets["node2"], IPv4Network)
    assert pod.ip in subnets["node2"]
    shown = lab.exec("shop/web", ["ip", "-br", "addr", "show", "eth0"]).stdout
    assert f"{pod.ip}/" in shown


def test_a_deleted_pod_leaves_nothing(lab: Lab) -> None:
    before = namespaces(lab.layout)
    ports = lab.exec("node1", ["ovs-vsctl", "list-ports", "br0"]).stdout
    lab.run_pod("node1", "web")
    lab.delete_pod("web")
    assert lab.pods() == {}
    assert namespaces(lab.layout) == before
    assert lab.exec("node1", ["ovs-vsctl", "list-ports", "br0"]).stdout == ports
    lab.run_pod("node1", "web")


def test_a_pod_that_is_refused_leaves_nothing(lab: Lab) -> None:
    before = namespaces(lab.layout)
    lab.stop_daemon("node1")
    try:
        with pytest.raises(K8sOvsError, match=r"CNI ADD of pod default/web on node1: .*code 11"):
            lab.run_pod("node1", "web")
        assert lab.pods() == {}
        assert namespaces(lab.layout) == before
    finally:
        lab.start_daemon("node1")
    lab.run_pod("node1", "web")


def test_a_second_pod_of_a_name_is_refused_and_the_first_stays(lab: Lab) -> None:
    pod = lab.run_pod("node1", "web")
    with pytest.raises(K8sOvsError, match="default/web is there already"):
        lab.run_pod("node2", "web")
    assert lab.pod("web") == pod
    lab.exec("web", ["true"])


def test_a_service_is_translated_on_every_node_until_it_is_deleted(lab: Lab) -> None:
    pod = lab.run_pod("node1", "web")
    service = lab.service("web", 80, ["web:8080"])
    for node in lab.nodes:
        assert f"dnat to {pod.ip}:8080" in rules(lab, node.name)
    assert service in lab.services()
    with pytest.raises(K8sOvsError, match="already exists"):
        lab.service("web", 80, ["web"])
    lab.delete_service("web")
    for node in lab.nodes:
        assert f"dnat to {pod.ip}" not in rules(lab, node.name)


def rules(lab: Lab, node: str) -> str:
    return lab.exec(node, ["nft", "list", "table", "ip", "lab-services"]).stdout


def test_what_hangs_is_told_by_status(lab: Lab) -> None:
    lab.part("apiserver").pause()
    try:
        problems = "\n".join(examine(lab).problems)
    finally:
        lab.part("apiserver").resume()
    assert "API server http://192.168.0.1:6443" in problems
    assert examine(lab).problems == ()


def test_the_command_line_passes_the_exit_status_on(lab: Lab) -> None:
    done = cli(lab, "exec", "node1", "--", "sh", "-c", "echo $OVS_RUNDIR; exit 3")
    assert done.returncode == 3
    assert done.stdout.strip() == str(lab.node("node1").ovs_directory)


@pytest.mark.parametrize(
    ("where", "words", "shown"),
    [
        ("node2", ["ovs-appctl", "version"], "ovs-vswitchd"),
        ("node2", ["ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "br0"], "OFPST_FLOW"),
        ("fabric", ["etcdctl", "get", "--prefix", "--keys-only", "/"], "/subnets/192.168.0.12"),
    ],
)
def test_the_usual_tools_find_the_labs_programs(
    lab: Lab, where: str, words: list[str], shown: str
) -> None:
    assert shown in lab.exec(where, words).stdout


def test_open_vswitch_starts_again_with_its_bridges(lab: Lab) -> None:
    before = lab.exec("node1", ["ovs-vsctl", "list-br"]).stdout
    lab.restart_ovs("node1")
    assert lab.exec("node1", ["ovs-vsctl", "list-br"]).stdout == before
    assert "br-phy" in lab.exec("node1", ["ovs-appctl", "dpif/show"]).stdout


def test_the_command_line_tells_what_is_wrong_without_a_trace(lab: Lab) -> None:
    done = cli(lab, "exec", "nowhere", "--", "true")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no pod default/nowhere in lab {SETTINGS.name}")
    assert cli(lab, "run", "web", "--node", "node9").stderr.startswith("error: no node node9")


def test_two_labs_run_side_by_side(lab: Lab) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-") as parent:
        settings = LabSettings(f"m{os.getpid()}", nodes=1, plugin=SETTINGS.plugin)
        other = Lab.up(settings, Path(parent) / "s")
        try:
            pod = other.run_pod("node1", "web")
            assert lab.pods() == {}
            assert other.pods() == {"default/web": pod}
        finally:
            assert tear_down(other.layout, silent)
        assert namespaces(other.layout) == []
        assert not other.layout.directory.exists()
    assert all(lab.part(name).running() for name in PARTS)
