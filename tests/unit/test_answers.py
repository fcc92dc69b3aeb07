"""What is asked about the world is answered as if it were computed anew, and is seldom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import Changes, Slot
from k8s_ovs.plugin.view import View
from k8s_ovs.reconcile.answers import Answers
from k8s_ovs_subnet import SingleTenant

MANAGER = PluginManager({"mode": SingleTenant()})
CALLS = Counter[str]()
KINDS = ("fruit", "stone")


def size(view: View, key: str) -> int | None:
    CALLS["size"] += 1
    found: int | None = view.get("fruit", key)
    return None if found is None else found // 2


def heavier(view: View, key: str) -> bool:
    """Two steps deep, and not always by the same way."""
    CALLS["heavier"] += 1
    stone = view.get("stone", key)
    return stone is not None and view.ask(size, key) is not None and stone < view.ask(size, key)


def weighed(view: View, key: str) -> bool | None:
    CALLS["weighed"] += 1
    return view.ask(heavier, key) or None


def count(view: View) -> int:
    CALLS["count"] += 1
    return len(view.each(weighed, *KINDS))


def picky(view: View, key: str) -> int:
    CALLS["picky"] += 1
    if view.get("stone", key) == 13:
        raise ValueError("unlucky")
    return view.ask(count) if view.get("stone", key) else 0


def everything(view: View, reader: str) -> object:
    try:
        if reader == "each":
            return dict(view.each(weighed, *KINDS))
        return view.ask(picky, reader)
    except ValueError as error:
        return str(error)


keys = st.sampled_from("abcd")
change = st.dictionaries(
    st.tuples(st.sampled_from(KINDS), keys), st.none() | st.integers(0, 14), max_size=4
)
READERS = ("each", *"abcd")
lookers = st.sets(st.sampled_from(READERS))


def slots(drawn: dict[tuple[str, str], int | None]) -> Changes:
    return {which: None if value is None else Slot(value) for which, value in drawn.items()}


@given(rounds=st.lists(st.tuples(change, lookers, st.booleans()), max_size=12))
def test_whoever_is_not_told_of_a_change_would_be_answered_as_before(
    rounds: list[tuple[dict[tuple[str, str], int | None], set[str], bool]],
) -> None:
    answers = Answers[str](MANAGER.view)
    known: dict[str, object] = {}

    def look(reader: str) -> None:
        view = answers.view()
        known[reader] = everything(view, reader)
        answers.remember(reader, view)

    for drawn, looking, doubtful in rounds:
        if doubtful:
            answers.doubt()
        answers.update(slots(drawn))
        for reader in sorted(answers.take_stale() | (looking - known.keys())):
            look(reader)
        for reader in looking & known.keys() & {"a"}:
            answers.forget(reader)
            del known[reader]
        plain = MANAGER.view(answers.world)
        assert known == {reader: everything(plain, reader) for reader in known}
    for reader in known:
        answers.forget(reader)
    answers.take_stale()
    assert not answers._memory


def reading(answers: Answers[str], reader: str, look: Callable[[View], Any]) -> Any:
    view = answers.view()
    found = look(view)
    answers.remember(reader, view)
    return found


def test_an_answer_that_stays_the_same_is_told_to_nobody() -> None:
    answers = Answers[str](MANAGER.view)
    answers.update({("fruit", "a"): Slot(8), ("stone", "a"): Slot(1)})
    assert reading(answers, "me", lambda view: view.ask(count)) == 1
    CALLS.clear()
    answers.update({("fruit", "a"): Slot(9)})
    assert answers.take_stale() == set()
    assert CALLS == {"size": 1}
    answers.update({("stone", "a"): Slot(2)})
    assert answers.take_stale() == set()
    assert CALLS == {"size": 1, "heavier": 1}
    answers.update({("stone", "a"): Slot(5)})
    assert answers.take_stale() == {"me"}


def test_each_is_asked_for_what_has_changed_alone() -> None:
    answers = Answers[str](MANAGER.view)
    answers.update({("fruit", str(number)): Slot(number) for number in range(1000)})
    look: Callable[[View], Any] = lambda view: len(view.each(size, "fruit"))  # noqa: E731
    assert reading(answers, "me", look) == 1000
    CALLS.clear()
    answers.update({("fruit", "7"): None, ("fruit", "1000"): Slot(2), ("fruit", "8"): Slot(1)})
    assert answers.take_stale() == {"me"}
    assert CALLS == {"size": 2}
    assert reading(answers, "me", look) == 1000
    assert CALLS == {"size": 2}


def test_what_is_in_doubt_is_asked_anew() -> None:
    answers = Answers[str](MANAGER.view)
    answers.update({("fruit", "a"): Slot(8)})
    assert reading(answers, "asks", lambda view: view.ask(size, "a")) == 4
    assert reading(answers, "reads", lambda view: view.get("fruit", "a")) == 8
    CALLS.clear()
    answers.doubt()
    assert answers.take_stale() == {"asks"}
    assert reading(answers, "asks", lambda view: view.ask(size, "a")) == 4
    assert CALLS == {"size": 1}
    answers.update({("fruit", "a"): Slot(10)})
    assert answers.take_stale() == {"asks", "reads"}


def test_what_is_in_doubt_is_of_no_collection_until_that_is_asked_for_again() -> None:
    answers = Answers[str](MANAGER.view)
    answers.update({("fruit", "a"): Slot(8)})
    assert reading(answers, "me", lambda view: dict(view.each(size, "fruit"))) == {"a": 4}
    answers.doubt()
    assert reading(answers, "me", lambda view: view.ask(size, "a")) == 4
    answers.update({("fruit", "a"): Slot(10)})
    assert answers.take_stale() == {"me"}
    assert reading(answers, "me", lambda view: dict(view.each(size, "fruit"))) == {"a": 5}


def loop(view: View, key: str) -> Any:
    return view.ask(loop, key)


def test_what_asks_for_itself_is_told() -> None:
    with pytest.raises(PluginError, match=r"loop\(a\) asks for itself"):
        Answers[str](MANAGER.view).view().ask(loop, "a")
