"""What the network may do in the cluster: what deploy/k8s-ovs.yaml says, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types
from tests.cluster.cluster import MANIFEST, SYSTEM, Cluster

# ANYBODY: who has what every service account has.
ANYBODY = "nobody-in-particular"


@pytest.mark.parametrize("namespace", ["default", SYSTEM])
def test_the_service_account_may_do_what_the_manifest_says_and_nothing_else(
    cluster: Cluster, namespace: str, report: Callable[[str], None]
) -> None:
    listed = may(cluster, "k8s-ovs", namespace)
    report(f"rights of the service account k8s-ovs in the namespace {namespace}:")
    for right in sorted(listed - may(cluster, ANYBODY, namespace)):
        report(f"  {right}")
    assert listed - may(cluster, ANYBODY, namespace) == granted(namespace)
    assert granted(namespace)


def may(cluster: Cluster, account: str, namespace: str) -> set[str]:
    """What `kubectl auth can-i --list` says of a service account, one line for each resource."""
    user = f"--as=system:serviceaccount:{SYSTEM}:{account}"
    said = cluster.kubectl("auth", "can-i", "--list", user, "-n", namespace)
    return {" ".join(line.split()) for line in said.splitlines()}


def granted(namespace: str) -> set[str]:
    """The manifest's roles in the same form."""
    return {
        f"{resource} [] [] [{' '.join(rule['verbs'])}]"
        for each in yaml.safe_load_all(MANIFEST.read_text())
        if each["kind"] in ("ClusterRole", "Role")
        and each["metadata"].get("namespace", namespace) == namespace
        for rule in each["rules"]
        for resource in rule["resources"]
    }
