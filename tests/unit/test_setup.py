"""A configuration that cannot be applied: the status says what becomes of it, as the log does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_etcd import CONFIG, PREFIX

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.records.ingest import ETCD, Ingest
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.node.setup import Setup
from k8s_ovs.node.switch import Switch
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.observe.watch_event import Entry, Snapshot, SourceState

WRONG = {**CONFIG, "PluginName": "acme"}


def told(setup: Setup, ingest: Ingest, config: dict[str, Any], revision: int) -> list[str]:
    """The problems once etcd has this configuration; no subnet is there for this node."""
    entry = Entry(json.dumps(config).encode(), revision)
    ingest.absorb(Snapshot(ETCD, {"config": entry}, revision))
    with pytest.raises(K8sOvsError):
        setup.network()
    return setup.problems


def test_a_rejected_configuration_waits_or_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Switch, "pods", lambda _: {})
    ingest = Ingest()
    ingest.absorb(SourceState(ETCD, connected=True))
    settings = NodeSettings(
        etcd=EtcdSettings(("http://127.0.0.1:1",)),
        prefix=PREFIX,
        hostname="node1",
        kube=None,
        cni_socket=tmp_path / "s",
        ovs_run_dir=tmp_path,
    )
    keeper: Any = None  # asked only once the node has a subnet
    setup = Setup(settings, Switch(tmp_path), ingest, keeper, lambda _: None)
    (first,) = told(setup, ingest, WRONG, 1)
    assert first.startswith('configuration rejected, waiting: PluginName: no plugin "acme"')
    assert told(setup, ingest, CONFIG, 2) == []
    (then,) = told(setup, ingest, WRONG, 3)
    assert then.startswith(
        'configuration rejected, keeping the previous one: PluginName: no plugin "acme"'
    )
