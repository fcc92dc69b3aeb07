"""Values check themselves when they are made: an attrs validator that says what was found.

Plugins make such values, and a wrong one must be refused where its maker sees it, not where the
core uses it. A subclass may raise whenever it is used: texts and numbers of one become plain ones,
others are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from k8s_ovs.errors import shown

__all__ = [
    "as_number",
    "as_plain",
    "as_text",
    "as_texts",
    "as_tuple",
    "as_whole",
    "as_whole_or_none",
    "has_type",
    "is_utf8",
    "named_texts",
    "tuple_of",
    "whole",
]

T = TypeVar("T")

#: An attrs validator: gets the instance, the attribute and its value.
Validator = Any


def has_type(*types: Any, error: type[Exception] = TypeError) -> Validator:
    """A value of one of these types; None among them means the value None. True is no number."""
    classes = tuple(type(None) if each is None else each for each in types)
    expected = " or ".join("None" if each is None else each.__name__ for each in types)

    def check(instance: object, attribute: Any, value: object) -> None:
        if type(value) not in classes:
            raise error(_said(instance, attribute, value, expected))

    return check


def whole(least: int, most: int, error: type[Exception] = ValueError) -> Validator:
    """A whole number in this range, or None where the attribute's default is None."""

    def check(instance: object, attribute: Any, value: Any) -> None:
        if value is None and attribute.default is None:
            return
        if type(value) is int and least <= value <= most:
            return
        raise error(_said(instance, attribute, value, f"a whole number, {least} to {most}"))

    return check


def tuple_of(*types: type, error: type[Exception] = TypeError) -> Validator:
    """A tuple whose items all have one of these types."""
    expected = f"a tuple of {' or '.join(each.__name__ for each in types)}"

    def check(instance: object, attribute: Any, value: object) -> None:
        if type(value) is not tuple or not all(type(each) in types for each in value):
            raise error(_said(instance, attribute, value, expected))

    return check


def named_texts(instance: object, attribute: Any, value: object) -> None:
    """A mapping of texts to texts."""
    if type(value) is not dict or not all(
        type(each) is str for pair in value.items() for each in pair
    ):
        raise TypeError(_said(instance, attribute, value, "a mapping of str to str"))


def as_plain(value: Any) -> Any:
    """A text, number or bytes of a subclass as a plain one; anything else as it is."""
    kind = type(value)
    if issubclass(kind, bool):
        return value
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    return bytes.__getitem__(value, slice(None)) if issubclass(kind, bytes) else value


def as_text(value: str) -> str:
    """What attrs converters do to a text; see `as_plain`."""
    text: str = as_plain(value)
    return text


def as_whole(value: int) -> int:
    """What attrs converters do to a whole number; see `as_plain`."""
    number: int = as_plain(value)
    return number


def as_whole_or_none(value: int | None) -> int | None:
    """The same where there may be none."""
    number: int | None = as_plain(value)
    return number


def as_number(value: float) -> float:
    """What attrs converters do to a number; see `as_plain`."""
    number: float = as_plain(value)
    return number


def as_texts(values: Mapping[str, str]) -> Mapping[str, str]:
    """A mapping of texts to texts as a plain one; see `as_plain`."""
    if not isinstance(values, Mapping):
        return values  # for the validator to refuse
    return {as_plain(key): as_plain(value) for key, value in values.items()}


def as_tuple(values: Iterable[T]) -> tuple[T, ...]:
    """What attrs converters do: lists, sets and generators become a tuple of plain values. Anything
    else, a text too, stays as it is, for the validator to refuse."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        return values  # type: ignore[return-value]  # who gives it need not know our types
    return tuple(map(as_plain, values))


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can write it: surrogates it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _said(instance: object, attribute: Any, value: object, expected: str) -> str:
    return f"{type(instance).__name__}.{attribute.name}: found {shown(value)}, expected {expected}"
