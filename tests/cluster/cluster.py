"""What does a person at this cluster do? kubectl, etcdctl, pods on nodes, commands in pods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from tests.cluster import control_plane
from tests.cluster.chart import helm
from tests.cluster.images import TOOLS
from tests.cluster.place import Place
from tests.cluster.plain_etcd import with_plain_etcd

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.command import run
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.servers import etcdctl

__all__ = ["MANIFEST", "PING", "SYSTEM", "Cluster", "Pod"]

MANIFEST = Path(__file__).resolve().parents[2] / "deploy" / "k8s-ovs.yaml"
READY_WITHIN_S = 120.0
SYSTEM = "kube-system"
# PING: ends well when one of five is answered.
PING = ("ping", "-q", "-c", "5", "-i", "0.2", "-W", "1")
# DAEMONS: the label of the DaemonSet's pods.
DAEMONS = "app.kubernetes.io/name=k8s-ovs"


@frozen
class Pod:
    """A pod that runs: its name, its address, and how often a container of it was restarted."""

    name: str
    address: str
    restarts: int


@frozen
class Cluster:
    """A cluster that is up. Methods raise K8sOvsError with the complaint of what failed."""

    place: Place

    def kubectl(self, *words: str, text: str | None = None, timeout: float = 30.0) -> str:
        """What `kubectl WORDS` prints."""
        return control_plane.kubectl(self.place, *words, text=text, timeout=timeout)

    def get(self, kind: str, name: str = "", namespace: str = "default") -> Any:
        """An object as the API server has it, or the list of all of its kind."""
        words = [name] if name else []
        found = json.loads(self.kubectl("get", kind, *words, "-n", namespace, "-o", "json"))
        return found if name else found["items"]

    def apply(self, *objects: dict[str, Any]) -> None:
        """Make the objects, or make them so."""
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "-f", "-", text=json.dumps(listed))

    def etcdctl(self, *words: str) -> str:
        """What `etcdctl WORDS` prints."""
        return etcdctl(self.place.layout, *words)

    def ready(self, node: str) -> tuple[str, str]:
        """Whether a node is ready (True, False or Unknown), and in kubelet's words why not."""
        conditions = self.get("node", node)["status"]["conditions"]
        (found,) = (each for each in conditions if each["type"] == "Ready")
        return found["status"], found["message"]

    def install_manifest(self) -> None:
        """Apply the manifest, and wait until the network works on all nodes."""
        self.kubectl("apply", "-f", "-", text=with_plain_etcd(MANIFEST.read_text()))
        self.await_network()

    def remove_manifest(self) -> None:
        """Delete what the manifest made, and wait until the daemons have ended."""
        self.kubectl("delete", "-f", str(MANIFEST), timeout=READY_WITHIN_S)
        self.await_no_daemons()

    def helm(self, *words: str) -> str:
        """What `helm WORDS` prints."""
        return helm(*words, place=self.place, timeout=READY_WITHIN_S)

    def await_network(self) -> None:
        """Wait until the DaemonSet is new on all nodes, and all nodes are ready."""
        self.await_rollout("daemonset/k8s-ovs")
        self.await_nodes()

    def await_nodes(self) -> None:
        """Wait until all nodes are ready."""
        everywhere = ["--all", "--for=condition=Ready", f"--timeout={READY_WITHIN_S:.0f}s"]
        self.kubectl("wait", "node", *everywhere, timeout=READY_WITHIN_S + 10)

    def await_no_daemons(self) -> None:
        """Wait until no pod of the DaemonSet is left."""
        gone = ["--for=delete", f"--selector={DAEMONS}", f"--timeout={READY_WITHIN_S:.0f}s"]
        self.kubectl("wait", "pod", "-n", SYSTEM, *gone, timeout=READY_WITHIN_S + 10)

    def await_rollout(self, what: str, namespace: str = SYSTEM) -> None:
        """Wait until all of a DaemonSet or Deployment is new and available."""
        words = ["rollout", "status", what, "-n", namespace, f"--timeout={READY_WITHIN_S:.0f}s"]
        self.kubectl(*words, timeout=READY_WITHIN_S + 10)

    def daemon_on(self, node: str) -> str:
        """The name of the daemon's pod on a node."""
        where = [f"--selector={DAEMONS}", f"--field-selector=spec.nodeName={node}"]
        (found,) = self.kubectl("get", "pod", "-n", SYSTEM, *where, "-o", "name").split()
        return found.removeprefix("pod/")

    def drain(self, *nodes: str) -> None:
        """Evict all pods but those of DaemonSets, as a person does; none come any more."""
        words = ("--ignore-daemonsets", "--force", "--delete-emptydir-data")
        limit = f"--timeout={READY_WITHIN_S:.0f}s"
        self.kubectl("drain", *nodes, *words, limit, timeout=READY_WITHIN_S + 10)

    def run_pod(
        self,
        node: str,
        name: str,
        namespace: str = "default",
        *,
        command: Sequence[str] = ("sleep", "infinity"),
        app: str = "",
        container: Mapping[str, Any] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> str:
        """A pod with the tools, on this node; its address when it is ready.

        app: its label of this name, NAME if empty. container, spec: fields beside the usual ones.
        """
        where = {"nodeSelector": {"kubernetes.io/hostname": node}}
        metadata = {"name": name, "namespace": namespace, "labels": {"app": app or name}}
        whole = _tools(command, container) | where | dict(spec or {})
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole})
        self.await_ready(name, namespace)
        return str(self.get("pod", name, namespace)["status"]["podIP"])

    def await_ready(self, pod: str, namespace: str = "default", *, ready: bool = True) -> None:
        """Wait until the pod is ready, or until it is not."""
        wanted = [f"--for=condition=Ready={ready}", f"--timeout={READY_WITHIN_S:.0f}s"]
        self.kubectl("wait", f"pod/{pod}", "-n", namespace, *wanted, timeout=READY_WITHIN_S + 10)

    def deployment(
        self,
        name: str,
        namespace: str,
        command: Sequence[str],
        *,
        replicas: int = 1,
        annotations: dict[str, str] | None = None,
    ) -> None:
        """Pods with the tools, spread over the nodes, labelled app=NAME; `await_rollout` waits."""
        labels = {"app": name}
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels},
        }
        spec = _tools(command) | {"topologySpreadConstraints": [spread]}
        template = {"metadata": {"labels": labels, "annotations": annotations or {}}, "spec": spec}
        self.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": template,
                },
            }
        )

    def pods_of(self, app: str, namespace: str) -> dict[str, Pod]:
        """The pods that are labelled app=APP, by the node that each is on; one per node."""
        words = ["get", "pod", "-n", namespace, f"--selector=app={app}", "-o", "json"]
        return {
            each["spec"]["nodeName"]: Pod(
                each["metadata"]["name"],
                each["status"]["podIP"],
                sum(one["restartCount"] for one in each["status"]["containerStatuses"]),
            )
            for each in json.loads(self.kubectl(*words))["items"]
        }

    def service(
        self,
        name: str,
        app: str,
        namespace: str = "default",
        *,
        port: int = 80,
        spec: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A service in front of the pods that are labelled app=APP and listen at port 8080, as the
        API server has made it. spec: fields beside the usual ones."""
        ports = [{"port": port, "targetPort": 8080}]
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": {"app": app}, "ports": ports, **(spec or {})},
            }
        )
        return dict(self.get("service", name, namespace))

    def exec(
        self, pod: str, *command: str, namespace: str = "default", timeout: float = 30.0
    ) -> str:
        """What the command prints in the pod."""
        return self.kubectl("exec", pod, "-n", namespace, "--", *command, timeout=timeout)

    def succeeds(self, pod: str, *command: str, namespace: str = "default") -> bool:
        """Whether the command ends well in the pod."""
        words = ["exec", pod, "-n", namespace, "--", *command]
        done = run([str(self.place.kubectl), *words], timeout=30, check=False)
        if done.returncode and "command terminated with exit code" not in done.stderr:
            raise K8sOvsError(f"{command[0]} in pod {namespace}/{pod}: {done.stderr.strip()}")
        return done.returncode == 0

    def reaches(self, pod: str, address: str, namespace: str = "default") -> bool:
        """Whether one of five pings is answered; the first may be lost while OVS looks around."""
        return self.succeeds(pod, *PING, address, namespace=namespace)

    def await_event(self, kind: str, name: str, reason: str) -> str:
        """Wait for an event of this reason about the object; its message."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name},reason={reason}"
        words = ["get", "events", "-A", f"--field-selector={selector}", "-o", "json"]
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = json.loads(self.kubectl(*words))["items"]
            return bool(found)

        await_that(f"an event {reason} of {kind} {name}", is_there, READY_WITHIN_S)
        return str(found[-1]["message"])


def _tools(command: Sequence[str], container: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The spec of a pod that runs a command of the tools' image, and goes at once when it is to."""
    tools = {"name": "tools", "image": TOOLS, "imagePullPolicy": "Never", "command": [*command]}
    return {"terminationGracePeriodSeconds": 0, "containers": [tools | dict(container or {})]}
