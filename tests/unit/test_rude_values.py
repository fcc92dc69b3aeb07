"""Values of a plugin's own classes that raise when they are used: the core makes plain ones of them
where the plugin is called, so that it is named and nothing else suffers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.allocator_harness import FIRST, SECOND, make_harness

from k8s_ovs.cli.doctor.checks import plugin_checks
from k8s_ovs.hooks import json_values
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.node.tell.status_file import StatusFile
from k8s_ovs.plugin import (
    Check,
    Flow,
    LinkSettings,
    Metric,
    Problem,
    Rates,
    Refuse,
    SetField,
    Table,
    View,
    any_packet,
    hook,
    register,
)
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.node_state import sample_state
from k8s_ovs_testing.world import sample_world


def leave(*_: Any, **__: Any) -> Any:
    raise SystemExit(3)


class RudeText(str):
    """A text that ends the program that shows it."""

    __str__ = __repr__ = __format__ = __len__ = leave


class RudeNumber(int):
    __int__ = __index__ = __str__ = __repr__ = __format__ = __le__ = __lt__ = leave


class RudeNetwork(IPv4Network):
    __str__ = __repr__ = leave


class RudeCheck(Check):
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(3)


class Rude(Mapping[str, Any]):
    """A mapping that raises `error` when it is read."""

    def __init__(self, error: BaseException, way: str) -> None:
        self.error, self.way = error, way

    def __getitem__(self, name: str) -> Any:
        if self.way == "item":
            raise self.error
        return 1

    def __iter__(self) -> Iterator[str]:
        if self.way == "names":
            raise self.error
        return iter(["a"])

    def __len__(self) -> int:
        return 1


class Saying:
    """A plugin that says one thing."""

    def __init__(self, said: Callable[[], Any]) -> None:
        self.said = said


class Telling(Saying):
    @hook
    def status(self, view: View) -> Any:
        return self.said()


class Checking(Saying):
    @hook
    def doctor_checks(self, view: View) -> Any:
        yield self.said()


class Allocating(Saying):
    @hook
    def allocations(self, view: View) -> Any:
        yield self.said()


@pytest.mark.parametrize("way", ["item", "names"])
@pytest.mark.parametrize("error", [SystemExit(3), KeyError("a"), GeneratorExit()])
def test_a_status_that_raises_is_told_in_its_place_and_all_else_is_written(
    tmp_path: Path, error: BaseException, way: str
) -> None:
    plugins = {"bad": Telling(lambda: Rude(error, way)), "good": Telling(lambda: {"a": 1})}
    file = StatusFile(tmp_path / "status.json")
    with capture_logs() as logs:
        file.write(sample_state(manager=PluginManager(plugins)))
    written = json.loads((tmp_path / "status.json").read_text())
    assert written["of_plugins"]["good"] == {"a": 1}
    said = f"plugin bad: status of the network: {error!r}, expected Mapping ("
    assert written["of_plugins"]["bad"].startswith(said)
    assert file.problem == ""
    assert [(each["plugin"], each["hook"]) for each in logs] == [("bad", "status")]


def test_a_daemon_is_not_ended_by_a_plugin_that_says_somebody_pressed_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with capture_logs():
            (said,) = status_of(Rude(KeyboardInterrupt(), "item"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(said, Failure)


def test_ctrl_c_ends_a_command_also_in_a_plugin() -> None:
    # A shell starts what runs in the background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            status_of(Rude(KeyboardInterrupt(), "item"))
    finally:
        signal.signal(signal.SIGINT, before)


def status_of(said: Any) -> list[Any]:
    manager = PluginManager({"acme": Telling(lambda: said)})
    return [result for _, result in manager.status(manager.view(sample_world()))]


LONG = {"a": "x" * json_values._MOST}
DEEP: dict[str, Any] = {}
DEEP["a"] = [DEEP]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"a": {"b": {1, 2}}}, "returned {1, 2} as 'a.b', expected a value of JSON"),
        ({1: "a"}, "returned 1, expected names that are text"),
        ({"a": float("inf")}, "returned inf as 'a', expected a value of JSON"),
        ({"a": 10**400}, " as 'a', expected a value of JSON"),
        (DEEP, "expected 20 levels at most"),
        (LONG, "expected 100000 values and characters at most"),
        ({"a": [0] * 200_000}, "expected 100000 values and characters at most"),
        ({"a": float("nan")}, "returned nan as 'a', expected a value of JSON"),
        ({(1, 2): 3}, "returned (1, 2), expected names that are text"),
        (7, "returned 7, expected Mapping"),
    ],
)
def test_a_status_that_is_no_json_says_what_was_found_and_expected(
    said: Any, expected: str
) -> None:
    with capture_logs():
        (failure,) = status_of(said)
    assert isinstance(failure, Failure)
    assert failure.error.endswith(expected)


def test_a_status_of_values_of_other_classes_becomes_plain() -> None:
    said = {RudeText("a"): (RudeText("b"), RudeNumber(7), None, True, 1.5, Rude(KeyError(), ""))}
    ((plain,),) = status_of(said)
    assert plain == {"a": ["b", 7, None, True, 1.5, {"a": 1}]}
    assert json.dumps(plain)
    assert [type(each) for each in plain["a"][:2]] == [str, int]


def test_doctor_shows_a_check_whose_text_would_raise() -> None:
    said = checks_of(lambda: Check(RudeText("a"), False, RudeText("b"), RudeText("c")))
    assert said == [Check("a", False, "b", "c")]
    assert type(said[0].found) is str


@pytest.mark.parametrize("make", [lambda: RudeCheck("a", True, "b"), lambda: Check.__new__(Check)])
def test_doctor_names_the_plugin_of_a_check_that_is_none(make: Callable[[], Any]) -> None:
    with capture_logs():
        (said,) = checks_of(make)
    assert said.name == "acme"
    assert not said.ok
    assert "plugin acme: doctor_checks of the network" in said.found


def checks_of(make: Callable[[], Any]) -> list[Check]:
    manager = PluginManager({"acme": Checking(make)})
    asked: Any = SimpleNamespace(
        snapshot=SimpleNamespace(manager=manager), node=SimpleNamespace(world=sample_world())
    )
    return list(plugin_checks(asked))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Problem(RudeText("pod a"), RudeText("has none")),
        lambda: Problem.__new__(Problem),
        leave,
    ],
)
def test_a_problem_that_raises_keeps_nobody_else_from_being_served(
    make: Callable[[], Any],
) -> None:
    harness = make_harness(Allocating(make))
    for number in (1, 2):
        harness.join(number)
    harness.become_leader()
    with capture_logs():
        harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}
    (told,) = harness.allocator.problems
    assert told == "pod a has none" or told.startswith("plugin ")


def test_values_have_plain_texts_and_numbers() -> None:
    reason = Refuse(RudeText("no")).reason
    rates = Rates(RudeNumber(1000))
    link = LinkSettings(mtu=RudeNumber(1400))
    metric = Metric(RudeText("a"), RudeText("b"), RudeNumber(1), {RudeText("c"): RudeText("d")})
    flow = SetField(register("SCRATCH"), RudeNumber(7))
    table = Table(RudeText("A"), RudeText("Is it?"), between=(RudeText("B"), RudeText("C")))
    texts = [reason, metric.name, *metric.labels, *metric.labels.values(), table.name]
    numbers = [rates.to_pod, link.mtu, metric.value, flow.value]
    assert {type(each) for each in (*texts, *(table.between or ()))} == {str}
    assert {type(each) for each in numbers} == {int}


def test_a_network_of_another_class_is_refused() -> None:
    with pytest.raises(TypeError, match=r"LinkSettings.routes: found .*expected a tuple of IPv4N"):
        LinkSettings(routes=[RudeNetwork("10.0.0.0/8")])


class Subclassed(Flow):
    """A flow of a class of its own."""


class Flowing:
    @hook
    def network_flows(self, view: View) -> Any:
        yield Subclassed(view.pipeline.tables[0], 1, any_packet())


def test_a_flow_of_another_class_is_named() -> None:
    manager = PluginManager({"mode": SingleTenant(), "acme": Flowing()})
    with capture_logs():
        failure = dict(manager.network_flows(manager.view(sample_world())))["acme"]
    assert isinstance(failure, Failure)
    assert failure.error.endswith("expected Flow")
