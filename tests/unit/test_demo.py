"""The demonstration believes nobody: a claim holds if the output bears it out, and then only."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from attrs import define, field
from rich.console import Console
from typer.testing import CliRunner

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs_lab.cli import demo as lab_demo
from k8s_ovs_lab.cli.commands import app
from k8s_ovs_lab.cli.demo_screen import DemoScreen
from k8s_ovs_lab.demo.play import (
    THIS_MACHINE,
    Act,
    Chapter,
    Claim,
    Outcome,
    Step,
    Verdict,
    all_of,
    every_line,
    lacks,
    matches,
    play,
    shows,
)
from k8s_ovs_lab.demo.script import script
from k8s_ovs_lab.demo.stage import LabStage
from k8s_ovs_lab.layout import Layout

LAYOUT = Layout("demo", Path("/run/k8s-ovs-demo"))


@define
class FakeStage:
    """Commands print what `outputs` says, one after the other; a K8sOvsError is raised."""

    outputs: dict[str, list[Outcome | K8sOvsError]] = field(factory=dict)
    typed: list[tuple[str, str]] = field(factory=list)
    done: list[str] = field(factory=list)

    def run(self, where: str, command: str, timeout: float, line: Callable[[str], None]) -> Outcome:
        self.typed.append((where, command))
        known = self.outputs.get(command, [Outcome("", 0)])
        outcome = known.pop(0) if len(known) > 1 else known[0]
        if isinstance(outcome, K8sOvsError):
            raise outcome
        for text in outcome.output.splitlines():
            line(text)
        return outcome

    def do(self, deed: str) -> None:
        self.done.append(deed)


class Watched(DemoScreen):
    """The screen as it is in a pipe, and what was on it."""

    def __init__(self) -> None:
        self.text = StringIO()
        super().__init__(Console(file=self.text))


def shown(stage: FakeStage, *steps: Step | Act) -> tuple[tuple[Verdict, ...], str]:
    screen = Watched()
    verdicts = play([Chapter("Test", "A chapter.", steps)], stage, screen)
    screen.summary(verdicts, 1.0)
    return verdicts, screen.text.getvalue()


def says(command: str, *outputs: str, status: int = 0) -> FakeStage:
    return FakeStage({command: [Outcome(output, status) for output in outputs]})


def test_a_claim_that_holds_gets_a_tick() -> None:
    step = Step("node1", "echo hello", (Claim("it is polite", shows("hello")),))
    verdicts, text = shown(says("echo hello", "hello"), step)
    assert [verdict.holds for verdict in verdicts] == [True]
    assert "node1 $ echo hello" in text
    assert "│ hello" in text
    assert "✓ it is polite" in text
    assert "All 1 claims hold" in text


def test_a_claim_that_does_not_hold_gets_a_cross_and_is_named_at_the_end() -> None:
    step = Step(THIS_MACHINE, "echo hi", (Claim("it is polite", shows("hello")),))
    verdicts, text = shown(says("echo hi", "hi"), step)
    assert [verdict.holds for verdict in verdicts] == [False]
    assert "✗ it is polite" in text
    assert "1 of 1 claims failed" in text
    assert "✗ Test: it is polite" in text


def test_a_command_that_fails_is_a_claim_that_does_not_hold() -> None:
    verdicts, text = shown(says("false", "", status=1), Step("node1", "false"))
    assert verdicts == (Verdict("Test", "this can be done: false", holds=False),)
    assert "(exit status 1, expected 0)" in text


def test_a_command_that_should_fail_and_does_not_is_a_claim_that_does_not_hold() -> None:
    step = Step("node1", "ping", (Claim("nothing arrives", shows("100%")),), fails=True)
    verdicts, _ = shown(says("ping", "100%"), step)
    assert [verdict.holds for verdict in verdicts] == [True, False]


def test_a_command_without_an_end_is_a_cross_and_the_others_go_on() -> None:
    stage = FakeStage({"hang": [TimedOut("no end within 60 s")]})
    verdicts, text = shown(
        stage, Step(THIS_MACHINE, "hang"), Step(THIS_MACHINE, "go", (Claim("b", shows("")),))
    )
    assert [verdict.holds for verdict in verdicts] == [False, True]
    assert "no end within 60 s" in text


def test_nothing_follows_a_vital_step_that_fails() -> None:
    stage = says("up", "", status=1)
    shown(stage, Step(THIS_MACHINE, "up", vital=True), Step(THIS_MACHINE, "next"))
    assert stage.typed == [(THIS_MACHINE, "up")]


def test_what_a_step_keeps_appears_in_later_commands_and_claims() -> None:
    stage = FakeStage({"run": [Outcome("172.11.0.2\n", 0)], "ping 172.11.0.2": [Outcome("ok", 0)]})
    verdicts, _ = shown(
        stage,
        Step(THIS_MACHINE, "run", keep="web"),
        Step("node1", "ping $web", (Claim("$web answers", shows("ok")),)),
    )
    assert stage.typed[-1] == ("node1", "ping 172.11.0.2")
    assert verdicts[-1].text == "172.11.0.2 answers"


def test_a_step_whose_values_are_missing_is_a_cross() -> None:
    stage = FakeStage({"run": [Outcome("no number", 0)]})
    verdicts, text = shown(
        stage, Step(THIS_MACHINE, "run", keep="web", find=r"(\d+)"), Step("node1", "ping $web")
    )
    assert [verdict.holds for verdict in verdicts] == [False, False]
    assert "web is not known" in text


def test_a_step_that_may_take_time_is_typed_until_its_claims_hold() -> None:
    stage = says("get", "", "", "there")
    verdicts, text = shown(stage, Step("node1", "get", (Claim("x", shows("there")),), within=30))
    assert [verdict.holds for verdict in verdicts] == [True]
    assert text.count("node1 $ get") == 1
    assert len(stage.typed) == 3


def test_a_step_that_takes_too_long_is_a_cross() -> None:
    step = Step("node1", "get", (Claim("x", shows("there")),), within=0.01)
    verdicts, _ = shown(says("get", ""), step)
    assert [verdict.holds for verdict in verdicts] == [False]


def test_a_step_during_an_act_is_judged_by_all_that_was_printed() -> None:
    stage = says("ping", "0% lost")
    step = Step(
        "web", "ping", (Claim("none", every_line("0% lost")),), during=Act("restart", "restart")
    )
    verdicts, text = shown(stage, step)
    assert stage.done == ["restart"]
    assert [verdict.holds for verdict in verdicts] == [True]
    assert "(meanwhile: restart)" in text


@pytest.mark.parametrize(
    ("predicate", "output", "holds"),
    [
        (shows("a", "$x"), "a b", True),
        (shows("a", "$x"), "a", False),
        (lacks("a", "$x"), "c", True),
        (lacks("a", "$x"), "b", False),
        (matches(r"^\d+$"), "12", True),
        (matches(r"^\d+$"), "12a", False),
        (all_of(shows("a"), lacks("$x")), "a", True),
        (all_of(shows("a"), lacks("$x")), "ab", False),
        (every_line("$x"), "b1\nb2", True),
        (every_line("$x"), "b1\nc2", False),
        (every_line("$x"), "", False),
    ],
)
def test_predicates_say_what_their_names_say(
    predicate: Callable[[str, dict[str, str]], bool], output: str, holds: bool
) -> None:
    assert predicate(output, {"x": "b"}) is holds


def test_a_terminal_without_unicode_gets_words() -> None:
    stream = TextIOWrapper(BytesIO(), encoding="ascii")
    screen = DemoScreen(Console(file=stream))
    screen.verdict(Verdict("Test", "fine", holds=True))
    screen.verdict(Verdict("Test", "broken", holds=False))
    stream.seek(0)
    assert stream.read().split() == ["ok", "fine", "FAILED", "broken"]


def steps() -> Sequence[tuple[Chapter, Step | Act]]:
    return [(chapter, step) for chapter in script(LAYOUT) for step in chapter.steps]


def test_the_script_uses_only_what_earlier_steps_keep() -> None:
    known: set[str] = set()
    for _, step in steps():
        if isinstance(step, Act):
            continue
        assert set(re.findall(r"\$(\w+)", step.command)) <= known, step.command
        known |= {step.keep} - {""}
        for claim in step.claims:
            claim.holds("", dict.fromkeys(known, "x"))


def test_no_claim_of_the_script_holds_for_a_command_that_printed_an_error() -> None:
    measured = {step.keep: "x" for _, step in steps() if isinstance(step, Step)}
    trusting = [
        claim.text
        for _, step in steps()
        if isinstance(step, Step)
        for claim in step.claims
        if claim.holds("sh: 1: not found", measured)
    ]
    # These say that something is gone; the exit status says whether the question was answered.
    assert trusting == [
        "its subnet is free again",
        "the switch has exactly the desired flows",
    ]


def test_the_stage_can_do_all_that_the_script_asks_for() -> None:
    acts = [step for _, step in steps() if isinstance(step, Act)]
    acts += [step.during for _, step in steps() if isinstance(step, Step) and step.during]
    assert {act.do for act in acts} == set(LabStage(LAYOUT).deeds)


def test_the_stage_tells_what_a_command_prints_and_its_status() -> None:
    lines: list[str] = []
    outcome = LabStage(LAYOUT).run(THIS_MACHINE, "echo a; echo b >&2; exit 3", 10, lines.append)
    assert lines == ["a", "b"]
    assert outcome == Outcome("a\nb", 3)


def test_the_stage_ends_a_command_that_does_not_end() -> None:
    with pytest.raises(TimedOut, match=r"no end within 0\.2 s"):
        LabStage(LAYOUT).run(THIS_MACHINE, "sleep 60 | cat", 0.2, lambda _: None)


@pytest.mark.parametrize(
    ("verdict", "status"), [(Verdict("a", "b", True), 0), (Verdict("a", "b", False), 1)]
)
def test_the_command_exits_with_what_the_claims_come_to(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict, status: int
) -> None:
    torn_down = stub_lab(monkeypatch, lambda *_: (verdict,))
    assert CliRunner().invoke(app, ["demo"]).exit_code == status
    assert torn_down == ["demo", "demo"]


def test_the_lab_is_removed_when_the_user_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> tuple[Verdict, ...]:
        raise KeyboardInterrupt

    torn_down = stub_lab(monkeypatch, interrupted)
    assert CliRunner().invoke(app, ["demo"]).exit_code == 130
    assert torn_down == ["demo", "demo"]


def test_the_lab_stays_when_the_user_wants_to_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torn_down = stub_lab(monkeypatch, lambda *_: (Verdict("a", "b", True),))
    result = CliRunner().invoke(app, ["demo", "--keep"])
    assert torn_down == ["demo"]
    assert "k8s-ovs lab down --name demo" in result.output


def stub_lab(
    monkeypatch: pytest.MonkeyPatch, playing: Callable[..., tuple[Verdict, ...]]
) -> list[str]:
    """Let the command play `playing` on no lab at all; which labs it removed."""
    torn_down: list[str] = []

    monkeypatch.setattr(lab_demo, "play", playing)
    monkeypatch.setattr(lab_demo, "tear_down", lambda layout, _: torn_down.append(layout.name))
    monkeypatch.setattr(lab_demo.signal, "signal", lambda *_: None)
    return torn_down
