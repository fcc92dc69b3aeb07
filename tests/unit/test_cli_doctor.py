"""What the doctor makes of the answers: each wrong one has its line, and a word of advice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import astuple, evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s_ovs.allocate.brake import HELD_BACK
from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.cli.doctor.checks import core_checks, plugin_checks
from k8s_ovs.cli.doctor.etcd_access import EtcdAccess
from k8s_ovs.cli.doctor.observations import (
    CniDirectories,
    CniObservations,
    NodeObservations,
    Observations,
    ask_cni,
)
from k8s_ovs.cli.host.status import SwitchStatus
from k8s_ovs.cli.host.this_node import DaemonStatus
from k8s_ovs.errors import InvalidRecord, K8sOvsError, Unavailable
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.model.codec import encode
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.model.world import NODES, Slot
from k8s_ovs.node.host.state import Look, Unknown
from k8s_ovs.node.install.installer import install
from k8s_ovs.observe.etcd.client import EtcdFull
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.plugin import Check, View, hook
from k8s_ovs.reconcile.desired_flows import Delta
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Device, NftTable, Port
from k8s_ovs_testing.world import sample_config, sample_local_node, sample_world

LEADER = {f"{sample_config().name}/allocator": b'{"holder":"node1"}'}
SNAPSHOT = ClusterSnapshot(
    key="/k8s.ovs.com/ovs/network/config",
    config=sample_config(),
    manager=PluginManager({}),
    world=sample_world(),
    raw={"config": b"{}", **LEADER},
    revision_of_config=1,
    unknown_keys=(),
    problems=(),
)
TUN0, TABLE = Device("tun0"), NftTable("k8s-ovs", "[]")
DOWN = Difference(TUN0.key, Device("tun0", up=False), TUN0)
NO_TABLE = Difference(TABLE.key, None, TABLE)
NO_PORT = Difference(Port("kovs1").key, None, Port("kovs1", pod="default/web"))
NO_ANSWER = Unknown(frozenset({"device", "route"}), LinkError("netlink"))
NODE = NodeObservations(
    world=sample_world(),
    local_node=sample_local_node(),
    failures=[],
    delta=Delta(),
    state=Look(),
    underlay_mtu=1500,
)
WELL = Observations(
    daemon=DaemonStatus({"pid": os.getpid(), "ready": True}, os.getpid()),
    switch=SwitchStatus("3.1.0", "system", 71),
    in_kernel=True,
    kube="https://10.0.0.1:6443 v1.34.2",
    snapshot=SNAPSHOT,
    node=NODE,
    cni=CniObservations(Path("/net.d/80-k8s-ovs.conf"), ("k8s-ovs",)),
    cni_program="speaks CNI 1.1.0, standalone",
)


def wrong(observations: Observations) -> dict[str, Check]:
    """The checks that are not ok, by name."""
    return {check.name: check for check in core_checks(observations) if not check.ok}


def status_of(
    name: str, waiting_for: str | None = None, errors: tuple[str, ...] = ()
) -> dict[str, bytes]:
    """The record in which a node says how it is."""
    ready = waiting_for is None
    status = NodeStatus(name, "10.0.0.2", "1", 7, ready, 3, 70, errors, waiting_for)
    return {f"{sample_config().name}/status/{name}": encode(status)}


def seen_from(hostname: str, *said: dict[str, bytes], nodes: tuple[str, ...] = ()) -> list[Check]:
    """What is found of the other nodes, where `nodes` are Kubernetes' and these are said."""
    slots = {(NODES, name): Slot(KubeNode(name)) for name in nodes}
    world = sample_world().changed(slots)
    raw = {key: data for each in said for key, data in each.items()}
    observations = evolve(WELL, snapshot=evolve(SNAPSHOT, raw=raw, world=world), hostname=hostname)
    return [each for each in core_checks(observations) if each.name == "other nodes"]


def test_a_configuration_that_daemons_reject_is_one_line() -> None:
    problem = 'PluginName: no plugin "acme" is installed'
    snapshot = evolve(SNAPSHOT, problems=(problem,), rejected=problem)
    observations = evolve(WELL, snapshot=snapshot, node=InvalidRecord(problem))
    found = wrong(observations)
    assert {name: check.found for name, check in found.items()} == {"records": problem}
    assert list(plugin_checks(observations)) == []


def test_of_other_nodes_those_that_do_not_work_are_named() -> None:
    down = "Open vSwitch: no such file"
    said = status_of("node1"), status_of("node2", down)
    (check,) = seen_from("node1", *said, nodes=("node1", "node2", "node3"))
    assert not check.ok
    assert f"node2: not ready, waiting for {down}" in check.found
    assert "node3: does not say how it is" in check.found
    assert "node1:" not in check.found
    (well,) = seen_from("node2", *said, nodes=("node1", "node2"))
    assert well.ok
    assert seen_from("node1", status_of("node1"), nodes=("node1",)) == []
    (odd,) = seen_from("node1", {f"{sample_config().name}/status/node2": b"{"})
    assert not odd.ok


def leader_of(raw: dict[str, bytes]) -> Check:
    """What is found of the leader, where etcd has these records."""
    observations = evolve(WELL, snapshot=evolve(SNAPSHOT, raw=raw), hostname="node2")
    (check,) = (each for each in core_checks(observations) if each.name == "leader")
    return check


def test_each_node_names_the_leader() -> None:
    assert leader_of(LEADER) == Check("leader", True, "node1")
    none = leader_of({})
    assert not none.ok
    assert none.found == "there is none, so no node and no namespace gets anything"
    assert "k8s-ovs status" in none.advice
    odd = leader_of({next(iter(LEADER)): b'{"holder":5}'})
    assert odd.ok
    assert odd.found == 'a daemon that calls itself {"holder":5}'


def test_each_node_says_which_deletions_the_leader_holds_back() -> None:
    """Else only `k8s-ovs status` on the leader does, and nobody looks there."""
    held = (
        f"3 of 3 subnets {HELD_BACK} (node node1 is gone), so nothing is, until somebody looks: "
        "if that is right, k8s-ovs allow-deletions 3"
    )
    check = leader_of({**LEADER, **status_of("node1", errors=("another", held))})
    assert not check.ok
    assert check.found == f"node1: {held}"
    assert "does the API server list" in check.advice
    assert "k8s-ovs allow-deletions" in check.advice
    assert leader_of({**LEADER, **status_of("node1", errors=("another",))}).ok
    assert leader_of({**LEADER, f"{sample_config().name}/status/node1": b"{"}).ok


def test_a_node_that_is_well_has_nothing_wrong() -> None:
    assert wrong(WELL) == {}
    assert [check.name for check in core_checks(WELL)] == [
        "Open vSwitch",
        "datapath",
        "etcd",
        "records",
        "API server",
        "subnet",
        "MTU",
        "bridge",
        "tun0",
        "nftables",
        "flows",
        "CNI",
        "CNI program",
        "daemon",
        "leader",
    ]


CASES: Mapping[str, tuple[Observations, str, str]] = {
    "no database": (
        evolve(
            WELL, switch=SwitchStatus(problem="no connection"), node=Unavailable("no connection")
        ),
        "Open vSwitch",
        "systemctl start openvswitch-switch",
    ),
    "no ovs-vswitchd": (
        evolve(WELL, switch=SwitchStatus("3.1.0", "system", None, "does not answer")),
        "Open vSwitch",
        "is ovs-vswitchd running?",
    ),
    "no rights": (
        evolve(WELL, switch=SwitchStatus(problem="/run/db.sock: Permission denied: run this ...")),
        "Open vSwitch",
        "run this as root",
    ),
    "no rights at the bridge": (
        evolve(WELL, switch=SwitchStatus("3", "system", None, "/br0: Permission denied: run ...")),
        "Open vSwitch",
        "run this as root",
    ),
    "no bridge": (
        evolve(WELL, switch=SwitchStatus("3.1.0", None, None, "br0 is not there: ...")),
        "Open vSwitch",
        "what the daemon waits for",
    ),
    "userspace in vain": (
        evolve(WELL, switch=SwitchStatus("3.1.0", "netdev", 71)),
        "datapath",
        "--datapath auto",
    ),
    "no etcd": (
        evolve(WELL, snapshot=Unavailable("etcd"), node=Unavailable("etcd")),
        "etcd",
        "--etcd-endpoints",
    ),
    "full etcd": (evolve(WELL, full=EtcdFull("http://e:2379")), "etcd", "etcdctl alarm disarm"),
    "bad record": (
        evolve(WELL, snapshot=evolve(SNAPSHOT, problems=("config: Name: missing",))),
        "records",
        "k8s-ovs config check",
    ),
    "no CNI program": (
        evolve(WELL, cni_program=K8sOvsError("/opt/cni/bin/k8s-ovs does not exist")),
        "CNI program",
        "k8s-ovs install-cni",
    ),
    "no API server": (evolve(WELL, kube=Unavailable("refused")), "API server", "KUBECONFIG"),
    "no subnet": (evolve(WELL, node=K8sOvsError("no subnet yet")), "subnet", "subnet list"),
    "no CNI configuration": (evolve(WELL, cni=CniObservations()), "CNI", "k8s-ovs install-cni"),
    "another network's": (
        evolve(WELL, cni=CniObservations(Path("/net.d/10-x.conflist"), ("bridge", "portmap"))),
        "CNI",
        "uses the first by name",
    ),
    "portmap gone": (
        evolve(
            WELL,
            cni=CniObservations(
                Path("/net.d/80-k8s-ovs.conflist"), ("k8s-ovs", "portmap"), ("portmap",)
            ),
        ),
        "CNI",
        "install it",
    ),
    "MTU too large": (
        evolve(WELL, node=evolve(NODE, underlay_mtu=1400)),
        "MTU",
        "lower MTU",
    ),
    "tun0 touched": (
        evolve(WELL, node=evolve(NODE, state=Look((DOWN,)))),
        "tun0",
        "repairs this within 10 s",
    ),
    "tun0 gone": (
        evolve(WELL, node=evolve(NODE, state=Look((), (NO_ANSWER,)))),
        "tun0",
        "repairs this within 10 s",
    ),
    "no masquerade": (
        evolve(WELL, node=evolve(NODE, state=Look((NO_TABLE,)))),
        "nftables",
        "repairs this within 10 s",
    ),
    "a pod's port gone": (
        evolve(WELL, node=evolve(NODE, state=Look((NO_PORT,)))),
        "pods",
        "repairs this within 10 s",
    ),
    "nobody can be asked": (
        evolve(WELL, node=evolve(NODE, state=Unavailable("nft is not installed"))),
        "state",
        "run this as root",
    ),
    "flows touched": (
        evolve(WELL, node=evolve(NODE, delta=Delta(deletes=(1, 2)))),
        "flows",
        "k8s-ovs flows --diff",
    ),
    "plugin fails": (
        evolve(WELL, node=evolve(NODE, failures=["plugin acme: it raised"])),
        "plugins",
        "author",
    ),
    "no daemon": (evolve(WELL, daemon=DaemonStatus({}, None)), "daemon", "k8s-ovs node"),
    "daemon waits": (
        evolve(WELL, daemon=DaemonStatus({"pid": 7, "waiting_for": "etcd"}, 7)),
        "daemon",
        "Its log",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_thing_that_is_wrong_is_one_line_with_advice(case: str) -> None:
    observations, name, advice = CASES[case]
    found = wrong(observations)
    assert list(found) == [name]
    assert advice in found[name].advice


def test_a_host_that_serves_no_pods_needs_no_cni_program() -> None:
    observations = evolve(
        WELL, kube="", cni_program=K8sOvsError("/opt/cni/bin/k8s-ovs does not exist")
    )
    assert wrong(observations) == {}


def test_the_userspace_datapath_is_fine_where_the_kernel_has_none() -> None:
    observations = evolve(WELL, switch=SwitchStatus("3.1.0", "netdev", 71), in_kernel=False)
    assert wrong(observations) == {}


def test_an_external_host_needs_no_configuration_for_a_runtime() -> None:
    others = CniObservations(Path("/net.d/87-podman.conflist"), ("bridge", "portmap"))
    for cni in (CniObservations(), others):
        assert wrong(evolve(WELL, cni=cni, kube="")) == {}


def test_the_runtime_takes_the_first_by_name_and_needs_all_its_plugins(tmp_path: Path) -> None:
    place = CniDirectories(tmp_path / "bin", tmp_path / "net.d")
    assert ask_cni(place) == CniObservations()
    _, config = install(*astuple(place))
    assert ask_cni(place) == CniObservations(config, ("k8s-ovs",))
    first = place.conf_dir / "10-first.conflist"
    first.write_text('{"plugins": [{"type": "k8s-ovs"}, {"type": "portmap"}]}')
    (place.conf_dir / "00-notes.txt").write_text("no configuration")
    assert ask_cni(place) == CniObservations(first, ("k8s-ovs", "portmap"), ("portmap",))


TYPES = (
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["x" * 300, "\ud800", "\0"])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.just("type"), TYPES) | TYPES, max_size=3).map(
        lambda plugins: json.dumps({"plugins": plugins}).encode()
    )
    | st.sampled_from([b"null", b'{"plugins":5}', b"\xff", b"[" * 990 + b"]" * 990])
)
def test_a_runtimes_configuration_of_any_content_is_looked_at(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "10-it.conf").write_bytes(content)
    found = ask_cni(CniDirectories(tmp_path, tmp_path))
    assert set(found.missing) <= set(found.plugins)


@pytest.mark.parametrize("lacking", ["the API server", "a resource"])
def test_flows_compared_without_the_api_server_are_not_the_daemons_fault(lacking: str) -> None:
    node = evolve(NODE, delta=Delta(deletes=(1, 2)))
    unread = evolve(SNAPSHOT, unread=("pods, which plugin acme reads: 403",))
    observations = (
        evolve(WELL, node=node, kube=Unavailable("refused"))
        if lacking == "the API server"
        else evolve(WELL, node=node, snapshot=unread)
    )
    found = wrong(observations)
    assert set(found) == {"API server", "flows"}
    assert "compared without what the API server says" in found["flows"].found
    assert "API server" in found["flows"].advice


class Asks:
    @hook
    def doctor_checks(self, view: View) -> list[Check]:
        return [Check("tenants", len(view.pods()) == 2, "two pods")]


class Raises:
    @hook
    def doctor_checks(self, view: View) -> list[Check]:
        raise RuntimeError("ill itself")


def test_plugins_look_at_the_same_world_and_one_that_raises_is_named() -> None:
    plugins: dict[str, Any] = {"acme-good": Asks(), "acme-bad": Raises()}
    observations = evolve(WELL, snapshot=evolve(SNAPSHOT, manager=PluginManager(plugins)))
    good, bad = plugin_checks(observations)
    assert good == Check("tenants", True, "two pods")
    assert not bad.ok
    assert "plugin acme-bad: doctor_checks of the network: RuntimeError('ill itself')" in bad.found


def test_with_tenants_an_etcd_that_anybody_may_write_is_wrong() -> None:
    plain = EtcdSettings(("https://10.0.0.1:2379", "http://10.0.0.2:2379"), username="node")
    check = wrong(evolve(WELL, access=EtcdAccess(plain, tenants=True, is_open=False)))[
        "etcd access"
    ]
    assert check.found.startswith("http://10.0.0.2:2379 is not encrypted (http): who reaches it")
    assert "https" in check.advice
    assert wrong(evolve(WELL, access=EtcdAccess(plain, tenants=False, is_open=True))) == {}
    safe = EtcdSettings(("https://10.0.0.1:2379",), username="node")
    assert wrong(evolve(WELL, access=EtcdAccess(safe, tenants=True, is_open=False))) == {}
    opened = wrong(evolve(WELL, access=EtcdAccess(safe, tenants=True, is_open=True)))
    assert "neither a user nor a certificate" in opened["etcd access"].found
