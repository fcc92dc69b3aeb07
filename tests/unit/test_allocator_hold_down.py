"""What was deleted, or cannot be seen yet: for how long does the seated one leave that alone?"""

from __future__ import annotations

from ipaddress import IPv4Network

from tests.unit.office import BASE, FIRST, SECOND, Answering, Office, make_office

from k8s_ovs_extlb import ExternalHosts


def test_what_a_person_deletes_stays_deleted_for_a_while(office: Office) -> None:
    assert office.turn()
    office.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    office.join(3)
    assert not office.turn(), "asks again, until the time is over"
    assert office.subnets() == {"node2": SECOND, "node3": IPv4Network("172.11.8.0/22")}


def test_what_a_person_puts_back_may_be_changed_at_once(office: Office) -> None:
    assert office.turn()
    key = f"{BASE}/subnets/192.168.0.11"
    written = office.etcd.keys[key].value
    office.etcd.delete(key)
    assert not office.turn()
    office.etcd.put(key, written.replace(b'"Subnet":"172.11.0.0/22"', b'"Subnet":""'))
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_after_that_while_the_node_gets_a_subnet_again() -> None:
    office = make_office(hold_down=0.0)
    office.take_seat()
    office.join(1)
    assert office.turn()
    office.etcd.delete(f"{BASE}/subnets/192.168.0.11")
    assert office.turn()
    assert office.subnets() == {"node1": FIRST}


def test_a_node_that_leaves_and_comes_again_is_not_held_down(office: Office) -> None:
    assert office.turn()
    del office.nodes["node1"]
    assert office.turn()
    assert office.subnets() == {"node2": SECOND}
    assert office.turn(), "its own deletion comes back in the picture"
    office.join(1)
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_what_went_while_another_one_had_the_seat_is_not_held_down(office: Office) -> None:
    assert office.turn()
    token, office.chair.token = office.chair.token, None
    assert office.turn()
    for kind in ("subnets", "given"):
        office.etcd.delete(f"{BASE}/{kind}/192.168.0.11")
    office.chair.token = token
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_one_who_is_new_in_the_seat_gives_but_does_not_take() -> None:
    first = make_office()
    first.take_seat()
    first.join(1, 2)
    assert first.turn()
    # The next one's picture of Kubernetes does not show node 2 yet.
    heir = make_office(etcd=first.etcd, grace=3600.0)
    heir.take_seat()
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
    office = make_office(Answering())
    office.take_seat()
    office.etcd.put(f"{BASE}/audits/a", b"7")
    assert office.turn()
    office.etcd.delete(f"{BASE}/audits/a")
    assert office.turn()
    office.etcd.put(f"{BASE}/audits/a", b"-1")
    assert office.turn()
    assert office.etcd.keys[f"{BASE}/audits/a"].value == b"7"


def test_an_answer_is_not_held_down_by_another_record_that_was_deleted() -> None:
    office = make_office(ExternalHosts())
    office.take_seat()
    host, memory = f"{BASE}/subnets/192.168.0.99", f"{BASE}/external/192.168.0.99"
    asks = b'{"Host":"lb","HostIP":"192.168.0.99","Subnet":"","Assign":true}'
    office.etcd.put(host, asks)
    assert office.turn()
    office.etcd.delete(host)
    office.etcd.delete(memory)
    assert office.turn()
    office.etcd.put(host, asks)
    assert office.turn()
    assert office.subnets() == {"lb": FIRST}
    assert memory in office.etcd.keys
