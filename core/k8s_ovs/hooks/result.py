"""What calling a hook comes to: each plugin's results, or what went wrong in it."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from attrs import frozen

__all__ = ["Failure", "Results", "WrongResult"]

T = TypeVar("T")


class WrongResult(Exception):
    """A hook returned what it does not promise. Says what was found and expected."""


@frozen
class Failure:
    """What a plugin's hook raised, or promised and did not return. again: it may answer if it is
    asked again, although nothing that it reads changes. where: file and line of the plugin's code,
    "" where they are not known."""

    plugin: str
    hook: str
    subject: str
    error: str
    again: bool = False
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"plugin {self.plugin}: {self.hook} of {self.subject}: {self.error}{place}"


#: (plugin, its results or what went wrong), a plugin at a time.
Results: TypeAlias = list[tuple[str, tuple[T, ...] | Failure]]
