"""Who wants which flow: a flow stands as long as anyone holds it, and the switch is told just that.

The rules are checked against a model: plain sets of (holder, flow).
"""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from k8s_ovs.pipeline.flow import Flow, Goto, Meter, Note, ip
from k8s_ovs.pipeline.wire import WireFlow, encode
from k8s_ovs.reconcile.desired_flows import Conflict, Delta, FlowBook
from k8s_ovs.reconcile.subject import POD, TENANT, Holder, Subject
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE

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


def metered(key: int, number: int, rate: int) -> WireFlow:
    """Flows of one key have the same match; what they match passes a meter."""
    actions = [Meter(number, rate, 10 * rate), Goto("SECOND")]
    return encode(Flow(FIRST, 20, ip(in_port=key + 1), actions), 1, SAMPLE_PIPELINE)


def meter(number: int, rate: int) -> Meter:
    return Meter(number, rate, 10 * rate)


def measured(book: FlowBook, refused: Mapping[int, str] | None = None) -> Delta:
    """What the switch is told, and does, but for the meters that it refuses."""
    delta = book.delta()
    book.metered(delta, refused or {})
    if not refused:
        book.committed(delta)
    return delta


def test_a_meter_comes_before_the_flow_that_names_it_and_goes_after_it() -> None:
    book = FlowBook()
    limited = metered(1, number=7, rate=100)
    book.replace({A: (limited,)})
    assert measured(book) == Delta(adds=(limited,), new_meters=(meter(7, 100),))
    assert not measured(book)
    book.replace({A: ()})
    assert measured(book) == Delta(deletes=(limited.cookie,), old_meters=(7,))
    assert not measured(book)


def test_another_rate_changes_the_meter_where_it_stands() -> None:
    book = FlowBook()
    slow, fast = metered(1, 7, rate=100), metered(1, 7, rate=200)
    book.replace({A: (slow,)})
    measured(book)
    book.replace({A: (fast,)})
    assert measured(book) == Delta((fast,), (slow.cookie,), other_meters=(meter(7, 200),))
    assert not measured(book)


def test_flows_may_share_a_meter_which_goes_with_the_last_of_them() -> None:
    book = FlowBook()
    one, other = metered(1, 7, 100), metered(2, 7, 100)
    assert book.replace({A: (one,), B: (other,)}) == []
    assert measured(book).new_meters == (meter(7, 100),)
    book.replace({A: ()})
    assert measured(book) == Delta(deletes=(one.cookie,))
    book.replace({B: ()})
    assert measured(book).old_meters == (7,)


def test_one_number_with_two_rates_is_a_conflict_and_the_first_stands() -> None:
    book = FlowBook()
    first, second = metered(1, 7, rate=100), metered(2, 7, rate=200)
    book.replace({A: (first,)})
    assert book.replace({B: (second, flow(3))}) == [Conflict(B, A, second, same="meter")]
    assert measured(book).new_meters == (meter(7, 100),)
    assert book.replace({A: (), B: (second, flow(3))}) == []
    assert measured(book) == Delta((second,), (first.cookie,), other_meters=(meter(7, 200),))


def test_meters_that_the_switch_has_are_left_alone_changed_or_deleted() -> None:
    book = FlowBook()
    same, other, lost = metered(1, 1, 100), metered(2, 2, 100), metered(3, 3, 100)
    book.replace({A: (same, other, lost)})
    has = {1: meter(1, 100), 2: meter(2, 999), 9: meter(9, 100)}
    book.found([same.cookie, other.cookie], has)
    expected = Delta(
        adds=(lost,),
        new_meters=(meter(3, 100),),
        other_meters=(meter(2, 100),),
        old_meters=(9,),
    )
    assert measured(book) == expected
    assert not measured(book)


def test_a_switch_that_started_anew_gets_its_meters_again() -> None:
    book = FlowBook()
    limited = metered(1, 7, 100)
    book.replace({A: (limited,)})
    measured(book)
    book.found([], {})
    assert measured(book) == Delta(adds=(limited,), new_meters=(meter(7, 100),))


def test_flows_of_a_meter_that_the_switch_refuses_are_forgotten_and_the_others_go_in() -> None:
    book = FlowBook()
    good, bad = metered(1, 1, 100), metered(2, 2, 100)
    book.replace({A: (good,), B: (bad, flow(3))})
    assert len(measured(book, refused={2: "OFPMMFC_OUT_OF_METERS"}).new_meters) == 2
    assert book.take_refused() == {B: "OFPMMFC_OUT_OF_METERS"}
    # The one that was taken is there: it is not put again, which would be refused.
    delta = measured(book)
    assert set(delta.adds) == {good, flow(3)}
    assert (delta.new_meters, delta.other_meters, delta.old_meters) == ((), (), ())
    book.replace({A: ()})
    assert measured(book).old_meters == (1,)


def test_a_meter_whose_new_rate_the_switch_refuses_goes_with_its_flow() -> None:
    book = FlowBook()
    slow, fast = metered(1, 7, rate=100), metered(1, 7, rate=200)
    book.replace({A: (slow,)})
    measured(book)
    book.replace({A: (fast,)})
    assert measured(book, refused={7: "OFPMMFC_BAD_RATE"}).other_meters == (meter(7, 200),)
    assert measured(book) == Delta(deletes=(slow.cookie,), old_meters=(7,))
    assert not measured(book)


flows = st.one_of(
    st.builds(flow, key=st.integers(0, 4), content=st.integers(0, 1)),
    st.builds(
        metered, key=st.integers(0, 2), number=st.integers(1, 2), rate=st.sampled_from([10, 20])
    ),
)


def same_number(one: WireFlow, other: WireFlow) -> bool:
    return bool(one.meter and other.meter and one.meter.number == other.meter.number)


class BookAndSwitch(RuleBasedStateMachine):
    """A book, and a switch that does as it is told: (key -> flow), as Open vSwitch has it.

    A meter that is put though it is there, or changed though it is not, would be refused; one that
    goes takes the flows that name it along.
    """

    def __init__(self) -> None:
        super().__init__()
        self.book = FlowBook()
        self.wanted: dict[Holder, set[WireFlow]] = {}
        self.switch: dict[bytes, WireFlow] = {}
        self.meters: dict[int, Meter] = {}

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
            others = self.wanted[conflict.other]
            if conflict.same == "meter":
                stands = [each for each in others if same_number(each, conflict.flow)]
                assert {each.meter for each in stands}.isdisjoint({conflict.flow.meter})
            else:
                stands = [each for each in others if each.key == conflict.flow.key]
                assert conflict.flow not in stands
                assert len(stands) == 1
            assert stands

    @rule(
        lost=st.sets(st.integers(0, 4), max_size=2),
        unmetered=st.sets(st.integers(1, 2)),
        stray=st.booleans(),
    )
    def restart(self, lost: set[int], unmetered: set[int], stray: bool) -> None:
        """The switch lost some flows and meters, and may have what nobody wants."""
        for number in lost:
            self.switch.pop(flow(number).key, None)
        for number in unmetered:
            self.drop_meter(number)
        if stray:
            self.switch[flow(9).key] = flow(9)
            self.meters[9] = meter(9, 10)
        self.book.found((each.cookie for each in self.switch.values()), self.meters)

    @rule()
    def commit(self) -> None:
        delta = measured(self.book)
        assert self.meters.keys().isdisjoint(each.number for each in delta.new_meters)
        assert self.meters.keys() >= {each.number for each in delta.other_meters}
        self.meters |= {each.number: each for each in (*delta.new_meters, *delta.other_meters)}
        self.switch = {
            key: each for key, each in self.switch.items() if each.cookie not in delta.deletes
        }
        assert not any(each.key in self.switch for each in delta.adds)
        assert {each.meter for each in delta.adds} - {None} <= set(self.meters.values())
        self.switch |= {each.key: each for each in delta.adds}
        for number in delta.old_meters:
            self.drop_meter(number)
        assert set(self.switch.values()) == set().union(*self.wanted.values())
        named = {each.meter.number: each.meter for each in self.switch.values() if each.meter}
        assert self.meters == named

    def drop_meter(self, number: int) -> None:
        self.meters.pop(number, None)
        self.switch = {
            key: each
            for key, each in self.switch.items()
            if each.meter is None or each.meter.number != number
        }

    @invariant()
    def the_book_holds_what_is_wanted(self) -> None:
        held = {(who, each) for each, holders in self.book.flows() for who in holders}
        assert held == {(who, each) for who, wanted in self.wanted.items() for each in wanted}
        assert self.book.holders() == {who for who, wanted in self.wanted.items() if wanted}
        keys = [each.key for each, _ in self.book.flows()]
        assert len(keys) == len(set(keys)) == len(self.book)


TestBookAndSwitch = BookAndSwitch.TestCase
