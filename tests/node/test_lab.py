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
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.state import LabPod
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


def change(lab: Lab, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """The same for a command whose name has several words."""
    program = [sys.executable, "-m", "k8s_ovs.cli.main", "lab"]
    place = (f"--name={lab.layout.name}", f"--state={lab.layout.directory}")
    return subprocess.run(
        [*program, *words, *place],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_node_comes_and_goes_and_its_subnet_with_it(lab: Lab, directory: Path) -> None:
    before = namespaces(lab.layout)
    made = change(lab, "node", "add", "node3")
    assert (made.returncode, made.stdout) == (0, "192.168.0.13\n"), made.stderr
    assert [node.name for node in lab.nodes] == ["node1", "node2", "node3"]
    assert change(lab, "node", "add", "node3").stderr == "error: node node3 is there already\n"
    assert "expected node1 to node180" in change(lab, "node", "add", "web").stderr
    status = {node.name: node for node in examine(lab).nodes}
    assert (status["node3"].ready, status["node3"].network) == (True, "")
    one, three = lab.run_pod("node1", "one"), lab.run_pod("node3", "three")
    await_answer(lab, "one", three)
    assert Lab.up(SETTINGS, directory).nodes == lab.nodes

    assert change(lab, "node", "remove", "node3").returncode == 0
    assert lab.pods() == {"default/one": one}
    lab.delete_pod("one")
    assert namespaces(lab.layout) == before
    assert not (directory / "node3").exists()
    await_that("the subnet is free", lambda: "192.168.0.13" not in records(lab), 30)
    assert "no node node3 in lab" in change(lab, "node", "remove", "node3").stderr


def await_answer(lab: Lab, place: str, pod: LabPod) -> None:
    """Wait until a pod answers: each node follows a change by itself."""

    def answers() -> bool:
        return lab.exec(place, ["ping", "-c1", "-W1", str(pod.ip)]).returncode == 0

    await_that(f"packets from {place} to {pod.title}", answers, 30)


def records(lab: Lab) -> str:
    return lab.etcdctl("get", "--prefix", "--keys-only", "/")


def test_a_namespace_comes_and_goes_with_what_is_in_it(lab: Lab) -> None:
    assert change(lab, "namespace", "add", "shop2").returncode == 0
    again = change(lab, "namespace", "add", "shop2")
    assert again.stderr == "error: namespace shop2 is there already\n"
    assert "expected up to 63 small letters" in change(lab, "namespace", "add", "Shop").stderr
    pod = lab.run_pod("node1", "web", "shop2")
    lab.service("web", 80, ["web"], namespace="shop2")
    assert change(lab, "namespace", "remove", "shop2").returncode == 0
    assert lab.pods() == {}
    assert lab.services() == ()
    assert pod.netns not in namespaces(lab.layout)
    assert "no namespace shop2" in change(lab, "namespace", "remove", "shop2").stderr
    assert "every cluster has it" in change(lab, "namespace", "remove", "default").stderr


@pytest.mark.parametrize("which", [["--daemon"], ["--ovs"], []], ids=str)
def test_a_restart_gives_new_processes_and_pods_go_on(lab: Lab, which: list[str]) -> None:
    lab.run_pod("node1", "one")
    two = lab.run_pod("node2", "two")
    before = pids(lab)
    done = change(lab, "restart", "node1", *which)
    assert done.returncode == 0, done.stderr
    after = pids(lab)
    changed = {name for name, pid in after.items() if before[name] != pid}
    assert changed == (
        {"daemon", "ovs-vswitchd"}
        if not which
        else {"daemon"}
        if which == ["--daemon"]
        else {"ovs-vswitchd"}
    )
    await_answer(lab, "one", two)


def pids(lab: Lab) -> dict[str, str]:
    """Processes of the first node."""
    directory = lab.node("node1").directory
    found = [*directory.glob("*.pid"), *directory.glob("ovs/*.pid")]
    return {path.stem: path.read_text() for path in found}


def test_a_restart_of_nobody_is_refused(lab: Lab) -> None:
    done = change(lab, "restart", "web")
    assert (done.returncode, "no node web in lab" in done.stderr) == (1, True)


def test_objects_are_applied_and_applied_again(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "objects.yaml"
    path.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: red}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: red}\n"
        "spec: {nodeName: node1, containers: [{name: a, image: b}]}\n"
    )
    first = change(lab, "apply", "-f", str(path))
    assert first.stdout == "namespace/red created\npod/web created\n", first.stderr
    assert "warning: pod red/web does not run" in first.stderr
    again = change(lab, "apply", "--file", "-", text=path.read_text())
    assert again.stdout == "namespace/red configured\npod/web configured\n", again.stderr
    unknown = change(
        lab, "apply", "-f", "-", text='{"apiVersion":"v1","kind":"Foo","metadata":{"name":"a"}}'
    )
    assert unknown.stderr == "error: Foo of v1: the lab's API server has no such objects\n"
    assert change(lab, "apply", "-f", "/nowhere").stderr == (
        "error: --file /nowhere: No such file or directory\n"
    )
    assert change(lab, "namespace", "remove", "red").returncode == 0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--config", '{"HostSubnetLength":99}'], "--config: HostSubnetLength: found 99"),
        (["--config", '{"BandwidthUnenforced":1}'], "--config: BandwidthUnenforced: found 1"),
        (["--plugin", "acme"], '--plugin: PluginName: no plugin "acme" is installed'),
    ],
    ids=str,
)
def test_a_configuration_that_daemons_would_refuse_starts_nothing(
    lab: Lab, flags: list[str], complaint: str
) -> None:
    program = [sys.executable, "-m", "k8s_ovs.cli.main", "lab", "up", "--name", "other"]
    done = subprocess.run(
        [*program, *flags], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.startswith(f"error: {complaint}")) == (1, True)


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
