"""The client of ovsdb-server, against a real one and a real ovs-vswitchd with simulated ports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.flows.ovsdb.pods_bridge import BRIDGE, PODS, Poller, bridge, wait_until

from k8s_ovs.errors import SwitchError
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.schema import SCHEMA
from k8s_ovs.ovs.ovsdb.transaction import BridgeSettings, PortSettings, Transaction
from k8s_ovs_testing.ovs import OvsProcess

pytest_plugins = ("k8s_ovs_testing.fixtures",)


def test_a_bridge_and_its_ports_are_made_in_one_transaction(
    client: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    before = client.switch().next_cfg
    client.commit(Transaction("br0", BRIDGE, add_ports=PODS))
    assert client.switch().next_cfg == before + 1
    numbers = client.await_ofports("br0", [pod.name for pod in PODS])
    assert numbers == {f"veth{number}": number for number in range(10, 20)}
    assert set(ovs_dummy.vsctl("list-ports", "br0").split()) == set(numbers)
    assert set(bridge(client).ports) == {"br0", *numbers}


def test_a_bridge_has_the_settings_it_was_given(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    found = bridge(br0)
    assert (found.datapath_type, found.fail_mode) == ("dummy", "secure")
    assert found.external_ids == {"owner": "k8s-ovs"}
    assert ovs_dummy.vsctl("get-fail-mode", "br0").strip() == "secure"


def test_tables_have_names_in_the_switch(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    assert 'table 0 ("CLASSIFY")' in ovs_dummy.ofctl("dump-table-features", "br0")
    br0.commit(Transaction("br0", BridgeSettings("dummy", tables={0: "CLASSIFY", 10: "TUNNEL_IN"})))
    br0.await_applied()
    assert 'table 10 ("TUNNEL_IN")' in ovs_dummy.ofctl("dump-table-features", "br0")
    assert bridge(br0).tables == {0: "CLASSIFY", 10: "TUNNEL_IN"}


def test_what_is_right_already_is_not_written(br0: Ovsdb) -> None:
    before = br0.switch().next_cfg
    br0.commit(Transaction("br0", BRIDGE, add_ports=PODS, remove_ports=("never-there",)))
    assert br0.switch().next_cfg == before


def test_a_port_is_brought_to_its_settings(br0: Ovsdb) -> None:
    there = bridge(br0).ports["veth10"].row
    wanted = PortSettings("veth10", ofport_request=77, external_ids={"ip": "10.0.0.77"})
    br0.commit(Transaction("br0", add_ports=(wanted,)))
    assert br0.await_ofports("br0", ["veth10"]) == {"veth10": 77}
    port = bridge(br0).ports["veth10"]
    assert port.row == there
    assert port.external_ids == {"pod": "web-10", "ip": "10.0.0.77"}


def test_a_tunnel_port_has_just_the_options_it_was_given(br0: Ovsdb) -> None:
    for options in ({"remote_ip": "flow", "key": "flow"}, {"remote_ip": "flow", "dst_port": "1"}):
        br0.commit(Transaction("br0", add_ports=(PortSettings("vxlan0", "vxlan", options, 1),)))
        assert br0.await_ofports("br0", ["vxlan0"]) == {"vxlan0": 1}
        assert bridge(br0).ports["vxlan0"].options == options


def test_ports_come_and_go_in_one_transaction(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    before = br0.switch().next_cfg
    new = PortSettings("veth20", ofport_request=20)
    br0.commit(Transaction("br0", add_ports=(new,), remove_ports=("veth10", "veth11")))
    br0.await_applied()
    assert br0.switch().next_cfg == before + 1
    there = ovs_dummy.vsctl("list-ports", "br0").split()
    assert "veth20" in there
    assert not {"veth10", "veth11"} & set(there)


def test_a_port_that_is_removed_and_added_is_a_new_one(br0: Ovsdb) -> None:
    old = bridge(br0).ports["veth10"]
    again = PortSettings("veth10", ofport_request=10, external_ids={"pod": "other"})
    br0.commit(Transaction("br0", add_ports=(again,), remove_ports=("veth10",)))
    assert br0.await_ofports("br0", ["veth10"]) == {"veth10": 10}
    port = bridge(br0).ports["veth10"]
    assert port.row != old.row
    assert port.external_ids == {"pod": "other"}


def test_external_ids_come_back_as_they_were_given(br0: Ovsdb) -> None:
    odd = {"pod": 'a "quoted" name', "comma": "a,b=c", "empty": "", "name": "Größe ☃ 网络"}
    br0.commit(Transaction("br0", external_ids={"veth10": odd, "gone": {"a": "b"}}))
    assert bridge(br0).ports["veth10"].external_ids == odd | {"ip": "10.0.0.10"}
    br0.commit(Transaction("br0", external_ids={"veth10": dict.fromkeys(odd)}))
    assert bridge(br0).ports["veth10"].external_ids == {"ip": "10.0.0.10"}


def rows(ovs: OvsProcess) -> list[str]:
    """Types of all rows of the table QoS."""
    return sorted(ovs.vsctl("--bare", "--columns=type", "list", "QoS").split())


def queue_of(ovs: OvsProcess, port: str) -> str:
    """The type of a port's QoS row; "": it has none."""
    row = ovs.vsctl("get", "Port", port, "qos").strip()
    return "" if row == "[]" else ovs.vsctl("get", "QoS", row, "type").strip()


def told(ovs: OvsProcess, port: str) -> tuple[str, str]:
    """All else that a port and its interface have."""
    columns = "--columns=_uuid,name,interfaces,tag,external_ids,other_config"
    of_interface = "--columns=_uuid,name,type,options,ofport_request,external_ids"
    return ovs.vsctl(columns, "list", "Port", port), ovs.vsctl(
        of_interface, "list", "Interface", port
    )


def test_a_queue_of_somebody_else_is_said_when_the_port_comes(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    queued = [PortSettings(name, foreign_queue=True) for name in ("veth20", "veth21")]
    br0.commit(Transaction("br0", add_ports=(PortSettings("veth22"), *queued)))
    br0.await_applied()
    assert [queue_of(ovs_dummy, f"veth{number}") for number in (20, 21, 22)] == [
        "linux-noop",
        "linux-noop",
        "",
    ]
    br0.commit(Transaction("br0", remove_ports=("veth20",)))
    assert rows(ovs_dummy) == ["linux-noop"]


def test_a_queue_of_somebody_else_is_said_and_taken_back_later(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    before, neighbour = told(ovs_dummy, "veth10"), told(ovs_dummy, "veth11")
    br0.commit(Transaction("br0", foreign_queues={"veth10": True, "gone": True}))
    br0.await_applied()
    assert (queue_of(ovs_dummy, "veth10"), queue_of(ovs_dummy, "veth11")) == ("linux-noop", "")
    assert rows(ovs_dummy) == ["linux-noop"]
    br0.commit(Transaction("br0", foreign_queues={"veth10": True}))
    assert rows(ovs_dummy) == ["linux-noop"]
    br0.commit(Transaction("br0", foreign_queues={"veth10": False, "gone": False}))
    br0.await_applied()
    assert queue_of(ovs_dummy, "veth10") == ""
    assert rows(ovs_dummy) == []
    assert (told(ovs_dummy, "veth10"), told(ovs_dummy, "veth11")) == (before, neighbour)


def test_ports_with_queues_come_while_others_get_and_lose_theirs(
    br0: Ovsdb, ovs_dummy: OvsProcess
) -> None:
    br0.commit(Transaction("br0", foreign_queues={"veth11": True}))
    new = (PortSettings("veth20", foreign_queue=True), PortSettings("veth21"))
    queued = {"veth10": True, "veth11": False, "veth12": True}
    ids = {"veth10": {"rate": "1000"}}
    br0.commit(Transaction("br0", add_ports=new, external_ids=ids, foreign_queues=queued))
    br0.await_applied()
    has = [f"veth{n}" for n in (10, 11, 12, 20, 21) if queue_of(ovs_dummy, f"veth{n}")]
    assert has == ["veth10", "veth12", "veth20"]
    assert rows(ovs_dummy) == ["linux-noop"] * 3
    assert bridge(br0).ports["veth10"].external_ids["rate"] == "1000"


def test_what_others_say_of_queues_stays(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    """Such rows are nobody's by themselves: one that is not ours may be in use elsewhere."""
    theirs = ("--", "--id=@theirs", "create", "QoS", "type=linux-sfq")
    ovs_dummy.vsctl("set", "Port", "veth11", "qos=@theirs", *theirs)
    br0.commit(Transaction("br0", foreign_queues={"veth10": True}))
    br0.commit(Transaction("br0", remove_ports=("veth10", "veth11")))
    assert rows(ovs_dummy) == ["linux-sfq"]


def test_with_its_bridge_go_the_queues_of_its_ports(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    br0.commit(Transaction("br0", foreign_queues={"veth10": True}))
    br0.delete_bridge("br0")
    assert rows(ovs_dummy) == []


def test_a_port_that_cannot_be_is_named_with_the_switchs_reason(br0: Ovsdb) -> None:
    br0.commit(Transaction("br0", add_ports=(PortSettings("odd9", "nosuch"),)))
    with pytest.raises(SwitchError, match="port odd9 of bridge br0: could not open"):
        br0.await_ofports("br0", ["veth10", "odd9"])
    assert bridge(br0).ports["odd9"].ofport is None
    with pytest.raises(SwitchError, match="veth99 is not on bridge br0"):
        br0.await_ofports("br0", ["veth99"])


def test_a_number_that_is_taken_is_not_given_twice(br0: Ovsdb) -> None:
    br0.commit(Transaction("br0", add_ports=(PortSettings("late", ofport_request=10),)))
    assert br0.await_ofports("br0", ["late", "veth10"])["late"] != 10


def test_a_refused_change_carries_the_databases_words_and_changes_nothing(br0: Ovsdb) -> None:
    good, bad = PortSettings("veth50"), PortSettings("veth51", ofport_request=65280)
    with pytest.raises(SwitchError, match=r"br0: constraint violation: 65280 is not in"):
        br0.commit(Transaction("br0", add_ports=(good, bad)))
    assert "veth50" not in bridge(br0).ports


def test_ports_of_a_bridge_that_is_not_there_are_refused(client: Ovsdb) -> None:
    with pytest.raises(SwitchError, match="bridge br7 does not exist"):
        client.commit(Transaction("br7", add_ports=PODS))


def test_what_others_change_is_seen(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    br0.run()
    ovs_dummy.vsctl("add-port", "br0", "theirs", "--", "del-port", "br0", "veth10")
    ovs_dummy.vsctl("set", "Interface", "veth11", "external_ids:pod=moved")
    seen = br0.seqno
    wait_until(br0, lambda: bridge(br0).ports["veth11"].external_ids["pod"] == "moved")
    assert br0.seqno != seen
    assert "theirs" in bridge(br0).ports
    assert "veth10" not in bridge(br0).ports


def test_run_tells_of_a_change_once_even_one_that_commit_took_in(br0: Ovsdb) -> None:
    br0.await_applied()
    br0.run()
    br0.commit(Transaction("br0", external_ids={"veth10": {"note": "ours"}}))
    poller = Poller()
    br0.wait(poller)
    poller.block()
    assert br0.run()
    wait_until(br0, lambda: not br0.run())


def test_a_deleted_bridge_is_gone_with_all_its_ports(br0: Ovsdb, ovs_dummy: OvsProcess) -> None:
    br0.delete_bridge("br0")
    br0.await_applied()
    assert br0.bridge("br0") is None
    assert ovs_dummy.vsctl("list", "Interface").strip() == ""
    br0.delete_bridge("br0")


def test_the_columns_we_read_are_the_servers() -> None:
    theirs = json.loads(Path("/usr/share/openvswitch/vswitch.ovsschema").read_text())["tables"]
    for table, ours in SCHEMA["tables"].items():
        assert set(ours["columns"]) <= set(theirs[table]["columns"])
