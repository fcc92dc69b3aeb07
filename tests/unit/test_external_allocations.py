"""An external host requests a subnet: what is answered, remembered, refused and forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import GIVEN, SUBNETS
from k8s_ovs_extlb import ExternalHosts
from k8s_ovs_extlb.records import EXTERNAL
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.model.fake_cluster import FakeCluster

MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant(), "k8s-ovs-extlb": ExternalHosts()})
LB1, LB2, NODE1 = "192.168.0.199", "192.168.0.200", "192.168.0.11"


@pytest.fixture
def fake() -> FakeCluster:
    """With a node that has the first /22."""
    fake = FakeCluster(MANAGER)
    fake.join("node1", NODE1)
    fake.settle()
    return fake


def put(fake: FakeCluster, address: str, host: str = "lb1", **fields: Any) -> None:
    """A person writes a record as the document has it, with other `fields`."""
    record = {"Host": host, "HostIP": address, "Subnet": "", "Assign": True} | fields
    fake.put(SUBNETS, address, json.dumps(record).encode())


def asked(fake: FakeCluster, address: str, host: str = "lb1", **fields: Any) -> dict[str, Any]:
    """The answer to what a person writes."""
    put(fake, address, host, **fields)
    fake.settle()
    return record(fake, address)


def record(fake: FakeCluster, address: str, kind: str = SUBNETS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fake.keys[kind, address][0])
    return found


def delete(fake: FakeCluster, address: str) -> None:
    fake.put(SUBNETS, address, None)
    fake.settle()


def test_who_asks_is_given_the_first_free_subnet_by_one_transaction(fake: FakeCluster) -> None:
    put(fake, LB1)
    (answer,) = fake.wanted()
    assert [(each.kind, each.key) for each in answer.writes] == [(SUBNETS, LB1), (EXTERNAL, LB1)]
    assert answer.reason == f"host lb1 at {LB1} has 172.11.4.0/22"
    fake.settle()
    assert fake.keys[SUBNETS, LB1][0] == (
        b'{"Host":"lb1","HostIP":"192.168.0.199","Subnet":"172.11.4.0/22","Assign":false}'
    )
    assert record(fake, LB1, EXTERNAL) == {"Host": "lb1", "Subnet": "172.11.4.0/22"}


def test_asked_again_it_keeps_the_same_one(fake: FakeCluster) -> None:
    first = asked(fake, LB1)
    asked(fake, LB2, "lb2")
    delete(fake, LB2)
    assert asked(fake, LB1) == first


def test_asked_again_while_no_daemon_runs_it_keeps_the_same_one(fake: FakeCluster) -> None:
    asked(fake, LB2, "lb2")
    first = asked(fake, LB1)
    delete(fake, LB2)
    put(fake, LB1)
    fake.restart()
    # A host that comes at the same time does not get it meanwhile.
    fake.join("node2", "192.168.0.12")
    fake.join("node3", "192.168.0.13")
    fake.settle()
    assert record(fake, LB1) == first
    assert record(fake, "192.168.0.12")["Subnet"] == "172.11.4.0/22"
    assert record(fake, "192.168.0.13")["Subnet"] == "172.11.12.0/22"


def test_the_old_record_applies_until_the_request_is_answered(fake: FakeCluster) -> None:
    first = asked(fake, LB1)
    put(fake, LB1)
    world = fake.look()
    assert str(world.of(SUBNETS)[LB1].settled.subnet) == first["Subnet"]
    assert world.of(SUBNETS)[LB1].asked is not None


def test_two_who_ask_at_once_and_a_node_that_joins_get_three_subnets(fake: FakeCluster) -> None:
    fake.join("node2", "192.168.0.12")
    put(fake, LB1)
    put(fake, LB2, "lb2")
    fake.settle()
    found = [record(fake, each)["Subnet"] for each in (NODE1, "192.168.0.12", LB1, LB2)]
    assert found == ["172.11.0.0/22", "172.11.4.0/22", "172.11.8.0/22", "172.11.12.0/22"]


@pytest.mark.parametrize(
    ("length", "subnet"),
    [(2, "172.11.4.0/30"), (4, "172.11.4.0/28"), (12, "172.11.16.0/20"), (15, "172.11.128.0/17")],
)
def test_it_may_ask_for_another_size(fake: FakeCluster, length: int, subnet: str) -> None:
    answer = asked(fake, LB1, HostSubnetLength=length)
    assert (answer["Subnet"], answer["HostSubnetLength"]) == (subnet, length)
    assert asked(fake, LB1)["Subnet"] == subnet, "asked again without a size, it keeps what it has"
    # The next one has a node's size.
    next_one = "172.11.4.0/22" if length > 10 else "172.11.8.0/22"
    assert asked(fake, LB2, "lb2")["Subnet"] == next_one


def test_who_asks_for_another_size_than_it_has_gets_another_one(fake: FakeCluster) -> None:
    assert asked(fake, LB1)["Subnet"] == "172.11.4.0/22"
    assert asked(fake, LB1, HostSubnetLength=11)["Subnet"] == "172.11.8.0/21"
    assert asked(fake, LB2, "lb2")["Subnet"] == "172.11.4.0/22", "which is free again"


def test_a_subnet_that_is_asked_for_by_hand_is_given(fake: FakeCluster) -> None:
    assert asked(fake, LB1, Subnet="172.11.64.0/26")["Subnet"] == "172.11.64.0/26"
    assert asked(fake, LB1)["Subnet"] == "172.11.64.0/26"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"HostIP": LB2}, f"HostIP: found {LB2}, expected {LB1} as in the key"),
        ({"HostSubnetLength": 1}, "HostSubnetLength: found 1, expected 2 to 16"),
        ({"HostSubnetLength": 17}, "HostSubnetLength: found 17, expected 2 to 16"),
        ({"HostSubnetLength": 16}, "Subnet: no /16 of Network 172.11.0.0/16 is free"),
        (
            {"Subnet": "172.11.2.0/24"},
            "Subnet: found 172.11.2.0/24, expected one that does not overlap "
            f"172.11.0.0/22 of {NODE1}",
        ),
        (
            {"Subnet": "172.12.0.0/22"},
            "Subnet: found 172.12.0.0/22, expected one inside Network 172.11.0.0/16",
        ),
        (
            {"Subnet": "172.11.8.0/31"},
            "Subnet: found 172.11.8.0/31, expected /30 or wider, as pods need",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_the_old_record_applies(
    fake: FakeCluster, fields: dict[str, Any], reason: str
) -> None:
    answer = asked(fake, LB1, **fields)
    asked_for = {"Host": "lb1", "HostIP": LB1, "Subnet": "", "Assign": False, "Reason": reason}
    assert answer == asked_for | {**fields, "Subnet": ""}
    assert (EXTERNAL, LB1) not in fake.keys
    before = asked(fake, LB1)
    assert before["Subnet"] == "172.11.4.0/22"
    assert "Reason" not in before
    assert asked(fake, LB1, **fields) == before | {"Reason": reason}
    put(fake, LB1, **fields)
    fake.restart()
    fake.settle()
    assert record(fake, LB1)["Subnet"] == "172.11.4.0/22"


def test_a_host_inside_the_network_is_refused(fake: FakeCluster) -> None:
    reason = asked(fake, "172.11.9.9")["Reason"]
    assert reason == "HostIP: found 172.11.9.9, expected one outside Network 172.11.0.0/16"


def test_the_address_of_a_node_is_refused_and_the_node_keeps_its_subnet(fake: FakeCluster) -> None:
    before = record(fake, NODE1)
    answer = asked(fake, NODE1)
    assert answer == before | {"Reason": f"{NODE1} is the address of node node1"}
    assert (EXTERNAL, NODE1) not in fake.keys
    fake.leave("node1")
    fake.settle()
    assert not fake.keys, "it goes with the node all the same"


def test_a_node_that_comes_to_an_external_host_takes_its_record_over(fake: FakeCluster) -> None:
    asked(fake, LB1)
    fake.join("node7", LB1)
    fake.settle()
    assert record(fake, LB1)["Subnet"] == "172.11.4.0/22"
    assert (GIVEN, LB1) in fake.keys
    assert (EXTERNAL, LB1) not in fake.keys


def test_a_request_where_a_node_is_about_to_be_is_the_nodes(fake: FakeCluster) -> None:
    put(fake, "192.168.0.12", "node2", Subnet="172.11.64.0/24")
    fake.join("node2", "192.168.0.12")
    fake.settle()
    found = record(fake, "192.168.0.12")
    assert found["Subnet"] == "172.11.4.0/22"
    assert found["Reason"] == "192.168.0.12 is the address of node node2"


def test_who_asks_at_the_address_of_a_node_that_is_gone_is_answered(fake: FakeCluster) -> None:
    fake.leave("node1")
    put(fake, NODE1)
    fake.settle()
    assert record(fake, NODE1)["Host"] == "lb1"
    assert record(fake, NODE1)["Subnet"] == "172.11.0.0/22"
    assert (GIVEN, NODE1) not in fake.keys


def test_a_host_whose_record_is_deleted_leaves_nothing_and_its_subnet_is_free(
    fake: FakeCluster,
) -> None:
    asked(fake, LB1)
    delete(fake, LB1)
    assert {kind for kind, key in fake.keys if key == LB1} == set()
    assert asked(fake, LB2, "lb2")["Subnet"] == "172.11.4.0/22"


def test_a_record_that_a_person_wrote_whole_is_remembered_too(fake: FakeCluster) -> None:
    asked(fake, LB1, Subnet="172.11.64.0/24", Assign=False)
    put(fake, LB1)
    fake.restart()
    fake.settle()
    assert record(fake, LB1)["Subnet"] == "172.11.64.0/24"


def test_a_record_that_cannot_be_read_is_neither_answered_nor_forgotten(fake: FakeCluster) -> None:
    first = asked(fake, LB1)
    fake.put(SUBNETS, LB1, b"?")
    fake.restart()
    assert fake.wanted() == []
    assert asked(fake, LB1) == first


def test_a_record_without_a_subnet_that_asks_for_none_occupies_none(fake: FakeCluster) -> None:
    asked(fake, LB1)
    asked(fake, LB1, Assign=False)
    assert (EXTERNAL, LB1) not in fake.keys
    assert asked(fake, LB2, "lb2")["Subnet"] == "172.11.4.0/22"


def test_what_is_remembered_may_be_taken_by_hand_meanwhile(fake: FakeCluster) -> None:
    asked(fake, LB1)
    put(fake, LB1)
    fake.restart()
    put(fake, LB2, "lb2", Subnet="172.11.4.0/22", Assign=False)
    fake.settle()
    assert record(fake, LB1)["Subnet"] == "172.11.8.0/22"


def test_while_it_exists_nobody_takes_it_by_hand(fake: FakeCluster) -> None:
    asked(fake, LB1)
    put(fake, LB1)
    put(fake, LB2, "lb2", Subnet="172.11.4.0/22", Assign=False)
    assert LB2 not in fake.look().settled(SUBNETS)
    fake.settle()
    assert record(fake, LB1)["Subnet"] == "172.11.4.0/22"


def test_fields_that_nobody_knows_outlive_an_answer(fake: FakeCluster) -> None:
    assert asked(fake, LB1, Rack=7)["Rack"] == 7


def test_without_the_plugin_a_request_is_not_answered() -> None:
    fake = FakeCluster(PluginManager({"k8s-ovs-subnet": SingleTenant()}))
    fake.join("node1", NODE1)
    answer = asked(fake, LB1)
    assert answer == {"Host": "lb1", "HostIP": LB1, "Subnet": "", "Assign": True}
    assert LB1 not in fake.look().settled(SUBNETS)


@pytest.mark.parametrize("key", ["lb1", "192.168.0.300"])
def test_what_is_remembered_under_no_address_is_set_aside(fake: FakeCluster, key: str) -> None:
    fake.put(EXTERNAL, key, b'{"Host":"lb1","Subnet":"172.11.4.0/22"}')
    assert fake.wanted() == []
    assert asked(fake, LB1)["Subnet"] == "172.11.4.0/22"
