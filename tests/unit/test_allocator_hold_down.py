"""What was deleted, or cannot be seen yet: for how long does the seated one leave that alone?"""

from __future__ import annotations

from ipaddress import IPv4Network

from tests.unit.allocator_harness import (
    BASE,
    FIRST,
    SECOND,
    AllocatorHarness,
    Answering,
    make_harness,
)

from k8s_ovs_extlb import ExternalHosts


def test_what_a_person_deletes_stays_deleted_for_a_while(harness: AllocatorHarness) -> None:
    assert harness.turn()
    harness.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    harness.join(3)
    assert not harness.turn(), "asks again, until the time is over"
    assert harness.subnets() == {"node2": SECOND, "node3": IPv4Network("172.11.8.0/22")}


def test_what_a_person_puts_back_may_be_changed_at_once(harness: AllocatorHarness) -> None:
    assert harness.turn()
    key = f"{BASE}/subnets/192.168.0.11"
    written = harness.etcd.keys[key].value
    harness.etcd.delete(key)
    assert not harness.turn()
    harness.etcd.put(key, written.replace(b'"Subnet":"172.11.0.0/22"', b'"Subnet":""'))
    assert harness.turn()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_after_that_while_the_node_gets_a_subnet_again() -> None:
    harness = make_harness(hold_down=0.0)
    harness.become_leader()
    harness.join(1)
    assert harness.turn()
    harness.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    assert harness.turn()
    assert harness.subnets() == {"node1": FIRST}


def test_a_node_that_leaves_and_comes_again_is_not_held_down(harness: AllocatorHarness) -> None:
    assert harness.turn()
    del harness.nodes["node1"]
    assert harness.turn()
    assert harness.subnets() == {"node2": SECOND}
    assert harness.turn(), "its own deletion comes back in the picture"
    harness.join(1)
    assert harness.turn()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_what_went_while_another_one_had_the_seat_is_not_held_down(
    harness: AllocatorHarness,
) -> None:
    assert harness.turn()
    token, harness.election.token = harness.election.token, None
    assert harness.turn()
    for kind in ("subnets", "given"):
        harness.etcd.delete(f"{BASE}/{kind}/192.168.0.11")
    harness.election.token = token
    assert harness.turn()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_one_who_is_new_in_the_seat_gives_but_does_not_take() -> None:
    first = make_harness()
    first.become_leader()
    first.join(1, 2)
    assert first.turn()
    # The next one's picture of Kubernetes does not show node 2 yet.
    heir = make_harness(etcd=first.etcd, grace=3600.0)
    heir.become_leader()
    heir.join(1, 3)
    assert not heir.turn()
    assert heir.subnets() == {
        "node1": FIRST,
        "node2": SECOND,
        "node3": IPv4Network("172.11.8.0/22"),
    }
    heir.join(2)
    assert heir.turn()


def test_what_is_asked_for_after_it_was_deleted_is_not_held_down() -> None:
    harness = make_harness(Answering())
    harness.become_leader()
    harness.etcd.put(f"{BASE}/audits/a", b"7")
    assert harness.turn()
    harness.etcd.delete(f"{BASE}/audits/a")
    assert harness.turn()
    harness.etcd.put(f"{BASE}/audits/a", b"-1")
    assert harness.turn()
    assert harness.etcd.keys[f"{BASE}/audits/a"].value == b"7"


def test_an_answer_is_not_held_down_by_another_record_that_was_deleted() -> None:
    harness = make_harness(ExternalHosts())
    harness.become_leader()
    host, memory = f"{BASE}/subnets/192.168.0.99", f"{BASE}/external/192.168.0.99"
    asks = b'{"Host":"lb","HostIP":"192.168.0.99","Subnet":"","Assign":true}'
    harness.etcd.put(host, asks)
    assert harness.turn()
    harness.etcd.delete(host)
    harness.etcd.delete(memory)
    assert harness.turn()
    harness.etcd.put(host, asks)
    assert harness.turn()
    assert harness.subnets() == {"lb": FIRST}
    assert memory in harness.etcd.keys
