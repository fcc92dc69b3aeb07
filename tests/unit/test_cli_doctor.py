"""What the doctor makes of the answers: each wrong one has its line, and a word of advice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import astuple, evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.well_node import NODE, SNAPSHOT, WELL, wrong

from k8s_ovs.cli.doctor.checks import core_checks, plugin_checks
from k8s_ovs.cli.doctor.etcd_access import EtcdAccess
from k8s_ovs.cli.doctor.observations import (
    CniDirectories,
    CniObservations,
    Observations,
    ask_cni,
)
from k8s_ovs.cli.host.status import SwitchStatus
from k8s_ovs.cli.host.this_node import DaemonStatus
from k8s_ovs.errors import InvalidRecord, K8sOvsError, Unavailable
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.node.host.state import Look, Unknown
from k8s_ovs.node.install.installer import install
from k8s_ovs.observe.etcd.client import EtcdFull
from k8s_ovs.observe.etcd.errors import Forbidden
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.plugin import Check, View, hook
from k8s_ovs.reconcile.desired_flows import Delta
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Device, NftTable, Port

DENIED = Forbidden("refused list: permission denied")
NO_CONFIG = evolve(
    SNAPSHOT, config=None, raw={}, revision_of_config=0, problems=("there is no configuration",)
)
TUN0, TABLE = Device("tun0"), NftTable("k8s-ovs", "[]")
DOWN = Difference(TUN0.key, Device("tun0", up=False), TUN0)
NO_TABLE = Difference(TABLE.key, None, TABLE)
NO_PORT = Difference(Port("kovs1").key, None, Port("kovs1", pod="default/web"))
NO_ANSWER = Unknown(frozenset({"device", "route"}), LinkError("netlink"))


def test_a_configuration_that_daemons_reject_is_one_line() -> None:
    problem = 'PluginName: no plugin "acme" is installed'
    snapshot = evolve(SNAPSHOT, problems=(problem,), rejected=problem)
    observations = evolve(WELL, snapshot=snapshot, node=InvalidRecord(problem))
    found = wrong(observations)
    assert {name: check.found for name, check in found.items()} == {"records": problem}
    assert list(plugin_checks(observations)) == []


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
    "no rights at etcd": (
        evolve(WELL, snapshot=DENIED, node=DENIED),
        "etcd",
        "its role: k8s-ovs etcd-roles",
    ),
    "no configuration": (
        evolve(WELL, snapshot=NO_CONFIG, node=InvalidRecord("there is no configuration")),
        "records",
        "k8s-ovs restore FILE",
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
