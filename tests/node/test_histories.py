"""Whatever becomes of nodes, namespaces, daemons, etcd and the API server: no address is given
twice, no two nodes have one subnet, tenants stay apart as a plain model says, and in the end every
pod is reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network
from itertools import combinations, permutations
from pathlib import Path

import pytest
from attrs import define, field
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab, servers
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.tenants import Tenants
from k8s_ovs_testing.servers.etcd import EtcdProcess

NODES = ("node1", "node2", "node3")
NAMESPACES = ("red", "green", "blue")
CONFIG = f"{ETCD_PREFIX}/config"
WITHIN = 90.0
MOST_PODS = 6

nodes, names = st.sampled_from(NODES), st.sampled_from(NAMESPACES)
steps = st.one_of(
    st.tuples(st.just("node made anew"), st.permutations(NODES), st.integers(1, 3)),
    st.tuples(st.just("daemon killed"), nodes),
    st.tuples(st.just("daemon stopped meanwhile"), nodes),
    st.tuples(st.just("pod"), nodes, names),
    st.tuples(st.just("pod deleted"), st.integers(0, 9)),
    st.tuples(st.just("namespace made anew"), names),
    st.tuples(st.just("asked"), names, st.sampled_from(["join", "isolate", "global"]), names),
    st.tuples(st.just("etcd paused"), st.floats(0, 6)),
    st.tuples(st.just("etcd emptied")),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("etcd restored"), st.integers(0, 9)),
    st.tuples(st.just("API server emptied")),
)


@define
class Snapshot:
    """What etcd had: each namespace's tenant id, and the uid of the namespace."""

    path: Path
    tenants: dict[str, int]
    uids: dict[str, str]


@define
class History:
    """A lab, and the model of who may reach whom: each namespace's tenant id, 0 reaches all; -1
    while any is right that nobody else has. before: the tenant id that a new tenant must not have.
    """

    site: LabNet
    directory: Path
    tenants: dict[str, int] = field(factory=dict)
    snapshots: list[Snapshot] = field(factory=list)
    before: dict[str, int] = field(factory=dict)
    told: list[str] = field(factory=list)
    count: int = 0

    @property
    def lab(self) -> Lab:
        return self.site.lab

    def take(self, step: tuple[object, ...]) -> None:
        what, *words = step
        self.told.append(f"{what} {words}")
        getattr(self, "_" + str(what).lower().replace(" ", "_"))(*words)
        self.check_nothing_twice()

    def settle(self) -> None:
        """All is there again, and the records say what the model does."""
        for node in NODES:
            await_that(f"{node} to be ready", lambda node=node: self._is_well(node), WITHIN)
        await_that("the tenants of the model", self._are_model, WITHIN)

    def check_nothing_twice(self) -> None:
        addresses = [pod.ip for pod in self.lab.pods().values()]
        assert len(set(addresses)) == len(addresses), self.told
        for kind in ("subnets", "used"):
            records = self._records(kind).values()
            subnets = [IPv4Network(each["Subnet"]) for each in records]
            assert not any(a.overlaps(b) for a, b in combinations(subnets, 2)), self.told

    def check_all_reached(self) -> None:
        pods = self.lab.pods()
        for client, server in permutations(pods, 2):
            mine, other = (self.tenants[pods[each].namespace] for each in (client, server))
            wanted = mine == other or 0 in (mine, other)
            found = self.site.pings(client, self.site.address(server))
            assert found == wanted, (client, server, self.tenants, self.told)

    def _is_well(self, node: str) -> bool:
        status = self.site.status(node)
        if not Path(f"/proc/{status.get('pid')}").exists():
            raise K8sOvsError(f"the daemon of {node} is on its way")
        if "allow-deletions" in str(status.get("problems")):
            # Most namespaces are others than etcd says: a person looks, and says that it is right.
            self.lab.etcdctl("put", f"{ETCD_PREFIX}/k8ssdn/deletions/allowed", '{"Most":100}')
        if not status.get("ready") or status["problems"] or not all(status["sources"].values()):
            raise K8sOvsError(str(status))
        return True

    def _are_model(self) -> bool:
        found = {name: Tenants(self.lab).net_ids().get(name) for name in self.tenants}
        for name, number in self.tenants.items():
            if number < 0 and found[name] is not None:  # a new tenant, whichever number it has
                others = {each for other, each in found.items() if other != name}
                if found[name] in {*others, 0, self.before.get(name)}:
                    raise K8sOvsError(f"{name} is not apart: {found}, before {self.before}")
                self.tenants[name] = found[name]
        if found != self.tenants:
            raise K8sOvsError(f"found {found}, the model says {self.tenants}")
        return True

    def _records(self, kind: str) -> dict[str, dict[str, str]]:
        start = f"k8ssdn/{kind}/"
        return {
            key.removeprefix(start): json.loads(text)
            for key, text in self.site.records().items()
            if key.startswith(start)
        }

    def _uids(self) -> dict[str, str]:
        objects = servers.objects(self.lab.layout)._items("namespaces")
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in objects}

    def _is_new(self, name: str, before: int) -> None:
        self.tenants[name], self.before[name] = -1, before

    def _node_made_anew(self, order: list[str], many: int) -> None:
        objects = servers.objects(self.lab.layout)
        for node in order[:many]:
            objects.delete_node(node)
        for node in reversed(order[:many]):
            objects.ensure_node(self.lab.node(node))

    def _daemon_killed(self, node: str) -> None:
        self.lab.part(f"{node}/daemon").kill()
        self.lab.start_daemon(node, wait=False)

    def _daemon_stopped_meanwhile(self, node: str) -> None:
        """Nobody on that node sees what becomes of its Node object."""
        self.lab.stop_daemon(node)
        self._node_made_anew([node], 1)
        self.lab.start_daemon(node, wait=False)

    def _pod(self, node: str, namespace: str) -> None:
        if len(self.lab.pods()) >= MOST_PODS:
            return
        self.settle()
        self.count += 1
        self.lab.run_pod(node, f"p{self.count}", namespace)
        self.tenants.setdefault(namespace, -1)
        self.settle()

    def _pod_deleted(self, number: int) -> None:
        if pods := sorted(self.lab.pods()):
            self.settle()
            self.lab.delete_pod(pods[number % len(pods)])

    def _namespace_made_anew(self, name: str) -> None:
        if name not in self.tenants:
            return
        self.settle()
        self.lab.remove_namespace(name)
        servers.objects(self.lab.layout).ensure_namespace(name)
        self._is_new(name, self.tenants[name])
        self.settle()

    def _asked(self, name: str, action: str, other: str) -> None:
        if name == other or not {name, other} <= self.tenants.keys():
            return
        self.settle()
        Tenants(self.lab).ask(name, action, other if action == "join" else "")
        if action == "isolate":
            self._is_new(name, self.tenants[name])
        else:
            self.tenants[name] = self.tenants[other] if action == "join" else 0
        self.settle()

    def _etcd_paused(self, seconds: float) -> None:
        self.lab.part("etcd").pause()
        try:
            with pytest.raises(K8sOvsError):
                await_that("that to pass", lambda: False, seconds)
        finally:
            self.lab.part("etcd").resume()

    def _etcd_emptied(self) -> None:
        self.settle()
        config = self.lab.etcdctl("get", "--print-value-only", CONFIG).strip()
        self.lab.etcdctl("del", "--prefix", ETCD_PREFIX)
        self.lab.etcdctl("put", CONFIG, config)
        self.settle()

    def _snapshot(self) -> None:
        self.settle()
        path = self.directory / f"snapshot-{len(self.snapshots)}"
        self.lab.etcdctl("snapshot", "save", str(path))
        self.snapshots.append(Snapshot(path, dict(self.tenants), self._uids()))

    def _etcd_restored(self, number: int) -> None:
        """What etcd says counts again as it was, for the namespaces that are still the same."""
        if not self.snapshots:
            return
        self.settle()
        at = self.snapshots[number % len(self.snapshots)]
        self.lab.part("etcd").kill()
        EtcdProcess.restore_data(at.path, self.lab.layout.directory / "etcd" / "data")
        self.lab.start_part("etcd")
        uids = self._uids()
        for name in self.tenants:
            if name in at.tenants:
                self.tenants[name] = at.tenants[name]
                if at.uids.get(name) != uids.get(name):
                    self._is_new(name, at.tenants[name])
        self.settle()

    def _api_server_emptied(self) -> None:
        """Nodes and namespaces of the same names come again; the latter are new ones, all at once,
        so the leader waits for a person's word."""
        self.settle()
        self.lab.part("apiserver").kill()
        self.lab.start_part("apiserver")
        objects = servers.objects(self.lab.layout)
        for node in NODES:
            objects.ensure_node(self.lab.node(node))
        for name in self.tenants:
            objects.ensure_namespace(name)
        await_that("the leader to stop", self._is_stopped, WITHIN)
        before = {name: Tenants(self.lab).net_ids()[name] for name in self.tenants}
        assert before == self.tenants, self.told
        for name, number in before.items():
            self._is_new(name, number)
        self.settle()

    def _is_stopped(self) -> bool:
        told = [each for node in NODES for each in self.site.status(node)["problems"]]
        return any("allow-deletions" in each for each in told)


@pytest.fixture(scope="module")
def history(lab_of: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory) -> History:
    lab = lab_of("hst", plugin="k8s-ovs-multitenant", nodes=3)
    history = History(LabNet(lab), tmp_path_factory.mktemp("snapshots"))
    for node, name in (("node1", "red"), ("node2", "red"), ("node3", "green")):
        history.take(("pod", node, name))
    return history


@pytest.mark.timeout(1800)
@settings(
    max_examples=3,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(steps, min_size=4, max_size=8))
def test_whatever_happens_nothing_is_given_twice_and_every_pod_is_reached(
    history: History, taken: list[tuple[object, ...]]
) -> None:
    for step in taken:
        history.take(step)
    history.settle()
    history.check_all_reached()
