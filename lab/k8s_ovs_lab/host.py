"""An external host of the lab: how it comes, and how it goes."""

from __future__ import annotations

import shutil

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import cni, servers
from k8s_ovs_lab.layout import LabNode, Layout
from k8s_ovs_lab.lifecycle import start_switch
from k8s_ovs_lab.state import LabState, forget_host, hosts, locked, write_host
from k8s_ovs_lab.underlay import address_node, remove_namespaces, wire_one

__all__ = ["add_host", "remove_host"]


def add_host(layout: Layout, state: LabState, name: str) -> LabNode:
    """Make a host: its namespace, its cable, its address, its Open vSwitch; no daemon yet.

    Raises K8sOvsError if there is one of this name.
    """
    with locked(layout.directory):
        there = hosts(layout)
        if name in (host.name for host in there):
            raise K8sOvsError(f"host {name} is there already")
        host = layout.host(name, layout.host_address(each.address for each in there))
        write_host(layout, host)
        wire_one(layout, host)
        cni.install_on(host)
        if state.datapath == "system":
            address_node(host, "eth0")
        start_switch(layout, host, state.datapath)
    return host


def remove_host(layout: Layout, host: LabNode) -> None:
    """End a host's programs, and remove its namespace and its files."""
    with locked(layout.directory):
        servers.daemon(host).stop()
        servers.stop_ovs(host)
        remove_namespaces([host.netns])
        shutil.rmtree(host.directory, ignore_errors=True)
        forget_host(layout, host)
