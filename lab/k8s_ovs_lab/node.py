"""A node of a lab that is up: how one more comes, and how one goes."""

from __future__ import annotations

import shutil

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import cni, servers
from k8s_ovs_lab.layout import LabNode, Layout
from k8s_ovs_lab.lifecycle import start_switch
from k8s_ovs_lab.state import LabState, locked
from k8s_ovs_lab.underlay import address_node, remove_namespaces, wire_one

__all__ = ["add_node", "remove_node"]


def add_node(layout: Layout, state: LabState, name: str) -> LabNode:
    """Make a node and register it: its namespace, cable, address, Open vSwitch; no daemon yet.

    Raises InvalidRecord for a name that it cannot have, K8sOvsError if there is one of this name.
    If it fails, nothing is left of the node.
    """
    number = layout.node_number(name)
    node = layout.node(number)
    with locked(layout.directory):
        there = LabState.read(layout.directory) or state
        if number in there.numbers:
            raise K8sOvsError(f"node {name} is there already")
        wire_one(layout, node)
        try:
            cni.install_on(node)
            if there.datapath == "system":
                address_node(node, "eth0")
            start_switch(layout, node, there.datapath)
            servers.objects(layout).ensure_node(node)
        except BaseException:
            _clear(node)
            raise
        there.with_node(number).write(layout.directory)
    return node


def remove_node(layout: Layout, node: LabNode) -> None:
    """Delete a node without pods: its object, its programs, its namespace and its files."""
    with locked(layout.directory):
        there = LabState.read(layout.directory)
        servers.objects(layout).delete_node(node.name)
        _clear(node)
        if there is not None:
            number = layout.node_number(node.name)
            there.without_node(number).write(layout.directory)


def _clear(node: LabNode) -> None:
    servers.daemon(node).stop()
    servers.stop_ovs(node)
    remove_namespaces([node.netns])
    shutil.rmtree(node.directory, ignore_errors=True)
