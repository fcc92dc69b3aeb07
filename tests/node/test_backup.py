"""`k8s-ovs backup` and `restore` on a real etcd: what is written, refused, and who interferes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import Result

from k8s_ovs.observe.etcd.client import Etcd, TxnResult
from k8s_ovs_testing.servers.etcd import EtcdProcess

Cli = Callable[..., Result]

CONFIG = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 10,
    "ServiceNetwork": "10.96.0.0/12",
    "PluginName": "k8s-ovs-multitenant",
}


def host(number: int, subnet: int | None = None) -> dict[str, Any]:
    """A host's record; subnet: its number, by default the host's."""
    at = number if subnet is None else subnet
    return {
        "Host": f"node{number}",
        "HostIP": f"192.168.0.{number}",
        "Subnet": f"172.11.{4 * at}.0/22",
        "Assign": False,
    }


RECORDS: dict[str, Any] = {
    "config": CONFIG,
    "k8ssdn/subnets/192.168.0.1": host(1),
    "k8ssdn/subnets/192.168.0.2": host(2),
    "k8ssdn/acme/x": [1],
}


class Network:
    """The records of a test, below a prefix of its own."""

    def __init__(self, etcd: EtcdProcess, prefix: str) -> None:
        self.etcd = etcd
        self.prefix = prefix

    def put(self, path: str, value: Any) -> None:
        self.etcd.ctl("put", f"{self.prefix}/{path}", json.dumps(value))

    def delete(self, path: str = "") -> None:
        """One record, or all."""
        self.etcd.ctl("del", *([] if path else ["--prefix"]), f"{self.prefix}/{path}")

    def records(self) -> dict[str, Any]:
        """What etcd has, by path."""
        lines = self.etcd.ctl("get", "--prefix", f"{self.prefix}/").splitlines()
        return {
            key.removeprefix(f"{self.prefix}/"): json.loads(text)
            for key, text in zip(lines[::2], lines[1::2], strict=True)
        }

    def revision(self) -> int:
        """etcd's, which every write raises."""
        shown = json.loads(self.etcd.ctl("get", "-w", "json", "nothing"))
        return int(shown["header"]["revision"])


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """An etcd that all tests of this file share; each has a prefix of its own."""
    with EtcdProcess(tmp_path_factory.mktemp("etcd")) as process:
        yield process


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, k8s_ovs: Cli, etcd: EtcdProcess) -> Network:
    """RECORDS, at the prefix that the environment names."""
    network = Network(etcd, f"/{uuid4()}")
    monkeypatch.setenv("K8S_OVS_ETCD_ENDPOINTS", etcd.endpoint)
    monkeypatch.setenv("K8S_OVS_ETCD_PREFIX", network.prefix)
    for path, value in RECORDS.items():
        network.put(path, value)
    return network


@pytest.fixture
def file(network: Network, k8s_ovs: Cli, tmp_path: Path) -> str:
    """The backup of RECORDS."""
    path = str(tmp_path / "network.json")
    done = k8s_ovs("backup", path)
    assert (done.exit_code, done.stderr) == (0, "")
    return path


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Says what somebody else does just before the transaction of this number, from 0 on."""

    def arrange(number: int, interfere: Callable[[], None]) -> None:
        count = iter(range(1_000_000))
        txn = Etcd.txn

        def watched(self: Etcd, *words: Any) -> TxnResult:
            if next(count) == number:
                interfere()
            return txn(self, *words)

        monkeypatch.setattr(Etcd, "txn", watched)

    return arrange


def rows(done: Result) -> dict[str, list[int]]:
    """Counts by kind: added, changed, deleted, same, others."""
    _, _, below = done.stdout.partition("KIND ")
    table = [line.split() for line in below.splitlines() if line[-1:].isdigit()]
    return {kind: list(map(int, counts)) for kind, *counts in table}


def test_what_is_under_a_lease_is_in_no_backup(
    network: Network, k8s_ovs: Cli, etcd: EtcdProcess
) -> None:
    lease = etcd.ctl("lease", "grant", "60").split()[1]
    for path in ("k8ssdn/acme/leased", "k8ssdn/allocator", "k8ssdn/status/node1"):
        etcd.ctl("put", f"--lease={lease}", f"{network.prefix}/{path}", "{}")
    network.put("k8ssdn/seen/192.168.0.9", {})
    done = k8s_ovs("backup", "-")
    assert json.loads(done.stdout)["records"] == RECORDS
    # And none of it is deleted as one that the backup lacks.
    done = k8s_ovs("restore", "-", "--delete-others", stdin=done.stdout)
    assert done.exit_code == 0
    assert len(network.records()) == len(RECORDS) + 4


def test_an_emptied_etcd_is_filled_and_the_second_run_writes_nothing(
    network: Network, file: str, k8s_ovs: Cli
) -> None:
    network.delete()
    done = k8s_ovs("restore", file)
    assert (done.exit_code, done.stderr) == (0, "")
    assert rows(done) == {
        "config": [1, 0, 0, 0, 0],
        "acme": [1, 0, 0, 0, 0],
        "subnets": [2, 0, 0, 0, 0],
    }
    where = f"\netcd at {network.etcd.endpoint} below {network.prefix}: "
    assert done.stdout.endswith(f"{where}network k8ssdn is restored\n")
    assert network.records() == RECORDS
    before = network.revision()
    again = k8s_ovs("restore", file)
    assert again.stdout.endswith("network k8ssdn is already as in the backup\n")
    assert rows(again)["subnets"] == [0, 0, 0, 2, 0]
    assert network.revision() == before


def test_a_dry_run_says_all_and_writes_nothing(network: Network, file: str, k8s_ovs: Cli) -> None:
    network.delete("k8ssdn/acme/x")
    network.put("k8ssdn/subnets/192.168.0.2", host(2, 5))
    network.put("k8ssdn/subnets/192.168.0.3", host(3))
    before = network.records()
    words = ("--dry-run", "--overwrite")
    done = k8s_ovs("restore", file, *words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:3] == [
        "add k8ssdn/acme/x",
        'change k8ssdn/subnets/192.168.0.2: Subnet: found "172.11.20.0/22", expected '
        '"172.11.8.0/22"',
        "leave k8ssdn/subnets/192.168.0.3: the backup does not have it",
    ]
    assert rows(done)["subnets"] == [0, 1, 0, 1, 1]
    where = f"\netcd at {network.etcd.endpoint} below {network.prefix}: "
    assert done.stdout.endswith(f"{where}nothing was written (--dry-run)\n")
    found = json.loads(k8s_ovs("restore", file, *words, "--delete-others", "-o", "json").stdout)
    assert found == {
        "network": "k8ssdn",
        "endpoints": [network.etcd.endpoint],
        "prefix": network.prefix,
        "dry_run": True,
        "add": ["k8ssdn/acme/x"],
        "change": ["k8ssdn/subnets/192.168.0.2"],
        "delete": ["k8ssdn/subnets/192.168.0.3"],
        "same": ["config", "k8ssdn/subnets/192.168.0.1"],
        "others": [],
    }
    assert network.records() == before


def test_what_differs_is_named_and_stays_unless_it_is_to_be_overwritten(
    network: Network, file: str, k8s_ovs: Cli
) -> None:
    network.delete("k8ssdn/acme/x")
    network.put("k8ssdn/subnets/192.168.0.2", host(2, 5))
    network.put("config", {**CONFIG, "MTU": 1400})
    before = network.records()
    done = k8s_ovs("restore", file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error: config: MTU: found 1400, expected nothing; add --overwrite to change it",
        'error: k8ssdn/subnets/192.168.0.2: Subnet: found "172.11.20.0/22", expected '
        '"172.11.8.0/22"; add --overwrite to change it',
        "error: nothing was written",
    ]
    assert network.records() == before
    assert k8s_ovs("restore", file, "--overwrite").exit_code == 0
    assert network.records() == RECORDS


def test_records_of_others_go_only_where_that_is_asked_for(
    network: Network, file: str, k8s_ovs: Cli
) -> None:
    network.put("k8ssdn/subnets/192.168.0.3", host(3))
    network.put("other/subnets/192.168.0.9", {})
    assert rows(k8s_ovs("restore", file, "--overwrite"))["subnets"] == [0, 0, 0, 2, 1]
    assert "k8ssdn/subnets/192.168.0.3" in network.records()
    done = k8s_ovs("restore", file, "--delete-others")
    assert rows(done)["subnets"] == [0, 0, 1, 2, 0]
    assert network.records() == {**RECORDS, "other/subnets/192.168.0.9": {}}


def test_a_subnet_that_another_host_has_now_is_refused(
    network: Network, file: str, k8s_ovs: Cli
) -> None:
    network.delete("k8ssdn/subnets/192.168.0.2")
    network.put("k8ssdn/subnets/192.168.0.3", host(3, 2))
    done = k8s_ovs("restore", file)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "error: subnets/192.168.0.2: Subnet: found 172.11.8.0/22, expected one that does not "
        "overlap 172.11.8.0/22 of 192.168.0.3",
        "error: nothing was written",
    ]
    assert "k8ssdn/subnets/192.168.0.2" not in network.records()


@pytest.mark.parametrize("flags", [(), ("--overwrite", "--delete-others")], ids=str)
def test_the_backup_of_another_network_is_refused(
    flags: tuple[str, ...], network: Network, file: str, k8s_ovs: Cli
) -> None:
    network.put("config", {**CONFIG, "Name": "mine"})
    before = network.records()
    done = k8s_ovs("restore", file, *flags)
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: network: found k8ssdn, expected mine as {network.prefix}/config says: this is "
        "the backup of another network\n"
    )
    assert network.records() == before


def test_a_configuration_that_leaves_hosts_outside_is_refused(
    network: Network, file: str, k8s_ovs: Cli
) -> None:
    network.put("config", {**CONFIG, "Network": "172.8.0.0/13"})
    outside = {**host(9), "Subnet": "172.12.0.0/22"}
    network.put("k8ssdn/subnets/192.168.0.9", outside)
    done = k8s_ovs("restore", file, "--overwrite", "--delete-others")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0] == (
        "error: subnets/192.168.0.9: Subnet: found 172.12.0.0/22, expected one inside Network "
        "172.11.0.0/16"
    )
    assert network.records()["config"]["Network"] == "172.8.0.0/13"


@pytest.mark.parametrize(
    "written",
    [
        ("k8ssdn/subnets/192.168.0.2", host(2, 7)),
        ("k8ssdn/subnets/192.168.0.9", host(9, 2)),
        ("config", {**CONFIG, "MTU": 1400}),
        ("k8ssdn/acme/y", [2]),
    ],
)
def test_what_somebody_writes_meanwhile_is_noticed_and_named(
    written: tuple[str, Any],
    network: Network,
    file: str,
    k8s_ovs: Cli,
    meanwhile: Callable[[int, Callable[[], None]], None],
) -> None:
    path, value = written
    network.delete()
    meanwhile(0, lambda: network.put(path, value))
    done = k8s_ovs("restore", file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {path} below {network.prefix} was changed by somebody else in the meantime; "
        "0 of 4 changes are written: run the command again\n"
    )
    assert network.records() == {path: value}


def test_what_somebody_deletes_meanwhile_is_noticed_and_named(
    network: Network,
    file: str,
    k8s_ovs: Cli,
    meanwhile: Callable[[int, Callable[[], None]], None],
) -> None:
    network.put("k8ssdn/subnets/192.168.0.2", host(2, 7))
    meanwhile(0, lambda: network.delete("k8ssdn/subnets/192.168.0.2"))
    done = k8s_ovs("restore", file, "--overwrite")
    assert done.exit_code == 1
    assert "k8ssdn/subnets/192.168.0.2 below" in done.stderr


def test_what_nodes_say_of_themselves_disturbs_no_restore(
    network: Network,
    file: str,
    k8s_ovs: Cli,
    meanwhile: Callable[[int, Callable[[], None]], None],
) -> None:
    network.delete()

    def told() -> None:
        for path in (
            "k8ssdn/status/node1",
            "k8ssdn/seen/192.168.0.9",
            "k8ssdn/used/node1",
            "k8ssdn/allocator",
        ):
            network.put(path, {})

    meanwhile(0, told)
    assert k8s_ovs("restore", file).exit_code == 0


def test_a_large_network_is_written_in_parts_and_its_configuration_last(
    network: Network,
    k8s_ovs: Cli,
    meanwhile: Callable[[int, Callable[[], None]], None],
    tmp_path: Path,
) -> None:
    names = [f"ns{number}" for number in range(310)]
    many = {
        f"k8ssdn/netnamespaces/{name}": {"NetName": name, "NetID": number + 10}
        for number, name in enumerate(names)
    }
    head = json.loads(k8s_ovs("backup", "-").stdout)
    file = tmp_path / "large.json"
    file.write_text(json.dumps(head | {"records": {"config": CONFIG, **many}}))
    network.delete()
    meanwhile(2, lambda: network.put("k8ssdn/netnamespaces/else", {"NetName": "else", "NetID": 9}))
    done = k8s_ovs("restore", str(file))
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: k8ssdn/netnamespaces/else below {network.prefix} was changed by somebody else in "
        "the meantime; 200 of 311 changes are written: run the command again\n"
    )
    assert "config" not in network.records()
    seen: list[dict[str, Any]] = []
    # The first takes 100 of what is left, the second the rest, the third the configuration.
    meanwhile(2, lambda: seen.append(network.records()))
    assert k8s_ovs("restore", str(file), "--delete-others").exit_code == 0
    assert seen[0].keys() == many.keys()
    assert network.records() == {"config": CONFIG, **many}


def test_a_user_of_etcd_needs_no_more_than_the_prefix(k8s_ovs: Cli, tmp_path: Path) -> None:
    prefix, password = f"/{uuid4()}", "x"
    with EtcdProcess(tmp_path / "etcd") as etcd:
        network = Network(etcd, prefix)
        for path, value in RECORDS.items():
            network.put(path, value)
        etcd.enable_auth(password, {"admin": (password, f"{prefix}/")})
        words = ["--etcd-endpoints", etcd.endpoint, "--etcd-prefix", prefix]
        words += ["--etcd-username", "admin", "--etcd-password", password]
        text = k8s_ovs("backup", "-", *words).stdout
        assert json.loads(text)["records"] == RECORDS
        etcd.ctl("del", "--prefix", f"{prefix}/", username="root", password=password)
        done = k8s_ovs("restore", "-", *words, stdin=text)
        assert (done.exit_code, done.stderr) == (0, "")
