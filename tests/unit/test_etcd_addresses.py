"""Where etcd is, by its endpoints: literal addresses at once, names as they are resolved."""

from __future__ import annotations

import socket
import threading
from ipaddress import IPv4Address
from typing import Any

import pytest

from k8s_ovs.node.host.etcd_addresses import EtcdAddresses


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What is resolved, by name; a name that is not here has no answer."""
    known: dict[str, list[str]] = {}

    def ask(host: str, port: int, *_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    return known


def found(addresses: EtcdAddresses) -> list[str]:
    return [f"{address}:{port}" for address, port in sorted(addresses.now())]


def test_addresses_need_no_question(names: dict[str, list[str]]) -> None:
    addresses = EtcdAddresses(("https://10.0.0.2:2379", "http://10.0.0.1:4001", "http://[::1]:1"))
    assert found(addresses) == ["10.0.0.1:4001", "10.0.0.2:2379"]
    assert addresses.now() >= {(IPv4Address("10.0.0.1"), 4001)}


def test_a_name_has_all_its_addresses_and_keeps_them_while_it_has_no_answer(
    names: dict[str, list[str]],
) -> None:
    names["etcd.example"] = ["10.0.0.1", "10.0.0.2"]
    addresses = EtcdAddresses(
        ("https://etcd.example:2379", "https://late.example:2379"), every=0.01
    )
    addresses.start()
    try:
        assert found(addresses) == ["10.0.0.1:2379", "10.0.0.2:2379"]
        names["late.example"] = ["10.0.0.9"]
        del names["etcd.example"]
        await_found(addresses, ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.9:2379"])
        names["etcd.example"] = ["10.0.0.3"]
        await_found(addresses, ["10.0.0.3:2379", "10.0.0.9:2379"])
    finally:
        addresses.stop()


def await_found(addresses: EtcdAddresses, expected: list[str]) -> None:
    waiting = threading.Event()
    for _ in range(1000):
        if found(addresses) == expected:
            return
        waiting.wait(0.01)
    assert found(addresses) == expected
