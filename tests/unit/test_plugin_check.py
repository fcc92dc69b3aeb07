"""`k8s-ovs plugin check`: what it prints of a plugin, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.made_up import Install
from typer.testing import Result

from k8s_ovs_testing.plugin import commands

Cli = Callable[..., Result]

SOUND = """
from functools import partial

from attrs import field, frozen
from k8s_ovs.plugin import *


@frozen
class Order:
    silent: bool = named("Silent", default=False)
    extra: dict = field(factory=dict)


class Plugin:
    @hook
    def tenant_of(self, view, pod):
        return 7

    @hook
    def kinds(self):
        return [RecordKind("audits", partial(decode, Order), encode)]

    @hook
    def resources(self):
        return [KubeResource("spaces", "/api/v1/namespaces", lambda key, found: found["name"])]

    @hook
    def tenant_flows(self, view, tenant):
        yield Flow(VERDICT, tenant, ip(ct_mark=len(view.all("audits"))))

    @hook
    def status(self, view):
        return {"spaces": list(view.all("spaces").values())}

    @hook
    def admit_pod(self, view, request):
        return Wait("the auditor")
"""


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-timeout has SIGALRM for itself."""
    monkeypatch.setattr(commands.LIMIT, "watch", lambda: None)
    monkeypatch.setattr(commands.LIMIT, "stop", lambda: None)


@pytest.fixture
def switch_says(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a switch says to the flows, in place of a real one."""
    says: list[Any] = [[]]
    monkeypatch.setattr(commands, "_switch_says", lambda node: says[0])
    return says


def rows(shown: Result) -> list[list[str]]:
    """The table of hooks, without times."""
    lines = shown.stdout.partition("RESULT\n")[2].partition("\n\n")[0].splitlines()
    return [[each for each in line.split("  ") if each and "ms" not in each] for line in lines]


@pytest.mark.usefixtures("switch_says")
def test_it_shows_what_each_hook_says(install: Install, k8s_ovs: Cli) -> None:
    install(SOUND, ("acme-mode",))
    given = ["--record", 'audits/red={"Silent":true}', "--object", 'spaces/red={"name":"Red"}']
    shown = k8s_ovs("plugin", "check", "acme-mode", *given)
    assert shown.exit_code == 0
    assert shown.stdout.startswith("plugin acme-mode, a mode, plugin API 1.0\n")
    said = [[each.strip() for each in row] for row in rows(shown)]
    assert ["tenant_of", "pod default/pod1", "7"] in said
    assert ["kinds", "this plugin", "audits"] in said
    assert ["tenant_flows", "tenant 7", "1 flow"] in said
    assert ["status", "the network", "{'spaces': ['Red']}"] in said
    assert ["admit_pod", "pod default/new", "Wait(reason='the auditor')"] in said
    assert "table=VERDICT,priority=7,ip,ct_mark=0x1 actions=drop\n" in shown.stdout
    assert shown.stdout.endswith("no mistakes; Open vSwitch takes the flows\n")


@pytest.mark.usefixtures("switch_says")
def test_it_is_json_for_programs(install: Install, k8s_ovs: Cli) -> None:
    install(SOUND, ("acme-mode",))
    found = json.loads(k8s_ovs("plugin", "check", "acme-mode", "-o", "json").stdout)
    assert found["plugin"] == "acme-mode"
    assert found["is_mode"] is True
    assert found["mistakes"] == []
    assert {each["hook"] for each in found["answers"]} == {
        "tenant_of", "kinds", "resources", "tenant_flows", "status", "admit_pod"
    }  # fmt: skip


def test_a_mistake_ends_it_with_1(install: Install, k8s_ovs: Cli, switch_says: list[Any]) -> None:
    file = install(SOUND.replace("return 7", "return -7"), ("acme-mode",))
    shown = k8s_ovs("plugin", "check", "acme-mode")
    assert shown.exit_code == 1
    assert "mistake: plugin acme-mode: " in shown.stdout
    assert "returned -7, expected 0 to 16777215" in shown.stdout
    assert f"({file}:" in shown.stdout
    switch_says[0] = ["Open vSwitch: no"]
    install(SOUND, ("acme-other",))
    shown = k8s_ovs("plugin", "check", "acme-other")
    assert shown.exit_code == 1
    assert shown.stdout.endswith("mistake: Open vSwitch: no\n")


def test_without_a_switch_it_says_so(
    install: Install, k8s_ovs: Cli, switch_says: list[Any]
) -> None:
    install(SOUND, ("acme-mode",))
    switch_says[0] = None
    shown = k8s_ovs("plugin", "check", "acme-mode")
    assert shown.exit_code == 0
    assert "Open vSwitch is not installed here, the flows were not tried" in shown.stdout


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["no-such"], 'no plugin "no-such" is installed; installed are '),
        (["acme-mode", "--record", "audits"], "--record: found 'audits', expected KIND/KEY=JSON"),
        (["acme-mode", "--record", "a/b={}"], "record a/b: expected KIND/KEY, kinds are audits"),
        (
            ["acme-mode", "--object", "spaces/a=7"],
            "--object spaces/a: found 7, expected a JSON obj",
        ),
        (["acme-mode", "--object", "spaces/a={"], "--object spaces/a: not JSON"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str], error: str, install: Install, k8s_ovs: Cli
) -> None:
    install(SOUND, ("acme-mode",))
    shown = k8s_ovs("plugin", "check", *words)
    assert shown.exit_code == 1
    assert shown.stderr.startswith("error: ")
    assert error in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_an_invalid_record_is_a_mistake(install: Install, k8s_ovs: Cli) -> None:
    install(SOUND, ("acme-mode",))
    shown = k8s_ovs("plugin", "check", "acme-mode", "--record", 'audits/red={"Silent":7}')
    assert shown.exit_code == 1
    assert "mistake: k8ssdn/audits/red: Silent: found 7, expected true or false" in shown.stdout
