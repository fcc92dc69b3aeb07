"""A demonstration: commands in places of a lab, and what is claimed of what they print.

What is shown is data (`script.py`); `play` runs it, against any `Stage` and `Screen`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from string import Template
from typing import Protocol, TypeAlias

from attrs import frozen

from k8s_ovs.errors import K8sOvsError

__all__ = [
    "THIS_MACHINE",
    "Act",
    "Chapter",
    "Claim",
    "Measured",
    "Outcome",
    "Screen",
    "Stage",
    "Step",
    "Verdict",
    "all_of",
    "every_line",
    "lacks",
    "matches",
    "play",
    "shows",
]

#: The place of commands that are typed on this machine itself.
THIS_MACHINE = ""

#: The values that steps have kept, by name. Commands, claims and texts refer to them by `$name`.
Measured: TypeAlias = Mapping[str, str]

_PAUSE = 0.3


@frozen
class Outcome:
    """What a command printed, and its exit status."""

    output: str
    status: int


@frozen
class Claim:
    """A sentence, and whether some output confirms it."""

    text: str
    holds: Callable[[str, Measured], bool]


@frozen
class Act:
    """Something that is done to the lab and is no command; `do` is the name of the stage's deed."""

    text: str
    do: str


@frozen
class Step:
    """A command as a person types it at `where`, and the claims about its output.

    keep: the name of the value that the output becomes, or, with `find`, the group of that pattern
    in it. fails: it is expected to fail. within: seconds for which it is typed again until the
    claims hold. timeout: seconds for the command. during: what happens while it runs; it is typed
    again until that is over. vital: nothing that follows works without it.
    """

    where: str
    command: str
    claims: tuple[Claim, ...] = ()
    keep: str = ""
    find: str = r"(?s)^\s*(.*?)\s*$"
    fails: bool = False
    within: float = 0.0
    timeout: float = 60.0
    during: Act | None = None
    vital: bool = False


@frozen
class Chapter:
    """Steps that show one thing."""

    title: str
    text: str
    steps: tuple[Step | Act, ...]


@frozen
class Verdict:
    """A claim of a chapter, and whether it holds."""

    chapter: str
    text: str
    holds: bool


class Stage(Protocol):
    """Where commands run and deeds are done. Methods raise K8sOvsError."""

    def run(
        self, where: str, command: str, timeout: float, line: Callable[[str], None]
    ) -> Outcome: ...

    def do(self, deed: str) -> None: ...


class Screen(Protocol):
    """Where a person watches."""

    def chapter(self, number: int, chapter: Chapter) -> None: ...

    def command(self, where: str, command: str) -> None: ...

    def act(self, text: str) -> None: ...

    def line(self, text: str) -> None: ...

    def verdict(self, verdict: Verdict) -> None: ...

    def waiting(self, what: str) -> AbstractContextManager[None]: ...


def shows(*texts: str) -> Callable[[str, Measured], bool]:
    """All of the texts are in the output."""
    return lambda output, measured: all(_filled(text, measured) in output for text in texts)


def lacks(*texts: str) -> Callable[[str, Measured], bool]:
    """None of the texts is in the output."""
    return lambda output, measured: not any(_filled(text, measured) in output for text in texts)


def matches(pattern: str) -> Callable[[str, Measured], bool]:
    """The pattern, which contains no kept values, is found in the output."""
    return lambda output, _: re.search(pattern, output) is not None


def all_of(*predicates: Callable[[str, Measured], bool]) -> Callable[[str, Measured], bool]:
    """Each of the predicates holds."""
    return lambda output, measured: all(holds(output, measured) for holds in predicates)


def every_line(text: str) -> Callable[[str, Measured], bool]:
    """There is output, and the text is in each line of it."""
    return lambda output, measured: (
        bool(output.strip())
        and all(_filled(text, measured) in line for line in output.strip().splitlines())
    )


def play(chapters: Sequence[Chapter], stage: Stage, screen: Screen) -> tuple[Verdict, ...]:
    """Run the chapters in order, show them, and say of each claim whether it holds.

    A step that cannot be run is a claim that does not hold; the others go on.
    """
    measured: dict[str, str] = {}
    verdicts: list[Verdict] = []
    for number, chapter in enumerate(chapters, 1):
        screen.chapter(number, chapter)
        for step in chapter.steps:
            try:
                found = _perform(step, chapter, stage, screen, measured)
            except K8sOvsError as error:
                screen.line(str(error))
                found = [_broken(step, chapter)]
            for verdict in found:
                screen.verdict(verdict)
            verdicts += found
            if isinstance(step, Step) and step.vital and not all(each.holds for each in found):
                return tuple(verdicts)
    return tuple(verdicts)


def _perform(
    step: Step | Act, chapter: Chapter, stage: Stage, screen: Screen, measured: dict[str, str]
) -> list[Verdict]:
    if isinstance(step, Act):
        screen.act(step.text)
        with screen.waiting(step.text):
            stage.do(step.do)
        return []
    command = _filled(step.command, measured)
    screen.command(step.where, command)
    outcome = _outcome(step, command, stage, screen, measured)
    if step.keep:
        found = re.search(step.find, outcome.output)
        if found is None:
            raise K8sOvsError(f"the output has no {step.keep}")
        measured[step.keep] = found[1]
    verdicts = [
        Verdict(chapter.title, _filled(claim.text, measured), claim.holds(outcome.output, measured))
        for claim in step.claims
    ]
    if (outcome.status != 0) != step.fails:
        expected = "another status" if step.fails else "0"
        screen.line(f"(exit status {outcome.status}, expected {expected})")
        verdicts.append(_broken(step, chapter))
    return verdicts


def _outcome(step: Step, command: str, stage: Stage, screen: Screen, measured: Measured) -> Outcome:
    """The command's outcome, on the screen; the last one of those that were waited for."""
    if step.within:
        with screen.waiting(command):
            outcome = _awaited(step, command, stage, measured)
        for line in outcome.output.splitlines():
            screen.line(line)
        return outcome
    if step.during:
        screen.act(f"meanwhile: {step.during.text}")
    with screen.waiting(command):
        if step.during:
            return _repeated(step, command, step.during, stage, screen)
        return stage.run(step.where, command, step.timeout, screen.line)


def _awaited(step: Step, command: str, stage: Stage, measured: Measured) -> Outcome:
    """The command again and again, until the claims hold or the time is over."""
    deadline = time.monotonic() + step.within
    while True:
        outcome = stage.run(step.where, command, step.timeout, lambda _: None)
        settled = (outcome.status != 0) == step.fails
        if settled and all(claim.holds(outcome.output, measured) for claim in step.claims):
            return outcome
        if time.monotonic() >= deadline:
            return outcome
        time.sleep(_PAUSE)


def _repeated(step: Step, command: str, act: Act, stage: Stage, screen: Screen) -> Outcome:
    """The command again and again, until the act is over; all outputs, the worst status."""
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(1) as other:
        deed = other.submit(stage.do, act.do)
        while not (outcomes and deed.done()):
            outcomes.append(stage.run(step.where, command, step.timeout, screen.line))
    deed.result()
    output = "\n".join(outcome.output for outcome in outcomes)
    return Outcome(output, max(outcome.status for outcome in outcomes))


def _broken(step: Step | Act, chapter: Chapter) -> Verdict:
    said = step.text if isinstance(step, Act) else step.command
    return Verdict(chapter.title, f"this can be done: {said}", holds=False)


def _filled(text: str, measured: Measured) -> str:
    """Raises K8sOvsError for a value that no step before has kept."""
    try:
        return Template(text).substitute(measured)
    except KeyError as error:
        raise K8sOvsError(f"{error.args[0]} is not known: a step before gave none") from error
