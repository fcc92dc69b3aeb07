"""What should this node be, and how does it differ? Answers `harms` and `look`, a line each.

A program that stays: `k8s-ovs doctor` says the same, and takes longer to start than to answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.node.harms import harms_of, harms_to_flow, harms_to_meter

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, kube_from_environment, read_snapshot
from k8s_ovs.cli.host.this_node import connected_switch, desired_flows, desired_state
from k8s_ovs.cli.options import EtcdLocation
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.world import LOCAL_NODE
from k8s_ovs.node.host.state import host_state
from k8s_ovs.node.switch import Switch
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.ovs.datapath import Datapath
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.state.value import Value


def main(endpoint: str, prefix: str, run_dir: str, hostname: str, datapath: Datapath) -> None:
    location = EtcdLocation(EtcdSettings((endpoint,)), prefix)
    for line in sys.stdin:
        snapshot = read_snapshot(location, kube_from_environment(), hostname)
        answer: list[Any]
        try:
            with connected_switch(Path(run_dir)) as switch:
                reconciler, values = _desired(snapshot, switch, hostname, datapath)
                if line.strip() == "look":
                    answer = list(_differences(switch, reconciler, values))
                else:
                    answer = list(_harms(reconciler, values))
        except K8sOvsError as error:
            answer = [str(error)]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _desired(
    snapshot: ClusterSnapshot, switch: Switch, hostname: str, datapath: Datapath
) -> tuple[Reconciler, list[Value]]:
    reconciler = desired_flows(snapshot, switch, hostname)
    local_node: LocalNode = reconciler.world.of(LOCAL_NODE)[""].settled
    return reconciler, desired_state(snapshot, switch, hostname, local_node, datapath)


def _differences(switch: Switch, reconciler: Reconciler, values: list[Value]) -> Iterator[str]:
    look = host_state(switch).look(values)
    yield from map(str, look.differences)
    yield from map(str, look.unknown)
    switch.read_flows(reconciler.desired)
    switch.drop_flows_connection()
    delta = reconciler.desired.delta()
    if delta:
        yield f"flows: {delta}"


def _harms(reconciler: Reconciler, values: list[Value]) -> Iterator[tuple[str, str]]:
    yield from harms_of(values)
    for flow, _ in reconciler.desired.flows():
        table = reconciler.manager.pipeline.number(flow.flow.table.name)
        yield from harms_to_flow(flow, table)
        if flow.meter is not None:
            yield from harms_to_meter(flow.meter)


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]  # words of a command line
