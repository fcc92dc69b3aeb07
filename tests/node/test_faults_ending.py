"""A daemon that is told to end does so in order, whatever it does and whoever does not answer."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from tests.node.hanging import database_hangs, etcd_hangs, switch_hangs

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that

WITHIN = 40.0
#: Seconds; systemd waits for 90, kubelet for 30.
ENDS_WITHIN = 8.0

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def nothing_hangs(_: LabNet) -> Iterator[None]:
    yield


HANGS = {
    "all is well": nothing_hangs,
    "etcd": etcd_hangs,
    "ovs-vswitchd": switch_hangs,
    "ovsdb-server": database_hangs,
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("hangs", HANGS)
def test_a_signal_ends_it_in_order(shaken: LabNet, number: signal.Signals, hangs: str) -> None:
    with ExitStack() as stack:
        daemon = stack.enter_context(running(shaken))
        await_that("it is ready", lambda: is_ready(shaken, daemon.pid), WITHIN)
        stack.enter_context(HANGS[hangs](shaken))
        time.sleep(2)  # so that it is in the midst of what hangs
        ends(shaken, daemon, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_who_waits_for_an_add_is_answered_when_it_ends(
    shaken: LabNet, number: signal.Signals
) -> None:
    pod = shaken.bare_pod("node1", f"waiting-{number}")
    cni_socket = shaken.lab.node("node1").cni_socket
    with running(shaken, "--network=another") as daemon, ThreadPoolExecutor(1) as pool:
        await_that("the socket", cni_socket.is_socket, WITHIN)
        asked = pool.submit(shaken.cni, "ADD", pod)
        time.sleep(2)
        assert not asked.done()
        ends(shaken, daemon, number)
        with pytest.raises(K8sOvsError, match=r"k8s-ovs is stopping on this node.*code 11"):
            asked.result(WITHIN)
    shaken.cni("DEL", pod)


@contextmanager
def running(world: LabNet, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """The daemon of node1 as a child of this test, in place of the lab's."""
    world.lab.stop_daemon("node1")
    # Who starts the tests in the background, or by nohup, has signals ignored.
    command = ["env", "--default-signal=INT,HUP", "k8s-ovs", "node", "--hostname=node1", *flags]
    daemon = world.lab.spawn("node1", command)
    try:
        yield daemon
    finally:
        daemon.kill()
        daemon.communicate()
        world.lab.start_daemon("node1")


def is_ready(world: LabNet, pid: int) -> bool:
    status = world.status("node1")
    return bool(status["ready"] and status["pid"] == pid)


def ends(world: LabNet, daemon: subprocess.Popen[str], number: signal.Signals) -> None:
    """It does, within seconds, with its last line, and leaves no socket."""
    daemon.send_signal(number)
    said, _ = daemon.communicate(timeout=ENDS_WITHIN)
    assert daemon.returncode == 0, said
    assert "daemon stopped" in said.splitlines()[-1]
    assert not world.lab.node("node1").cni_socket.exists()
