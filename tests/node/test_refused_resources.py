"""A plugin reads what the API server does not know: that is its trouble alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.node.installed import with_source

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that

MODULE = """
from k8s_ovs.plugin import KubeResource, Problem, hook


class Rooms:
    @hook
    def resources(self):
        rooms, rents = "/apis/acme.example/v1/rooms", "/apis/acme.example/v1/rents"
        return [
            KubeResource("rooms", rooms, lambda key, found: found, for_allocation=True),
            KubeResource("rents", rents, lambda key, found: found, optional=True),
        ]

    @hook
    def allocations(self, view):
        return [Problem("rooms", f"are {len(view.all('rooms'))}")]

    @hook
    def status(self, view):
        return {"rents": len(view.all("rents")), "listed": view.synced("rents")}
"""


@pytest.fixture(scope="module")
def crowded(
    lab_of: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabNet]:
    directory = tmp_path_factory.mktemp("acme")
    with with_source(directory, "acme-rooms", "acme_rooms:Rooms", MODULE):
        yield LabNet(lab_of("ref", plugin="k8s-ovs-multitenant,acme-rooms", nodes=1))


def test_nodes_and_namespaces_are_given_what_they_need(crowded: LabNet) -> None:
    assert crowded.lab.run_pod("node1", "one", "red").ip is not None


def test_it_is_told_what_is_missing_to_which_plugin(crowded: LabNet) -> None:
    refused = "plugin acme-rooms cannot read rooms of Kubernetes: API server "
    nothing = "plugin acme-rooms: it allocates nothing without rooms of Kubernetes"

    def told() -> bool:
        problems = crowded.status("node1")["problems"]
        return nothing in problems and any(
            each.startswith(refused) and "/apis/acme.example/v1/rooms: 404" in each
            for each in problems
        )

    await_that("it is told", told, 30)


def test_what_is_optional_counts_as_empty(crowded: LabNet) -> None:
    status = crowded.status("node1")
    assert status["sources"]["kube:rents"] is True
    assert status["of_plugins"]["acme-rooms"] == {"rents": 0, "listed": True}
