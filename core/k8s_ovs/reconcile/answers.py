"""Answers of pure functions, remembered until something that they looked at changes.

Who asked is asked again only where an answer is another one than before ("early cutoff"). The idea
is that of Salsa, and of "Build Systems à la Carte" (Mokhov, Mitchell, Peyton Jones, 2018).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar, cast

from attrs import define, field

from k8s_ovs.errors import PluginError, is_ctrl_c, shown
from k8s_ovs.hooks.time_limit import LIMIT
from k8s_ovs.model.persistent_map import PersistentMap
from k8s_ovs.model.world import Changes, Read, World, reads_of
from k8s_ovs.plugin.question import Each, Query, Question
from k8s_ovs.plugin.view import Answering, View
from k8s_ovs.reconcile.readers import Readers

__all__ = ["Answers"]

#: Of a function that raised: no other answer is the same.
_NO_ANSWER = object()

#: What has looked at something: a question, or a reader that asks by a view of its own.
R = TypeVar("R", bound=Hashable)
_Reader = Hashable


@define(eq=False)
class _Memory:
    """What was answered, and what was looked at for it. early: of that, resources of Kubernetes
    that had not been listed yet."""

    value: Any
    reads: tuple[Read, ...] = ()
    asked: tuple[Question, ...] = ()
    early: frozenset[str] = frozenset()


@define(eq=False)
class _Keys:
    """Of an `Each`: those that were asked for, and those to ask for."""

    asked: set[str] = field(factory=set)
    pending: set[str] = field(factory=set)


class Answers(Generic[R]):
    """The world, and what was asked about it. view: makes one that asks back here.

    A reader is stale if something that it looked at has changed; it may be if what it asked may be.
    """

    def __init__(self, view: Callable[[World, Answering], View]) -> None:
        self.world = World()
        self._view = view
        self._memory: dict[_Reader, _Memory] = {}
        self._keys: dict[Each, _Keys] = defaultdict(_Keys)
        self._readers: Readers[_Reader] = Readers()
        self._each_of: dict[str, set[Each]] = defaultdict(set)
        self._stale: set[_Reader] = set()
        self._suspect: set[_Reader] = set()
        self._running: set[Question] = set()
        # Questions that nobody asks any more, unless somebody is about to.
        self._unasked: set[Question] = set()

    def update(self, changes: Changes, revision: int | None = None) -> None:
        """Take in changed slots; None: gone. revision: see `World.changed`."""
        before, self.world = self.world, self.world.changed(changes, revision)
        if not self._memory:
            return
        for (kind, key), slot in changes.items():
            old = before.of(kind).get(key)
            for read in reads_of(kind, key, old, slot):
                for reader in self._readers.of(read):
                    self._make_stale(reader)
            if (old is None) != (slot is None):
                for each in self._each_of.get(kind, ()):
                    self._keys[each].pending.add(key)
                    self._make_stale(each)

    def view(self) -> View:
        """A view of the world as it is now."""
        return self._view(self.world, self._answer)

    def remember(self, reader: R, view: View) -> None:
        """What `reader` has looked at in `view`; it is told by `take_stale` when that changes."""
        self._note(reader, None, view)
        # What it asked may have been found to be another answer just then.
        self._stale.discard(reader)
        self._suspect.discard(reader)

    def forget(self, reader: _Reader) -> None:
        """It does not ask any more."""
        memory = self._memory.pop(reader, None)
        self._stale.discard(reader)
        self._suspect.discard(reader)
        if memory is None:
            return
        self._unread(reader, (*memory.reads, *memory.asked))
        if isinstance(reader, Each):
            for kind in reader.kinds:
                self._each_of[kind].discard(reader)
            self._unread(reader, map(reader.of, self._keys.pop(reader, _Keys()).asked))

    def doubt(self) -> None:
        """Forget all answers: a plugin was interrupted, and so may have been what asked for it."""
        for reader, memory in tuple(self._memory.items()):
            if isinstance(reader, Question):
                self.forget(reader)
            elif memory.asked:
                self._stale.add(reader)
        self._running.clear()

    def take_stale(self) -> set[R]:
        """Readers for whom something has changed since the last call: each must look again."""
        self._forget_unasked()
        suspects = {each for each in self._suspect if not isinstance(each, Question)}
        self._suspect -= suspects
        for reader in suspects - self._stale:
            self._verify(reader)
        stale = {each for each in self._stale if not isinstance(each, Question)}
        self._stale -= stale
        return cast(set[R], stale)

    def _answer(self, question: Question, asker: View) -> Any:
        """For a hook, or for a question that another one asks."""
        if question in self._running:
            raise PluginError(f"{_named(question)} asks for itself")
        if question not in self._memory:
            self._begin(question)
        try:
            if not self._is_known(question):
                self._refresh(question)
        finally:  # what it raises may be for want of a list
            if early := self._memory[question].early:
                asker.early.note(early)
        return self._memory[question].value

    def _begin(self, question: Question) -> None:
        memory = self._memory[question] = _Memory(None)
        self._stale.add(question)
        if isinstance(question, Each):
            memory.value = PersistentMap()
            for kind in question.kinds:
                self._each_of[kind].add(question)
                self._keys[question].pending.update(self.world.of(kind))

    def _verify(self, reader: _Reader) -> None:
        """Ask again what `reader` has asked, in that order, until an answer is another one."""
        for question in self._memory[reader].asked:
            self._refresh_alone(question)
            if reader in self._stale:
                return

    def _refresh_alone(self, question: Question) -> None:
        """As `_refresh`; where that fails, who asks next is told why."""
        if self._is_known(question):
            return
        try:
            with LIMIT.running(_named(question)):
                self._refresh(question)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            self._tell_readers(question)

    def _is_known(self, question: Question) -> bool:
        """Whether the answer is surely as it was."""
        return question not in self._suspect and question not in self._stale

    def _refresh(self, question: Question) -> None:
        """Bring a question's answer up to date."""
        self._running.add(question)
        try:
            if isinstance(question, Each):
                self._ask_each(question)
                return
            self._suspect.discard(question)
            if question not in self._stale:
                self._verify(question)
            if question in self._stale:
                self._ask(question)
        finally:
            self._running.discard(question)

    def _ask(self, question: Query) -> None:
        view = self.view()
        memory = self._memory[question]
        try:
            value = question.function(view, *question.arguments)
        except BaseException:
            self._note(question, _NO_ANSWER, view)
            self._stale.add(question)
            raise
        self._note(question, value, view)
        self._stale.discard(question)
        if not _same(memory.value, value) or not view.early.found <= memory.early:
            self._tell_readers(question)

    def _ask_each(self, each: Each) -> None:
        memory, before = self._memory[each], self._memory[each].early
        view = self.view()
        view.early.note(each.kinds)
        try:
            changes = self._ask_pending(each, view)
        finally:
            memory.early |= view.early.found
        self._suspect.discard(each)
        self._stale.discard(each)
        others = {k: v for k, v in changes.items() if not _same(memory.value.get(k), v)}
        if others:
            memory.value = memory.value.changed(others)
        if others or memory.early != before:
            self._tell_readers(each)

    def _ask_pending(self, each: Each, view: View) -> dict[str, Any]:
        """The answers for keys of which something may have changed; None: the key is gone."""
        keys = self._keys[each]
        changes: dict[str, Any] = {}
        for key in tuple(keys.pending):
            query = each.of(key)
            if any(key in self.world.of(kind) for kind in each.kinds):
                changes[key] = self._answer(query, view)
                self._readers.add(query, each)
                keys.asked.add(key)
            else:
                changes[key] = None
                self._unread(each, [query])
                keys.asked.discard(key)
        keys.pending.clear()
        return changes

    def _make_stale(self, reader: _Reader) -> None:
        self._stale.add(reader)
        if isinstance(reader, Question):
            self._suspect_readers(reader)

    def _suspect_readers(self, question: Question) -> None:
        """What has asked this may have to ask again, and so on."""
        for reader in self._readers.of(question):
            if isinstance(reader, Each) and isinstance(question, Query):
                self._keys[reader].pending.add(str(question.arguments[0]))
            if reader not in self._suspect:
                self._suspect.add(reader)
                if isinstance(reader, Question):
                    self._suspect_readers(reader)

    def _tell_readers(self, question: Question) -> None:
        """The answer is another one. That it might be, theirs have been told before."""
        self._stale.update(self._readers.of(question))

    def _note(self, reader: _Reader, value: Any, view: View) -> None:
        old = self._memory.get(reader) or _Memory(None)
        new = _Memory(value, tuple(view.reads), tuple(view.asked), view.early.found)
        self._memory[reader] = new
        before, now = {*old.reads, *old.asked}, {*new.reads, *new.asked}
        for read in now - before:
            self._readers.add(read, reader)
        self._unread(reader, before - now)

    def _unread(self, reader: _Reader, reads: Iterable[Read | Question]) -> None:
        """It looks at these no longer; what nobody asks is forgotten."""
        for read in reads:
            if self._readers.discard(read, reader) and isinstance(read, Question):
                self._unasked.add(read)

    def _forget_unasked(self) -> None:
        while self._unasked:
            question = self._unasked.pop()
            if question not in self._readers:
                self.forget(question)


def _same(old: Any, new: Any) -> bool:
    """Values of plugins compare themselves."""
    try:
        return bool(old == new)
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        return False


def _named(question: Question) -> str:
    function = question.function
    name = getattr(function, "__qualname__", shown(function))
    about = question.arguments if isinstance(question, Query) else question.kinds
    return f"{name}({', '.join(map(str, about))})"
