"""What a node tells the cluster while its network is not ready: what lasts, once, and its end."""

from __future__ import annotations

from queue import Empty, Queue

import pytest

from k8s_ovs.node.tell.event_recorder import EventRecorder, PodEvent
from k8s_ovs_testing.node_state import sample_state
from k8s_ovs_testing.world import sample_pod

ETCD = "etcd has not been reached yet"
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
    subject.offer(sample_state(waiting_for=SWITCH))
    assert said.get(timeout=20) == ("NetworkNotReady", f"k8s-ovs waits for: {SWITCH}", True)
    subject.offer(sample_state(waiting_for=SWITCH))
    subject.offer(sample_state())
    assert said.get(timeout=20) == ("NetworkReady", "k8s-ovs serves pods on this node", False)
    subject.stop()


def test_what_passes_by_itself_is_not_told() -> None:
    said: Said = Queue()
    subject = recorder(said, lasts=0.3)
    subject.offer(sample_state(waiting_for=ETCD))
    subject.offer(sample_state(waiting_for=SWITCH))
    assert said.get(timeout=20)[1] == f"k8s-ovs waits for: {SWITCH}"
    subject.stop()


def test_a_node_that_is_ready_at_once_says_nothing() -> None:
    said: Said = Queue()
    subject = recorder(said, lasts=0.05)
    subject.offer(sample_state(waiting_for=ETCD))
    subject.offer(sample_state())
    with pytest.raises(Empty):
        said.get(timeout=0.5)
    subject.stop()


def test_what_becomes_of_a_pod_is_told_as_it_comes() -> None:
    said: Queue[PodEvent] = Queue()
    subject = EventRecorder(lambda *_: None, post_pod=said.put)
    subject.start()
    pod = sample_pod(1)
    subject.tell_of_pod(pod, "its device is gone")
    subject.tell_of_pod(pod, "")
    about = pod.namespace, pod.name, pod.uid
    assert said.get(timeout=20) == PodEvent(*about, "its device is gone", well=False)
    assert said.get(timeout=20) == PodEvent(*about, "the pod is connected again", well=True)
    subject.stop()
