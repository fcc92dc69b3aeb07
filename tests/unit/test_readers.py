"""Who has looked at what, beside sets of pairs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.reconcile.readers import Readers

STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 12)), max_size=60)


@given(STEPS)
def test_readers_are_who_came_and_has_not_left(steps: list[tuple[bool, str, int]]) -> None:
    readers, model = Readers[int](), set[tuple[str, int]]()
    for comes, read, reader in steps:
        if comes:
            readers.add(read, reader)
            model.add((read, reader))
        else:
            was = {each for what, each in model if what == read}
            model.discard((read, reader))
            assert readers.discard(read, reader) is (was == {reader})
        for what in "ab":
            of = readers.of(what)
            assert sorted(of) == sorted(each for at, each in model if at == what)
            assert (what in readers) is bool(of)
