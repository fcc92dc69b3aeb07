"""A backup has all records and nothing else, and comes back as it was; a wrong one is refused."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.fake_etcd import CONFIG, PREFIX, FakeEtcd
from typer.testing import Result

from k8s_ovs.cli.cluster import snapshot
from k8s_ovs.cli.cluster.backup_document import (
    FORMAT,
    Backup,
    as_stored,
    backup_text,
    kept_value,
    parse_backup,
    record_problems,
)
from k8s_ovs.cli.cluster.restore_plan import contradictions, plan_of
from k8s_ovs.cli.cluster.stored_records import StoredRecords
from k8s_ovs.observe.etcd.client import KeyValue

Cli = Callable[..., Result]

HOST = {"Host": "node1", "HostIP": "10.0.0.1", "Subnet": "172.11.4.0/22", "Assign": False}
RED = {"NetName": "red", "NetID": 10}
RECORDS: dict[str, Any] = {
    "config": CONFIG,
    "k8ssdn/netnamespaces/red": RED,
    "k8ssdn/subnets/10.0.0.1": HOST,
}


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], None]:
    """Says what etcd has: JSON values, or bytes, by path."""
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)

    def has(records: Mapping[str, Any]) -> None:
        FakeEtcd.records = {
            path: each if isinstance(each, bytes) else as_stored(each)
            for path, each in records.items()
        }

    return has


def backup_of(records: Mapping[str, Any], **head: Any) -> Backup:
    """The backup of the network k8ssdn that has these records."""
    fields = {"format": FORMAT, "network": "k8ssdn", "revision": 7, "time": "", "version": ""}
    return Backup(**(fields | {"records": records} | head))


def stored(records: Mapping[str, Any], revision: int = 9) -> StoredRecords:
    """What etcd has."""
    found = {
        path: KeyValue(f"{PREFIX}/{path}", as_stored(value), number, number)
        for number, (path, value) in enumerate(records.items(), start=1)
    }
    return StoredRecords(PREFIX, "k8ssdn", revision, found)


def json_values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.text()
    leaves |= st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )


def record_paths() -> st.SearchStrategy[str]:
    kinds = st.sampled_from(["subnets", "given", "netnamespaces", "acme"]) | st.text(max_size=3)
    return st.tuples(kinds.filter(lambda kind: "/" not in kind), st.text(max_size=4)).map(
        lambda words: f"k8ssdn/{words[0]}/{words[1]}"
    )


@given(st.dictionaries(record_paths(), json_values(), max_size=5))
def test_what_was_backed_up_comes_back_as_it_was(found: dict[str, Any]) -> None:
    kept = {path: kept_value(as_stored(value)) for path, value in found.items()}
    backup = backup_of({"config": CONFIG, **kept})
    again = parse_backup("a file", backup_text(backup).encode())
    assert again == backup
    there = stored({"config": CONFIG, **found})
    plan = plan_of(again, there, delete_others=True)
    assert not plan.writes
    assert not plan.delete
    empty = plan_of(again, stored({}), delete_others=False)
    assert {path: as_stored(value) for path, value in empty.writes.items()} == {
        path: each.value for path, each in there.records.items()
    }
    assert list(empty.writes)[-1] == "config"


def test_the_file_has_the_records_and_only_its_owner_reads_it(
    etcd: Callable[[Mapping[str, Any]], None], k8s_ovs: Cli, tmp_path: Path
) -> None:
    own = {"k8ssdn/status/node1": {}, "k8ssdn/seen/10.0.0.9": {}, "k8ssdn/allocator": {}}
    strange = {"k8ssdn/acme/x": [1, "a"], "other/subnets/10.0.0.1": HOST}
    etcd({**RECORDS, **own, **strange})
    file = tmp_path / "network.json"
    file.write_text("old")
    done = k8s_ovs("backup", str(file))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        "KIND           RECORDS\n"
        "config         1\n"
        "acme           1\n"
        "netnamespaces  1\n"
        "subnets        1\n"
        f"{file} has 4 records of network k8ssdn at revision 8\n"
    )
    found = json.loads(file.read_text())
    assert found["records"] == {**RECORDS, "k8ssdn/acme/x": [1, "a"]}
    assert (found["format"], found["network"], found["revision"]) == (1, "k8ssdn", 8)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    told = json.loads(k8s_ovs("backup", str(file), "-o", "json").stdout)
    assert told["records"] == {"config": 1, "acme": 1, "netnamespaces": 1, "subnets": 1}
    assert json.loads(k8s_ovs("backup", "-").stdout)["records"] == found["records"]


def test_what_restore_would_refuse_is_named_when_it_is_written(
    etcd: Callable[[Mapping[str, Any]], None], k8s_ovs: Cli, tmp_path: Path
) -> None:
    etcd({**RECORDS, "k8ssdn/subnets/10.0.0.2": {**HOST, "Host": 5}, "k8ssdn/acme/x": b"{"})
    file = tmp_path / "network.json"
    done = k8s_ovs("backup", str(file))
    assert done.exit_code == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("warning: k8ssdn/acme/x: left out, no JSON that can be kept: ")
    assert second == (
        "warning: k8ssdn/subnets/10.0.0.2: Host: found 5, expected a string; the file is written, "
        "and restore would refuse it"
    )
    assert "k8ssdn/subnets/10.0.0.2" in json.loads(file.read_text())["records"]
    refused = k8s_ovs("restore", str(file))
    assert refused.exit_code == 1
    assert f"error: {file}: k8ssdn/subnets/10.0.0.2: Host: found 5, expected" in refused.stderr


@pytest.mark.parametrize("value", [b"1e999", b"[" * 199 + b"]" * 199, b"NaN", b"\xff"])
def test_a_value_that_no_document_can_hold_is_left_out(
    value: bytes, etcd: Callable[[Mapping[str, Any]], None], k8s_ovs: Cli
) -> None:
    etcd({**RECORDS, "k8ssdn/acme/x": value})
    done = k8s_ovs("backup", "-")
    assert done.exit_code == 1
    assert "warning: k8ssdn/acme/x: left out" in done.stderr
    assert not record_problems(parse_backup("stdout", done.stdout.encode()))


def test_without_a_configuration_there_is_nothing_to_write(
    etcd: Callable[[Mapping[str, Any]], None], k8s_ovs: Cli, tmp_path: Path
) -> None:
    etcd({})
    file = tmp_path / "network.json"
    done = k8s_ovs("backup", str(file))
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: there is no configuration at {PREFIX}/config")
    assert not file.exists()


@pytest.mark.parametrize("place", ["", "no/such/file", "/dev/full"])
def test_a_place_where_no_file_can_be_is_named(
    place: str, etcd: Callable[[Mapping[str, Any]], None], k8s_ovs: Cli, tmp_path: Path
) -> None:
    etcd(RECORDS)
    path = tmp_path / place
    done = k8s_ovs("backup", str(path))
    assert done.exit_code == 1
    assert str(path) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_backup_that_cannot_be_written_whole_leaves_the_old_one(
    etcd: Callable[[Mapping[str, Any]], None],
    k8s_ovs: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    etcd(RECORDS)
    file = tmp_path / "network.json"
    file.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    done = k8s_ovs("backup", str(file))
    assert done.exit_code == 1
    assert done.stderr == f"error: cannot write {file}: No space left on device\n"
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


HEAD = {"format": 1, "network": "k8ssdn", "revision": 7, "time": "", "version": "0.1.0"}
GOOD = {**HEAD, "records": RECORDS}


def with_records(**records: Any) -> dict[str, Any]:
    """GOOD with more records, or others."""
    return {**HEAD, "records": {**RECORDS, **records}}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "FILE: not JSON ("),
        ([], "FILE: found [], expected a JSON object"),
        ({}, "FILE: format: found nothing, expected a whole number"),
        ({**GOOD, "format": 2}, "FILE: format: found 2, expected 1"),
        ({**GOOD, "network": 5}, "FILE: network: found 5, expected a string"),
        (
            {**GOOD, "network": "other"},
            'FILE: records: found the key "k8ssdn/netnamespaces/red", expected config or a record '
            "below other/",
        ),
        (HEAD, 'FILE: records: found no "config", expected the configuration'),
        ({**HEAD, "records": []}, "FILE: records: found [], expected an object of records by key"),
        (
            with_records(config={**CONFIG, "HostSubnetLength": 99}),
            "FILE: config: HostSubnetLength: found 99, expected 2 to 16",
        ),
        (
            with_records(config={**CONFIG, "Name": "other"}),
            "FILE: config: Name: found other, expected k8ssdn as the backup's network",
        ),
        (
            with_records(config={**CONFIG, "GlobalNamespaces": "red"}),
            'FILE: config: GlobalNamespaces: found "red", expected a list',
        ),
        (
            with_records(config={**CONFIG, "PluginName": "k8s-ovs-multitenant,acme"}),
            'FILE: PluginName: no plugin "acme" is installed',
        ),
        (
            with_records(**{"k8ssdn/status/node1": {}}),
            'FILE: records: found the key "k8ssdn/status/node1", expected config or a record',
        ),
        (
            with_records(**{"k8ssdn/acme/\ud800": {}}),
            'FILE: records: found the key "k8ssdn/acme/\\ud800", expected config or a record',
        ),
        (
            with_records(**{"k8ssdn/subnets/10.0.0.2": {**HOST, "HostIP": "10.0.0.2"}}),
            "FILE: subnets/10.0.0.2: Subnet: found 172.11.4.0/22, expected one that does not "
            "overlap 172.11.4.0/22 of 10.0.0.1",
        ),
        (
            with_records(**{"k8ssdn/subnets/10.0.0.2": 5}),
            "FILE: k8ssdn/subnets/10.0.0.2: found 5, expected a JSON object",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_what_was_found_and_expected(
    document: Any, complaint: str, k8s_ovs: Cli, tmp_path: Path
) -> None:
    """Before etcd is asked: there is none here."""
    file = tmp_path / "network.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    done = k8s_ovs("restore", str(file))
    assert done.exit_code == 1
    assert done.stderr.startswith("error: " + complaint.replace("FILE", str(file)))
    assert not done.stdout
    piped = k8s_ovs("restore", "-", stdin=file.read_text())
    assert piped.stderr.startswith("error: " + complaint.replace("FILE", "stdin"))


def documents() -> st.SearchStrategy[Any]:
    """GOOD with some of it changed."""
    records = st.dictionaries(
        st.sampled_from([*RECORDS, "k8ssdn/subnets/10.0.0.2", "k8ssdn/status/x"]) | record_paths(),
        st.sampled_from([CONFIG, HOST, RED, {**HOST, "HostIP": "10.0.0.2"}]) | json_values(),
        max_size=3,
    )
    changes = st.dictionaries(st.sampled_from(list(HEAD)), json_values(), max_size=1)
    changed = st.tuples(records, changes).map(lambda parts: with_records(**parts[0]) | parts[1])
    return changed | st.builds(lambda each: {**HEAD, "records": each}, json_values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(document=documents(), there=st.sampled_from([{}, RECORDS, {"config": 5}]))
def test_no_document_ends_a_restore_in_a_traceback(
    document: Any,
    there: dict[str, Any],
    k8s_ovs: Cli,
    etcd: Callable[[Mapping[str, Any]], None],
) -> None:
    etcd(there)
    done = k8s_ovs("restore", "-", "--dry-run", "--overwrite", stdin=json.dumps(document))
    assert done.exit_code in (0, 1)
    assert (done.exit_code == 1) == ("error: " in done.stderr)


def test_a_file_that_is_not_there_is_named(k8s_ovs: Cli) -> None:
    done = k8s_ovs("restore", "/nowhere")
    assert (done.exit_code, done.stderr) == (1, "error: /nowhere: No such file or directory\n")


def test_a_record_of_a_plugin_that_does_not_run_is_kept_as_it_is() -> None:
    flat = {**CONFIG, "PluginName": "k8s-ovs-subnet"}
    backup = backup_of({"config": flat, "k8ssdn/netnamespaces/red": 5})
    assert not record_problems(backup)
    assert plan_of(backup, stored({}), delete_others=False).writes["k8ssdn/netnamespaces/red"] == 5


def test_a_difference_names_the_fields_that_differ() -> None:
    there = {
        **RECORDS,
        "k8ssdn/subnets/10.0.0.1": {"Host": "node9", **dict(list(HOST.items())[1:])},
    }
    plan = plan_of(backup_of(RECORDS), stored(there), delete_others=False)
    assert list(map(str, plan.change.values())) == [
        'k8ssdn/subnets/10.0.0.1: Host: found "node9", expected "node1"'
    ]
    more = {**RECORDS, "k8ssdn/netnamespaces/red": {**RED, "Action": "", "NetID": True}}
    plan = plan_of(backup_of(RECORDS), stored(more), delete_others=False)
    assert list(map(str, plan.change.values())) == [
        'k8ssdn/netnamespaces/red: NetID: found true, expected 10; Action: found "", expected '
        "nothing"
    ]


def test_the_order_of_fields_is_no_difference() -> None:
    turned = {**RECORDS, "k8ssdn/subnets/10.0.0.1": dict(reversed(HOST.items()))}
    assert not plan_of(backup_of(RECORDS), stored(turned), delete_others=False).writes


def test_a_record_that_would_take_anothers_subnet_is_a_contradiction() -> None:
    there = {"config": CONFIG, "k8ssdn/subnets/10.0.0.2": {**HOST, "HostIP": "10.0.0.2"}}
    backup, etcd = backup_of(RECORDS), stored(there)
    kept = plan_of(backup, etcd, delete_others=False)
    assert contradictions(backup, etcd, kept) == [
        "subnets/10.0.0.1: Subnet: found 172.11.4.0/22, expected one that does not overlap "
        "172.11.4.0/22 of 10.0.0.2"
    ]
    gone = plan_of(backup, etcd, delete_others=True)
    assert contradictions(backup, etcd, gone) == []


def test_a_configuration_that_leaves_hosts_outside_is_a_contradiction() -> None:
    there = {
        "config": {**CONFIG, "Network": "172.12.0.0/16"},
        "k8ssdn/subnets/10.0.0.2": {**HOST, "HostIP": "10.0.0.2", "Subnet": "172.12.4.0/22"},
    }
    backup, etcd = backup_of(RECORDS), stored(there)
    plan = plan_of(backup, etcd, delete_others=True)
    assert contradictions(backup, etcd, plan) == [
        "subnets/10.0.0.2: Subnet: found 172.12.4.0/22, expected one inside Network 172.11.0.0/16"
    ]


def test_what_is_wrong_in_etcd_already_prevents_nothing() -> None:
    there = {"config": CONFIG, "k8ssdn/subnets/10.0.0.9": 5}
    backup, etcd = backup_of(RECORDS), stored(there)
    assert contradictions(backup, etcd, plan_of(backup, etcd, delete_others=False)) == []
    without = stored({"k8ssdn/subnets/10.0.0.9": 5})
    plan = plan_of(backup, without, delete_others=False)
    assert contradictions(backup, without, plan) == []
