"""A client of a real ovsdb-server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.flows.ovsdb.pods_bridge import BRIDGE, PODS

from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.transaction import Transaction
from k8s_ovs_testing.ovs import OvsProcess


@pytest.fixture
def client(ovs_dummy: OvsProcess) -> Iterator[Ovsdb]:
    """A connected client; the switch has no bridge yet."""
    ovsdb = Ovsdb(ovs_dummy.remote)
    ovsdb.connect()
    yield ovsdb
    ovsdb.close()


@pytest.fixture
def br0(client: Ovsdb) -> Ovsdb:
    """A connected client; the switch has bridge br0 with ten pods' ports."""
    client.commit(Transaction("br0", BRIDGE, add_ports=PODS))
    client.await_applied()
    return client
