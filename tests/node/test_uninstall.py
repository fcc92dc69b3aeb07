"""A machine after `k8s-ovs uninstall` is the one that it was before k8s-ovs came.

A lab of one node, and beside it a second machine, on which each test begins anew.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from k8s_ovs_lab import Lab, LabNode, servers
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.lifecycle import start_switch
from k8s_ovs_lab.state import LabPod
from k8s_ovs_lab.underlay import address_node, remove_namespaces, wire_one
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.traffic.host import host_snapshot

MACHINE = "node2"
SOCKET = "cni-server.sock"
NOTHING = "nothing is left of k8s-ovs on this host\n"
LIMITS = {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "10M"}

Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def world(lab_of: Callable[..., Lab]) -> LabNet:
    """The API server knows the machine already; nothing of k8s-ovs has been on it."""
    lab = lab_of("uni", nodes=1)
    machine = lab.layout.node(2)
    wire_one(lab.layout, machine)
    if lab.state.datapath == "system":
        address_node(machine, "eth0")
    start_switch(lab.layout, machine, lab.state.datapath)
    servers.objects(lab.layout).ensure_node(machine)
    return LabNet(
        evolve(lab, state=evolve(lab.state, settings=evolve(lab.state.settings, nodes=2)))
    )


@pytest.fixture
def machine(world: LabNet) -> LabNode:
    return world.lab.node(MACHINE)


@pytest.fixture(scope="module")
def bare(world: LabNet) -> dict[str, Any]:
    """The machine before k8s-ovs comes to it."""
    return snapshot(world)


@pytest.fixture
def uninstall(world: LabNet, machine: LabNode) -> Typed:
    """Runs `k8s-ovs uninstall` there."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return typed(world, "uninstall", *places(machine), *words)

    return run


@pytest.fixture
def serving(
    world: LabNet, machine: LabNode, bare: dict[str, Any], uninstall: Typed
) -> Iterator[LabNode]:
    """k8s-ovs is installed there and runs; nothing of it is left when the test has ended."""
    # The lab's runtime asks for the STATUS of the CNI 1.1.0.
    typed(world, "install-cni", "--cni-version=1.1.0", *places(machine, "--ovs-run-dir"))
    world.lab.start_daemon(MACHINE, f"--cni-socket={run_directory(machine) / SOCKET}")
    yield machine
    world.lab.stop_daemon(MACHINE)
    uninstall("--force")


@pytest.fixture
def pod(world: LabNet, serving: LabNode) -> Iterator[LabPod]:
    """A pod with limits, which is attached there."""
    objects = servers.objects(world.lab.layout)
    made = world.bare_pod(MACHINE, "web")
    objects.annotate_pod(made, LIMITS)
    yield world.attach(made)
    remove_namespaces([made.netns])
    objects.delete_pod(made)


def run_directory(machine: LabNode) -> Path:
    return machine.directory / "run"


def places(machine: LabNode, *but: str) -> list[str]:
    """The options that say where things are on the machine, without some."""
    options = {
        "--bin-dir": machine.directory,
        "--conf-dir": machine.directory,
        "--cni-socket": run_directory(machine) / SOCKET,
        "--ovs-run-dir": machine.ovs_directory,
    }
    return [f"{option}={path}" for option, path in options.items() if option not in but]


def typed(world: LabNet, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["env", "PYTHONWARNINGS=ignore", "k8s-ovs", *words]
    return world.lab.exec(MACHINE, command, check=False)


def snapshot(world: LabNet) -> dict[str, Any]:
    """Devices, addresses, routes, Open vSwitch's database, nftables and files of the machine."""

    def ask(*words: str) -> str:
        return world.lab.exec(MACHINE, words).stdout

    machine = world.lab.node(MACHINE)
    return host_snapshot(ask) | {
        "ruleset": ask("nft", "list", "ruleset"),
        "files": sorted(
            re.sub(r"\.\d+\.", ".N.", str(path.relative_to(machine.directory)))
            for path in machine.directory.rglob("*")
            # The lab's own, which come with the first start.
            if not path.name.startswith("daemon.")
        ),
    }


def their_bridge(datapath: str) -> list[str]:
    """Makes a br0 that is not ours."""
    return ["ovs-vsctl", "add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={datapath}"]


def test_a_machine_is_as_it_was_before(
    world: LabNet, bare: dict[str, Any], pod: LabPod, uninstall: Typed
) -> None:
    machine = world.lab.node(MACHINE)
    assert "tun0" in snapshot(world)["links"]
    assert "linux-noop" in "".join(snapshot(world)["ovsdb"]["QoS"])
    world.cni("DEL", pod)
    world.lab.stop_daemon(MACHINE)
    # As a daemon that was killed leaves them.
    pair = ["kovs0", "type", "veth", "peer", "name", "far0"]
    world.lab.exec(MACHINE, ["ip", "link", "add", *pair])

    listed = uninstall("--dry-run")
    done = uninstall()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"removed {thing}"
        for thing in (
            f"file {machine.cni_config}",
            f"file {machine.cni_program}",
            f"file {run_directory(machine) / 'status.json'}",
            f"directory {run_directory(machine)}",
            "bridge br0",
            "port vxlan0",
            "port tun0",
            "veth kovs0",
            "nftables table k8s-ovs",
        )
    ]
    assert listed.stdout == done.stdout.replace("removed", "would remove")
    assert snapshot(world) == bare


def test_a_machine_without_k8s_ovs_has_nothing_of_it_twice(
    world: LabNet, bare: dict[str, Any], uninstall: Typed
) -> None:
    for _ in range(2):
        done = uninstall()
        assert (done.returncode, done.stdout, done.stderr) == (0, NOTHING, "")
    assert snapshot(world) == bare


def test_nothing_goes_while_a_daemon_runs_or_pods_are_attached(
    world: LabNet, bare: dict[str, Any], pod: LabPod, uninstall: Typed
) -> None:
    pid = servers.daemon(world.lab.node(MACHINE)).pid()
    running = uninstall("--force")
    assert (running.returncode, running.stdout) == (1, "")
    assert f"the daemon runs (process {pid})" in running.stderr
    listed = uninstall("--dry-run")
    assert (listed.returncode, listed.stderr) == (1, running.stderr)
    assert "would remove bridge br0\nwould remove port vxlan0\n" in listed.stdout
    world.lab.stop_daemon(MACHINE)
    standing = snapshot(world)

    attached = uninstall()

    assert (attached.returncode, attached.stdout) == (1, "")
    assert attached.stderr.startswith(f"error: attached to br0: pod {pod.title}; drain")
    assert snapshot(world) == standing

    forced = uninstall("--force")

    assert (forced.returncode, forced.stderr) == (0, "")
    assert f"of pod {pod.title}\n" in forced.stdout
    assert snapshot(world) == bare


def test_what_open_vswitch_holds_stays_while_it_is_stopped_and_is_told(
    world: LabNet, bare: dict[str, Any], pod: LabPod, uninstall: Typed
) -> None:
    world.lab.stop_daemon(MACHINE)
    world.lab.stop_ovs(MACHINE)
    blind = uninstall()
    forced = uninstall("--force")
    world.lab.start_ovs(MACHINE)

    assert blind.returncode == 1
    assert "may be of pods that run, which only Open vSwitch knows" in blind.stderr
    assert forced.returncode == 1
    assert forced.stderr.startswith("error: what there is of bridge, port stays: no connection")
    assert "removed nftables table k8s-ovs\n" in forced.stdout

    later = uninstall("--force")

    assert later.returncode == 0
    assert "removed bridge br0\n" in later.stdout
    assert snapshot(world) == bare


def test_a_bridge_stays_until_ovs_vswitchd_runs_to_let_go_of_its_devices(
    world: LabNet, bare: dict[str, Any], serving: LabNode, uninstall: Typed
) -> None:
    world.lab.stop_daemon(MACHINE)
    OvsProcess(serving.ovs_directory, serving.netns).stop_vswitchd()
    without = uninstall()
    world.lab.start_ovs(MACHINE)

    assert without.returncode == 1
    assert without.stderr.startswith("error: cannot remove bridge br0, port vxlan0, port tun0: ")
    assert without.stderr.endswith("ovs-vswitchd has not carried out the change: is it running?\n")

    assert uninstall().stdout == "removed bridge br0\nremoved port vxlan0\nremoved port tun0\n"
    assert snapshot(world) == bare


def test_what_others_have_made_under_our_names_stays(
    world: LabNet, bare: dict[str, Any], machine: LabNode, uninstall: Typed
) -> None:
    machine.cni_program.write_text("#!/bin/sh\n")
    world.lab.exec(MACHINE, their_bridge(world.lab.state.datapath))
    theirs = snapshot(world)

    done = uninstall()

    assert (done.returncode, done.stdout) == (0, NOTHING)
    assert done.stderr == (
        f"warning: file {machine.cni_program} stays: k8s-ovs did not make it\n"
        "warning: bridge br0 stays: k8s-ovs did not make it\n"
    )
    assert snapshot(world) == theirs
    world.lab.exec(MACHINE, ["ovs-vsctl", "del-br", "br0"])
    machine.cni_program.unlink()
    assert snapshot(world) == bare
