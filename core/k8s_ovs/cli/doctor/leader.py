"""Which node is the leader, and does it hold deletions back until a person has looked?"""

from __future__ import annotations

from collections.abc import Iterator

from k8s_ovs.allocate.brake import HELD_BACK
from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.cli.doctor.other_nodes import said_by_nodes
from k8s_ovs.model.json_text import parse_json, shown_json
from k8s_ovs.model.node_status import LEADER_KEY, NodeStatus
from k8s_ovs.plugin.values import Check

__all__ = ["check_leader"]

_LOOK = (
    "does the API server list all nodes and namespaces? If not, repair that; if they are gone for "
    "good, give the number that is named: k8s-ovs allow-deletions RECORDS"
)

_NONE = "none now: a daemon becomes it within 15 s if it reaches etcd"


def check_leader(snapshot: ClusterSnapshot) -> Iterator[Check]:
    """One check; nothing where no configuration says which network it would be the leader of."""
    if snapshot.config is None:
        return
    held = _held_back(snapshot)
    data = snapshot.raw.get(f"{snapshot.config.name}/{LEADER_KEY}")
    if held:
        yield Check("leader", False, "; ".join(held), _LOOK)
    elif data is None:
        # That one has just gone looks the same, and another one follows by itself.
        yield Check("leader", True, _NONE)
    else:
        yield Check("leader", True, _name(data))


def _held_back(snapshot: ClusterSnapshot) -> list[str]:
    """What waits, with the name of the node that says so."""
    said = said_by_nodes(snapshot).values()
    statuses = (each for each in said if isinstance(each, NodeStatus))
    return [f"{it.node}: {each}" for it in statuses for each in it.errors if HELD_BACK in each]


def _name(data: bytes) -> str:
    """What the election's key says: ``{"holder":"node1"}``."""
    try:
        said = parse_json(data)
    except ValueError:
        said = None
    name = said.get("holder") if isinstance(said, dict) else None
    return name if isinstance(name, str) else f"a daemon that calls itself {shown_json(data)}"
