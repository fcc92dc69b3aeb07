"""What a node tells the cluster while its network is not ready: what lasts, once, and its end."""

from __future__ import annotations

from queue import Empty, Queue

import pytest

from k8s_ovs.node.tell.event_recorder import EventRecorder

SWITCH = "Open vSwitch: /var/run/openvswitch/db.sock: no such file"
Said = Queue[tuple[str, str, bool]]


def recorder(said: Said, lasts: float) -> EventRecorder:
    """One that runs, and whose events are put into `said`."""
    made = EventRecorder(
        lambda reason, message, warning: said.put((reason, message, warning)), lasts
    )
    made.start()
    return made


def test_what_lasts_is_told_once_and_so_is_its_end() -> None:
    said: Said = Queue()
    subject = recorder(said, lasts=0.01)
    subject.offer(SWITCH)
    assert said.get(timeout=20) == ("NetworkNotReady", f"k8s-ovs waits for: {SWITCH}", True)
    subject.offer(SWITCH)
    subject.offer("")
    assert said.get(timeout=20) == ("NetworkReady", "k8s-ovs serves pods on this node", False)
    subject.stop()


def test_what_passes_by_itself_is_not_told() -> None:
    said: Said = Queue()
    subject = recorder(said, lasts=0.3)
    subject.offer("etcd has not been reached yet")
    subject.offer(SWITCH)
    assert said.get(timeout=20)[1] == f"k8s-ovs waits for: {SWITCH}"
    subject.stop()


def test_a_node_that_is_ready_at_once_says_nothing() -> None:
    said: Said = Queue()
    subject = recorder(said, lasts=0.05)
    subject.offer("etcd has not been reached yet")
    subject.offer("")
    with pytest.raises(Empty):
        said.get(timeout=0.5)
    subject.stop()
