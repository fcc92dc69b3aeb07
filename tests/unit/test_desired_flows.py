"""Who wants which flow: a flow stays as long as anyone wants it, and the switch gets exactly that.

The rules are checked against a model: plain sets of (owner, flow).
"""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from k8s_ovs.pipeline.action import Conjunction, Goto, Meter, Note
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import ip
from k8s_ovs.pipeline.wire import WireFlow, encode
from k8s_ovs.reconcile.desired_flows import Delta, DesiredFlows, FlowConflict
from k8s_ovs.reconcile.subject import POD, TENANT, FlowOwner, Subject
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE

FIRST = SAMPLE_PIPELINE.tables[0]


def flow(key: int, content: int = 0) -> WireFlow:
    """Flows of one key have the same match; those of another content do something else."""
    made = Flow(FIRST, 10, ip(in_port=key + 1), [Note(bytes([content])), Goto("SECOND")])
    return encode(made, 1, SAMPLE_PIPELINE)


def owner(number: int, plugin: str = "acme") -> FlowOwner:
    return FlowOwner(plugin, Subject(POD, f"veth{number}"))


A, B = owner(1), owner(2)


def told(desired: DesiredFlows) -> Delta:
    """What the switch is told, and does."""
    delta = desired.delta()
    desired.committed(delta)
    return delta


def test_a_flow_that_two_want_stays_until_the_last_one_goes() -> None:
    desired = DesiredFlows()
    shared = flow(1)
    desired.replace({A: (shared,), B: (shared,)})
    assert told(desired) == Delta(adds=(shared,))
    assert list(desired.flows()) == [(shared, (A, B))]
    desired.replace({A: ()})
    assert not told(desired)
    desired.replace({B: ()})
    assert told(desired) == Delta(deletes=(shared.cookie,))
    assert (len(desired), desired.owners()) == (0, frozenset())


def test_a_flow_that_is_given_twice_is_desired_once() -> None:
    desired = DesiredFlows()
    desired.replace({A: (flow(1), flow(1))})
    assert len(told(desired).adds) == 1
    desired.replace({A: ()})
    assert told(desired).deletes == (flow(1).cookie,)


def test_what_is_taken_over_between_two_commits_is_not_touched() -> None:
    desired = DesiredFlows()
    desired.replace({A: (flow(1),)})
    told(desired)
    desired.replace({A: ()})
    desired.replace({B: (flow(1),)})
    assert not told(desired)


def test_one_subject_takes_over_the_match_of_another_in_one_reconcile() -> None:
    desired = DesiredFlows()
    desired.replace({A: (flow(1, content=1),)})
    told(desired)
    assert desired.replace({B: (flow(1, content=2),), A: ()}) == []
    assert told(desired) == Delta((flow(1, content=2),), (flow(1, content=1).cookie,))


def test_a_match_that_another_has_is_a_conflict_and_the_first_stays() -> None:
    desired = DesiredFlows()
    desired.replace({A: (flow(1, content=1),)})
    other = flow(1, content=2)
    assert desired.replace({B: (other, flow(2))}) == [FlowConflict(B, A, other)]
    assert {each.cookie for each in told(desired).adds} == {flow(1, 1).cookie, flow(2).cookie}
    assert desired.replace({A: (), B: (other, flow(2))}) == []
    assert told(desired) == Delta((other,), (flow(1, content=1).cookie,))


def test_a_plugin_may_be_in_conflict_with_itself() -> None:
    desired = DesiredFlows()
    conflicts = desired.replace({A: (flow(1, content=1), flow(1, content=2))})
    assert conflicts == [FlowConflict(A, A, flow(1, content=2))]


def test_what_the_switch_has_already_is_left_alone() -> None:
    desired = DesiredFlows()
    desired.replace({A: (flow(1), flow(2))})
    desired.found([flow(1).cookie, 12345])
    assert told(desired) == Delta((flow(2),), (12345,))
    assert not told(desired)


def test_what_the_switch_lost_is_given_again() -> None:
    desired = DesiredFlows()
    desired.replace({A: (flow(1),)})
    told(desired)
    desired.found([])
    assert told(desired).adds == (flow(1),)


def test_a_flow_that_the_switch_refuses_is_forgotten_and_its_owners_are_told() -> None:
    desired = DesiredFlows()
    bad, good = flow(1), flow(2)
    tenant = FlowOwner("acme", Subject(TENANT, "7"))
    desired.replace({A: (bad, good), tenant: (bad,)})
    desired.refuse([bad.cookie, 999], "OFPBMC_BAD_VALUE")
    assert told(desired) == Delta(adds=(good,))
    assert desired.take_refused() == {A: "OFPBMC_BAD_VALUE", tenant: "OFPBMC_BAD_VALUE"}
    assert desired.take_refused() == {}
    desired.replace({A: (), tenant: ()})
    assert told(desired) == Delta(deletes=(good.cookie,))


def metered(key: int, number: int, rate: int) -> WireFlow:
    """Flows of one key have the same match; what they match passes a meter."""
    actions = [Meter(number, rate, 10 * rate), Goto("SECOND")]
    return encode(Flow(FIRST, 20, ip(in_port=key + 1), actions), 1, SAMPLE_PIPELINE)


def meter(number: int, rate: int) -> Meter:
    return Meter(number, rate, 10 * rate)


def measured(desired: DesiredFlows, refused: Mapping[int, str] | None = None) -> Delta:
    """What the switch is told, and does, but for the meters that it refuses."""
    delta = desired.delta()
    desired.metered(delta, refused or {})
    if not refused:
        desired.committed(delta)
    return delta


def test_a_meter_comes_before_the_flow_that_names_it_and_goes_after_it() -> None:
    desired = DesiredFlows()
    limited = metered(1, number=7, rate=100)
    desired.replace({A: (limited,)})
    assert measured(desired) == Delta(adds=(limited,), new_meters=(meter(7, 100),))
    assert not measured(desired)
    desired.replace({A: ()})
    assert measured(desired) == Delta(deletes=(limited.cookie,), old_meters=(7,))
    assert not measured(desired)


def test_another_rate_changes_the_meter_in_place() -> None:
    desired = DesiredFlows()
    slow, fast = metered(1, 7, rate=100), metered(1, 7, rate=200)
    desired.replace({A: (slow,)})
    measured(desired)
    desired.replace({A: (fast,)})
    assert measured(desired) == Delta((fast,), (slow.cookie,), other_meters=(meter(7, 200),))
    assert not measured(desired)


def test_flows_may_share_a_meter_which_goes_with_the_last_of_them() -> None:
    desired = DesiredFlows()
    one, other = metered(1, 7, 100), metered(2, 7, 100)
    assert desired.replace({A: (one,), B: (other,)}) == []
    assert measured(desired).new_meters == (meter(7, 100),)
    desired.replace({A: ()})
    assert measured(desired) == Delta(deletes=(one.cookie,))
    desired.replace({B: ()})
    assert measured(desired).old_meters == (7,)


def test_one_number_with_two_rates_is_a_conflict_and_the_first_stays() -> None:
    desired = DesiredFlows()
    first, second = metered(1, 7, rate=100), metered(2, 7, rate=200)
    desired.replace({A: (first,)})
    assert desired.replace({B: (second, flow(3))}) == [
        FlowConflict(B, A, second, clash="has the same meter as")
    ]
    assert measured(desired).new_meters == (meter(7, 100),)
    assert desired.replace({A: (), B: (second, flow(3))}) == []
    assert measured(desired) == Delta((second,), (first.cookie,), other_meters=(meter(7, 200),))


def test_meters_that_the_switch_has_are_left_alone_changed_or_deleted() -> None:
    desired = DesiredFlows()
    same, other, lost = metered(1, 1, 100), metered(2, 2, 100), metered(3, 3, 100)
    desired.replace({A: (same, other, lost)})
    has = {1: meter(1, 100), 2: meter(2, 999), 9: meter(9, 100)}
    desired.found([same.cookie, other.cookie], has)
    expected = Delta(
        adds=(lost,),
        new_meters=(meter(3, 100),),
        other_meters=(meter(2, 100),),
        old_meters=(9,),
    )
    assert measured(desired) == expected
    assert not measured(desired)


def test_a_switch_that_started_anew_gets_its_meters_again() -> None:
    desired = DesiredFlows()
    limited = metered(1, 7, 100)
    desired.replace({A: (limited,)})
    measured(desired)
    desired.found([], {})
    assert measured(desired) == Delta(adds=(limited,), new_meters=(meter(7, 100),))


def test_flows_of_a_meter_that_the_switch_refuses_are_forgotten_and_the_others_go_in() -> None:
    desired = DesiredFlows()
    good, bad = metered(1, 1, 100), metered(2, 2, 100)
    desired.replace({A: (good,), B: (bad, flow(3))})
    assert len(measured(desired, refused={2: "OFPMMFC_OUT_OF_METERS"}).new_meters) == 2
    assert desired.take_refused() == {B: "OFPMMFC_OUT_OF_METERS"}
    # The one that was taken is there: it is not put again, which would be refused.
    delta = measured(desired)
    assert set(delta.adds) == {good, flow(3)}
    assert (delta.new_meters, delta.other_meters, delta.old_meters) == ((), (), ())
    desired.replace({A: ()})
    assert measured(desired).old_meters == (1,)


def test_a_meter_whose_new_rate_the_switch_refuses_goes_with_its_flow() -> None:
    desired = DesiredFlows()
    slow, fast = metered(1, 7, rate=100), metered(1, 7, rate=200)
    desired.replace({A: (slow,)})
    measured(desired)
    desired.replace({A: (fast,)})
    assert measured(desired, refused={7: "OFPMMFC_BAD_RATE"}).other_meters == (meter(7, 200),)
    assert measured(desired) == Delta(deletes=(slow.cookie,), old_meters=(7,))
    assert not measured(desired)


flows = st.one_of(
    st.builds(flow, key=st.integers(0, 4), content=st.integers(0, 1)),
    st.builds(
        metered, key=st.integers(0, 2), number=st.integers(1, 2), rate=st.sampled_from([10, 20])
    ),
)


def same_number(one: WireFlow, other: WireFlow) -> bool:
    return bool(one.meter and other.meter and one.meter.number == other.meter.number)


class BookAndSwitch(RuleBasedStateMachine):
    """Desired flows, and a switch that obeys: (key -> flow), as Open vSwitch has it.

    A meter that is put though it is there, or changed though it is not, would be refused; one that
    goes takes the flows that name it along.
    """

    def __init__(self) -> None:
        super().__init__()
        self.desired = DesiredFlows()
        self.wanted: dict[FlowOwner, set[WireFlow]] = {}
        self.switch: dict[bytes, WireFlow] = {}
        self.meters: dict[int, Meter] = {}

    @rule(
        changes=st.dictionaries(
            st.integers(0, 3).map(owner), st.lists(flows, max_size=4).map(tuple), max_size=3
        )
    )
    def replace(self, changes: dict[FlowOwner, tuple[WireFlow, ...]]) -> None:
        conflicts = self.desired.replace(changes)
        for who, wanted in changes.items():
            refused = [each.flow for each in conflicts if each.owner == who]
            self.wanted[who] = set(wanted) - set(refused)
        for conflict in conflicts:
            others = self.wanted[conflict.other]
            if conflict.clash == "has the same meter as":
                remaining = [each for each in others if same_number(each, conflict.flow)]
                assert {each.meter for each in remaining}.isdisjoint({conflict.flow.meter})
            else:
                remaining = [each for each in others if each.key == conflict.flow.key]
                assert conflict.flow not in remaining
                assert len(remaining) == 1
            assert remaining

    @rule(
        lost=st.sets(st.integers(0, 4), max_size=2),
        unmetered=st.sets(st.integers(1, 2)),
        unknown_keys=st.booleans(),
    )
    def restart(self, lost: set[int], unmetered: set[int], unknown_keys: bool) -> None:
        """The switch lost some flows and meters, and may have what nobody wants."""
        for number in lost:
            self.switch.pop(flow(number).key, None)
        for number in unmetered:
            self.drop_meter(number)
        if unknown_keys:
            self.switch[flow(9).key] = flow(9)
            self.meters[9] = meter(9, 10)
        self.desired.found((each.cookie for each in self.switch.values()), self.meters)

    @rule()
    def commit(self) -> None:
        delta = measured(self.desired)
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
        held = {(who, each) for each, owners in self.desired.flows() for who in owners}
        assert held == {(who, each) for who, wanted in self.wanted.items() for each in wanted}
        assert self.desired.owners() == {who for who, wanted in self.wanted.items() if wanted}
        keys = [each.key for each, _ in self.desired.flows()]
        assert len(keys) == len(set(keys)) == len(self.desired)


TestBookAndSwitch = BookAndSwitch.TestCase


def of_clause(key: int, *conjunctions: Conjunction, table: int = 0) -> WireFlow:
    made = Flow(SAMPLE_PIPELINE.tables[table], 10, ip(in_port=key + 1), conjunctions)
    return encode(made, 1, SAMPLE_PIPELINE)


def test_flows_of_one_conjunction_agree_on_its_clauses() -> None:
    desired = DesiredFlows()
    two, three = of_clause(1, Conjunction("web", 1, 2)), of_clause(2, Conjunction("web", 2, 3))
    other_table = of_clause(2, Conjunction("web", 2, 3), table=2)
    assert desired.replace({A: (two,)}) == []
    (conflict,) = desired.replace({B: (three, other_table)})
    assert conflict == FlowConflict(
        B,
        A,
        three,
        'names conjunction "web" of 3 clauses by the id that stands for conjunction "web" of 2 '
        "clauses in",
    )
    assert {wire for wire, _ in desired.flows()} == {two, other_table}
    desired.replace({A: ()})
    assert desired.replace({B: (three, other_table)}) == []


def test_two_plugins_cannot_have_a_conjunction_of_one_name_in_one_table() -> None:
    desired = DesiredFlows()
    web = Conjunction("web", 1, 2)
    theirs = owner(1, "other")
    desired.replace({A: (of_clause(1, web),)})
    (conflict,) = desired.replace({theirs: (of_clause(2, web),)})
    assert (conflict.owner, conflict.other) == (theirs, A)


def test_two_names_with_one_number_cannot_be_in_one_table() -> None:
    # Found by trying: their hashes are the same.
    one, other = Conjunction("policy-83986", 1, 2), Conjunction("policy-105413", 1, 2)
    assert one.number == other.number
    desired = DesiredFlows()
    desired.replace({A: (of_clause(1, one),)})
    (conflict,) = desired.replace({B: (of_clause(2, Conjunction("web", 1, 2), other),)})
    assert f'by the id that stands for conjunction "{one.name}"' in conflict.clash
    assert desired.replace({A: (), B: (of_clause(2, Conjunction("web", 1, 2), other),)}) == []
