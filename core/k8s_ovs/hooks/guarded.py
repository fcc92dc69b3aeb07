"""What plugins declare with functions of their own, which may raise or return anything: errors name
the plugin then."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial, wraps
from ipaddress import IPv4Network
from typing import Any, TypeVar

from attrs import evolve, frozen

from k8s_ovs.errors import InvalidRecord, PluginError, is_ctrl_c, shown
from k8s_ovs.hooks.time_limit import HookTimeout, Rest, Resting
from k8s_ovs.hooks.where import defined_at, in_brackets, module_of, raised_at
from k8s_ovs.model.checked import as_text
from k8s_ovs.model.subnet import HELD_IN, blocks_of
from k8s_ovs.plugin.records import ConfigField, Indexes, KubeResource, RecordKind
from k8s_ovs.supervise import FaultLog

__all__ = ["guarded_field", "guarded_kind", "guarded_resource"]


def guarded_field(plugin: str, field: ConfigField) -> ConfigField:
    """`field` that raises InvalidRecord for what it cannot judge, whatever the plugin raises."""
    guard = _guard(plugin, field.name)
    return evolve(field, accepts=guard.judging("accepts", field.accepts, _true_or_false))


def guarded_kind(plugin: str, kind: RecordKind, where: str = "") -> RecordKind:
    """`kind` that raises InvalidRecord for what it cannot read and PluginError for what it cannot
    write, whatever the plugin raises or returns. Raises PluginError for an index of the core's own,
    with where the plugin declares the kind.
    """
    if HELD_IN in kind.indexes:
        raise PluginError(
            f'plugin {plugin}: records named "{kind.name}" have an index named "{HELD_IN}", which '
            f"the core makes, expected another name{where}"
        )
    guard = _guard(plugin, kind.name)
    holds = kind.holds and guard.judging("holds", kind.holds, _network_or_none)
    indexes = guard.indexing(kind.indexes)
    return evolve(
        kind,
        decode=guard.reading(kind.decode),
        encode=guard.writing(kind.encode),
        indexes={**indexes, HELD_IN: partial(_held_in, holds)} if holds else indexes,
        asks=kind.asks and guard.judging("asks", kind.asks, _true_or_false),
        holds=holds,
        check=kind.check and guard.judging("check", kind.check, _text_or_none),
    )


def guarded_resource(plugin: str, resource: KubeResource) -> KubeResource:
    """`resource` that raises InvalidRecord for what it cannot read, whatever the plugin raises."""
    guard = _guard(plugin, resource.name)
    decode, indexes = guard.reading(resource.decode), guard.indexing(resource.indexes)
    return evolve(resource, decode=decode, indexes=indexes)


def _guard(plugin: str, name: str) -> _Guard:
    return _Guard(plugin, name, FaultLog(), Rest(f"plugin {plugin}: {name}"))


_Told = TypeVar("_Told", InvalidRecord, PluginError)


@frozen
class _Guard:
    """Calls functions of one kind or resource of one plugin."""

    plugin: str
    name: str
    faults: FaultLog
    rest: Rest

    def reading(self, decode: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
        def read(key: str, found: Any) -> Any:
            try:
                value = self.rest.call(decode, key, found)
                # What cannot be compared with itself cannot be compared with what comes next.
                bool(value == value)  # noqa: PLR0124
            except InvalidRecord as error:
                raise InvalidRecord(_text_of(error)) from error
            except BaseException as error:
                if is_ctrl_c(error) or self._of_caller(error):
                    raise
                self._tell("decode", error)
                text = f"{key}: plugin {self.plugin} cannot read it: {_why(error, decode)}"
                raise _like(error, InvalidRecord(text)) from error
            return value

        return read

    def writing(self, encode: Callable[[Any], Any]) -> Callable[[Any], bytes]:
        def write(value: Any) -> bytes:
            try:
                written = self.rest.call(encode, value)
            except BaseException as error:
                if is_ctrl_c(error) or self._of_caller(error):
                    raise
                self._tell("encode", error)
                text = f"plugin {self.plugin} cannot write {shown(value)}: {_why(error, encode)}"
                raise PluginError(text) from error
            if type(written) is bytes:
                return written
            raise PluginError(
                f"plugin {self.plugin} cannot write {shown(value)}: "
                f"encode returned {shown(written)}, expected bytes{in_brackets(defined_at(encode))}"
            )

        return write

    def judging(
        self, what: str, judge: Callable[..., Any], expected: Callable[[Any], str]
    ) -> Callable[..., Any]:
        """expected: what a judgement should have been; "": it is good."""

        def judged(*given: Any) -> Any:
            value = given[-1]
            try:
                found = self.rest.call(judge, *given)
                wanted = expected(found)
            except BaseException as error:
                if is_ctrl_c(error) or self._of_caller(error):
                    raise
                self._tell(what, error)
                text = f"plugin {self.plugin} cannot judge {shown(value)}: {_why(error, judge)}"
                raise _like(error, InvalidRecord(text)) from error
            if not wanted:
                return found
            raise InvalidRecord(
                f"plugin {self.plugin} cannot judge {shown(value)}: {what} of {self.name} "
                f"returned {shown(found)}, expected {wanted}{in_brackets(defined_at(judge))}"
            )

        return judged

    def indexing(self, indexes: Indexes) -> Indexes:
        def guarded(index: Callable[[Any], Iterable[Hashable]]) -> Callable[[Any], Any]:
            @wraps(index)
            def found_by(value: Any) -> tuple[Hashable, ...]:
                return tuple(index(value))

            return self.judging("an index", found_by, _hashable)

        return {as_text(name): guarded(index) for name, index in indexes.items()}

    def _of_caller(self, error: BaseException) -> bool:
        """Whether it is the time of who called this function that is over."""
        return (
            isinstance(error, HookTimeout) and not isinstance(error, Resting) and self.rest.nested
        )

    def _tell(self, what: str, error: BaseException) -> None:
        about = {"plugin": self.plugin, "function": what, "records": self.name}
        self.faults.tell("function of a plugin failed", error, **about)


def _like(error: BaseException, told: _Told) -> _Told:
    """A function that did not return may do so later."""
    told.passing = isinstance(error, HookTimeout)
    return told


def _why(error: BaseException, function: object) -> str:
    """What a function of a plugin raised, and where."""
    why = f"it {error}" if isinstance(error, HookTimeout) else shown(error)
    return why + in_brackets(raised_at(error, module_of(function)) or defined_at(function))


def _text_of(error: InvalidRecord) -> str:
    """What it says; it may be of a plugin's own class."""
    try:
        return as_text(str(error))
    except BaseException as worse:
        if is_ctrl_c(worse):
            raise
        return shown(error)


def _held_in(holds: Callable[[Any], IPv4Network | None], value: Any) -> Iterable[int]:
    held = holds(value)
    return () if held is None else blocks_of(held)


def _hashable(found: tuple[Any, ...]) -> str:
    try:
        hash(found)
    except TypeError:
        return "hashable values"
    return ""


def _true_or_false(asks: Any) -> str:
    return "" if type(asks) is bool else "True or False"


def _text_or_none(problem: Any) -> str:
    return "" if problem is None or type(problem) is str else "a text or None"


def _network_or_none(held: Any) -> str:
    return "" if held is None or type(held) is IPv4Network else "an IPv4Network or None"
