"""A daemon that runs while its package is being replaced goes on with what it has loaded."""

from __future__ import annotations

import importlib.metadata

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_world


def test_flows_do_not_need_the_package_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    reconciler = Reconciler(PluginManager({"k8s-ovs-subnet": SingleTenant()}), sample_world())
    assert reconciler.compute() == []
    assert len(reconciler.desired) > 0
