"""Which plugins do not know yet which flows a subject has, and for want of which lists?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from k8s_ovs.hooks.result import Held
from k8s_ovs.reconcile.subject import Subject

__all__ = ["HeldSubjects"]


class HeldSubjects:
    """Subjects for which the answer of a hook does not count yet."""

    def __init__(self) -> None:
        self._of: dict[Subject, tuple[Held, ...]] = {}

    def note(self, subject: Subject, held: Iterable[Held]) -> None:
        """What the hooks have said of it now."""
        known = tuple(dict.fromkeys(held))
        if known:
            self._of[subject] = known
        else:
            self._of.pop(subject, None)

    def forget(self, subject: Subject) -> None:
        """It is gone."""
        self._of.pop(subject, None)

    def waiting_for(self, resource: str) -> set[Subject]:
        """Whose hooks are to be asked again once this resource has been listed."""
        return {
            subject
            for subject, held in self._of.items()
            if any(resource in each.resources for each in held)
        }

    def plugins(self) -> Mapping[str, frozenset[str]]:
        """The plugins, each with the resources that it lacks."""
        found: dict[str, frozenset[str]] = {}
        for each in (each for held in self._of.values() for each in held):
            found[each.plugin] = found.get(each.plugin, frozenset()) | each.resources
        return found
