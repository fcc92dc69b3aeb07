"""Calls to a real etcd: what they answer, and what they say when they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from k8s_ovs.errors import InvalidRecord, K8sOvsError, TimedOut, Unavailable
from k8s_ovs.observe.etcd.client import (
    Absent,
    CreatedAt,
    Delete,
    Etcd,
    Get,
    NoneSince,
    Put,
    Unchanged,
    key_ranges,
)
from k8s_ovs_testing.servers.certificates import make_certificates
from k8s_ovs_testing.servers.etcd import EtcdProcess, free_port
from k8s_ovs_testing.servers.tcp_proxy import TcpProxy

MakeClient = Callable[..., Etcd]

NODE = {"username": "node", "password": "secret"}
STRANGER = {"username": "node", "password": "guess"}


def etcd_port(process: EtcdProcess) -> int:
    port = urlsplit(process.endpoint).port
    assert port is not None
    return port


# Calls


def test_a_key_is_written_read_and_removed(shared: EtcdProcess, client: MakeClient) -> None:
    etcd = client(shared.endpoint)
    assert etcd.get("/crud/a") is None
    revision = etcd.put("/crud/a", b"1")
    found = etcd.get("/crud/a")
    assert found is not None
    assert (found.key, found.value, found.mod_revision) == ("/crud/a", b"1", revision)
    assert etcd.delete("/crud/a")
    assert not etcd.delete("/crud/a")
    assert etcd.get("/crud/a") is None


def test_a_list_has_the_prefix_alone(shared: EtcdProcess, client: MakeClient) -> None:
    etcd = client(shared.endpoint)
    for key in ("/list/a", "/list/b/c", "/lisu", "/lis"):
        etcd.put(key, key.encode())
    found, revision = etcd.list("/list/")
    assert {key: pair.value for key, pair in found.items()} == {
        "/list/a": b"/list/a",
        "/list/b/c": b"/list/b/c",
    }
    assert revision >= max(pair.mod_revision for pair in found.values())


def test_of_two_writers_who_create_a_key_one_wins(shared: EtcdProcess, client: MakeClient) -> None:
    one, two = client(shared.endpoint), client(shared.endpoint)
    first = one.txn([Absent("/cas/new")], [Put("/cas/new", b"one")])
    second = two.txn([Absent("/cas/new")], [Put("/cas/new", b"two")], [Get("/cas/new")])
    assert (first.succeeded, second.succeeded) == (True, False)
    (found,) = second.found
    assert found is not None
    assert (found.value, found.create_revision) == (b"one", first.revision)


def test_a_write_from_an_old_snapshot_is_refused(shared: EtcdProcess, client: MakeClient) -> None:
    etcd = client(shared.endpoint)
    old = etcd.put("/cas/old", b"1")
    new = etcd.put("/cas/old", b"2")
    assert not etcd.txn([Unchanged("/cas/old", old)], [Put("/cas/old", b"x")]).succeeded
    assert etcd.txn([Unchanged("/cas/old", new)], [Put("/cas/old", b"3")]).succeeded
    # Written over, but the same key since its creation.
    assert etcd.txn([CreatedAt("/cas/old", old)], [Delete("/cas/old")]).succeeded
    etcd.put("/cas/old", b"again")
    assert not etcd.txn([CreatedAt("/cas/old", old)], [Delete("/cas/old")]).succeeded


def test_a_write_among_many_keys_is_seen_and_a_deletion_is_not(
    shared: EtcdProcess, client: MakeClient
) -> None:
    etcd = client(shared.endpoint)
    (keys,) = key_ranges("/since/")
    first = etcd.put("/since/a", b"1")
    assert etcd.txn([NoneSince(keys, first)], [Put("/since/b", b"1")]).succeeded
    assert not etcd.txn([NoneSince(keys, first)], [Put("/since/c", b"1")]).succeeded
    etcd.delete("/since/b")
    assert etcd.txn([NoneSince(keys, first)], [Delete("/since/a")]).succeeded
    assert etcd.txn([NoneSince(keys, 0)], [Get("/since/a")]).succeeded  # of no keys at all


def test_a_transaction_is_done_as_a_whole(shared: EtcdProcess, client: MakeClient) -> None:
    etcd = client(shared.endpoint)
    etcd.put("/whole/old", b"1")
    compares = [Absent("/whole/new"), Absent("/whole/old")]
    assert not etcd.txn(compares, [Put("/whole/new", b"1"), Delete("/whole/old")]).succeeded
    assert sorted(etcd.list("/whole/")[0]) == ["/whole/old"]
    assert etcd.txn(compares[:1], [Put("/whole/new", b"1"), Delete("/whole/old")]).succeeded
    assert sorted(etcd.list("/whole/")[0]) == ["/whole/new"]


def test_a_leased_key_goes_with_its_lease(shared: EtcdProcess, client: MakeClient) -> None:
    etcd = client(shared.endpoint)
    lease = etcd.lease(30)
    etcd.put("/lease/a", b"1", lease)
    assert etcd.keep_alive(lease) == 30
    etcd.revoke(lease)
    assert etcd.get("/lease/a") is None
    assert etcd.keep_alive(lease) == 0
    etcd.revoke(lease)
    with pytest.raises(
        K8sOvsError, match="refused transaction /lease/a: requested lease not found"
    ):
        etcd.put("/lease/a", b"1", lease)


def test_a_key_that_is_not_utf8_comes_back_as_it_was(
    shared: EtcdProcess, client: MakeClient
) -> None:
    etcd = client(shared.endpoint)
    key = b"/odd/\xff\xfe".decode("utf-8", "surrogateescape")
    etcd.put(key, b"1")
    assert list(etcd.list("/odd/")[0]) == [key]
    assert etcd.delete(key)


def test_ten_thousand_keys_are_listed_at_one_revision(own: EtcdProcess, client: MakeClient) -> None:
    etcd = client(own.endpoint)
    names = [f"/many/{number:05}" for number in range(10_000)]
    for start in range(0, len(names), 100):
        etcd.txn([], [Put(name, name.encode()) for name in names[start : start + 100]])
    found, revision = etcd.list("/many/")
    assert list(found) == names
    assert revision == found[names[-1]].mod_revision


# Where etcd is, and who asks


def test_dead_endpoints_are_passed_over(shared: EtcdProcess, client: MakeClient) -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    etcd = client(dead[0], shared.endpoint, dead[1])
    etcd.put("/failover/a", b"1")
    assert sorted(etcd.list("/failover/")[0]) == ["/failover/a"]


def test_a_silent_endpoint_does_not_eat_the_time_of_the_next(
    shared: EtcdProcess, client: MakeClient
) -> None:
    with TcpProxy("127.0.0.1", etcd_port(shared)) as proxy:
        proxy.stall()
        etcd = client(f"http://127.0.0.1:{proxy.port}", shared.endpoint, timeout=1.0)
        assert etcd.get("/failover/none") is None


def test_when_none_answers_the_error_says_where_and_why(
    shared: EtcdProcess, client: MakeClient
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=rf"did not answer get /x: {dead}: .*refused"):
        client(dead).get("/x")
    with TcpProxy("127.0.0.1", etcd_port(shared)) as proxy:
        proxy.stall()
        silent = f"http://127.0.0.1:{proxy.port}"
        with pytest.raises(TimedOut, match=rf"get /x in 0\.4 s: {silent}: no answer in time"):
            client(silent, timeout=0.4).get("/x")
        both = rf"get /x: {dead}: .*refused; {silent}: no answer"
        with pytest.raises(Unavailable, match=both):
            client(dead, silent, timeout=0.4).get("/x")


def test_tls_proves_both_sides(tmp_path: Path, client: MakeClient) -> None:
    ours = make_certificates(tmp_path / "ours")
    others = make_certificates(tmp_path / "others")
    shown = {"certfile": str(ours.client_certificate), "keyfile": str(ours.client_key)}
    with EtcdProcess(tmp_path / "etcd", certificates=ours) as process:
        etcd = client(process.endpoint, cafile=str(ours.ca), **shown)
        etcd.put("/a", b"1")
        assert etcd.get("/a") is not None
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            client(process.endpoint, cafile=str(others.ca), **shown).get("/a")
        with pytest.raises(Unavailable, match=process.endpoint):
            client(process.endpoint, cafile=str(ours.ca)).get("/a")


def test_a_certificate_that_cannot_be_read_is_named(client: MakeClient) -> None:
    with pytest.raises(InvalidRecord, match=r"--etcd-cafile: cannot read /none/ca.crt: No such"):
        client("https://127.0.0.1:2379", cafile="/none/ca.crt")


def test_user_and_password_open_what_the_role_allows(own: EtcdProcess, client: MakeClient) -> None:
    early = client(own.endpoint, **NODE)
    early.put("/net/early", b"1")  # authentication is still off
    own.enable_auth("root-secret", {"node": ("secret", "/net/")})

    early.put("/net/a", b"1")
    with pytest.raises(K8sOvsError, match="refused get /other for user 'node': permission denied"):
        early.get("/other")
    with pytest.raises(InvalidRecord, match="--etcd-username and --etcd-password"):
        client(own.endpoint, **STRANGER).get("/net/a")
    with pytest.raises(InvalidRecord, match="give --etcd-username"):
        client(own.endpoint).get("/net/a")

    own.restart()  # the tokens are gone with the process
    assert early.get("/net/a") is not None
