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
when, a record that the hook looked up has changed. A hook that raises is named in the error,
and its subject keeps its last valid flows.

- hooks.py: every hook, what it gets and what it returns
- view.py: what a hook may look at
- records.py: how a plugin declares fields of the configuration, records, and resources
- values.py: what hooks get and return besides flows
- version.py: which version of all this it is
- command/: for commands of a plugin: the cluster, tables and JSON, waiting

Import from here, and from `k8s_ovs.plugin.command`, and from nowhere else in k8s_ovs.

A plugin that implements `tenant_of` is a *mode*: it says what a tenant is. Exactly one runs.
A distribution may list plugins in the entry-point group ``k8s_ovs.features``: those come along
with every mode, until ``-name`` takes them out.
"""

from k8s_ovs.errors import (
    InvalidRecord,
    K8sOvsError,
    PluginError,
    SwitchError,
    TimedOut,
    Unavailable,
    shown,
)
from k8s_ovs.model.codec import decode, encode, named, parse_network
from k8s_ovs.model.kube_object import kube_field
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import KubeNode, LocalNode
from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.model.pod import Pod, Rates
from k8s_ovs.model.subnet import (
    HostSubnet,
    address_order,
    free_subnets,
    host_ip_problem,
    request_problem,
)
from k8s_ovs.model.tenant import GLOBAL_TENANT, MAX_TENANT_ID
from k8s_ovs.model.world import GIVEN, NODES, PODS, SUBNETS, Deleted, Slot
from k8s_ovs.pipeline.action import (
    Conjunction,
    Ct,
    CtClear,
    Goto,
    InPort,
    Meter,
    Move,
    Nat,
    Note,
    Output,
    SetField,
)
from k8s_ovs.pipeline.field import FIELDS, Field, register
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import (
    Match,
    any_packet,
    arp,
    icmp,
    icmp6,
    ip,
    ipv6,
    sctp,
    sctp6,
    tcp,
    tcp6,
    udp,
    udp6,
)
from k8s_ovs.pipeline.reservation import Subfield, Zone
from k8s_ovs.pipeline.table import PipelineError, Table
from k8s_ovs.pipeline.tables import (
    ARP,
    CLASSIFY,
    EXTERNAL,
    NODE_IN,
    POD_IN,
    POD_OUT,
    REMOTE,
    RETURN,
    ROUTE,
    SERVICE,
    TUNNEL_IN,
    VERDICT,
)
from k8s_ovs.plugin.hooks import Hooks, hook
from k8s_ovs.plugin.records import ConfigField, KubeResource, RecordKind
from k8s_ovs.plugin.values import (
    AddressChoice,
    Allocation,
    Check,
    Event,
    LinkSettings,
    Metric,
    PodRequest,
    Problem,
    Refusal,
    Refuse,
    Wait,
    Write,
)
from k8s_ovs.plugin.version import API_VERSION
from k8s_ovs.plugin.view import View

__all__ = [
    "API_VERSION",
    "ARP",
    "CLASSIFY",
    "EXTERNAL",
    "FIELDS",
    "GIVEN",
    "GLOBAL_TENANT",
    "MAX_TENANT_ID",
    "NODES",
    "NODE_IN",
    "PODS",
    "POD_IN",
    "POD_OUT",
    "REMOTE",
    "RETURN",
    "ROUTE",
    "SERVICE",
    "SUBNETS",
    "TUNNEL_IN",
    "VERDICT",
    "AddressChoice",
    "Allocation",
    "Check",
    "ConfigField",
    "Conjunction",
    "Ct",
    "CtClear",
    "Deleted",
    "Event",
    "Field",
    "Flow",
    "Goto",
    "Hooks",
    "HostSubnet",
    "InPort",
    "InvalidRecord",
    "K8sOvsError",
    "KubeNode",
    "KubeResource",
    "LinkSettings",
    "LocalNode",
    "Match",
    "Meter",
    "Metric",
    "Move",
    "Nat",
    "NetworkConfig",
    "NodeStatus",
    "Note",
    "Output",
    "PipelineError",
    "PluginError",
    "Pod",
    "PodRequest",
    "Problem",
    "Rates",
    "RecordKind",
    "Refusal",
    "Refuse",
    "SetField",
    "Slot",
    "Subfield",
    "SwitchError",
    "Table",
    "TimedOut",
    "Unavailable",
    "View",
    "Wait",
    "Write",
    "Zone",
    "address_order",
    "any_packet",
    "arp",
    "decode",
    "encode",
    "free_subnets",
    "hook",
    "host_ip_problem",
    "icmp",
    "icmp6",
    "ip",
    "ipv6",
    "kube_field",
    "named",
    "parse_network",
    "register",
    "request_problem",
    "sctp",
    "sctp6",
    "shown",
    "tcp",
    "tcp6",
    "udp",
    "udp6",
]
