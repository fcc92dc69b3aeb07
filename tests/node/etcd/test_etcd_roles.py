"""What `k8s-ovs etcd-roles` prints, done to a real etcd: daemons can do their work, and no more."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.node.etcd.allocator_process import CLUSTER, follow, tell_as_kubernetes

from k8s_ovs.allocate.allocator import Allocator
from k8s_ovs.allocate.succession import Succession
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.records.ingest import ETCD
from k8s_ovs.node.tell.status_publisher import StatusPublisher
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import WatchEvent
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.node_state import sample_state
from k8s_ovs_testing.servers.certificates import make_certificates
from k8s_ovs_testing.servers.etcd import EtcdProcess

PREFIX = "/k8s.ovs.com/ovs/network"
BASE = f"{PREFIX}/k8ssdn"
CONFIG = {"Name": "k8ssdn", "Network": "172.11.0.0/16", "HostSubnetLength": 10}
CONFIG |= {"ServiceNetwork": "10.96.0.0/12", "PluginName": "k8s-ovs-multitenant"}
PASSWORDS = {
    f"K8S_OVS_{name}_PASSWORD": name.lower()
    for name in ("ADMIN", "NODE", "NODE_NODE1", "NODE_NODE2", "EXTERNAL_LB1")
}
WITHIN = 20.0

MakeClient = Callable[..., Etcd]


def k8s_ovs(process: EtcdProcess, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "K8S_OVS_ETCD_ENDPOINTS": process.endpoint, **more}
    return subprocess.run(
        [sys.executable, "-m", "k8s_ovs.cli.main", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def protect(process: EtcdProcess, *words: str) -> None:
    """Do as the documents say: the configuration, the roles, then authentication."""
    process.ctl("put", f"{PREFIX}/config", json.dumps(CONFIG))
    printed = k8s_ovs(process, "etcd-roles", "--passwords", *words)
    assert printed.returncode == 0, printed.stderr
    environment = {"PATH": os.environ["PATH"], "ETCDCTL_API": "3"} | PASSWORDS
    subprocess.run(
        ["sh", "-e"], input=printed.stdout, env=environment, text=True, timeout=60, check=True
    )
    process.enable_auth("root", {})


@pytest.fixture
def protected(own: EtcdProcess) -> EtcdProcess:
    protect(own, "--external", "lb1=192.168.0.199")
    return own


def user(name: str) -> dict[str, str]:
    return {"username": name, "password": name.removeprefix("k8s-ovs-").replace("-", "_")}


def refused(etcd: Etcd, key: str) -> bool:
    try:
        etcd.put(key, b"{}")
    except K8sOvsError as error:
        return "permission denied" in str(error)
    return False


@pytest.fixture
def leading(protected: EtcdProcess, client: MakeClient) -> Iterator[Etcd]:
    """A daemon of a Kubernetes node, which becomes the leader; its connection."""
    etcd = client(protected.endpoint, **user("k8s-ovs-node"))
    root = client(protected.endpoint, **user("root"))
    events: queue.SimpleQueue[WatchEvent | None] = queue.SimpleQueue()
    succession = Succession(etcd, BASE, "node1", 2, lambda: events.put(None), watched=False)
    allocator = Allocator(etcd, BASE, succession)
    publisher = StatusPublisher(etcd, BASE, "node1", external=False)
    watches = [
        PrefixWatch(etcd, f"{PREFIX}/", ETCD, events.put),
        PrefixWatch(root, f"{PREFIX}-kube/", CLUSTER, tell_as_kubernetes(events.put)),
    ]
    parts = (succession, allocator, publisher, *watches)
    for part in parts:
        part.start()
    publisher.offer(sample_state())
    threading.Thread(target=follow, args=(events, allocator), daemon=True).start()
    yield etcd
    for part in reversed(parts):
        part.stop()
    assert root.get(f"{BASE}/status/node1") is None, "its lease could be revoked"


def test_a_node_leads_allocates_watches_and_says_how_it_is(
    protected: EtcdProcess, leading: Etcd, client: MakeClient
) -> None:
    root = client(protected.endpoint, **user("root"))
    node = {"metadata": {"name": "node1"}, "status": {"addresses": []}}
    node["status"]["addresses"] = [{"type": "InternalIP", "address": "192.168.0.11"}]  # type: ignore[index]  # JSON
    root.put(f"{PREFIX}-kube/nodes/node1", json.dumps(node).encode())
    red = {"metadata": {"name": "red", "uid": "u"}}
    root.put(f"{PREFIX}-kube/namespaces/red", json.dumps(red).encode())

    def found() -> set[str]:
        return {key.removeprefix(f"{BASE}/") for key in root.list(f"{BASE}/")[0]}

    wanted = {"allocator", "subnets/192.168.0.11", "given/192.168.0.11", "status/node1"}
    wanted |= {"netnamespaces/red", "vnids/red"}
    await_that("all records", lambda: found() >= wanted, WITHIN)
    root.delete(f"{PREFIX}-kube/namespaces/red")
    for key in (f"{PREFIX}/config", f"{BASE}/seen/192.168.0.11", f"{BASE}/other", "/registry/x"):
        assert refused(leading, key)
    with pytest.raises(K8sOvsError, match="permission denied"):
        leading.get("/registry/secrets/kube-system/admin")


def test_the_init_container_may_see_that_there_is_a_configuration(protected: EtcdProcess) -> None:
    node = {"K8S_OVS_ETCD_USERNAME": "k8s-ovs-node", "K8S_OVS_ETCD_PASSWORD": "node"}
    config = json.dumps(CONFIG | {"HostSubnetLength": 9})
    kept = k8s_ovs(protected, "config", "set", "--if-absent", config, **node)
    assert (kept.returncode, kept.stderr) == (0, "")
    assert "permission denied" in k8s_ovs(protected, "config", "set", config, **node).stderr
    admin = {"K8S_OVS_ETCD_USERNAME": "k8s-ovs-admin", "K8S_OVS_ETCD_PASSWORD": "admin"}
    assert k8s_ovs(protected, "config", "set", config, **admin).returncode == 0


def test_an_external_host_says_how_it_is_and_writes_nothing_else(
    protected: EtcdProcess, client: MakeClient
) -> None:
    etcd = client(protected.endpoint, **user("k8s-ovs-external-lb1"))
    etcd.put(f"{BASE}/status/lb1", b"{}", etcd.lease(30))
    etcd.put(f"{BASE}/seen/192.168.0.199", b"{}")
    assert etcd.list(f"{PREFIX}/")[0]
    names = ("allocator", "netnamespaces/red", "subnets/192.168.0.199", "status/node1", "status/lb")
    for name in names:
        assert refused(etcd, f"{BASE}/{name}")


def test_a_node_with_a_user_of_its_own_writes_no_other_nodes_status(
    own: EtcdProcess, client: MakeClient
) -> None:
    protect(own, "--node", "node1", "--node", "node2")
    etcd = client(own.endpoint, **user("k8s-ovs-node-node1"))
    etcd.put(f"{BASE}/status/node1", b"{}")
    etcd.put(f"{BASE}/subnets/192.168.0.11", b"{}")
    assert refused(etcd, f"{BASE}/status/node2")
    assert refused(etcd, f"{BASE}/status/node11")


def test_with_certificates_the_common_name_is_the_user(client: MakeClient, tmp_path: Path) -> None:
    pki = make_certificates(tmp_path / "pki", client="k8s-ovs-node")
    with EtcdProcess(tmp_path / "etcd", certificates=pki) as process:
        process.ctl("put", f"{PREFIX}/config", json.dumps(CONFIG))
        files = {"CAFILE": pki.ca, "CERTFILE": pki.client_certificate, "KEYFILE": pki.client_key}
        given = {f"K8S_OVS_ETCD_{name}": str(path) for name, path in files.items()}
        lines = k8s_ovs(process, "etcd-roles", **given).stdout.splitlines()
        assert lines[0] == (
            f"export ETCDCTL_ENDPOINTS={process.endpoint} ETCDCTL_CACERT={pki.ca} "
            f"ETCDCTL_CERT={pki.client_certificate} ETCDCTL_KEY={pki.client_key}"
        )
        # They say themselves where etcd is, and with which certificates to ask it.
        environment = {"PATH": os.environ["PATH"], "ETCDCTL_API": "3"}
        subprocess.run(
            ["sh", "-e"], input="\n".join(lines), env=environment, text=True, timeout=60, check=True
        )
        process.enable_auth("root", {})
        etcd = client(process.endpoint, **{name.lower(): str(path) for name, path in files.items()})
        etcd.put(f"{BASE}/status/node1", b"{}")
        assert refused(etcd, f"{PREFIX}/config")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--node", "n 1"), "--node: found 'n 1', expected the name of a node"),
        (("--external", "lb1"), "--external: found 'lb1', expected NAME=ADDRESS"),
        (("--node", "a", "--node", "a"), "--node: found the same name twice"),
    ],
)
def test_names_that_cannot_be_are_refused(
    own: EtcdProcess, words: tuple[str, ...], told: str
) -> None:
    refused = k8s_ovs(own, "etcd-roles", *words)
    assert (refused.returncode, refused.stderr.startswith(f"error: {told}")) == (1, True)


def test_without_a_configuration_it_says_what_to_do(own: EtcdProcess) -> None:
    told = k8s_ovs(own, "etcd-roles").stderr
    assert told.startswith("error: there is no configuration at ")
    assert "k8s-ovs config set" in told
