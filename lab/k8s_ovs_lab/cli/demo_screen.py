"""How the demonstration looks: colours and a spinner at a terminal, plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from k8s_ovs_lab.demo.play import THIS_MACHINE, Chapter, Verdict

__all__ = ["DemoScreen"]


class DemoScreen:
    """Shows the demonstration on a console; a `Screen` of k8s_ovs_lab.demo.play."""

    def __init__(self, console: Console) -> None:
        self._console = console
        plain = console.options.ascii_only
        self._tick, self._cross, self._bar = ("ok", "FAILED", "|") if plain else ("✓", "✗", "│")

    def title(self, text: str) -> None:
        """What is going to be shown."""
        self._print(Text(text, "bold"))

    def chapter(self, number: int, chapter: Chapter) -> None:
        self._print(Text.assemble("\n", (f"{number}. {chapter.title}", "bold cyan")))
        self._print(Text(f"   {chapter.text}"))

    def command(self, where: str, command: str) -> None:
        place = f"{where} $ " if where != THIS_MACHINE else "$ "
        self._print(Text.assemble("\n   ", (place, "cyan"), (command, "bold")))

    def act(self, text: str) -> None:
        self._print(Text.assemble("\n   ", (f"({text})", "magenta")))

    def line(self, text: str) -> None:
        if text.strip():
            self._print(Text(f"   {self._bar} {text}", "dim"))

    def verdict(self, verdict: Verdict) -> None:
        mark, style = (self._tick, "green") if verdict.holds else (self._cross, "bold red")
        self._print(Text(f"   {mark} {verdict.text}", style))

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("  "), SpinnerColumn("dots"), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            progress.add_task(what)
            yield

    def summary(self, verdicts: Sequence[Verdict], seconds: float) -> None:
        """How many claims hold, and which do not."""
        failed = [verdict for verdict in verdicts if not verdict.holds]
        if failed:
            said = f"{len(failed)} of {len(verdicts)} claims failed ({seconds:.0f} s):"
            self._print(Text.assemble("\n", (said, "bold red")))
        else:
            said = f"All {len(verdicts)} claims hold ({seconds:.0f} s)."
            self._print(Text.assemble("\n", (said, "bold green")))
        for verdict in failed:
            self._print(Text(f"   {self._cross} {verdict.chapter}: {verdict.text}", "red"))

    def _print(self, text: Text) -> None:
        # A terminal folds a long line itself, and a line that is copied stays one.
        self._console.print(text, soft_wrap=True, highlight=False)
