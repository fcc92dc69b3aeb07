"""The hooks that a plugin may implement, each with what it gets and what it returns.

`docs/plugins.md` describes the same hooks for plugin authors; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pluggy

from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.reservation import Subfield, Zone
from k8s_ovs.pipeline.table import Table
from k8s_ovs.plugin.records import ConfigField, KubeResource, RecordKind
from k8s_ovs.plugin.values import (
    AddressChoice,
    Allocation,
    Check,
    LinkSettings,
    Metric,
    PodRequest,
    Problem,
    Refuse,
    Wait,
)
from k8s_ovs.plugin.view import View

__all__ = ["PROJECT", "Hooks", "hook"]

PROJECT = "k8s_ovs"
hook = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)


class Hooks:
    """Every hook is optional. All are pure; see the package's docstring.

    A plugin's class need not be below this one. If it is, type checkers compare its hooks with
    these.
    """

    #: The version of the API that a plugin is written for, such as "1.0"; see plugin/version.py.
    api_version: ClassVar[str]

    @_spec
    def tables(self) -> Iterable[Table]:  # type: ignore[empty-body]  # a specification
        """Tables of the plugin's own, each between two others."""

    @_spec
    def reservations(self) -> Iterable[Subfield | Zone]:  # type: ignore[empty-body]  # a specification
        """Registers, bits of marks and labels, and zones of connection tracking that the plugin's
        flows use."""

    @_spec
    def kinds(self) -> Iterable[RecordKind]:  # type: ignore[empty-body]  # a specification
        """Kinds of records in etcd that the plugin reads or writes."""

    @_spec
    def resources(self) -> Iterable[KubeResource]:  # type: ignore[empty-body]  # a specification
        """Resources of Kubernetes that the plugin reads."""

    @_spec
    def config_fields(self) -> Iterable[ConfigField]:  # type: ignore[empty-body]  # a specification
        """Fields of the network's configuration that the plugin reads."""

    @_spec
    def network_flows(self, view: View) -> Iterable[Flow]:  # type: ignore[empty-body]  # a specification
        """Flows that each node has once."""

    @_spec
    def node_flows(self, view: View, node: HostSubnet) -> Iterable[Flow]:  # type: ignore[empty-body]  # a specification
        """Flows for another host that has a subnet."""

    @_spec
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:  # type: ignore[empty-body]  # a specification
        """Flows for a pod on this node."""

    @_spec
    def tenant_flows(self, view: View, tenant: int) -> Iterable[Flow]:  # type: ignore[empty-body]  # a specification
        """Flows for a tenant that has a pod on this node."""

    @_spec
    def record_flows(self, view: View, kind: str, key: str) -> Iterable[Flow]:  # type: ignore[empty-body]  # a specification
        """Flows for a record, or an object, of a kind that the plugin declares with `is_subject`.
        They are deleted with it."""

    @_spec
    def tenant_of(self, view: View, pod: Pod) -> int | None:
        """The tenant (0 to 16777215) of a pod; None: not known yet. Only a mode says this."""

    @_spec
    def vni_of(self, view: View, pod: Pod) -> int | None:
        """The number (0 to 16777215) that a pod's packets carry between nodes, where it is another
        one than its tenant; None: not known yet. Only a mode says this."""

    @_spec
    def pod_link(self, view: View, pod: Pod) -> LinkSettings | None:
        """What the pod's interface should be like."""

    @_spec
    def admit_pod(self, view: View, request: PodRequest) -> Refuse | Wait | None:
        """Whether a pod may be attached now; None: yes."""

    @_spec
    def pod_address(self, view: View, request: PodRequest) -> AddressChoice | None:
        """Which addresses a new pod may have; None: any."""

    @_spec
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:  # type: ignore[empty-body]  # a specification
        """What should be written to etcd. Only the leader is asked."""

    @_spec
    def status(self, view: View) -> Mapping[str, Any]:  # type: ignore[empty-body]  # a specification
        """What `k8s-ovs status` shows of the plugin: JSON values by name."""

    @_spec
    def metrics(self, view: View) -> Iterable[Metric]:  # type: ignore[empty-body]  # a specification
        """Numbers for the daemon's metrics page."""

    @_spec
    def doctor_checks(self, view: View) -> Iterable[Check]:  # type: ignore[empty-body]  # a specification
        """What `k8s-ovs doctor` should look at."""

    @_spec
    def commands(self) -> Mapping[str, Any]:  # type: ignore[empty-body]  # a specification
        """Command groups for `k8s-ovs`: a typer application by name."""
