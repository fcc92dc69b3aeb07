"""What `k8s-ovs uninstall` refuses, what it takes for its own, and how that goes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
from attrs import evolve
from typer.testing import Result

from k8s_ovs.cli.uninstall.command import refusal
from k8s_ovs.cli.uninstall.run_files import run_files
from k8s_ovs.errors import Unavailable
from k8s_ovs.link import veth_driver
from k8s_ovs.link.veth_driver import VethDriver
from k8s_ovs.model.pod import Pod, pod_ids
from k8s_ovs.node.host.state import HostState, Look, Unknown
from k8s_ovs.node.install.cni_config import FILES, Style, cni_config
from k8s_ovs.node.install.file_driver import FileDriver
from k8s_ovs.node.install.installer import install, installed
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.driver import SwitchDriver
from k8s_ovs.ovs.ovsdb.state import Bridge as KnownBridge
from k8s_ovs.ovs.ovsdb.state import Port as KnownPort
from k8s_ovs.state.diff import Difference, diff
from k8s_ovs.state.value import Bridge, NftTable, Port, Value, Veth

AWAY = Unavailable("no connection to ovsdb-server")
POD = Pod(
    port="kovs1",
    ofport=18,
    container="c1",
    ifname="eth0",
    netns="/run/netns/c1",
    namespace="default",
    name="web",
    uid="u1",
    ip=IPv4Address("172.11.0.2"),
)


def found(*values: Value) -> Look:
    """All that is ours."""
    return Look(tuple(diff((), values)))


def bridge(*ports: KnownPort, tables: tuple[str, ...] = ("CLASSIFY",)) -> KnownBridge:
    """br0 with its own port, and these."""
    return KnownBridge(
        name="br0",
        datapath_type="system",
        fail_mode="secure",
        other_config={},
        external_ids={},
        tables=dict(enumerate(tables)),
        ports={each.name: each for each in (port("br0"), *ports)},
        foreign={},
        mirrors={},
        row=uuid4(),
    )


def port(name: str, number: int | None = None, ids: dict[str, str] | None = None) -> KnownPort:
    """A port that asks for this number."""
    return KnownPort(
        name=name,
        type="",
        ofport=None,
        ofport_request=number,
        options={},
        external_ids=ids or {},
        mac=None,
        mtu_request=None,
        error=None,
        qos="",
        ingress_policing_rate=0,
        row=uuid4(),
        port_row=uuid4(),
    )


class FakeOvsdb:
    """Has a bridge until it is told to delete it."""

    def __init__(self, there: KnownBridge | None) -> None:
        self.there = there
        self.asked: list[str] = []

    def bridge(self, name: str) -> KnownBridge | None:
        return self.there if self.there and self.there.name == name else None

    def delete_bridge(self, name: str) -> None:
        self.asked.append(f"delete {name}")
        self.there = None

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.asked.append(name)


class FakeDriver:
    """Has one thing of a kind, or fails."""

    def __init__(self, value: Value, failure: Unavailable | None = None) -> None:
        self.kinds = frozenset({value.kind})
        self.value = value
        self.failure = failure
        self.applied: list[Difference] = []

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        return [self.value]

    def apply(self, differences: Sequence[Difference]) -> None:
        if self.failure:
            raise self.failure
        self.applied += differences


def test_a_user_who_is_not_root_is_told_so(
    k8s_ovs: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    shown = k8s_ovs("uninstall")
    assert shown.exit_code == 1
    assert shown.stderr == "error: k8s-ovs uninstall must run as root, found uid 1000\n"


def test_a_daemon_that_runs_is_in_the_way_whatever_is_forced() -> None:
    reason = refusal(1861, Look(), force=True)
    assert "the daemon runs (process 1861)" in reason
    assert "systemctl disable --now k8s-ovs" in reason


def test_of_a_daemon_in_another_container_no_number_is_told() -> None:
    assert refusal(0, Look(), force=True).startswith("the daemon runs and would make")


def test_pods_are_named_and_can_be_cut_off() -> None:
    attached = found(Port("kovs1", pod="default/web"), Port("kovs2", pod="default/db"))
    assert "attached to br0: pods default/db, default/web; drain" in refusal(
        None, attached, force=False
    )
    assert refusal(None, attached, force=True) == ""


def test_ports_that_somebody_else_has_added_are_named() -> None:
    attached = found(Port("vxlan0"), Port("tun0"), Port("eth1"))
    assert "by somebody else: port eth1; take" in refusal(None, attached, force=False)
    assert refusal(None, attached, force=True) == ""


def test_devices_may_be_those_of_pods_while_nobody_can_be_asked() -> None:
    away = Unknown(frozenset({Bridge.kind, Port.kind}), AWAY)
    blind = evolve(found(Veth("kovs1")), unknown=(away,))
    assert refusal(None, blind, force=False).startswith("device kovs1 may be of pods that run")
    assert refusal(None, blind, force=True) == ""
    assert refusal(None, Look(unknown=(away,)), force=False) == ""


def test_devices_that_no_port_has_are_not_in_the_way() -> None:
    own = found(Bridge("br0", "system", {}), Port("vxlan0"), Veth("kovs1"))
    assert refusal(None, own, force=False) == ""


def test_with_nothing_desired_all_is_unexpected_and_goes_in_the_order_of_the_drivers() -> None:
    drivers = [FakeDriver(Veth("kovs1")), FakeDriver(NftTable("k8s-ovs", ""))]
    host = HostState(drivers)
    look = host.look(())
    assert [str(each) for each in look.differences] == [
        "veth kovs1: unexpected",
        "nftables table k8s-ovs: unexpected",
    ]
    assert host.apply(look.differences) == Look()
    assert [each for driver in drivers for each in driver.applied] == list(look.differences)


def test_what_cannot_be_removed_keeps_nothing_else_from_it() -> None:
    host = HostState([FakeDriver(Veth("kovs1"), AWAY), FakeDriver(NftTable("k8s-ovs", ""))])
    device, table = host.look(()).differences
    left = Look((device,), (Unknown(frozenset({Veth.kind}), AWAY),))
    assert host.apply([device, table]) == left
    assert left.why_unknown(Veth.kind) is AWAY
    assert left.why_unknown(NftTable.kind) is None


def test_a_repair_removes_nothing_where_nothing_is_desired() -> None:
    """The daemon repairs one kind alone, too, and there may be nothing of it."""
    device, table = FakeDriver(Veth("kovs1")), FakeDriver(NftTable("k8s-ovs", ""))
    host = HostState([device, table])
    assert host.look([Veth("kovs1")]) == Look()
    for desired in ([Veth("kovs1")], []):
        assert host.repair(desired) == ([], Look())
    assert device.applied == table.applied == []


@pytest.mark.parametrize("deletes", [False, True])
def test_an_unexpected_veth_is_deleted_only_by_who_may(
    monkeypatch: pytest.MonkeyPatch, deletes: bool
) -> None:
    deleted: list[str] = []
    monkeypatch.setattr(veth_driver, "delete", deleted.extend)
    VethDriver(delete=deletes).apply(diff((), [Veth("kovs1")]))
    assert deleted == (["kovs1"] if deletes else [])


def test_a_bridge_is_ours_with_all_its_ports_by_the_names_of_its_tables() -> None:
    ports = port("eth1"), port("kovs1", 18, pod_ids(POD)), port("tun0", 2), port("vxlan0", 1)
    ovsdb = FakeOvsdb(bridge(*ports))
    driver = SwitchDriver(cast(Ovsdb, ovsdb), "br0")
    own = diff((), driver.read(()))
    assert [each.thing for each in own] == [
        "bridge br0",
        "port vxlan0",
        "port tun0",
        "port kovs1 of pod default/web",
        "port eth1",
    ]
    driver.apply(own)
    assert ovsdb.asked == ["connect", "await_vswitchd", "delete br0", "await_applied"]
    assert driver.read(()) == ()


def test_a_bridge_of_somebody_else_is_not_ours() -> None:
    theirs = FakeOvsdb(bridge(port("eth1"), tables=()))
    assert SwitchDriver(cast(Ovsdb, theirs), "br0").read(()) == ()


def test_only_what_install_cni_has_written_is_ours(tmp_path: Path) -> None:
    binary, config = install(tmp_path, tmp_path, cni_socket=tmp_path / "x.sock")
    assert installed(tmp_path, tmp_path) == [config, binary]
    chain = tmp_path / FILES[Style.CONFLIST]
    chain.write_text(json.dumps(cni_config(Style.CONFLIST, "0.3.1")))
    assert installed(tmp_path, tmp_path) == [config, chain, binary]
    chain.write_text('{"plugins": [{"type": "k8s-ovs"}, {"type": "bandwidth"}]}')
    assert installed(tmp_path, tmp_path) == [config, binary]
    chain.unlink()
    binary.write_text("#!/bin/sh\n")
    config.write_text('{"type": "bridge"}')
    assert installed(tmp_path, tmp_path) == []
    config.write_text("{")
    binary.unlink()
    assert installed(tmp_path, tmp_path) == []
    assert installed(tmp_path / "away", tmp_path / "away") == []


def test_a_directory_with_the_files_of_others_stays(tmp_path: Path) -> None:
    cni_socket, status = tmp_path / "cni.sock", tmp_path / "status.json"
    assert run_files(cni_socket) == []
    for path in (cni_socket, status, tmp_path / ".cni.sock.17"):
        path.touch()
    own = run_files(cni_socket)
    assert set(own[:-1]) == {cni_socket, status, tmp_path / ".cni.sock.17"}
    assert own[-1] == tmp_path
    (tmp_path / "notes").touch()
    assert run_files(cni_socket) == own[:-1]
    assert run_files(tmp_path / "away" / "cni.sock") == []


def test_a_socket_goes_and_then_its_directory(tmp_path: Path) -> None:
    cni_socket = tmp_path / "run" / "cni.sock"
    cni_socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(cni_socket))
    driver = FileDriver(lambda: run_files(cni_socket))
    own = diff((), driver.read(()))
    assert [each.thing for each in own] == [f"file {cni_socket}", f"directory {tmp_path}/run"]
    driver.apply(own)
    assert list(tmp_path.iterdir()) == []
