"""Which records count while etcd's history breaks, as values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.observe.etcd.history import EtcdHistory
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot

ETCD = "etcd"
CONFIG = "config"
A, B = "net/subnets/a", "net/subnets/b"


def entries(**revisions: int) -> dict[str, Entry]:
    """Records by name, each with its mod_revision as its value."""
    paths = {"config": CONFIG, "a": A, "b": B}
    return {paths[name]: Entry(str(number), number) for name, number in revisions.items()}


class Reader:
    """Who reads the events: its records are those that count."""

    def __init__(self, held: float = 3600.0) -> None:
        self.history = EtcdHistory(CONFIG, held)
        self.records: dict[str, Entry] = {}

    def see(self, *events: Snapshot | RecordChange) -> set[str]:
        for event in events:
            self.apply(self.history.take(event))
        return set(self.records)

    def apply(self, events: list[Snapshot | RecordChange]) -> None:
        for event in events:
            if isinstance(event, Snapshot):
                self.records = dict(event.entries)
            elif event.entry is None:
                self.records.pop(event.key, None)
            else:
                self.records[event.key] = event.entry


def gone(key: str, revision: int) -> RecordChange:
    return RecordChange(ETCD, key, None, revision)


def put(key: str, revision: int) -> RecordChange:
    return RecordChange(ETCD, key, Entry(str(revision), revision), revision)


WHOLE = Snapshot(ETCD, entries(config=1, a=2, b=3), 5)


def test_a_record_that_is_deleted_is_gone() -> None:
    assert Reader().see(WHOLE, gone(A, 6)) == {CONFIG, B}
    assert Reader().see(WHOLE, Snapshot(ETCD, entries(config=1, b=3), 9)) == {CONFIG, B}


def test_without_its_configuration_nothing_of_etcd_counts() -> None:
    reader = Reader()
    all_of_them = {CONFIG, A, B}
    assert reader.see(WHOLE, gone(CONFIG, 6), gone(A, 7), put("net/subnets/c", 8)) == all_of_them
    assert reader.history.frozen
    assert reader.see(Snapshot(ETCD, {}, 9)) == all_of_them


def test_what_is_deleted_in_one_transaction_with_it_counts_in_any_order() -> None:
    """etcd tells of several ranges of keys in any order."""
    reader = Reader()
    assert reader.see(WHOLE, gone(A, 6), gone(B, 7), gone(CONFIG, 7)) == {CONFIG, B}
    reader.see(put(CONFIG, 8))
    assert reader.history.lost.keys() == {B}
    reader = Reader()
    assert reader.see(WHOLE, gone(B, 7), Snapshot(ETCD, {}, 7)) == {CONFIG, A, B}


def test_with_its_configuration_again_what_is_lost_counts_until_it_is_there() -> None:
    reader = Reader()
    reader.see(WHOLE, Snapshot(ETCD, {}, 2), put(CONFIG, 3))
    assert not reader.history.frozen
    assert reader.history.lost.keys() == {A, B}
    assert reader.see(put(A, 4)) == {CONFIG, A, B}
    assert reader.records[A].revision == 4
    assert reader.history.lost.keys() == {B}
    # It was put back, and then deleted.
    assert reader.see(gone(A, 5)) == {CONFIG, B}


def test_what_nobody_puts_back_is_gone_after_a_while() -> None:
    reader = Reader(held=0.0)
    reader.see(WHOLE, Snapshot(ETCD, entries(config=1), 2))
    assert reader.history.lost.keys() == {A, B}
    reader.apply(reader.history.end_hold(ETCD))
    assert set(reader.records) == {CONFIG}
    assert reader.history.lost == {}


def test_an_etcd_that_was_restored_has_lost_what_came_later() -> None:
    for restored in (
        Snapshot(ETCD, entries(config=1, a=2), 2),
        # Its revision was raised, as `etcdutl snapshot restore --bump-revision` does.
        Snapshot(ETCD, {**entries(config=1), A: Entry("1", 1)}, 1_000_005),
    ):
        reader = Reader()
        assert reader.see(WHOLE, restored) == {CONFIG, A, B}
        assert reader.history.lost.keys() == {B}
        assert reader.records[A] == restored.entries[A]


def test_without_a_configuration_from_the_start_nothing_is_held() -> None:
    reader = Reader()
    assert reader.see(Snapshot(ETCD, entries(a=1), 5), gone(A, 6)) == set()
    assert reader.see(Snapshot(ETCD, entries(b=1), 2)) == {B}


keys = st.sampled_from([CONFIG, A, B, "net/subnets/c"])


@given(st.lists(st.one_of(keys.map(lambda k: ("put", k)), keys.map(lambda k: ("del", k)),
                          st.sets(keys).map(lambda s: ("restore", frozenset(s))))))  # fmt: skip
def test_what_is_there_always_counts_and_in_peace_nothing_else(
    steps: list[tuple[str, str]],
) -> None:
    """Beside a plain model: a dictionary, and whether a restore was seen."""
    reader, there, broken, revision = Reader(), dict[str, int](), False, 0
    last = ""
    for what, which in steps:
        before = dict(reader.records)
        if what == "restore":
            there = {key: n for n, key in enumerate(sorted(which), 1)}
            broken, revision = True, len(there)
            found = {key: Entry(str(n), n) for key, n in there.items()}
            reader.see(Snapshot(ETCD, found, revision))
        else:
            revision += 1
            last = which if what == "del" else last
            there = {key: n for key, n in there.items() if key != which}
            if what == "put":
                there[which] = revision
            reader.see(put(which, revision) if what == "put" else gone(which, revision))
        broken |= CONFIG not in there
        if reader.history.frozen:
            # What was deleted last may have gone with it, so it may count again.
            assert reader.records.items() >= before.items()
            assert set(reader.records) - set(before) <= {last}
            continue
        counting = {key: entry.revision for key, entry in reader.records.items()}
        assert counting.items() >= there.items()
        assert set(counting) - set(there) == set(reader.history.lost)
        assert broken or set(counting) == set(there)
