"""What `k8s-ovs uninstall` refuses, what it takes for its own, and in which order that goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import Result

from k8s_ovs.cli.uninstall.command import refusal, removals
from k8s_ovs.cli.uninstall.inventory import HostPaths, Inventory, OwnBridge, bridge_of, run_files
from k8s_ovs.errors import Unavailable
from k8s_ovs.model.pod import Pod
from k8s_ovs.node.install.cni_config import FILES, SOCKET, Style, cni_config
from k8s_ovs.node.install.installer import install, installed
from k8s_ovs.ovs.ovsdb.state import Bridge, Port

PLACES = HostPaths(Path("/bin"), Path("/net.d"), SOCKET, Path("/ovs"))
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


def bridge(*ports: str, tables: tuple[str, ...] = ("CLASSIFY",)) -> Bridge:
    """br0 with its own port, and these."""
    return Bridge(
        name="br0",
        datapath_type="system",
        fail_mode="secure",
        other_config={},
        external_ids={},
        tables=dict(enumerate(tables)),
        ports={name: port(name) for name in ("br0", *ports)},
        row=uuid4(),
    )


def port(name: str) -> Port:
    """A port that nobody has said anything of."""
    return Port(
        name=name,
        type="",
        ofport=None,
        ofport_request=None,
        options={},
        external_ids={},
        mac=None,
        mtu_request=None,
        error=None,
        row=uuid4(),
        port_row=uuid4(),
    )


def test_a_user_who_is_not_root_is_told_so(
    k8s_ovs: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    shown = k8s_ovs("uninstall")
    assert shown.exit_code == 1
    assert shown.stderr == "error: k8s-ovs uninstall must run as root, found uid 1000\n"


def test_a_daemon_that_runs_is_in_the_way_whatever_is_forced() -> None:
    reason = refusal(Inventory(daemon=1861), force=True)
    assert "the daemon runs (process 1861)" in reason
    assert "systemctl disable --now k8s-ovs" in reason


def test_of_a_daemon_in_another_container_no_number_is_told() -> None:
    assert refusal(Inventory(daemon=0), force=True).startswith("the daemon runs and would make")


def test_pods_are_named_and_can_be_cut_off() -> None:
    attached = Inventory(bridge=OwnBridge(pods={"kovs1": "default/web", "kovs2": "default/db"}))
    assert "attached to br0: pods default/db, default/web; drain" in refusal(attached, force=False)
    assert refusal(attached, force=True) == ""


def test_ports_that_somebody_else_has_added_are_named() -> None:
    attached = Inventory(bridge=OwnBridge(others=("eth1",)))
    assert "by somebody else: port eth1; take" in refusal(attached, force=False)
    assert refusal(attached, force=True) == ""


def test_devices_may_be_those_of_pods_while_nobody_can_be_asked() -> None:
    blind = Inventory(bridge=AWAY, devices=frozenset({"kovs1"}))
    assert refusal(blind, force=False).startswith("device kovs1 may be of pods that run")
    assert refusal(blind, force=True) == ""
    assert refusal(Inventory(bridge=AWAY), force=False) == ""


def test_devices_that_no_port_has_are_not_in_the_way() -> None:
    assert refusal(Inventory(bridge=OwnBridge(), devices=frozenset({"kovs1"})), force=False) == ""


def test_what_the_runtime_reads_goes_first_and_the_directory_last() -> None:
    config, run_dir = Path("/net.d/80-k8s-ovs.conf"), SOCKET.parent
    inventory = Inventory(
        bridge=OwnBridge(pods={"kovs1": "default/web"}),
        table=True,
        devices=frozenset({"kovs1", "kovs0"}),
        files=(config,),
        run_dir=run_dir,
    )
    assert [each.things for each in removals(inventory, PLACES)] == [
        (str(config),),
        ("bridge br0", "port vxlan0", "port tun0", "port kovs1 of pod default/web"),
        ("device kovs0", "device kovs1"),
        ("nftables table inet k8s-ovs",),
        (str(run_dir),),
    ]


def test_what_could_not_be_asked_for_is_not_removed_and_not_forgotten() -> None:
    inventory = Inventory(bridge=AWAY, table=AWAY)
    assert list(removals(inventory, PLACES)) == []
    assert set(inventory.unasked) == {"bridge br0", "nftables table k8s-ovs"}


def test_a_bridge_is_ours_by_the_names_of_its_tables() -> None:
    ours = bridge("vxlan0", "tun0", "kovs1", "eth1")
    assert bridge_of(ours, {"kovs1": POD}) == OwnBridge({"kovs1": "default/web"}, ("eth1",))
    assert bridge_of(bridge("eth1", tables=()), {}) is None


def test_only_what_install_cni_has_written_is_ours(tmp_path: Path) -> None:
    binary, config = install(tmp_path, tmp_path, cni_socket=tmp_path / "x.sock")
    assert installed(tmp_path, tmp_path) == {config: True, binary: True}
    chain = tmp_path / FILES[Style.CONFLIST]
    chain.write_text(json.dumps(cni_config(Style.CONFLIST, "0.3.1")))
    assert installed(tmp_path, tmp_path) == {config: True, chain: True, binary: True}
    chain.write_text('{"plugins": [{"type": "k8s-ovs"}, {"type": "bandwidth"}]}')
    assert installed(tmp_path, tmp_path) == {config: True, chain: False, binary: True}
    chain.unlink()
    binary.write_text("#!/bin/sh\n")
    config.write_text('{"type": "bridge"}')
    assert installed(tmp_path, tmp_path) == {config: False, binary: False}
    config.write_text("{")
    binary.unlink()
    assert installed(tmp_path, tmp_path) == {config: False}
    assert installed(tmp_path / "away", tmp_path / "away") == {}


def test_a_directory_with_the_files_of_others_stays(tmp_path: Path) -> None:
    cni_socket, status = tmp_path / "cni.sock", tmp_path / "status.json"
    assert run_files(cni_socket) == ((), None)
    for path in (cni_socket, status, tmp_path / ".cni.sock.17"):
        path.touch()
    own, directory = run_files(cni_socket)
    assert set(own) == {cni_socket, status, tmp_path / ".cni.sock.17"}
    assert directory == tmp_path
    (tmp_path / "notes").touch()
    assert run_files(cni_socket) == (own, None)
    assert run_files(tmp_path / "away" / "cni.sock") == ((), None)
