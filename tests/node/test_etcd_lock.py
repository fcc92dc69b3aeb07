"""As shipped etcd asks for no user: that no pod writes there is the nodes' own doing."""

from __future__ import annotations

import json
import subprocess

from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that

KEY = f"{ETCD_PREFIX}/k8ssdn/netnamespaces/red"
WITHIN = 20.0


def etcdctl(world: LabNet, place: str, *words: str) -> bool:
    """Whether etcd answers somebody who asks from a place."""
    enter = ["nsenter", f"--net={world.netns(place)}", "env", "ETCDCTL_API=3"]
    command = ["etcdctl", "--endpoints", world.lab.layout.etcd_url, "--dial-timeout=1s"]
    done = subprocess.run(
        [*enter, *command, "--command-timeout=1s", *words],
        check=False,
        capture_output=True,
        timeout=30,
    )
    return done.returncode == 0


def test_no_pod_on_any_node_writes_etcd(tenant_world: LabNet) -> None:
    before = tenant_world.records()
    for pod in ("red/one", "red/two", "kube-system/dns"):
        assert not etcdctl(tenant_world, pod, "put", KEY, '{"Action":"global"}')
        assert not etcdctl(tenant_world, pod, "get", KEY)
    assert etcdctl(tenant_world, "node1", "get", KEY)
    # Daemons may still be about to say which subnets these pods are in.
    added = tenant_world.records().keys() - before.keys()
    assert all("/used/" in key for key in added)
    assert tenant_world.records()["k8ssdn/netnamespaces/red"] == before["k8ssdn/netnamespaces/red"]


def test_the_lock_is_repaired_and_doctor_says_what_it_does_not_lock(tenant_world: LabNet) -> None:
    node = tenant_world.lab
    node.exec("node1", ["nft", "flush", "chain", "inet", "k8s-ovs", "through"])
    node.exec("node1", ["nft", "flush", "chain", "inet", "k8s-ovs", "from_pods"])
    await_that("the lock", lambda: not etcdctl(tenant_world, "red/one", "get", KEY), WITHIN)

    def wrong() -> dict[str, str]:
        said = node.exec("node1", ["k8s-ovs", "doctor", "-o", "json"], check=False).stdout
        return {each["name"]: each["found"] for each in json.loads(said) if not each["ok"]}

    await_that("the table", lambda: "nftables" not in wrong(), WITHIN)
    assert "is not encrypted (http)" in wrong()["etcd access"]
