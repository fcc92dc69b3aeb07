"""A program of a node ends and comes back, or the whole node does: what it costs pods."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.lifecycle import reboot
from tests.cluster.node import start_program, stop_program
from tests.cluster.pings import pinging
from tests.cluster.traces import await_no_stale, sandboxes

from k8s_ovs_lab.process import await_that

BACK_WITHIN_S = 180.0


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
def test_a_program_restarted_costs_no_packet_and_pods_come_and_go_afterwards(
    cluster: Cluster, ways: dict[str, str], program: str, report: Callable[[str], None]
) -> None:
    near, _ = cluster.place.nodes
    cluster.run_pod("node1", "going")
    with pinging(cluster, ways) as counts:
        stop_program(near, program)
        start_program(near, program)
        await_that(
            "an answer of kubelet", lambda: cluster.exec("left", "true") == "", BACK_WITHIN_S
        )
    for pod, count in counts.items():
        report(f"{program} restarted, ping 100 Hz from {pod}: {count}")
        assert count.lost == ()
    coming = cluster.run_pod("node1", "coming")
    cluster.kubectl("delete", "pod/going", timeout=120)
    assert cluster.reaches("right", coming)
    assert cluster.reaches("coming", ways["left"])
    cluster.kubectl("delete", "pod/coming", timeout=120)
    await_no_stale(cluster, near)


def test_after_a_reboot_pods_are_started_anew_and_nothing_stale_is_left(
    cluster: Cluster, ways: dict[str, str], report: Callable[[str], None]
) -> None:
    near, far = cluster.place.nodes
    names = ["left", "one", "two", "three"]
    for name in names[1:]:
        cluster.run_pod(near.name, name)
    await_no_stale(cluster, near)
    former = sandboxes(near)

    began = time.monotonic()
    reboot(cluster.place, near)
    await_that("all pods to run anew", lambda: run_anew(cluster, names), BACK_WITHIN_S)
    await_no_stale(cluster, near)
    seconds = time.monotonic() - began
    report(f"node rebooted: {seconds:.0f} s later its pods run and nothing stale is left")

    assert not former & sandboxes(near)
    await_no_stale(cluster, far)
    for name in names:
        assert cluster.reaches(name, ways["left"])
        assert cluster.reaches("right", cluster.get("pod", name)["status"]["podIP"])
    assert cluster.ready(near.name)[0] == "True"
    cluster.kubectl("delete", "pod", *names[1:], timeout=120)


def run_anew(cluster: Cluster, names: list[str]) -> bool:
    """Whether each pod's container is another one than at first, and ready."""
    states = [cluster.get("pod", name)["status"]["containerStatuses"][0] for name in names]
    return all(each["restartCount"] > 0 and each["ready"] for each in states)
