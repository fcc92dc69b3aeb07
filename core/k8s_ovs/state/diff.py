"""How do the things that a node has differ from those that it should have?"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import fields, frozen

from k8s_ovs.state.value import Key, Value

__all__ = ["Difference", "diff"]


@frozen
class Difference:
    """One thing that is not as it should be. found None: it is missing; expected None: it is ours
    and unexpected."""

    key: Key
    found: Value | None
    expected: Value | None

    @property
    def pod(self) -> str:
        """`namespace/name` of the pod that is touched by it; "": none alone."""
        return next(
            (pod for each in (self.expected, self.found) if (pod := getattr(each, "pod", ""))), ""
        )

    @property
    def thing(self) -> str:
        """What differs, without how."""
        return f"{self.key} of pod {self.pod}" if self.pod else str(self.key)

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.thing}: missing"
        if self.expected is None:
            return f"{self.thing}: unexpected"
        return f"{self.thing}: {'; '.join(self._changes())}"

    def _changes(self) -> Iterable[str]:
        for each in fields(type(self.expected)):  # type: ignore[arg-type]  # attrs classes all
            found, expected = (getattr(side, each.name) for side in (self.found, self.expected))
            if each.eq and found != expected:
                yield (
                    each.name
                    if not each.repr
                    else (f"{each.name} is {_said(found)}, expected {_said(expected)}")
                )


def diff(desired: Iterable[Value], observed: Iterable[Value]) -> list[Difference]:
    """The differences, in the order of `desired`, what is unexpected at the end.

    observed: all that is ours, desired or not.
    """
    there = {each.key: each for each in observed}
    found: list[Difference] = []
    for expected in desired:
        known = there.pop(expected.key, None)
        if known != expected:
            found.append(Difference(expected.key, known, expected))
    return found + [Difference(key, each, None) for key, each in there.items()]


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if value else "nothing"
