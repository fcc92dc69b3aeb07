"""The running set: hooks are called by name, and a plugin that misbehaves is named, not fatal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from k8s_ovs.builtin import CORE, NODE_SUBNETS
from k8s_ovs.errors import InvalidRecord, PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.pipeline.tables import VERDICT
from k8s_ovs.pipeline.wire import MAX_OWNER
from k8s_ovs.plugin import (
    ConfigField,
    Flow,
    Goto,
    KubeResource,
    Pod,
    PodRequest,
    RecordKind,
    Refuse,
    Table,
    View,
    hook,
    ip,
)
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_pod, sample_world

REQUEST = PodRequest("default", "web", "uid", "container", "eth0")


def manager(*plugins: object) -> PluginManager:
    """A single-tenant set with plugins acme-0, acme-1.."""
    named = {f"acme-{number}": plugin for number, plugin in enumerate(plugins)}
    return PluginManager({"k8s-ovs-subnet": SingleTenant(), **named})


def view(of: PluginManager) -> View:
    return of.view(sample_world())


class Auditor:
    """A well-behaved plugin with a table, flows, records and an opinion."""

    table = Table("AUDIT", "Was this said?", between=("POD_IN", "ROUTE"))

    @hook
    def tables(self) -> Iterable[Table]:
        return [self.table]

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        yield Flow(self.table, 10, ip(ip_src=pod.ip), [Goto("ROUTE")])

    @hook
    def admit_pod(self, view: View, request: PodRequest) -> Refuse | None:
        return Refuse("not audited") if request.name == "web" else None

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        return {"audited": len(view.pods())}


def test_each_result_carries_its_plugins_name() -> None:
    running = manager(Auditor())
    assert running.names == (CORE, NODE_SUBNETS, "k8s-ovs-subnet", "acme-0")
    plugins = dict(running.pod_flows(view(running), sample_pod(1)))
    assert plugins.keys() == {CORE, "acme-0"}
    assert [flow.table.name for flow in plugins["acme-0"]] == ["AUDIT"]  # type: ignore[union-attr]  # no Failure
    assert running.admit_pod(view(running), REQUEST) == [("acme-0", (Refuse("not audited"),))]
    assert running.status(view(running)) == [("acme-0", ({"audited": 2},))]


class Configured:
    """A plugin with fields of its own in the configuration."""

    def __init__(self, *fields: ConfigField) -> None:
        self.fields = fields

    @hook
    def config_fields(self) -> Iterable[ConfigField]:
        return self.fields


LOUD = ConfigField("Loud", lambda value: isinstance(value, bool), "true or false")


def test_a_field_of_a_plugin_is_checked_with_what_was_found_and_expected() -> None:
    running = manager(Configured(LOUD))
    assert running.config_problems(sample_config(extra={"Loud": True, "Other": 1})) == []
    assert running.config_problems(sample_config(extra={"Loud": [1]})) == [
        "Loud: found [1], expected true or false"
    ]


def test_a_field_whose_check_raises_is_a_problem_that_names_the_plugin() -> None:
    running = manager(Configured(ConfigField("Loud", lambda value: value["x"], "an object")))
    (problem,) = running.config_problems(sample_config(extra={"Loud": {}}))
    assert problem.startswith("Loud: plugin acme-0 cannot judge {}: KeyError")


@pytest.mark.parametrize("name", ["Loud", "MTU"])
def test_a_field_that_is_declared_already_is_refused(name: str) -> None:
    again = ConfigField(name, LOUD.accepts, LOUD.expected)
    with pytest.raises(PluginError, match=f'plugin acme-1: the field "{name}" of the config'):
        manager(Configured(LOUD), Configured(again))


def test_the_core_alone_runs_with_any_mode_and_names_no_plugin() -> None:
    running = PluginManager({"mine": SingleTenant()})
    assert running.mode == "mine"
    assert [name for name, _ in running.network_flows(view(running))] == [CORE, "mine"]


def test_without_a_mode_no_pod_has_a_tenant() -> None:
    running = PluginManager({})
    with pytest.raises(PluginError, match="no mode is loaded"):
        view(running).tenant_of(sample_pod(1))


class Raising:
    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        yield Flow(VERDICT, 5, ip())
        raise ValueError("no ink")

    @hook
    def admit_pod(self, view: View, request: PodRequest) -> None:
        raise SystemError("no paper")


def test_a_hook_that_raises_is_a_failure_and_the_others_go_on() -> None:
    running = manager(Raising(), Auditor())
    results = dict(running.pod_flows(view(running), sample_pod(1)))
    failure = results["acme-0"]
    assert str(failure).startswith(
        "plugin acme-0: pod_flows of pod default/pod1: ValueError('no ink'), expected Flow ("
    )
    assert isinstance(results["acme-1"], tuple)
    assert isinstance(results[CORE], tuple)
    admitted = dict(running.admit_pod(view(running), REQUEST))
    assert isinstance(admitted["acme-0"], Failure)
    assert admitted["acme-1"] == (Refuse("not audited"),)


class Promising:
    """Returns what its hooks do not promise."""

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        return ["priority=1 actions=drop"]  # type: ignore[list-item]  # what is tested

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        return 7  # type: ignore[return-value]  # what is tested

    @hook
    def admit_pod(self, view: View, request: PodRequest) -> Refuse | None:
        return "no"  # type: ignore[return-value]  # what is tested

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        return [1, 2]  # type: ignore[return-value]  # what is tested


def test_a_hook_that_returns_something_else_is_a_failure() -> None:
    running = manager(Promising())
    assert str(dict(running.network_flows(view(running)))["acme-0"]).startswith(
        "plugin acme-0: network_flows of the network: "
        "returned 'priority=1 actions=drop', expected Flow ("
    )
    assert "returned 7, expected Flow" in str(
        dict(running.pod_flows(view(running), sample_pod(1)))["acme-0"]
    )
    assert "expected Refuse or Wait" in str(
        dict(running.admit_pod(view(running), REQUEST))["acme-0"]
    )
    assert "returned [1, 2], expected Mapping" in str(dict(running.status(view(running)))["acme-0"])


class ModeOf:
    """A mode that says the same of every pod, or raises."""

    def __init__(self, says: object) -> None:
        self.says = says

    @hook
    def tenant_of(self, view: View, pod: Pod) -> int | None:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says  # type: ignore[return-value]  # what is tested


@pytest.mark.parametrize("says", [None, 0, 7, 0xFFFFFF])
def test_a_mode_says_a_tenant_or_that_it_is_not_known_yet(says: int | None) -> None:
    assert view(PluginManager({"mode": ModeOf(says)})).tenant_of(sample_pod(1)) == says


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (-1, "plugin mode: tenant_of of pod default/pod1: returned -1, expected 0 to 16777215"),
        (1 << 24, "returned 16777216, expected 0 to 16777215"),
        (True, "returned True, expected 0 to 16777215"),
        ("7", "returned '7', expected 0 to 16777215"),
        (KeyError("hw1"), r"plugin mode: tenant_of of pod default/pod1: KeyError\('hw1'\)"),
    ],
)
def test_a_mode_that_says_no_tenant_is_named(says: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        view(PluginManager({"mode": ModeOf(says)})).tenant_of(sample_pod(1))


class UnknownHook:
    @hook
    def pods_flow(self, view: View) -> None:
        """The name is misspelt."""


class UnknownArgument:
    @hook
    def pod_flows(self, view: View, node: str) -> None:
        """There is no such argument."""


class Unmarked:
    def pod_flows(self, view: View, pod: Pod) -> None:
        """Nobody would ever call this."""


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (
            UnknownHook(),
            r"plugin acme-0: unknown hook 'pods_flow', expected pod_flows .*; hooks are",
        ),
        (
            UnknownArgument(),
            r"plugin acme-0: pod_flows takes node, expected pod_flows\(self, view, ",
        ),
        (Unmarked(), "plugin acme-0: pod_flows is not marked as a hook, expected @hook above it"),
    ],
)
def test_hooks_that_would_never_be_called_are_refused(plugin: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        manager(plugin)


class Keeping:
    """A plugin with a kind of record and a resource."""

    def __init__(self, kind: str = "audits", resource: str = "secrets") -> None:
        self.kind, self.resource = kind, resource

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [RecordKind(self.kind, lambda key, data: key[999], lambda value: value.nothing)]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource(self.resource, "/api/v1/secrets", lambda key, found: found["spec"])]


@pytest.mark.parametrize("taken", ["subnets", "given", "nodes", "pods", "config", "connected"])
def test_records_are_declared_once(taken: str) -> None:
    message = f'plugin acme-0: records named "{taken}" are declared already'
    for plugin in (Keeping(kind=taken), Keeping(resource=taken)):
        with pytest.raises(PluginError, match=message):
            manager(plugin)
    with pytest.raises(PluginError, match='plugin acme-1: records named "audits" are declared'):
        manager(Keeping(), Keeping(resource="others"))


def test_a_plugin_that_cannot_read_its_record_is_named_with_the_key() -> None:
    running = manager(Keeping())
    with pytest.raises(
        InvalidRecord, match=r"^net/audits/a: plugin acme-0 cannot read it: IndexErr"
    ):
        running.kinds["audits"].decode("net/audits/a", b"{}")
    with pytest.raises(InvalidRecord, match=r"^a: plugin acme-0 cannot read it: KeyError\('spec"):
        running.resources["secrets"].decode("a", {})
    with pytest.raises(PluginError, match=r"^plugin acme-0 cannot write 'a': AttributeError"):
        running.kinds["audits"].encode("a")


class KindsRaise:
    @hook
    def kinds(self) -> Iterable[RecordKind]:
        raise RuntimeError("no")


def test_a_declaration_that_raises_is_refused_at_once() -> None:
    with pytest.raises(PluginError, match=r"plugin acme-0: kinds of this plugin: RuntimeError"):
        manager(KindsRaise())


def test_flows_tell_their_plugin() -> None:
    running = manager(Auditor())
    owners = {running.owner_bits(name) for name in running.names}
    assert len(owners) == len(running.names)
    assert all(0 <= owner <= MAX_OWNER for owner in owners)
    assert manager(Auditor()).owner_bits("acme-0") == running.owner_bits("acme-0")


def namesakes() -> tuple[str, str]:
    """Two names whose hashes agree in 16 bits."""
    seen: dict[int, str] = {}
    for number in range(10_000):
        name = f"n{number}"
        owner = PluginManager({name: Auditor()}).owner_bits(name)
        if owner in seen:
            return seen[owner], name
        seen[owner] = name
    raise AssertionError("the hash is wider than 16 bits")


def test_plugins_whose_flows_could_not_be_told_apart_are_refused() -> None:
    one, other = namesakes()
    message = f"plugins {one} and {other} have the same flow owner, rename one"
    with pytest.raises(PluginError, match=message):
        PluginManager({one: Auditor(), other: Raising()})


@pytest.mark.parametrize("name", ["core", "node-subnets"])
def test_no_plugin_takes_the_place_of_the_cores_own(name: str) -> None:
    with pytest.raises(PluginError, match=f"plugin {name}: the core has one of this name"):
        PluginManager({name: Unmarked()})
