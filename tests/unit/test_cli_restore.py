"""What a person is told by `backup` and `restore`: what a file is, where it goes, what changes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_etcd import CONFIG, PREFIX, FakeEtcd
from typer.testing import Result

from k8s_ovs.cli.cluster import restore, snapshot

Cli = Callable[..., Result]

RED = {"NetName": "red", "NetID": 10}
HEAD = {"format": 1, "network": "k8ssdn", "revision": 7, "time": "", "version": "0.1.0"}
DOCUMENT = {**HEAD, "records": {"config": CONFIG, "k8ssdn/netnamespaces/red": RED}}
WHERE = f"etcd at http://10.0.0.1:2379, http://10.0.0.2:2379 below {PREFIX}: "
AT = ("--etcd-endpoints", "http://10.0.0.1:2379,http://10.0.0.2:2379")
BACKUP = "expected the JSON that `k8s-ovs backup` writes"


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says what etcd has, JSON values by path; writes are taken and forgotten."""
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    monkeypatch.setattr(restore, "write_plan", lambda *_: None)

    def has(records: dict[str, Any]) -> None:
        FakeEtcd.records = {path: json.dumps(each).encode() for path, each in records.items()}

    return has


@pytest.mark.parametrize(
    ("content", "found", "instead"),
    [
        (b"", "nothing", ""),
        (b" \n", "nothing", ""),
        (gzip.compress(b"{}", mtime=0), "a gzip file", ": gunzip -c FILE | k8s-ovs restore -"),
        (
            b"\0" * 16 + b"\xed\xda\x0c\xed\x02" + b"\0" * 99,
            "a snapshot of etcd",
            ": etcdctl snapshot restore FILE",
        ),
        (b"\xff\xfe{}", "4 bytes that are no text", ""),
        (
            json.dumps(CONFIG).encode(),
            "a network's configuration",
            ": k8s-ovs config set --file FILE",
        ),
    ],
)
def test_a_file_that_is_no_backup_is_one_line_that_says_what_it_is(
    content: bytes, found: str, instead: str, k8s_ovs: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "network.json"
    file.write_bytes(content)
    done = k8s_ovs("restore", str(file))
    told = f"error: FILE: not a backup of k8s-ovs: found {found}, {BACKUP}{instead}\n"
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == told.replace("FILE", str(file))


def test_the_last_line_says_where_it_was_written(etcd: Callable[..., None], k8s_ovs: Cli) -> None:
    etcd({})
    text = json.dumps(DOCUMENT)
    done = k8s_ovs("restore", "-", *AT, stdin=text)
    assert done.stdout.splitlines()[-1] == f"{WHERE}network k8ssdn is restored"
    looked = k8s_ovs("restore", "-", "--dry-run", *AT, stdin=text)
    assert looked.stdout.splitlines()[-1] == f"{WHERE}nothing was written (--dry-run)"
    told = json.loads(k8s_ovs("restore", "-", "-o", "json", *AT, stdin=text).stdout)
    assert told["endpoints"] == ["http://10.0.0.1:2379", "http://10.0.0.2:2379"]
    assert told["prefix"] == PREFIX


def test_what_is_overwritten_or_deleted_is_named(etcd: Callable[..., None], k8s_ovs: Cli) -> None:
    etcd({"config": CONFIG, "k8ssdn/netnamespaces/red": {**RED, "NetID": 11}, "k8ssdn/acme/x": 1})
    words = ("--overwrite", "--delete-others")
    done = k8s_ovs("restore", "-", *words, stdin=json.dumps(DOCUMENT))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [
        "delete k8ssdn/acme/x",
        "change k8ssdn/netnamespaces/red: NetID: found 11, expected 10",
    ]
    looked = k8s_ovs("restore", "-", *words, "--dry-run", stdin=json.dumps(DOCUMENT))
    assert looked.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]


def test_a_configuration_that_is_wrong_is_written_all_the_same(
    etcd: Callable[..., None], k8s_ovs: Cli, tmp_path: Path
) -> None:
    wrong = {**CONFIG, "HostSubnetLength": 99}
    etcd({"config": wrong, "k8ssdn/netnamespaces/red": RED})
    file = tmp_path / "network.json"
    done = k8s_ovs("backup", str(file))
    assert done.exit_code == 1
    assert done.stderr.startswith("warning: config: HostSubnetLength: found 99, expected 2 to 16")
    assert done.stderr.endswith("; the file is written, and restore would refuse it\n")
    records = json.loads(file.read_text())["records"]
    assert records == {"config": wrong, "k8ssdn/netnamespaces/red": RED}


@pytest.mark.parametrize("config", [5, {}, {"Name": 5}, {"Name": ""}])
def test_without_a_name_of_the_network_no_file_is_written(
    config: Any, etcd: Callable[..., None], k8s_ovs: Cli, tmp_path: Path
) -> None:
    etcd({"config": config})
    file = tmp_path / "network.json"
    done = k8s_ovs("backup", str(file))
    assert (done.exit_code, file.exists()) == (1, False)
    assert done.stderr.startswith(f"error: {PREFIX}/config: ")
    assert "; no file is written, as nothing says which network's records" in done.stderr
