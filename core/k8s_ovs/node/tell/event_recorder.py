"""Does the cluster know that this node's network is not ready? An event of the node says why."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from attrs import frozen

from k8s_ovs.model.pod import Pod
from k8s_ovs.node.tell.node_state import NodeState
from k8s_ovs.supervise import SupervisedThread

__all__ = ["EventRecorder", "PodEvent"]


@frozen
class PodEvent:
    """What became of a pod of this node. well: it is no warning."""

    namespace: str
    name: str
    uid: str
    message: str
    well: bool = False


#: Posts an event of a pod.
PostPod = Callable[[PodEvent], object]

#: Posts an event of the node: its reason (one word), its message, and whether it is a warning.
Post = Callable[[str, str, bool], object]

#: Seconds that a reason must last: what passes by itself while a daemon starts is no news.
_LASTS = 10.0
#: Events of pods that wait while the API server does not answer; older ones are dropped.
_MOST_PODS = 100


class EventRecorder:
    """A thread that tells what has kept the network from being ready for `lasts` seconds, each
    reason once, and then that it is ready. It talks to the API server, so nobody waits for it.
    """

    def __init__(
        self, post: Post, lasts: float = _LASTS, post_pod: PostPod = lambda _: None
    ) -> None:
        self._post = post
        self._post_pod = post_pod
        self._pods: deque[PodEvent] = deque(maxlen=_MOST_PODS)
        self._lasts = lasts
        self._wanted = ""
        self._told = ""
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._thread = SupervisedThread(name="events", target=self._run, stopped=self._stopped)

    def start(self) -> None:
        self._thread.start()

    def offer(self, state: NodeState) -> None:
        """The newest state; from any thread."""
        if state.waiting_for != self._wanted:
            self._wanted = state.waiting_for
            self._changed.set()

    def tell_of_pod(self, pod: Pod, cut_off: str) -> None:
        """An event of a pod, posted as it comes; from any thread. cut_off: why it is, or ""."""
        message = cut_off or "the pod is connected again"
        self._pods.append(PodEvent(pod.namespace, pod.name, pod.uid, message, not cut_off))
        self._changed.set()

    def stop(self) -> None:
        """End without a word. An event that is on its way is not waited for."""
        self._stopped.set()
        self._changed.set()

    def _run(self) -> None:
        if self._wanted != self._told:  # begun again after a failure
            self._changed.set()
        while not self._stopped.is_set():
            self._changed.wait()
            self._changed.clear()
            while self._pods and not self._stopped.is_set():
                self._post_pod(self._pods.popleft())
            # Another change within that time begins the wait anew.
            if self._wanted != self._told and not self._changed.wait(self._lasts):
                self._tell(self._wanted)

    def _tell(self, waiting_for: str) -> None:
        if waiting_for == self._told:
            return
        if waiting_for:
            self._post("NetworkNotReady", f"k8s-ovs waits for: {waiting_for}", True)
        else:
            self._post("NetworkReady", "k8s-ovs serves pods on this node", False)
        self._told = waiting_for
