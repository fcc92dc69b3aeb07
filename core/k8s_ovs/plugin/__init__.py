"""How to write a plugin: everything that one may use, in one place.

A plugin is a class with hooks, named by an entry point of its distribution::

    [project.entry-points."k8s_ovs.plugins"]
    acme-audit = "acme_audit:Audit"

    from k8s_ovs.plugin import Flow, Goto, Pod, Table, View, hook, ip

    AUDIT = Table("AUDIT", "Did a pod say this?", between=("POD_IN", "ROUTE"))

    class Audit:
        @hook
        def tables(self):
            return [AUDIT]

        @hook
        def pod_flows(self, view: View, pod: Pod):
            return [Flow(AUDIT, 100, ip(ip_src=pod.ip), [Goto("ROUTE")])]

People add it to the key `config`: ``"PluginName": "k8s-ovs-subnet,acme-audit"``.

Hooks are pure: they get the world through a `View` and return values. They never touch Open
vSwitch, the kernel, etcd or a socket, and keep no state: the core calls a hook again when, and only
when, a record that the hook looked up has changed. `spec.py` describes each hook. A hook that
raises is named in the error, and its subject keeps the last good flows.

A plugin that implements `tenant_of` is a *mode*: it says what a tenant is. Exactly one runs.
A distribution may list plugins in the entry-point group ``k8s_ovs.features``: those come along
with every mode, until ``-name`` takes them out.
"""

from k8s_ovs.errors import InvalidRecord, PluginError
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import KubeNode, LocalNode
from k8s_ovs.model.pod import Pod, Rates
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.tenant import GLOBAL_TENANT, NetNamespace
from k8s_ovs.pipeline.field import FIELDS, Field, register
from k8s_ovs.pipeline.flow import (
    Ct,
    Flow,
    Goto,
    InPort,
    Match,
    Meter,
    Move,
    Note,
    Output,
    SetField,
    any_packet,
    arp,
    icmp,
    ip,
    ipv6,
    tcp,
    udp,
)
from k8s_ovs.pipeline.table import Table
from k8s_ovs.plugin.hooks import (
    Allocation,
    Check,
    Event,
    Hooks,
    KubeResource,
    LinkSettings,
    Metric,
    PodRequest,
    Problem,
    RecordKind,
    Refuse,
    Wait,
    Write,
    hook,
)
from k8s_ovs.plugin.view import View

__all__ = [
    "FIELDS",
    "GLOBAL_TENANT",
    "Allocation",
    "Check",
    "Ct",
    "Event",
    "Field",
    "Flow",
    "Goto",
    "Hooks",
    "HostSubnet",
    "InPort",
    "InvalidRecord",
    "KubeNode",
    "KubeResource",
    "LinkSettings",
    "LocalNode",
    "Match",
    "Meter",
    "Metric",
    "Move",
    "NetNamespace",
    "NetworkConfig",
    "Note",
    "Output",
    "PluginError",
    "Pod",
    "PodRequest",
    "Problem",
    "Rates",
    "RecordKind",
    "Refuse",
    "SetField",
    "Table",
    "View",
    "Wait",
    "Write",
    "any_packet",
    "arp",
    "hook",
    "icmp",
    "ip",
    "ipv6",
    "register",
    "tcp",
    "udp",
]
