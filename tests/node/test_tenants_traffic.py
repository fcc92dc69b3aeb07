"""What goes on while tenants change: nothing is lost within one, and nothing crosses a border."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from k8s_ovs_lab.lab_net import SERVER_PORT, LabNet
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.tenants import Tenants
from k8s_ovs_testing.traffic.flood import Flood
from k8s_ovs_testing.traffic.reach import carries, connected
from k8s_ovs_testing.traffic.traffic import PingStream

pytestmark = pytest.mark.datapath

MILLISECOND = 0.001
WITHIN = 20.0


@pytest.mark.parametrize(("client", "server"), [("red/one", "red/two"), ("red/two", "red/one")])
def test_no_packet_of_a_tenant_is_lost_while_it_and_others_change(
    tenant_world: LabNet,
    tenants: Tenants,
    report: Callable[[str], None],
    client: str,
    server: str,
) -> None:
    assert tenant_world.pings(client, tenant_world.address(server))
    stream = PingStream(tenant_world.netns(client), tenant_world.address(server), MILLISECOND)
    for namespace, action, other in (
        ("red", "join", "green"),
        ("green", "isolate", ""),
        ("red", "global", ""),
        ("blue", "join", "red"),
        ("red", "isolate", ""),
        ("green", "join", "red"),
        ("green", "global", ""),
    ):
        tenants.ask(namespace, action, other)
    assert stream.stop() == 0
    assert stream.sent > 0
    report(f"echoes of {client} to {server} through seven changes: {stream.sent} sent, none lost")


@pytest.mark.parametrize(("client", "server"), [("green/one", "red/two"), ("green/two", "red/two")])
def test_a_flood_from_another_tenant_arrives_only_while_it_is_allowed(
    tenant_world: LabNet, tenants: Tenants, client: str, server: str
) -> None:
    allowed: list[tuple[float, float]] = []
    with Flood(tenant_world.netns(client), tenant_world.server(server), MILLISECOND) as flood:
        for namespace, action, other in (("red", "join", "green"), ("green", "global", "")):
            # It changes nothing of what these two may.
            tenants.ask("blue", "join", "kube-system")
            begin = time.monotonic()
            tenants.ask(namespace, action, other)
            await_arrival(flood, begin)
            tenants.ask(namespace, "isolate")
            allowed.append((begin, time.monotonic()))
            tenants.ask("blue", "isolate")
        arrived = flood.stop()
    assert [each for each in arrived if not any(a <= each <= b for a, b in allowed)] == []


@pytest.mark.parametrize(("client", "server"), [("red/one", "green/one"), ("red/one", "green/two")])
def test_a_connection_across_a_new_border_is_cut_and_one_within_goes_on(
    tenant_world: LabNet, tenants: Tenants, client: str, server: str
) -> None:
    tenants.ask("red", "join", "green")
    within = "red/two"
    with (
        connection(tenant_world, client, server) as (asks, answers),
        connection(tenant_world, client, within) as (asks_within, answers_within),
    ):
        for pair in ((asks, answers), (asks_within, answers_within)):
            assert carries(*pair)
            assert carries(*reversed(pair))
        tenants.ask("green", "isolate")
        assert not carries(asks, answers)
        assert not carries(answers, asks)
        assert carries(asks_within, answers_within)
        assert carries(answers_within, asks_within)


def test_a_connection_through_a_service_is_cut_too(tenant_world: LabNet, tenants: Tenants) -> None:
    tenants.ask("red", "join", "green")
    (service,) = (each for each in tenant_world.lab.services() if each.namespace == "green")
    servers = [tenant_world.server(pod) for pod in ("green/one", "green/two")]
    target = (str(service.address), service.port)
    with connected(tenant_world.netns("red/one"), target, servers) as (asks, answers):
        assert carries(asks, answers)
        assert carries(answers, asks)
        tenants.ask("red", "isolate")
        assert not carries(asks, answers)
        assert not carries(answers, asks)


def await_arrival(flood: Flood, since: float) -> None:
    """Wait until something has arrived that was sent since then (time.monotonic())."""

    def arrived() -> bool:
        return flood.arrived()[-1:] > [since]

    await_that("the flood to arrive", arrived, WITHIN)


def connection(
    world: LabNet, client: str, server: str
) -> AbstractContextManager[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection between two pods."""
    target = (world.address(server), SERVER_PORT)
    return connected(world.netns(client), target, [world.server(server)])
