"""What the embedded API server is given at its start is there as it was."""

from __future__ import annotations

import ipaddress

import pytest

from k8s_ovs_testing.apiserver.resource import NAMESPACES, RESOURCES
from k8s_ovs_testing.apiserver.selection import Selection
from k8s_ovs_testing.apiserver.store import Store
from k8s_ovs_testing.apiserver.write import Writer

PODS = next(each for each in RESOURCES if each.plural == "pods")


def test_objects_that_are_loaded_stay_as_they_are() -> None:
    writer = Writer(Store(10), ipaddress.IPv4Network("10.96.0.0/29"))
    system = {"metadata": {"name": "kube-system", "uid": "u1"}, "kind": "Namespace"}
    running = {"metadata": {"name": "a", "namespace": "kube-system"}, "kind": "Pod"}
    for each in (system, {**running, "status": {"phase": "Running"}}):
        writer.load({"apiVersion": "v1", **each})
    writer.begin()

    found = writer.store.page(Selection(NAMESPACES)).items
    assert [item["metadata"].get("uid") == "u1" for item in found] == [False, False, False, True]
    assert writer.store.page(Selection(PODS)).items[0]["status"] == {"phase": "Running"}
    with pytest.raises(ValueError, match="v1 Thing: expected a kind"):
        writer.load({"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}})
