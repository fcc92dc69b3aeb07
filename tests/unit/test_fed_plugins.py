"""A plugin whose hooks return or raise anything is named; the other plugins' results are all there.

Left out: values of the right class that carry such a part, and KeyboardInterrupt, which is a
person's.
"""

from __future__ import annotations

import io
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.any_values import JSON

from k8s_ovs.cli.host import node as node_command
from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.hooks.time_limit import HookTimeout
from k8s_ovs.node.tell.metrics import Metrics
from k8s_ovs.node.tell.status_file import status_json
from k8s_ovs.pipeline.tables import EXTERNAL
from k8s_ovs.plugin import (
    Flow,
    LinkSettings,
    Meter,
    Metric,
    Note,
    Output,
    Pod,
    PodRequest,
    View,
    hook,
    ip,
)
from k8s_ovs.plugin.hooks import Hooks
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.node_state import sample_state
from k8s_ovs_testing.world import sample_pod, sample_world


class Broken(BaseException):
    """Says nothing of itself, not even whether it is another one."""

    def __repr__(self) -> str:
        raise Broken

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise Broken

    def __hash__(self) -> int:
        raise Broken


def _breaks(*_: Any, **__: Any) -> Any:
    raise Broken


_SPECIAL = ["__eq__", "__hash__", "__repr__", "__str__", "__len__", "__iter__", "__bool__"]
_SPECIAL += ["__format__", "__getitem__", "__lt__", "__index__", "__contains__", "__getattr__"]


def broken(kind: type, *given: Any) -> Any:
    """A value of a class below `kind` of which nothing works."""
    return type("Broken", (kind,), dict.fromkeys(_SPECIAL, _breaks))(*given)


class SaysNoText:
    """Its repr is a text of which nothing works."""

    def __repr__(self) -> str:
        text: str = broken(str, "x" * 1000)
        return text


def sly(number: int) -> Any:
    """A number that can be compared and does nothing else."""
    compared = dict.fromkeys(["__lt__", "__bool__", "__index__", "__format__", "__getattr__"])
    members = {name: _breaks for name in (*_SPECIAL, "to_bytes") if name not in compared}
    return type("Sly", (int,), members)(number)


def recursive() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def breaks_off(value: Any, error: BaseException) -> Iterator[Any]:
    yield value
    raise error


@contextmanager
def nothing_gets_out() -> Iterator[None]:
    """Whatever a plugin raises stays within; the test's own tool could not show it either."""
    out = ""
    try:
        yield
    except AssertionError:
        raise
    except BaseException as error:
        out = f"{type(error).__name__}:\n{''.join(traceback.format_tb(error.__traceback__))}"
    assert not out, out


FLOW = Flow(EXTERNAL, 7, ip())
VALUES: st.SearchStrategy[Callable[[], Any]] = st.sampled_from(
    [
        *(lambda kind=kind: broken(kind) for kind in (object, str, int, list, dict, bytes, float)),
        *(lambda kind=kind: [broken(kind)] for kind in (object, str, int)),
        SaysNoText,
        lambda: {1, 2},
        lambda: ValueError,
        lambda: [SaysNoText()],
        recursive,
        lambda: {1: recursive()},
        lambda: range(10**9),
        lambda: 10**5000,
        lambda: [FLOW, "x" * 10**6],
        lambda: (FLOW, Flow),
        lambda: type("Sub", (Flow,), {})(EXTERNAL, 8, ip()),
        lambda: [Flow(EXTERNAL, sly(7), ip(in_port=sly(5)), [Meter(sly(1), sly(1), sly(1))])],
        lambda: [Flow(EXTERNAL, 7, ip(), (Output(sly(3)), Note(broken(bytes, b"x"))))],
    ]
) | JSON.map(lambda value: lambda: value)
ERRORS: st.SearchStrategy[Callable[[], BaseException]] = st.sampled_from(
    [
        Broken,
        SystemExit,
        GeneratorExit,
        StopIteration,
        HookTimeout,
        MemoryError,
        RecursionError,
        lambda: ExceptionGroup("many", [ValueError(broken(str))]),
        lambda: ValueError(SaysNoText()),
        lambda: KeyError(recursive()),
        lambda: PluginError(broken(str, "word")),
    ]
)


def _returns(make: Callable[[], Any]) -> Callable[[], Any]:
    return make


def _raises(make: Callable[[], BaseException]) -> Callable[[], Any]:
    def fail() -> Any:
        raise make()

    return fail


def _breaks_off(made: tuple[Callable[[], Any], Callable[[], BaseException]]) -> Callable[[], Any]:
    return lambda: breaks_off(made[0](), made[1]())


DOINGS = VALUES.map(_returns) | ERRORS.map(_raises) | st.tuples(VALUES, ERRORS).map(_breaks_off)
HOOKS = ["network_flows", "node_flows", "pod_flows", "tenant_flows", "pod_link", "admit_pod"]
HOOKS += ["allocations", "metrics", "doctor_checks", "commands"]
DECLARED = ["tables", "kinds", "resources", "config_fields"]


def _wrong_status(value: Any) -> Callable[[], Any]:
    return lambda: [value]


def plugin_of(doings: dict[str, Callable[[], Any]]) -> object:
    """A plugin with these hooks, with the arguments that each may have."""

    def method(name: str) -> Any:
        arguments = ", ".join(Hooks.__dict__[name].__code__.co_varnames)
        made = eval(f"lambda {arguments}: done()", {"done": doings[name]})  # noqa: S307 - our words
        return hook(made)

    return type("Plugin", (), {name: method(name) for name in doings})()


class Sound:
    """Another plugin, which is asked after it."""

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterator[Flow]:
        yield Flow(EXTERNAL, 9, ip(ip_dst=pod.ip))

    @hook
    def pod_link(self, view: View, pod: Pod) -> LinkSettings:
        return LinkSettings(mtu=1400)

    @hook
    def status(self, view: View) -> dict[str, int]:
        return {"works": 1}

    @hook
    def metrics(self, view: View) -> list[Metric]:
        return [Metric("works", "It does.", 1)]


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The daemon's own log, written in full."""
    written = io.StringIO()
    monkeypatch.setattr(node_command.sys, "stderr", written)
    before = structlog.get_config()
    node_command._set_up_log("debug", "text")
    structlog.configure(cache_logger_on_first_use=False)
    yield written
    structlog.configure(**before)


def sound_flows(reconciler: Reconciler) -> int:
    return sum(flow.flow.priority == 9 for flow, _ in reconciler.desired.flows())


@settings(max_examples=150, deadline=None, database=None)
@given(
    doings=st.fixed_dictionaries(
        dict.fromkeys(HOOKS, DOINGS) | {"status": ERRORS.map(_raises) | JSON.map(_wrong_status)}
    )
)
def test_whatever_a_plugins_hooks_do_the_others_results_are_there(
    doings: dict[str, Callable[[], Any]],
) -> None:
    plugins = {"mode": SingleTenant(), "acme": plugin_of(doings), "sound": Sound()}
    with nothing_gets_out():
        look_at_all(PluginManager(plugins))


def look_at_all(manager: PluginManager) -> None:
    """Ask for everything that a daemon does. The plugin acme does anything, sound is sound."""
    reconciler = Reconciler(manager, sample_world())
    texts = reconciler.compute()
    assert all(text.startswith("plugin acme: ") for text in texts)
    assert sound_flows(reconciler) == 2
    assert {each.mtu for each in reconciler.links.take_changed().values()} == {1400}
    view, pod = manager.view(reconciler.world), sample_pod(1)
    request = PodRequest("default", "pod1", "", "c", "eth0")
    for results in (
        manager.admit_pod(view, request),
        manager.doctor_checks(view),
        manager.commands(),
        [(name, manager.allocations(name, view)) for name in manager.allocators],
        manager.pod_link(view, pod),
    ):
        named = [str(result) for plugin, result in results if isinstance(result, Failure)]
        assert all(text.startswith("plugin acme: ") for text in named)
    state = sample_state(manager=manager, world=reconciler.world)
    assert json.loads(json.dumps(status_json(state, state.plugin_status())))["of_plugins"][
        "sound"
    ] == {"works": 1}
    page = [sample for family in Metrics(state).registry.collect() for sample in family.samples]
    assert [each.value for each in page if each.name == "k8s_ovs_plugin_works"] == [1]


@settings(max_examples=60, deadline=None, database=None)
@given(doing=DOINGS, name=st.sampled_from(["tenant_of", "vni_of"]))
def test_a_mode_that_says_anything_is_named_and_what_needs_no_tenant_is_there(
    doing: Callable[[], Any], name: str
) -> None:
    mode = plugin_of({"tenant_of": lambda: 0} | {name: doing})
    reconciler = Reconciler(PluginManager({"mode": mode, "sound": Sound()}), sample_world())
    with nothing_gets_out():
        texts = reconciler.compute()
    assert all(text.startswith("plugin mode: ") for text in texts)
    assert sound_flows(reconciler) in {0, 2}  # of a pod without a tenant there are none
    assert {each.mtu for each in reconciler.links.take_changed().values()} == {1400}


@settings(max_examples=60, deadline=None, database=None)
@given(st.dictionaries(st.sampled_from(DECLARED), DOINGS, min_size=1))
def test_a_plugin_that_declares_anything_is_read_or_refused_by_name(
    doings: dict[str, Callable[[], Any]],
) -> None:
    told = ""
    with nothing_gets_out():
        try:
            PluginManager({"mode": SingleTenant(), "acme": plugin_of(doings)})
        except PluginError as error:
            told = str(error)
    assert not told or "plugin acme: " in told
