"""A plugin that fails, whatever it does, is named; its subject, record or pod alone suffers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest
from structlog.testing import capture_logs

from k8s_ovs.builtin import CORE
from k8s_ovs.errors import PluginError
from k8s_ovs.hooks import calls
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.world import PODS, Slot
from k8s_ovs.node.records.ingest import ETCD, Changes, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange
from k8s_ovs.pipeline.tables import EXTERNAL
from k8s_ovs.plugin import Flow, LinkSettings, Rates, RecordKind, View, hook, ip
from k8s_ovs.reconcile import reconciler as reconciling
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.reconcile.subject import POD, FlowOwner, Subject
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_pod, sample_world

NOTES = "notes"
VETH1 = Subject(POD, "veth1")


def ends() -> None:
    sys.exit(3)


def recurses() -> None:
    recurses()


def leaves() -> None:
    raise GeneratorExit


def sets_half_a_number() -> None:
    _: Any = LinkSettings(rates=None)  # type: ignore[arg-type]  # what is tested


class Rude(Exception):
    def __repr__(self) -> str:
        raise ValueError("no word of me")


def is_rude() -> None:
    raise Rude


FAULTS = [ends, recurses, leaves, sets_half_a_number, is_rude]


class Failing:
    """A plugin of which each hook fails for pod1, as `fault` does."""

    def __init__(self, fault: Callable[[], None]) -> None:
        self.fault = fault

    @hook
    def pod_flows(self, view: View, pod: Any) -> Iterator[Flow]:
        yield Flow(EXTERNAL, 300, ip(ip_dst=pod.ip))
        if view.get(NOTES, pod.name) == "fail":
            self.fault()

    @hook
    def pod_link(self, view: View, pod: Any) -> LinkSettings:
        if view.get(NOTES, pod.name) == "fail":
            self.fault()
        return LinkSettings(rates=Rates(1000))


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_a_hook_raises_its_subject_keeps_its_flows_and_the_log_has_the_traceback(
    fault: Callable[[], None],
) -> None:
    manager = PluginManager({"mode": SingleTenant(), "acme": Failing(fault)})
    reconciler = Reconciler(manager, sample_world())
    assert reconciler.compute() == []
    before = len(reconciler.desired)
    with capture_logs() as logs:
        for number in (1, 2):
            changed = {(NOTES, "pod1"): Slot("fail", revision=number)}
            reconciler.update({(NOTES, "pod1"): None})
            reconciler.compute()
            reconciler.update(changed)
            texts = reconciler.compute()
            assert any(text.startswith("plugin acme: pod_") for text in texts)
            assert len(reconciler.desired) == before
    told = [(each["hook"], each["plugin"]) for each in logs if "exc_info" in each]
    assert sorted(told) == [("pod_flows", "acme"), ("pod_link", "acme")]
    reconciler.update({(NOTES, "pod1"): None})
    assert (reconciler.compute(), reconciler.failures) == ([], [])


class Endless:
    @hook
    def network_flows(self, view: View) -> Iterator[Flow]:
        flow = Flow(EXTERNAL, 1, ip())
        while True:
            yield flow


def test_a_hook_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_MOST_RESULTS", 100)
    manager = PluginManager({"mode": SingleTenant(), "acme": Endless()})
    failure = dict(manager.network_flows(manager.view(sample_world())))["acme"]
    assert isinstance(failure, Failure)
    assert failure.error == "returned more than 100 values, expected fewer"


def test_a_subject_on_which_we_fail_ourselves_keeps_its_flows_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reconciler = Reconciler(PluginManager({"mode": SingleTenant()}), sample_world())
    reconciler.compute()
    ask = Reconciler._ask

    def failing(self: Reconciler, subject: Subject, view: View) -> Any:
        if subject == VETH1:
            raise ZeroDivisionError("a mistake of ours")
        return ask(self, subject, view)

    held = {owner for _, owners in reconciler.desired.flows() for owner in owners}
    monkeypatch.setattr(reconciling.Reconciler, "_ask", failing)
    reconciler.update({(PODS, "veth1"): Slot(sample_pod(1), revision=3)})
    reconciler.update({(PODS, "veth3"): Slot(sample_pod(3))})
    with capture_logs() as logs:
        (text,) = reconciler.compute()
    failure = "ZeroDivisionError('a mistake of ours')"
    assert text == f"plugin core: pod_flows of pod default/pod1: {failure}"
    assert [each["subject"] for each in logs] == ["veth1"]
    now = {owner for _, owners in reconciler.desired.flows() for owner in owners}
    assert now == held | {FlowOwner(CORE, Subject(POD, "veth3"))}


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("not to be compared")

    def __hash__(self) -> int:
        return 1


class Moody:
    """Equal to itself, and not to be compared with another one."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Moody) and self is not other:
            raise ValueError("not to be compared with another")
        return self is other

    def __hash__(self) -> int:
        return 1


class WithKind:
    def __init__(self, **functions: Any) -> None:
        self.kind = RecordKind(
            **{"name": NOTES, "decode": lambda _, data: data.decode(), "encode": str.encode}
            | functions
        )

    @hook
    def kinds(self) -> list[RecordKind]:
        return [self.kind]


def leave(*_: Any) -> Any:
    raise SystemExit(3)


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "index of lists": ({"indexes": lambda value: [[value]]}, "of notes returned (['bad'],), exp"),
    "index of a number": ({"indexes": lambda _: 7}, "cannot judge 'bad': TypeError("),
    "index ends": ({"indexes": leave}, "cannot judge 'bad': SystemExit(3)"),
    "asks": ({"asks": lambda _: None}, "asks of notes returned None, expected True or False"),
    "holds": ({"holds": lambda value: value}, "holds of notes returned 'bad', expected an IPv4N"),
    "decode ends": ({"decode": leave}, "plugin acme cannot read it: SystemExit(3)"),
    "incomparable": ({"decode": lambda *_: Incomparable()}, "cannot read it: ValueError('not to"),
}


def put(key: str, data: bytes, revision: int) -> RecordChange:
    return RecordChange(ETCD, f"k8ssdn/{NOTES}/{key}", Entry(data, revision), revision)


def only_the_bad(function: Callable[..., Any], good: object) -> Callable[..., Any]:
    """What `function` says of bad records; of others it says `good`."""

    def judge(*given: Any) -> Any:
        return function(*given) if given[-1] in ("bad", b"bad") else good

    return judge


@pytest.mark.parametrize("case", KINDS)
def test_a_record_that_a_plugin_misjudges_is_set_aside_alone(case: str) -> None:
    functions, told = KINDS[case]
    good = {"decode": "good", "asks": False, "holds": None, "indexes": ["good"]}
    judging = {name: only_the_bad(function, good[name]) for name, function in functions.items()}
    if "indexes" in judging:
        judging = {"indexes": {"text": judging["indexes"]}}
    manager = PluginManager({"mode": SingleTenant(), "acme": WithKind(**judging)})
    ingest = Ingest()
    for change in (put("a", b"good", 1), put("b", b"bad", 2), put("c", b"good", 3)):
        ingest.absorb(change)
    with capture_logs():
        found = ingest.changes(sample_config(), manager.kinds, {})
    assert settled(found) == {"a": "good", "b": None, "c": "good"}
    slot = found[NOTES, "b"]
    assert slot is not None
    assert told in str(slot.problem)


def settled(found: Changes) -> dict[str, Any]:
    return {key: slot.settled for (_, key), slot in found.items() if slot}


def test_values_that_cannot_be_compared_with_the_next_are_set_aside() -> None:
    kind = WithKind(decode=lambda _, data: Moody(data.decode()))
    manager = PluginManager({"mode": SingleTenant(), "acme": kind})
    ingest, reconciler = Ingest(), Reconciler(manager, sample_world())
    for revision, data in enumerate((b"one", b"two"), 1):
        ingest.absorb(put("a", data, revision))
        ingest.absorb(put(f"other{revision}", b"x", revision))
        with capture_logs():
            reconciler.update(ingest.changes(sample_config(), manager.kinds, {}), revision)
    slot = reconciler.world.slot(NOTES, "a")
    assert slot.settled.text == "one"
    assert "not to be compared with another" in str(slot.problem)
    assert reconciler.world.slot(NOTES, "other2").settled.text == "x"


@pytest.mark.parametrize("check", [leave, lambda *_: 7, lambda *_: {"a": 1}, lambda: None])
def test_a_check_that_fails_keeps_what_is_in_force_and_lets_nothing_new_in(check: Any) -> None:
    broken: list[bool] = []

    def checked(*given: Any) -> Any:
        return check(*given) if broken else None

    manager = PluginManager({"mode": SingleTenant(), "acme": WithKind(check=checked)})
    ingest = Ingest()
    ingest.absorb(put("a", b"old", 1))
    ingest.changes(sample_config(), manager.kinds, {})
    broken.append(True)
    ingest.absorb(put("a", b"new", 2))
    ingest.absorb(put("b", b"new", 3))
    with capture_logs():
        found = ingest.changes(sample_config(), manager.kinds, {})
    assert settled(found) == {"a": "old", "b": None}
    told = [str(slot.problem) for slot in found.values() if slot]
    assert all("plugin acme cannot judge" in text for text in told)
    broken.clear()
    ingest.absorb(put("b", b"newer", 4))
    found = ingest.changes(sample_config(), manager.kinds, {})
    assert settled(found) == {"b": "newer"}


@pytest.mark.parametrize("encode", [leave, lambda _: "text", lambda _: None])
def test_what_a_plugin_cannot_write_is_named(encode: Any) -> None:
    manager = PluginManager({"mode": SingleTenant(), "acme": WithKind(encode=encode)})
    with capture_logs(), pytest.raises(PluginError, match="plugin acme cannot write 'x': "):
        manager.kinds[NOTES].encode("x")


def test_a_network_that_is_held_is_passed_on() -> None:
    held = IPv4Network("172.11.4.0/22")
    manager = PluginManager({"mode": SingleTenant(), "acme": WithKind(holds=lambda _: held)})
    world = sample_world(records={NOTES: {"a": "x"}})
    assert held in manager.view(world).taken()
