"""ovsdb-server or ovs-vswitchd hangs, ends or comes back: what does the client say and keep?"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.flows.ovsdb.pods_bridge import BRIDGE, PODS, bridge, wait_until

from k8s_ovs.errors import TimedOut, Unavailable
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.transaction import PortSettings, Transaction
from k8s_ovs_testing.ovs import OvsProcess

pytest_plugins = ("k8s_ovs_testing.fixtures",)


def test_no_server_is_said_with_its_socket(tmp_path: Path) -> None:
    client = Ovsdb(f"unix:{tmp_path}/none.sock", timeout=0.2)
    with pytest.raises(Unavailable, match=r"none\.sock within 0\.2 s: is it running"):
        client.connect()


def test_before_the_first_connection_nothing_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nothing is known yet"):
        Ovsdb(f"unix:{tmp_path}/none.sock").bridge("br0")


def test_a_server_that_hangs_costs_no_more_than_the_limit(ovs_dummy: OvsProcess) -> None:
    client = Ovsdb(ovs_dummy.remote, timeout=0.3)
    client.connect()
    ovs_dummy.pause("ovsdb-server")
    with pytest.raises(TimedOut, match=r"within 0\.3 s: it did not answer the change"):
        client.commit(Transaction("br0", BRIDGE))
    ovs_dummy.resume("ovsdb-server")
    wait_until(client, lambda: client.bridge("br0") is not None)
    client.commit(Transaction("br0", BRIDGE, add_ports=PODS))
    assert len(bridge(client).ports) == 11


def test_a_server_that_hangs_is_noticed_unasked(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    ovs_dummy.pause("ovsdb-server")
    wait_until(br0, lambda: not br0.connected)
    assert "veth10" in bridge(br0).ports
    ovs_dummy.resume("ovsdb-server")
    wait_until(br0, lambda: br0.connected)


def test_a_switch_daemon_that_hangs_is_named(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    client = Ovsdb(ovs_dummy.remote, timeout=0.3)
    client.connect()
    ovs_dummy.pause()
    client.commit(Transaction("br0", add_ports=(PortSettings("veth30"),)))
    with pytest.raises(TimedOut, match="ovs-vswitchd has not carried out the change"):
        client.await_ofports("br0", ["veth30"])


def test_a_switch_daemon_that_hangs_is_told_from_one_that_is_idle(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    client = Ovsdb(ovs_dummy.remote, timeout=0.3)
    client.connect()
    client.await_vswitchd()
    ovs_dummy.pause()
    client.await_applied()
    with pytest.raises(TimedOut, match="ovs-vswitchd has not carried out the change"):
        client.await_vswitchd()


def test_a_restarted_server_is_found_again_with_what_it_has_now(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    ovs_dummy.stop_server()
    wait_until(br0, lambda: not br0.connected)
    assert "veth10" in bridge(br0).ports
    ovs_dummy.start_server()
    ovs_dummy.vsctl("--no-wait", "del-port", "br0", "veth10")
    wait_until(br0, lambda: br0.connected)
    assert set(bridge(br0).ports) == {"br0", *(pod.name for pod in PODS[1:])}
    br0.commit(Transaction("br0", add_ports=PODS))
    assert br0.await_ofports("br0", ["veth10"]) == {"veth10": 10}


def test_a_change_waits_for_a_server_that_is_being_restarted(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    ovs_dummy.restart_server()
    br0.commit(Transaction("br0", add_ports=(PortSettings("veth40", ofport_request=40),)))
    assert br0.await_ofports("br0", ["veth40"]) == {"veth40": 40}


def test_a_dead_server_makes_a_change_unavailable(ovs_dummy: OvsProcess) -> None:
    client = Ovsdb(ovs_dummy.remote, timeout=0.3)
    client.connect()
    ovs_dummy.kill("ovsdb-server")
    with pytest.raises(Unavailable, match="is it running"):
        client.commit(Transaction("br0", BRIDGE))


def test_a_restarted_switch_daemon_keeps_ports_and_numbers(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    ovs_dummy.restart_vswitchd()
    names = [pod.name for pod in PODS]
    assert br0.await_ofports("br0", names) == {pod.name: pod.ofport_request for pod in PODS}


def test_the_limit_grows_with_the_ports_that_the_switch_daemon_has_to_make(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    ovs_dummy.pause("ovs-vswitchd")
    many = tuple(PortSettings(f"many{number}", type="dummy") for number in range(20))
    client = Ovsdb(ovs_dummy.remote, timeout=0.3)
    client.connect()
    try:
        client.commit(Transaction("br0", None, add_ports=many))
        with pytest.raises(TimedOut, match=r"within 1\.3 s: ovs-vswitchd has not carried out"):
            client.await_applied()
    finally:
        ovs_dummy.resume("ovs-vswitchd")
    wait_until(client, lambda: client.applied)
    assert client.patience == 0


def test_what_cannot_be_understood_of_ovsdb_is_an_error_and_the_connection_is_made_anew(
    br0: Ovsdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> None:
        raise KeyError("a message of another kind")

    with monkeypatch.context() as broken:
        broken.setattr(br0._idl, "run", failing)
        with pytest.raises(Unavailable, match="sent what cannot be understood: KeyError"):
            br0.run()
    br0.connect()
    assert br0.bridge("br0") is not None
