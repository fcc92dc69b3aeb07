"""Values check themselves when they are made: an attrs validator that says what was found.

Plugins make such values, and a wrong one must be refused where its maker sees it, not where the
core uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from k8s_ovs.errors import shown

__all__ = ["Validator", "as_tuple", "has_type", "named_texts", "tuple_of", "whole"]

T = TypeVar("T")

#: An attrs validator: gets the instance, the attribute and its value.
Validator = Any


def has_type(*types: Any, error: type[Exception] = TypeError) -> Validator:
    """A value of one of these types; None among them means the value None. True is no number."""
    classes = tuple(type(None) if each is None else each for each in types)
    expected = " or ".join("None" if each is None else each.__name__ for each in types)

    def check(instance: object, attribute: Any, value: object) -> None:
        if not isinstance(value, classes) or (type(value) is bool and bool not in classes):
            raise error(_said(instance, attribute, value, expected))

    return check


def whole(least: int, most: int, error: type[Exception] = ValueError) -> Validator:
    """A whole number in this range, or None where the attribute's default is None."""

    def check(instance: object, attribute: Any, value: Any) -> None:
        if value is None and attribute.default is None:
            return
        if isinstance(value, int) and type(value) is not bool and least <= value <= most:
            return
        raise error(_said(instance, attribute, value, f"a whole number, {least} to {most}"))

    return check


def tuple_of(*types: type, error: type[Exception] = TypeError) -> Validator:
    """A tuple whose items all have one of these types."""
    expected = f"a tuple of {' or '.join(each.__name__ for each in types)}"

    def check(instance: object, attribute: Any, value: object) -> None:
        if not isinstance(value, tuple) or not all(isinstance(each, types) for each in value):
            raise error(_said(instance, attribute, value, expected))

    return check


def named_texts(instance: object, attribute: Any, value: object) -> None:
    """A mapping of texts to texts."""
    if not isinstance(value, Mapping) or not all(
        isinstance(each, str) for pair in value.items() for each in pair
    ):
        raise TypeError(_said(instance, attribute, value, "a mapping of str to str"))


def as_tuple(values: Iterable[T]) -> tuple[T, ...]:
    """What attrs converters do: lists, sets and generators become a tuple. Anything else, a text
    too, stays as it is, for the validator to refuse."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        return values  # type: ignore[return-value]  # who gives it need not know our types
    return tuple(values)


def _said(instance: object, attribute: Any, value: object, expected: str) -> str:
    return f"{type(instance).__name__}.{attribute.name}: found {shown(value)}, expected {expected}"
