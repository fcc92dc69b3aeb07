"""What calling a hook comes to: each plugin's results, or what went wrong in it."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from attrs import frozen

from k8s_ovs.hooks.where import in_brackets

__all__ = ["Failure", "Held", "Judged", "Results", "WrongResult"]

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
        where = in_brackets(self.where)
        return f"plugin {self.plugin}: {self.hook} of {self.subject}: {self.error}{where}"


@frozen
class Held:
    """A hook looked at resources of Kubernetes that have not been listed yet, so that its answer
    does not count: what is there stays as it is. resources: their names."""

    plugin: str
    resources: frozenset[str]

    @property
    def named(self) -> str:
        """The resources, in words."""
        return " and ".join(sorted(self.resources))

    def __str__(self) -> str:
        return f"the first list of {self.named} of Kubernetes, which plugin {self.plugin} reads"


#: (plugin, its results or what went wrong), a plugin at a time.
Results: TypeAlias = list[tuple[str, tuple[T, ...] | Failure]]
#: The same of a hook whose answer does not count while it does not know what it reads.
Judged: TypeAlias = list[tuple[str, tuple[T, ...] | Failure | Held]]
