"""An author makes a mistake and reads what it is, where in his code, and what was expected."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

import pytest
from attrs import field, frozen
from structlog.testing import capture_logs
from tests.unit.made_up import Install

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks import calls, time_limit
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs_testing.plugin.check import check_plugin

NAME = "acme-audit"
HEAD = """
from k8s_ovs.plugin import *

AUDIT = Table("AUDIT", "May it?", between=("POD_IN", "ROUTE"))

"""


@frozen
class Mistake:
    """what, expected: what the message says. The line with `# here` is where it is; the whole
    module, or the body of the class. loads: the plugin fails only when it is asked."""

    source: str
    what: str
    expected: str
    loads: bool = True
    module: bool = False
    records: Mapping[str, str] = field(factory=dict)

    @property
    def text(self) -> str:
        """The module."""
        own = textwrap.dedent(self.source)
        if self.module:
            return HEAD + own
        return HEAD + "class Plugin:\n" + textwrap.indent(own, "    ")

    @property
    def line(self) -> int:
        """Where the mistake is; the first line of the file where no line is wrong."""
        lines = self.text.splitlines()
        return next((number for number, each in enumerate(lines, 1) if "# here" in each), 1)


TABLES = """
@hook
def tables(self):
    return [AUDIT]

"""
KINDS = """
@hook  # here
def kinds(self):
    return [RecordKind("{name}", lambda key, data: data, bytes)]
"""
MISTAKES = {
    "a table that nobody declares": Mistake(
        """
        @hook  # here
        def pod_flows(self, view, pod):
            yield Flow(AUDIT, 1, ip())
        """,
        what="no table named AUDIT is in the pipeline",
        expected="expected one of CLASSIFY, TUNNEL_IN,",
    ),
    "a hop that the table does not have": Mistake(
        TABLES
        + """
@hook
def pod_flows(self, view, pod):
    yield Flow(AUDIT, 1, ip(), [Goto("SERVICE")])  # here
""",
        what="table AUDIT does not declare a hop to SERVICE",
        expected="expected ROUTE",
    ),
    "a table between two that do not meet": Mistake(
        """
        @hook  # here
        def tables(self):
            return [Table("AUDIT", "May it?", between=("POD_IN", "REMOTE"))]
        """,
        what="table AUDIT: no packet goes from POD_IN to REMOTE",
        expected="expected ROUTE or ARP",
        loads=False,
    ),
    "a table of the core's name": Mistake(
        """
        @hook  # here
        def tables(self):
            return [Table("ROUTE", "May it?", between=("POD_IN", "ROUTE"))]
        """,
        what="table ROUTE: there is one of this name already",
        expected="expected another name",
        loads=False,
    ),
    "an unmarked hook": Mistake(
        "def pod_flows(self, view, pod):  # here\n    return []",
        what="pod_flows is not marked as a hook",
        expected="expected @hook above it",
        loads=False,
    ),
    "an unmarked hook below Hooks": Mistake(
        """
        class Plugin(Hooks):
            def pod_flows(self, view, pod):  # here
                return []
        """,
        what="pod_flows is not marked as a hook",
        expected="expected @hook above it",
        loads=False,
        module=True,
    ),
    "a misspelt hook": Mistake(
        "@hook  # here\ndef pods_flow(self, view, pod):\n    return []",
        what="unknown hook 'pods_flow'",
        expected="expected pod_flows",
        loads=False,
    ),
    "a wrong signature": Mistake(
        "@hook  # here\ndef pod_flows(self, view, node):\n    return []",
        what="pod_flows takes node",
        expected="expected pod_flows(self, view, pod) or fewer of these",
        loads=False,
    ),
    "a hook that is a coroutine": Mistake(
        "@hook  # here\nasync def pod_flows(self, view, pod):\n    return []",
        what="pod_flows is a coroutine (async def)",
        expected="expected a function that returns",
        loads=False,
    ),
    "another version of the API": Mistake(
        """
        class Plugin(Hooks):  # here
            api_version = "2.1"
        """,
        what="api_version: found '2.1'",
        expected='expected "1" or "1.0"',
        loads=False,
        module=True,
    ),
    "a value of another type": Mistake(
        "@hook  # here\ndef pod_flows(self, view, pod):\n    return ['drop']",
        what="pod_flows of pod default/pod1: returned 'drop'",
        expected="expected Flow",
    ),
    "too many values": Mistake(
        """
        @hook  # here
        def pod_flows(self, view, pod):
            while True:
                yield Flow(VERDICT, 1, ip())
        """,
        what="returned more than 1000 values",
        expected="expected fewer",
    ),
    "an exception": Mistake(
        "@hook\ndef pod_link(self, view, pod):\n    return {}[pod.name]  # here",
        what="pod_link of pod default/pod1: KeyError('pod1')",
        expected="expected LinkSettings",
    ),
    "SystemExit": Mistake(
        "@hook\ndef admit_pod(self, view, request):\n    raise SystemExit(3)  # here",
        what="admit_pod of pod default/new: SystemExit(3)",
        expected="expected Refuse or Wait",
    ),
    "a generator that raises halfway": Mistake(
        """
        @hook
        def pod_flows(self, view, pod):
            yield Flow(VERDICT, 1, ip())
            raise ValueError("no ink")  # here
        """,
        what="pod_flows of pod default/pod1: ValueError('no ink')",
        expected="expected Flow",
    ),
    "an endless loop": Mistake(
        """
        @hook
        def network_flows(self, view):
            while True: pass  # here
        """,
        what="network_flows of the network: did not return",
        expected="within 0.2 s",
    ),
    "a status that is not JSON": Mistake(
        "@hook  # here\ndef status(self, view):\n    return {'pods': {1, 2}}",
        what="status of the network: returned {1, 2} as 'pods'",
        expected="expected a value of JSON",
    ),
    "an unhashable argument": Mistake(
        "@hook\ndef network_flows(self, view):\n    view.ask(len, ['red'])  # here",
        what="view.ask: found (['red'],)",
        expected="expected hashable arguments",
    ),
    "an unhashable index": Mistake(
        """
        def labels(value):  # here
            return [["red"]]

        class Plugin:
            @hook
            def kinds(self):
                return [RecordKind("audits", lambda key, data: 7, bytes, {"label": labels})]
        """,
        what="plugin acme-audit cannot judge 7: an index of audits returned (['red'],)",
        expected="expected hashable values",
        module=True,
        records={"audits/red": "{}"},
    ),
    "a record that cannot be read": Mistake(
        """
        @hook
        def kinds(self):
            return [RecordKind("audits", self.read, bytes)]

        def read(self, key, data):
            return data["Silent"]  # here
        """,
        what="k8ssdn/audits/red: plugin acme-audit cannot read it: TypeError(",
        expected="byte indices must be integers or slices",
        records={"audits/red": "{}"},
    ),
    "a field that does not exist": Mistake(
        "@hook\ndef network_flows(self, view):\n    ip(ip_source=7)  # here",
        what="no field is named ip_source",
        expected="expected ip_src",
    ),
    "a field's value of another type": Mistake(
        "@hook\ndef network_flows(self, view):\n    SetField(FIELDS['reg3'], 1.5)  # here",
        what="SetField.value: found 1.5",
        expected="expected int",
    ),
    "a register that does not exist": Mistake(
        "@hook\ndef network_flows(self, view):\n    register('MINE')  # here",
        what="no register named MINE",
        expected="it has SRC_TENANT",
    ),
    "records of the core's name": Mistake(
        KINDS.format(name="pods"),
        what='records named "pods" are declared already',
        expected="expected another name",
        loads=False,
    ),
    "a field of the configuration that there is": Mistake(
        """
        @hook  # here
        def config_fields(self):
            return [ConfigField("MTU", lambda value: True, "anything")]
        """,
        what='the field "MTU" of the configuration is declared already',
        expected="expected another name",
        loads=False,
    ),
    "records that nobody declares": Mistake(
        "@hook  # here\ndef network_flows(self, view):\n    view.get('audit', 'red')",
        what="looked at records named 'audit'",
        expected="expected one of config, connected, deleted,",
    ),
    "an index that nobody declares": Mistake(
        "@hook  # here\ndef network_flows(self, view):\n    view.having('subnets', 'zone', 'a')",
        what="looked at subnets by the index 'zone'",
        expected="expected one of held in",
    ),
    "a hook that keeps state": Mistake(
        """
        from itertools import count

        counter = count(1)

        @hook  # here
        def pod_flows(self, view, pod):
            yield Flow(VERDICT, next(self.counter), ip())
        """,
        what="returned something else the second time",
        expected="expected the same for the same view",
    ),
    "two flows of one match": Mistake(
        TABLES
        + """
@hook  # here
def network_flows(self, view):
    yield Flow(AUDIT, 1, ip())
    yield Flow(AUDIT, 1, ip(), [Goto("ROUTE")])
""",
        what="a flow has the same table, priority and match as one of acme-audit",
        expected="expected another priority or match",
    ),
    "an attribute that raises": Mistake(
        "@property\ndef pod_flows(self):\n    raise RuntimeError('not yet')  # here",
        what="RuntimeError('not yet')",
        expected="expected methods marked with @hook",
        loads=False,
    ),
    "an import that fails": Mistake(
        "import no_such_module  # here",
        what="No module named 'no_such_module'",
        expected="expected a class at made_up_",
        loads=False,
        module=True,
    ),
    "an import that leaves": Mistake(
        "raise SystemExit(3)  # here",
        what='plugin "acme-audit"',
        expected="does not load: SystemExit(3), expected a class at made_up_",
        loads=False,
        module=True,
    ),
    "a syntax error": Mistake(
        "class Plugin  # here",
        what="SyntaxError(",
        expected="\"expected ':'\"",
        loads=False,
        module=True,
    ),
    "a module without the class": Mistake(
        "class Other: pass",
        what="has no attribute 'Plugin'",
        expected="expected a class at made_up_",
        loads=False,
        module=True,
    ),
    "a class that needs an argument": Mistake(
        "class Plugin:\n    def __init__(self, level): pass",
        what="missing 1 required positional argument: 'level'",
        expected="that can be made without arguments",
        loads=False,
        module=True,
    ),
}


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What does not end is ended soon."""
    monkeypatch.setattr(calls, "_MOST_RESULTS", 1000)
    monkeypatch.setattr(time_limit, "_LOOK_EVERY", 0.05)
    monkeypatch.setattr(time_limit.LIMIT, "seconds", 0.2)
    # pytest-timeout has SIGALRM for itself; another signal does the same here.
    monkeypatch.setattr(time_limit.signal, "SIGALRM", time_limit.signal.SIGUSR1)
    time_limit.LIMIT.watch()
    yield
    time_limit.LIMIT.stop()


def told(mistake: Mistake) -> str:
    """What `k8s-ovs plugin check` says first."""
    with capture_logs():
        try:
            checked, _ = check_plugin(NAME, mistake.records)
        except PluginError as error:
            assert not mistake.loads
            return str(error)
    assert mistake.loads
    return checked.mistakes[0]


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("case", MISTAKES)
def test_an_author_reads_what_where_and_what_was_expected(case: str, install: Install) -> None:
    mistake = MISTAKES[case]
    file = install(mistake.text, (NAME,))
    text = told(mistake)
    assert NAME in text
    assert mistake.what in text
    assert f"({file}:{mistake.line})" in text
    assert mistake.expected in text


@pytest.mark.parametrize("case", [case for case, each in MISTAKES.items() if not each.loads])
def test_a_daemon_says_the_same_of_what_does_not_load(case: str, install: Install) -> None:
    mistake = MISTAKES[case]
    file = install(mistake.text, (NAME,))
    with capture_logs(), pytest.raises(PluginError) as refused:
        load_plugins(f"k8s-ovs-subnet,{NAME}")
    text = str(refused.value)
    for part in (NAME, mistake.what, f"({file}:{mistake.line})", mistake.expected):
        assert part in text
