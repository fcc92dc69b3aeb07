"""Which subjects exist, which must be computed again, and what their hooks say.

A change of a record makes those subjects dirty whose hooks looked it up last time. Work is
proportional to what changed, not to the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from k8s_ovs.builtin import CORE
from k8s_ovs.errors import PluginError, is_ctrl_c, shown
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure, Held, Judged
from k8s_ovs.hooks.time_limit import REST
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, SUBNETS, UNSYNCED, Changes, World
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.table import PipelineError
from k8s_ovs.pipeline.wire import WireFlow, encode
from k8s_ovs.plugin.view import View
from k8s_ovs.reconcile.answers import Answers
from k8s_ovs.reconcile.desired_flows import DesiredFlows, FlowConflict
from k8s_ovs.reconcile.held import HeldSubjects
from k8s_ovs.reconcile.pod_links import PodLinks
from k8s_ovs.reconcile.subject import NETWORK, NODE, POD, RECORD, TENANT, FlowOwner, Subject
from k8s_ovs.supervise import FaultLog

__all__ = ["Reconciler"]

#: Seconds after which a flow that the switch refused is tried again.
_REFUSED_REST = 8.0

#: Of a table's last flow, which every table has.
_LAST_PRIORITY = 0

_KIND_OF_RECORD = {SUBNETS: NODE, PODS: POD}


class Reconciler:
    """The world as it is known, and the flows that follow from it."""

    def __init__(self, manager: PluginManager, world: World | None = None) -> None:
        self.manager = manager
        self.desired = DesiredFlows()
        self.links = PodLinks()
        self._answers = Answers[Subject](manager.node_view)
        self._touched: dict[str, set[tuple[str, str]]] = {}
        self._dirty: set[Subject] = {Subject(NETWORK, "")}
        self._conflicting: set[Subject] = set()
        # Subjects for which a plugin did not answer, or the switch did not take a flow, and when to
        # try again.
        self._again: dict[Subject, float] = {}
        self._told_refused: dict[tuple[str, Subject], str] = {}
        self._local_tenants: set[Subject] = set()
        self._tenants: dict[str, int] = {}
        self._failures: dict[tuple[str, Subject], str] = {}
        self._held = HeldSubjects()
        self._faults = FaultLog()
        known = world or World()
        for kind, slots in known.kinds.items():
            self.update({(kind, key): slot for key, slot in slots.items()}, known.revision)

    @property
    def world(self) -> World:
        return self._answers.world

    @property
    def failures(self) -> list[str]:
        """What plugins failed at and have not done right since."""
        return list(self._failures.values())

    @property
    def held(self) -> Mapping[str, frozenset[str]]:
        """Plugins that cannot judge all of their flows yet, which stay as they are: of each the
        resources of Kubernetes that have to be listed before."""
        found = dict(self._held.plugins())
        for each in self.manager.unlisted_subjects(self.world):
            found[each.plugin] = found.get(each.plugin, frozenset()) | each.resources
        return found

    def update(self, changes: Changes, revision: int | None = None) -> None:
        """Take in changed slots; None: gone. revision: see `World.changed`."""
        if not changes and revision in (None, self.world.revision):
            return
        self._answers.update(changes, revision)
        for touched in self._touched.values():
            touched.update(changes)
        for (kind, key), slot in changes.items():
            if kind in _KIND_OF_RECORD:
                self._dirty.add(Subject(_KIND_OF_RECORD[kind], key))
            if kind in self.manager.subjects:
                self._dirty.add(Subject(RECORD, f"{kind}/{key}"))
            if kind == UNSYNCED and slot is None:
                self._dirty |= self._held.waiting_for(key)
                self._dirty.add(Subject(NETWORK, ""))  # also where its list is empty

    def take_touched(self, who: str) -> set[tuple[str, str]]:
        """Kinds and keys of the slots that have changed since `who` called last, or ever."""
        kinds = self.world.kinds.items()
        touched = self._touched.get(who)
        self._touched[who] = set()
        return {(kind, key) for kind, at in kinds for key in at} if touched is None else touched

    def compute(self) -> list[str]:
        """Ask the hooks of all dirty subjects; returns what is newly wrong.

        Does nothing until the configuration and this node's subnet are known.
        """
        now = time.monotonic()
        for subject in [each for each, due in self._again.items() if due <= now]:
            self._dirty.add(subject)
            del self._again[subject]
        if not (self.world.of(CONFIG) and self.world.of(LOCAL_NODE)):
            return []
        self._dirty |= self._answers.take_stale()
        if not self._dirty:
            return []
        before = set(self._failures.values())
        # What was in the way of a subject's flow may be gone after this reconcile.
        dirty, self._dirty = self._dirty | self._conflicting, set()
        try:
            self._compute_all(dirty)
        except BaseException:
            self._dirty |= dirty  # what was not computed must not be forgotten
            raise
        return [text for text in self._failures.values() if text not in before]

    def _compute_all(self, dirty: set[Subject]) -> None:
        changes: dict[FlowOwner, tuple[WireFlow, ...]] = {}
        for subject in sorted(each for each in dirty if each.kind != TENANT):
            changes |= self._compute_alone(subject)
        for subject in self._dirty_tenants(dirty):
            changes |= self._compute_alone(subject)
        conflicts = self.desired.replace(changes)
        self._conflicting = {conflict.owner.subject for conflict in conflicts}
        for conflict in conflicts:
            self._note_conflict(conflict)
        self._freeze()

    def _freeze(self) -> None:
        """Flows of which nobody knows yet whether they are wanted stay, as long as the tables that
        they send packets to have the numbers that they had."""
        own = self.desired.of(FlowOwner(CORE, Subject(NETWORK, "")))
        ends = [each.cookie for each in own if each.flow.priority == _LAST_PRIORITY]
        self.desired.freeze(map(self.manager.owner_bits, self.held), ends)

    def note_refused(self) -> list[str]:
        """Make failures of what the switch has refused since the last call; returns those that are
        new. What was in its way may go, so it is tried again."""
        known, refused = self._told_refused, dict[tuple[str, Subject], str]()
        for owner, reason in self.desired.take_refused().items():
            where = self._where(owner)
            text = f"plugin {owner.plugin}: {self._named(owner.subject)}: {reason}{where}"
            refused[owner.plugin, owner.subject] = text
            self._again[owner.subject] = time.monotonic() + _REFUSED_REST
        self._failures |= refused
        told = (known | refused).items()
        self._told_refused = {which: text for which, text in told if which in self._failures}
        return [text for which, text in refused.items() if known.get(which) != text]

    def _named(self, subject: Subject) -> str:
        """A subject as people know it."""
        if subject.kind == POD:
            pod = self.world.settled(PODS).get(subject.key)
            return f"pod {pod.identity if pod else subject.key}"
        return f"{subject.kind} {subject.key}" if subject.key else f"the {subject.kind}"

    def _compute_alone(self, subject: Subject) -> dict[FlowOwner, tuple[WireFlow, ...]]:
        """As `_compute`; a subject for which that fails altogether keeps its last flows."""
        try:
            return self._compute(subject)
        except BaseException as error:  # our fault: the others go on
            if is_ctrl_c(error):
                raise
            about = {"kind": subject.kind, "subject": subject.key}
            self._faults.tell("subject failed", error, **about)
            hook = f"{subject.kind}_flows"
            failure = Failure(CORE, hook, self._named(subject), shown(error, 500))
            self._failures[CORE, subject] = str(failure)
            return {}

    def _compute(self, subject: Subject) -> dict[FlowOwner, tuple[WireFlow, ...]]:
        """New flows of each plugin for `subject`; a plugin that fails keeps its last valid ones."""
        view = self._answers.view()
        try:
            results = self._ask(subject, view)
            unjudged = self._ask_link(subject, view)
        finally:
            self._answers.remember(subject, view)
        for name in self.manager.names:
            self._failures.pop((name, subject), None)
        answers = [*(answer for _, answer in results or ()), *unjudged]
        self._held.note(subject, (each for each in answers if isinstance(each, Held)))
        failed = [each for each in unjudged if isinstance(each, Failure)]
        self._failures |= {(each.plugin, subject): str(each) for each in failed}
        if any(each.again for each in failed):
            self._ask_later(subject)
        if results is None:
            self._forget(subject)
            return {FlowOwner(name, subject): () for name in self.manager.names}
        changes: dict[FlowOwner, tuple[WireFlow, ...]] = {}
        for plugin, result in results:
            if isinstance(result, Held):
                continue
            flows = result if isinstance(result, Failure) else self._encode(plugin, subject, result)
            if isinstance(flows, Failure):
                self._failures[plugin, subject] = str(flows)
                if flows.again:
                    self._ask_later(subject)
            else:
                changes[FlowOwner(plugin, subject)] = flows
        return changes

    def _ask_later(self, subject: Subject) -> None:
        """A plugin did not answer, and so may what it has asked not have."""
        if subject not in self._again:
            self._answers.doubt()
        self._again[subject] = time.monotonic() + REST

    def _ask(self, subject: Subject, view: View) -> Judged[Flow] | None:
        """What the hooks say of `subject`; None: it does not exist (any more)."""
        if subject.kind == NETWORK:
            return self.manager.network_flows(view)
        if subject.kind == TENANT:
            return self.manager.tenant_flows(view, int(subject.key))
        if subject.kind == NODE:
            node = view.subnet(subject.key)
            return None if node is None else self.manager.node_flows(view, node)
        if subject.kind == RECORD:
            kind, _, key = subject.key.partition("/")
            known = view.get(kind, key) is not None
            return self.manager.record_flows(view, kind, key) if known else None
        pod: Pod | None = view.get(PODS, subject.key)
        return None if pod is None else self._ask_pod(subject, view, pod)

    def _ask_link(self, subject: Subject, view: View) -> list[Failure | Held]:
        """Have the plugins say what a pod's interface should be like; those that did not."""
        pod: Pod | None = view.get(PODS, subject.key) if subject.kind == POD else None
        return [] if pod is None else self.links.ask(self.manager, view, pod)

    def _ask_pod(self, subject: Subject, view: View, pod: Pod) -> Judged[Flow]:
        mode = self.manager.mode
        try:
            with view.early.apart() as early:
                tenant = None if view.vni_of(pod) is None else view.tenant_of(pod)
        except PluginError as error:
            if early:
                return self._held_by_mode(early)
            subject_of = f"pod {pod.identity}"
            failure = Failure(mode, "tenant_of", subject_of, str(error), again=error.passing)
            return [(mode, failure)]
        if early:
            return self._held_by_mode(early)
        if tenant is None:
            self._tenants.pop(subject.key, None)
            return [(name, ()) for name in self.manager.names]
        self._tenants[subject.key] = tenant
        return self.manager.pod_flows(view, pod)

    def _held_by_mode(self, early: Iterable[str]) -> Judged[Flow]:
        """Which tenant a pod is in is not known yet: no plugin can say what its flows are."""
        return [(name, Held(name, frozenset(early))) for name in self.manager.names]

    def _dirty_tenants(self, dirty: Iterable[Subject]) -> list[Subject]:
        """Tenants that must be computed, now that the pods have been; forgets those that left."""
        local = {Subject(TENANT, str(tenant)) for tenant in self._tenants.values()}
        known, self._local_tenants = self._local_tenants, local
        gone = known - local
        for subject in gone:
            self._forget(subject)
        self.desired.replace(
            {FlowOwner(name, each): () for each in gone for name in self.manager.names}
        )
        return sorted((local - known) | (local & set(dirty)))

    def _encode(
        self, plugin: str, subject: Subject, flows: Iterable[Flow]
    ) -> tuple[WireFlow, ...] | Failure:
        owner_bits = self.manager.owner_bits(plugin)
        try:
            return tuple(encode(flow, owner_bits, self.manager.pipeline) for flow in flows)
        except PipelineError as error:
            return self._not_encoded(plugin, subject, str(error))
        except BaseException as error:  # a flow that says of itself that it is good, and is not
            if is_ctrl_c(error):
                raise
            about = {"plugin": plugin, "kind": subject.kind, "subject": subject.key}
            self._faults.tell("flow cannot be encoded", error, **about)
            return self._not_encoded(plugin, subject, shown(error, 500))

    def _not_encoded(self, plugin: str, subject: Subject, text: str) -> Failure:
        hook = f"{subject.kind}_flows"
        return Failure(
            plugin, hook, self._named(subject), f"{text}{self.manager.where(plugin, hook)}"
        )

    def _forget(self, subject: Subject) -> None:
        if subject.kind == POD:
            self._tenants.pop(subject.key, None)
            self.links.forget(subject.key)
        self._answers.forget(subject)
        self._held.forget(subject)
        for name in self.manager.names:
            self._failures.pop((name, subject), None)

    def _note_conflict(self, conflict: FlowConflict) -> None:
        owner, other = conflict.owner, conflict.other
        self._failures[owner.plugin, owner.subject] = (
            f"plugin {owner.plugin}: {self._named(owner.subject)}: "
            f"a flow {conflict.clash} one of {other.plugin} "
            f"for {self._named(other.subject)}: the latter is kept, expected another priority or "
            f"match{self._where(owner)}"
        )

    def _where(self, owner: FlowOwner) -> str:
        return self.manager.where(owner.plugin, f"{owner.subject.kind}_flows")
