"""The hooks that a plugin may implement, each with what it gets and what it returns.

`docs/plugins.md` describes the same hooks for plugin authors; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any

import pluggy
from attrs import field, frozen

from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.table import Table
from k8s_ovs.plugin.link_settings import LinkSettings
from k8s_ovs.plugin.view import Record, Tag, View

__all__ = [
    "PROJECT",
    "Allocation",
    "Check",
    "Event",
    "Hooks",
    "KubeResource",
    "LinkSettings",
    "Metric",
    "PodRequest",
    "Problem",
    "RecordKind",
    "Refuse",
    "Wait",
    "Write",
    "hook",
]

PROJECT = "k8s_ovs"
hook = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)


@frozen
class RecordKind:
    """A kind of record in etcd, below `<prefix>/<Name>/<name>/`.

    decode: (key, bytes) to a value; raises InvalidRecord. encode: the way back.
    index: what `View.having` finds a value by; None: by nothing.
    asks: whether a value asks the allocator for something. It counts for nothing else until it is
    answered: what stood before goes on to stand, and `View.request` shows what is asked.
    holds: the part of Network that a value keeps for somebody, or None; see `View.taken`.
    """

    name: str
    decode: Callable[[str, bytes], Any]
    encode: Callable[[Any], bytes]
    index: Callable[[Any], Hashable] | None = None
    asks: Callable[[Any], bool] | None = None
    holds: Callable[[Any], IPv4Network | None] | None = None

    def record(self, value: Any, revision: int) -> Record:
        """`value` as a record of the world."""
        return Record(value, revision, Tag(self.index(value)) if self.index else None)


@frozen
class KubeResource:
    """A resource of Kubernetes to watch: its records are of kind `name`.

    path: of the list, such as /api/v1/namespaces. decode: (key, JSON object) to a value; raises
    InvalidRecord. The key is "name", or "namespace/name". here_only: just objects of this node
    (spec.nodeName).
    """

    name: str
    path: str
    decode: Callable[[str, Mapping[str, Any]], Any]
    local_only: bool = False

    def record(self, value: Any, revision: int) -> Record:
        """`value` as a record of the world."""
        return Record(value, revision)


@frozen
class PodRequest:
    """A pod that kubelet wants attached (CNI ADD)."""

    namespace: str
    name: str
    uid: str
    container: str
    ifname: str


@frozen
class Refuse:
    """This pod cannot be attached; kubelet shows the reason."""

    reason: str


@frozen
class Wait:
    """This pod cannot be attached yet. When the deadline comes, kubelet shows the reason."""

    reason: str


@frozen
class Write:
    """A record as it should be in etcd; `value` None: it should not be there.

    revision: the mod_revision that this was decided on; 0: there was none.
    """

    kind: str
    key: str
    value: Any
    revision: int


@frozen
class Event:
    """A warning on an object of the cluster's own (a Namespace, a Node).

    reason: one word in CamelCase, message: a sentence.
    """

    kind: str
    name: str
    reason: str
    message: str


@frozen
class Allocation:
    """Records to write together or not at all: only if every revision still stands, and only while
    the writer has the allocator's seat. reason: for the log, such as "node node1 joined".
    event: what people who look at a Kubernetes object should read there, once this is written.
    """

    writes: tuple[Write, ...]
    reason: str
    event: Event | None = None


@frozen
class Problem:
    """Something that keeps one subject from being served; all else goes on."""

    subject: str
    text: str


@frozen
class Metric:
    """A number for Prometheus; `labels` tell values of one name apart."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(factory=dict)


@frozen
class Check:
    """What `k8s-ovs doctor` says of one thing; `advice`: what to do where it is not ok."""

    name: str
    ok: bool
    found: str
    advice: str = ""


class Hooks:
    """Every hook is optional. All are pure; see the package's docstring."""

    @_spec
    def tables(self) -> Iterable[Table]:  # type: ignore[empty-body]  # a specification
        """Tables of the plugin's own, each said to stand between two others."""

    @_spec
    def kinds(self) -> Iterable[RecordKind]:  # type: ignore[empty-body]  # a specification
        """Kinds of records in etcd that the plugin reads or writes."""

    @_spec
    def resources(self) -> Iterable[KubeResource]:  # type: ignore[empty-body]  # a specification
        """Resources of Kubernetes that the plugin reads."""

    @_spec
    def network_flows(self, view: View) -> Iterable[Flow]:  # type: ignore[empty-body]  # a specification
        """Flows that stand once on each node."""

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
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:  # type: ignore[empty-body]  # a specification
        """What should be written to etcd. Asked only where the allocator's seat is."""

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
