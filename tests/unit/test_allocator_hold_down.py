"""What was deleted, or cannot be seen yet: for how long does the leader leave that alone?"""

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
    assert harness.reconcile()
    harness.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    harness.join(3)
    assert not harness.reconcile(), "asks again, until the time is over"
    assert harness.subnets() == {"node2": SECOND, "node3": IPv4Network("172.11.8.0/22")}


def test_what_a_person_puts_back_may_be_changed_at_once(harness: AllocatorHarness) -> None:
    assert harness.reconcile()
    key = f"{BASE}/subnets/192.168.0.11"
    written = harness.etcd.keys[key].value
    harness.etcd.delete(key)
    assert not harness.reconcile()
    harness.etcd.put(key, written.replace(b'"Subnet":"172.11.0.0/22"', b'"Subnet":""'))
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_after_that_while_the_node_gets_a_subnet_again() -> None:
    harness = make_harness(hold_down=0.0)
    harness.become_leader()
    harness.join(1)
    assert harness.reconcile()
    harness.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST}


def test_a_node_that_leaves_and_comes_again_is_not_held_down(harness: AllocatorHarness) -> None:
    assert harness.reconcile()
    del harness.nodes["node1"]
    assert harness.reconcile()
    assert harness.subnets() == {"node2": SECOND}
    assert harness.reconcile(), "its own deletion comes back in the snapshot"
    harness.join(1)
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_what_went_while_another_one_was_the_leader_is_not_held_down(
    harness: AllocatorHarness,
) -> None:
    assert harness.reconcile()
    token, harness.election.token = harness.election.token, None
    assert harness.reconcile()
    for kind in ("subnets", "given"):
        harness.etcd.delete(f"{BASE}/{kind}/192.168.0.11")
    harness.election.token = token
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_a_new_leader_gives_but_does_not_take() -> None:
    first = make_harness()
    first.become_leader()
    first.join(1, 2)
    assert first.reconcile()
    # The next one's snapshot of Kubernetes does not show node 2 yet.
    heir = make_harness(etcd=first.etcd, grace=3600.0)
    heir.become_leader()
    heir.join(1, 3)
    assert not heir.reconcile()
    assert heir.subnets() == {
        "node1": FIRST,
        "node2": SECOND,
        "node3": IPv4Network("172.11.8.0/22"),
    }
    heir.join(2)
    assert heir.reconcile()


def test_what_is_asked_for_after_it_was_deleted_is_not_held_down() -> None:
    harness = make_harness(Answering())
    harness.become_leader()
    harness.etcd.put(f"{BASE}/audits/a", b"7")
    assert harness.reconcile()
    harness.etcd.delete(f"{BASE}/audits/a")
    assert harness.reconcile()
    harness.etcd.put(f"{BASE}/audits/a", b"-1")
    assert harness.reconcile()
    assert harness.etcd.keys[f"{BASE}/audits/a"].value == b"7"


def test_an_answer_is_not_held_down_by_another_record_that_was_deleted() -> None:
    harness = make_harness(ExternalHosts())
    harness.become_leader()
    host, memory = f"{BASE}/subnets/192.168.0.99", f"{BASE}/external/192.168.0.99"
    asks = b'{"Host":"lb","HostIP":"192.168.0.99","Subnet":"","Assign":true}'
    harness.etcd.put(host, asks)
    assert harness.reconcile()
    harness.etcd.delete(host)
    harness.etcd.delete(memory)
    assert harness.reconcile()
    harness.etcd.put(host, asks)
    assert harness.reconcile()
    assert harness.subnets() == {"lb": FIRST}
    assert memory in harness.etcd.keys
