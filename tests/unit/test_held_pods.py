"""A pod that comes while a plugin cannot judge it waits: it would be open, or shut, by mistake."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from attrs import evolve
from tests.unit.test_malformed import Replies, network, request

from k8s_ovs.model.world import UNSYNCED, Slot
from k8s_ovs.node.attach import Attachments
from k8s_ovs.plugin import Flow, KubeResource, LinkSettings, Pod, PodRequest, View, hook

HOOKS = ["admit_pod", "network_flows", "tenant_flows", "pod_flows", "pod_link"]


class Reads:
    """Looks at rules of Kubernetes in one hook."""

    def __init__(self, where: str, *, minds: bool = False) -> None:
        self.where = where
        self.minds = minds
        self.asked = 0

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource("rules", "/apis/acme.example/v1/rules", lambda _, found: found)]

    def look(self, view: View, where: str) -> None:
        self.asked += 1
        if where == self.where and not (self.minds and not view.synced("rules")):
            view.get("rules", "default")

    @hook
    def admit_pod(self, view: View, request: PodRequest) -> None:
        self.look(view, "admit_pod")

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        self.look(view, "network_flows")
        return ()

    @hook
    def tenant_flows(self, view: View, tenant: int) -> Iterable[Flow]:
        self.look(view, "tenant_flows")
        return ()

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        self.look(view, "pod_flows")
        return ()

    @hook
    def pod_link(self, view: View, pod: Pod) -> LinkSettings | None:
        self.look(view, "pod_link")
        return None

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        self.look(view, "status")
        return {}


class Attaching:
    """A node on which one pod is to be attached, before the rules are listed."""

    def __init__(self, plugin: Reads) -> None:
        self.network, self.replies = network(plugin), Replies()
        self.network.reconciler.update({(UNSYNCED, "rules"): Slot(True)})

    def attached(self, wait: float) -> bool:
        self.attachments = Attachments(wait)
        asked = evolve(request("ADD"), arrived=time.monotonic())
        self.attachments.put(asked, self.replies.of("ADD"))
        return bool(self.attachments.plan_adds(self.network, {}))


@pytest.mark.parametrize("where", HOOKS)
def test_it_waits_and_is_told_for_what(where: str) -> None:
    node = Attaching(Reads(where))
    assert not node.attached(wait=0.0)
    assert (
        "waited 0 s for: the first list of rules of Kubernetes, which plugin acme-0 reads"
        in str(node.replies.answers["ADD"])
    )


@pytest.mark.parametrize("where", HOOKS)
def test_it_comes_once_that_is_listed(where: str) -> None:
    node = Attaching(Reads(where))
    assert not node.attached(wait=30.0)
    node.network.reconciler.update({(UNSYNCED, "rules"): None})
    (add,) = node.attachments.plan_adds(node.network, {})
    assert add.pod.name


@pytest.mark.parametrize("plugin", [Reads("status"), Reads("pod_flows", minds=True)])
def test_who_does_not_look_or_knows_lets_it_pass(plugin: Reads) -> None:
    assert Attaching(plugin).attached(wait=30.0)


def test_who_waits_is_asked_about_again_only_where_something_has_changed() -> None:
    plugin = Reads("pod_flows")
    node = Attaching(plugin)
    assert not node.attached(wait=30.0)
    asked = plugin.asked
    assert not node.attachments.plan_adds(node.network, {})
    assert plugin.asked == asked
    node.network.reconciler.update({(UNSYNCED, "more"): Slot(True)})
    assert not node.attachments.plan_adds(node.network, {})
    assert plugin.asked > asked
