"""Runs the plugins that are named, in a process of its own, and tells what comes of it as JSON.

    python probe.py DIRECTORY PLUGINS

DIRECTORY: for an Open vSwitch of dummies. PLUGINS: as in the configuration's PluginName.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import World
from k8s_ovs.node.records.ingest import ETCD, Ingest
from k8s_ovs.observe.watch_event import Entry, Snapshot
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import sample_config, sample_pod, sample_world

SPEAKING, SILENT = sample_pod(1), sample_pod(2, namespace="silent")
RECORDS = {
    "k8ssdn/audits/silent": Entry(b'{"Silent":true,"Since":2024}', 5),
    "k8ssdn/audits/broken": Entry(b'{"Silent":"yes"}', 6),
}


def world(manager: PluginManager) -> World:
    """Two pods, one of them in a namespace of which there is an order, and one malformed order."""
    ingest = Ingest()
    ingest.absorb(Snapshot(ETCD, RECORDS, 6))
    changes = ingest.changes(sample_config(), manager.kinds, manager.resources)
    return sample_world(pods=[SPEAKING, SILENT]).changed(changes, 6)


def told(directory: str, plugin_name: str) -> dict[str, Any]:
    """What these plugins make of that world. "error": they were refused."""
    try:
        manager = load_plugins(plugin_name)
    except PluginError as error:
        return {"error": str(error)}
    found = world(manager)
    ovs = OvsProcess.start(directory, dummy=True)
    try:
        bridge = TracedBridge(ovs, manager)
        bridge.show(found)
        traces = {
            pod.namespace: bridge.trace(
                f"in_port={pod.ofport},icmp,dl_src={pod.mac},nw_src={pod.ip},nw_dst=172.11.8.7"
            ).tables
            for pod in (SPEAKING, SILENT)
        }
    finally:
        ovs.stop()
    flows = sorted(
        f"{holders[0].plugin}: {flow_text(flow.flow, manager.pipeline, human=True)}"
        for flow, holders in bridge.reconciler.desired.flows()
    )
    return {
        "plugins": manager.names,
        "tables": [table.name for table in manager.pipeline.tables],
        "flows": flows,
        "failures": bridge.failures,
        "traces": traces,
        "records": {key: str(value) for key, value in found.settled("audits").items()},
        "quarantine": {"/".join(which): text for which, text in found.problems.items()},
        "status": dict(manager.status(manager.view(found))),
    }


if __name__ == "__main__":
    print(json.dumps(told(*sys.argv[1:])))
