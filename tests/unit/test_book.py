"""Who wants which flow: a flow stands as long as anyone holds it, and the switch is told just that.

The rules are checked against a model: plain sets of (holder, flow).
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from k8s_ovs.pipeline.flow import Flow, Goto, Note, ip
from k8s_ovs.pipeline.wire import WireFlow, encode
from k8s_ovs.reconcile.book import Conflict, Delta, FlowBook
from k8s_ovs.reconcile.subject import POD, TENANT, Holder, Subject
from k8s_ovs.testing.strategies import SAMPLE_PIPELINE

FIRST = SAMPLE_PIPELINE.tables[0]


def flow(key: int, content: int = 0) -> WireFlow:
    """Flows of one key have the same match; those of another content do something else."""
    made = Flow(FIRST, 10, ip(in_port=key + 1), [Note(bytes([content])), Goto("SECOND")])
    return encode(made, 1, SAMPLE_PIPELINE)


def holder(number: int, plugin: str = "acme") -> Holder:
    return Holder(plugin, Subject(POD, f"veth{number}"))


A, B = holder(1), holder(2)


def told(book: FlowBook) -> Delta:
    """What the switch is told, and does."""
    delta = book.delta()
    book.committed(delta)
    return delta


def test_a_flow_that_two_want_stands_until_the_last_one_goes() -> None:
    book = FlowBook()
    shared = flow(1)
    book.replace({A: (shared,), B: (shared,)})
    assert told(book) == Delta(adds=(shared,))
    assert list(book.flows()) == [(shared, (A, B))]
    book.replace({A: ()})
    assert not told(book)
    book.replace({B: ()})
    assert told(book) == Delta(deletes=(shared.cookie,))
    assert (len(book), book.holders()) == (0, frozenset())


def test_a_flow_that_is_said_twice_is_held_once() -> None:
    book = FlowBook()
    book.replace({A: (flow(1), flow(1))})
    assert len(told(book).adds) == 1
    book.replace({A: ()})
    assert told(book).deletes == (flow(1).cookie,)


def test_what_is_taken_over_between_two_commits_is_not_touched() -> None:
    book = FlowBook()
    book.replace({A: (flow(1),)})
    told(book)
    book.replace({A: ()})
    book.replace({B: (flow(1),)})
    assert not told(book)


def test_one_subject_takes_over_the_match_of_another_in_one_turn() -> None:
    book = FlowBook()
    book.replace({A: (flow(1, content=1),)})
    told(book)
    assert book.replace({B: (flow(1, content=2),), A: ()}) == []
    assert told(book) == Delta((flow(1, content=2),), (flow(1, content=1).cookie,))


def test_a_match_that_another_has_is_a_conflict_and_the_first_stands() -> None:
    book = FlowBook()
    book.replace({A: (flow(1, content=1),)})
    other = flow(1, content=2)
    assert book.replace({B: (other, flow(2))}) == [Conflict(B, A, other)]
    assert {each.cookie for each in told(book).adds} == {flow(1, 1).cookie, flow(2).cookie}
    assert book.replace({A: (), B: (other, flow(2))}) == []
    assert told(book) == Delta((other,), (flow(1, content=1).cookie,))


def test_a_plugin_may_be_in_conflict_with_itself() -> None:
    book = FlowBook()
    conflicts = book.replace({A: (flow(1, content=1), flow(1, content=2))})
    assert conflicts == [Conflict(A, A, flow(1, content=2))]


def test_what_the_switch_has_already_is_left_alone() -> None:
    book = FlowBook()
    book.replace({A: (flow(1), flow(2))})
    book.found([flow(1).cookie, 12345])
    assert told(book) == Delta((flow(2),), (12345,))
    assert not told(book)


def test_what_the_switch_lost_is_given_again() -> None:
    book = FlowBook()
    book.replace({A: (flow(1),)})
    told(book)
    book.found([])
    assert told(book).adds == (flow(1),)


def test_a_flow_that_the_switch_refuses_is_forgotten_and_its_holders_are_told() -> None:
    book = FlowBook()
    bad, good = flow(1), flow(2)
    tenant = Holder("acme", Subject(TENANT, "7"))
    book.replace({A: (bad, good), tenant: (bad,)})
    book.refuse([bad.cookie, 999], "OFPBMC_BAD_VALUE")
    assert told(book) == Delta(adds=(good,))
    assert book.take_refused() == {A: "OFPBMC_BAD_VALUE", tenant: "OFPBMC_BAD_VALUE"}
    assert book.take_refused() == {}
    book.replace({A: (), tenant: ()})
    assert told(book) == Delta(deletes=(good.cookie,))


flows = st.builds(flow, key=st.integers(0, 4), content=st.integers(0, 1))


class BookAndSwitch(RuleBasedStateMachine):
    """A book, and a switch that does as it is told: (key -> flow), as Open vSwitch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.book = FlowBook()
        self.wanted: dict[Holder, set[WireFlow]] = {}
        self.switch: dict[bytes, WireFlow] = {}

    @rule(
        changes=st.dictionaries(
            st.integers(0, 3).map(holder), st.lists(flows, max_size=4).map(tuple), max_size=3
        )
    )
    def replace(self, changes: dict[Holder, tuple[WireFlow, ...]]) -> None:
        conflicts = self.book.replace(changes)
        for who, wanted in changes.items():
            refused = [each.flow for each in conflicts if each.holder == who]
            self.wanted[who] = set(wanted) - set(refused)
        for conflict in conflicts:
            stands = [each for each in self.wanted[conflict.other] if each.key == conflict.flow.key]
            assert len(stands) == 1
            assert stands != [conflict.flow]

    @rule(lost=st.sets(st.integers(0, 4), max_size=2), stray=st.booleans())
    def restart(self, lost: set[int], stray: bool) -> None:
        """The switch lost some flows, and may have one that nobody wants."""
        for number in lost:
            self.switch.pop(flow(number).key, None)
        if stray:
            self.switch[flow(9).key] = flow(9)
        self.book.found(each.cookie for each in self.switch.values())

    @rule()
    def commit(self) -> None:
        delta = told(self.book)
        self.switch = {
            key: each for key, each in self.switch.items() if each.cookie not in delta.deletes
        }
        assert not any(each.key in self.switch for each in delta.adds)
        self.switch |= {each.key: each for each in delta.adds}
        assert set(self.switch.values()) == set().union(*self.wanted.values())

    @invariant()
    def the_book_holds_what_is_wanted(self) -> None:
        held = {(who, each) for each, holders in self.book.flows() for who in holders}
        assert held == {(who, each) for who, wanted in self.wanted.items() for each in wanted}
        assert self.book.holders() == {who for who, wanted in self.wanted.items() if wanted}
        keys = [each.key for each, _ in self.book.flows()]
        assert len(keys) == len(set(keys)) == len(self.book)


TestBookAndSwitch = BookAndSwitch.TestCase
