"""`k8s-ovs lab demo`: the network at work, step by step, each claim checked."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from k8s_ovs_lab import LabSettings, Layout
from k8s_ovs_lab.cli.demo_screen import DemoScreen
from k8s_ovs_lab.demo.play import play
from k8s_ovs_lab.demo.script import script
from k8s_ovs_lab.demo.stage import LabStage
from k8s_ovs_lab.lifecycle import directory_of, tear_down

__all__ = ["demo"]

_INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the lab up, to look around in it.")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="Name of the lab.")] = "demo",
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="Directory of the lab's files.", show_default="/run/k8s-ovs-NAME"
        ),
    ] = None,
) -> None:
    """Show the network at work on two nodes made for it: every command, its output, what it proves.

    The demonstration starts a new lab and removes it at the end. The exit status is 1 if a claim
    fails.

    \b
    Examples:
      k8s-ovs lab demo
      k8s-ovs lab demo --keep && k8s-ovs lab exec client --name demo -- ping 172.11.4.2
    """
    layout = Layout(LabSettings(name).name, directory_of(name, state))
    screen = DemoScreen(Console())
    begin = time.monotonic()
    try:
        with _lab_for_a_while(layout, keep):
            screen.title("k8s-ovs at work: each command as it is typed, and what it printed.")
            verdicts = play(script(layout), LabStage(layout), screen)
    except KeyboardInterrupt:
        typer.echo("interrupted" if keep else "interrupted, the lab is removed", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    screen.summary(verdicts, time.monotonic() - begin)
    if keep:
        typer.echo(f"\nThe lab is up. Remove it with: k8s-ovs lab down --name {name}")
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(1)


@contextmanager
def _lab_for_a_while(layout: Layout, keep: bool) -> Iterator[None]:
    """First remove the orphans of an earlier demonstration, and at the end always this one."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    tear_down(layout, _silent)
    try:
        yield
    finally:
        if not keep:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            tear_down(layout, _silent)


def _silent(_: str) -> None:
    """It takes a moment only, and standard output may be gone."""
