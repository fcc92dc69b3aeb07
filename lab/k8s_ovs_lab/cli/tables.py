"""A lab's status for people, as tables, and for programs, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable

from attrs import asdict
from rich.console import Console
from rich.table import Table

from k8s_ovs_lab.kube.service import Service
from k8s_ovs_lab.status import LabStatus, NodeStatus

__all__ = ["as_json", "print_tables"]


def as_json(status: LabStatus) -> str:
    """The whole status as a JSON object; addresses and networks are strings."""
    return json.dumps(asdict(status), indent=2, default=str)


def print_tables(status: LabStatus) -> None:
    """Print nodes, pods and services, and then each problem."""
    console = Console()
    console.print(
        f"lab {status.name}: {status.plugin}, {status.datapath} datapath, "
        f"etcd {_alive(status.etcd)}, API server {_alive(status.apiserver)}, {status.directory}",
        highlight=False,
        soft_wrap=True,
    )
    _print(
        console, ("NODE", "ADDRESS", "SUBNET", "STATUS", "DAEMON", "OVS"), map(_node, status.nodes)
    )
    _print(
        console,
        ("POD", "NODE", "ADDRESS", "NETNS"),
        ((pod.title, pod.node, str(pod.ip or "-"), pod.netns) for pod in status.pods),
        none="no pods",
    )
    _print(
        console,
        ("SERVICE", "ADDRESS", "ENDPOINTS"),
        map(_service, status.services),
        none="no services",
    )
    for problem in (*(node.network for node in status.nodes if node.network), *status.problems):
        console.print(f"! {problem}", highlight=False, markup=False, soft_wrap=True)


def _node(node: NodeStatus) -> tuple[str, ...]:
    ready = "Ready" if node.ready and not node.network else "NotReady"
    if node.external:
        ready += ", external"
    subnet = str(node.subnet or "-")
    return node.name, str(node.address), subnet, ready, _alive(node.daemon), _alive(node.ovs)


def _service(service: Service) -> tuple[str, ...]:
    endpoints = ", ".join(f"{item.address}:{item.port}" for item in service.endpoints)
    address = f"{service.address}:{service.port}/{service.protocol}"
    return f"{service.namespace}/{service.name}", address, endpoints or "-"


def _alive(running: bool) -> str:
    return "up" if running else "DOWN"


def _print(
    console: Console, head: tuple[str, ...], rows: Iterable[tuple[str, ...]], none: str = ""
) -> None:
    table = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        console.print(table)
    elif none:
        console.print(none, highlight=False)
