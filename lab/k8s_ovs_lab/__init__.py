"""A whole cluster on this machine: each node is a network namespace with its own Open vSwitch.

    from k8s_ovs_lab import Lab, LabSettings

    lab = Lab.up(LabSettings(name="mine", nodes=2))
    web = lab.run_pod("node1", "web")
    lab.exec("node2", ["ping", "-c1", str(web.ip)])
    lab.down()

etcd and the daemons are the real ones, and so is the API server where its program is found.
What belongs here: making nodes, cables, pods and services on one machine, for people who try
k8s-ovs, for the demonstration and for tests. What does not: anything that a real node needs.
"""

from __future__ import annotations

from k8s_ovs_lab.kube.service import Endpoint, Service
from k8s_ovs_lab.lab import Lab
from k8s_ovs_lab.layout import LabNode, LabSettings, Layout
from k8s_ovs_lab.lifecycle import Report
from k8s_ovs_lab.state import LabPod

__all__ = ["Endpoint", "Lab", "LabNode", "LabPod", "LabSettings", "Layout", "Report", "Service"]
