"""Rates of pods that run: given when they change, told and tried again where the kernel cannot."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from k8s_ovs.link.netlink import LinkError
from k8s_ovs.model.pod import Pod, Rates
from k8s_ovs.node import rate_limits as module
from k8s_ovs.node.rate_limits import RateLimits
from k8s_ovs.plugin.values import LinkSettings
from k8s_ovs_testing.world import sample_pod

SLOW, FAST = Rates(1_000_000, 1_000_000), Rates(2_000_000, None)


class Node:
    """A node with one pod, whose kernel refuses while `broken`, and what it is told.

    held: rates that the kernel was asked for, in order. pod: as its port remembers it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, netns: Path, rates: Rates = SLOW) -> None:
        self.pod: Pod = evolve(sample_pod(1), netns=str(netns), rates=rates)
        self.broken = False
        self.held: list[Rates] = []
        self.now = 1000.0
        self.rate_limits = RateLimits("node1", self._note)
        self._changed: dict[str, LinkSettings] = {}
        links = SimpleNamespace(take_changed=self._take)
        self._network: Any = SimpleNamespace(reconciler=SimpleNamespace(links=links))
        monkeypatch.setattr(module, "set_rates", self._set)
        monkeypatch.setattr(module, "pod_link", lambda *_: None)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def begin(self, rates: Rates, *, must_hold: bool = True) -> None:
        self.rate_limits.begin(
            self._network, self.pod, LinkSettings(rates=rates, must_hold=must_hold)
        )

    def want(self, rates: Rates) -> None:
        """A reconcile in which the plugins have changed their mind."""
        self._changed = {self.pod.port: LinkSettings(rates=rates)}
        self.reconcile()

    def reconcile(self) -> None:
        self.rate_limits.follow(self._network, {self.pod.port: self.pod})

    def leave(self) -> None:
        """A reconcile in which the pod is gone."""
        self.rate_limits.follow(self._network, {})

    def _take(self) -> Mapping[str, LinkSettings]:
        taken, self._changed = self._changed, {}
        return taken

    def _set(self, _link: object, rates: Rates) -> bool:
        self.held.append(rates)
        if self.broken:
            raise LinkError("cannot set the rate limit of eth0: no")
        return True

    def _note(self, rates: Mapping[str, Rates]) -> None:
        self.pod = evolve(self.pod, rates=rates[self.pod.port])


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Node:
    return Node(monkeypatch, tmp_path)


TOLD = ["pod default/pod1: rate limit not applied: cannot set the rate limit of eth0: no"]


def test_after_a_start_the_kernel_is_looked_at_once_and_nothing_is_noted(node: Node) -> None:
    before = node.pod
    node.want(SLOW)
    node.reconcile()
    node.want(SLOW)
    assert node.held == [SLOW]
    assert node.pod is before


def test_a_change_is_made_and_remembered(node: Node) -> None:
    node.want(SLOW)
    node.want(FAST)
    assert node.held == [SLOW, FAST]
    assert node.pod.rates == FAST
    node.want(Rates())
    assert (node.held[-1], node.pod.rates) == (Rates(), Rates())


def test_what_fails_is_told_tried_again_after_a_while_and_forgotten_when_it_works(
    node: Node,
) -> None:
    node.broken = True
    node.want(FAST)
    assert (node.rate_limits.problems, node.pod.rates) == (TOLD, SLOW)
    retry_at = node.rate_limits.retry_at
    assert retry_at is not None
    node.reconcile()
    assert node.held == [FAST]
    node.now = retry_at
    node.reconcile()
    assert node.held == [FAST, FAST]
    node.broken, node.now = False, node.rate_limits.retry_at
    node.reconcile()
    assert (node.rate_limits.problems, node.rate_limits.retry_at) == ([], None)
    assert node.pod.rates == FAST


def test_what_failed_is_not_waited_for_when_something_else_is_wanted(node: Node) -> None:
    node.broken = True
    node.want(FAST)
    node.broken = False
    node.want(SLOW)
    assert node.held == [FAST, SLOW]
    assert (node.rate_limits.problems, node.pod.rates) == ([], SLOW)


def test_a_new_pod_without_limits_costs_no_look_at_the_kernel(node: Node) -> None:
    node.begin(Rates())
    node.want(Rates())
    assert node.held == []


def test_a_new_pod_whose_limits_are_required_fails_with_them(node: Node) -> None:
    node.broken = True
    with pytest.raises(LinkError, match="cannot set the rate limit of eth0: no"):
        node.begin(SLOW)
    assert node.rate_limits.problems == []


def test_one_that_may_run_without_does_and_that_is_told(node: Node) -> None:
    node.broken = True
    node.begin(SLOW, must_hold=False)
    assert node.rate_limits.problems == TOLD
    node.reconcile()
    assert node.rate_limits.problems == TOLD


def test_a_pod_whose_namespace_is_gone_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = Node(monkeypatch, tmp_path / "gone")
    node.want(FAST)
    assert (node.held, node.rate_limits.problems, node.pod.rates) == ([], [], SLOW)


def test_one_that_goes_while_it_is_to_be_tried_again_does_not_keep_the_node_busy(
    node: Node, tmp_path: Path
) -> None:
    node.broken = True
    node.want(FAST)
    tmp_path.rmdir()
    assert node.rate_limits.retry_at is not None
    node.now = node.rate_limits.retry_at
    node.reconcile()
    assert node.rate_limits.retry_at > node.now


def test_of_a_pod_that_is_gone_no_problem_is_left(node: Node) -> None:
    node.broken = True
    node.want(FAST)
    node.leave()
    assert (node.rate_limits.problems, node.rate_limits.retry_at) == ([], None)
