"""The command line against a real etcd, and on a node of a lab with its real daemon."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import Result

from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import tcp
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.pipeline.tables import ARP, CORE_TABLES
from k8s_ovs.pipeline.wire import encode
from k8s_ovs_lab import Lab, LabSettings, Layout
from k8s_ovs_lab.lifecycle import tear_down
from k8s_ovs_testing.servers.etcd import EtcdProcess

Cli = Callable[..., Result]
Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 10,
    "ServiceNetwork": "10.96.0.0/12",
    "PluginName": "k8s-ovs-subnet",
}
HOST = {"Host": "node1", "HostIP": "10.0.0.1", "Subnet": "172.11.4.0/22", "Assign": False}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """An etcd that all tests of this file share; each has a prefix of its own."""
    with EtcdProcess(tmp_path_factory.mktemp("etcd")) as process:
        yield process


@pytest.fixture
def prefix(monkeypatch: pytest.MonkeyPatch, k8s_ovs: Cli, etcd: EtcdProcess) -> str:
    """Where this test has its records, named by the environment."""
    own = f"/{uuid4()}"
    monkeypatch.setenv("K8S_OVS_ETCD_ENDPOINTS", etcd.endpoint)
    monkeypatch.setenv("K8S_OVS_ETCD_PREFIX", own)
    return own


def text(**changes: Any) -> str:
    """The configuration as JSON."""
    return json.dumps(CONFIG | changes)


def test_a_configuration_that_was_set_is_shown(
    prefix: str, k8s_ovs: Cli, etcd: EtcdProcess
) -> None:
    done = k8s_ovs("config", "set", text())
    assert done.exit_code == 0
    assert "Network" in done.stdout
    assert etcd.ctl("get", "--print-value-only", f"{prefix}/config") == (
        '{"Name":"k8ssdn","Network":"172.11.0.0/16","HostSubnetLength":10,'
        '"ServiceNetwork":"10.96.0.0/12","PluginName":"k8s-ovs-subnet"}\n'
    )
    assert json.loads(k8s_ovs("config", "show", "-o", "json").stdout) == CONFIG
    assert "HostSubnetLength  10\n" in k8s_ovs("config", "show").stdout


def test_a_configuration_that_is_there_stays_if_asked(
    prefix: str, k8s_ovs: Cli, etcd: EtcdProcess
) -> None:
    first = k8s_ovs("config", "set", "--if-absent", text())
    assert (first.exit_code, "is written" in first.stdout) == (0, True)
    second = k8s_ovs("config", "set", "--if-absent", text(PluginName="k8s-ovs-multitenant"))
    assert second.exit_code == 0
    assert second.stdout == f"{prefix}/config exists already and is kept (--if-absent)\n"
    kept = json.loads(etcd.ctl("get", "--print-value-only", f"{prefix}/config"))
    assert kept == CONFIG


def test_setting_the_same_again_writes_nothing(
    prefix: str, k8s_ovs: Cli, etcd: EtcdProcess
) -> None:
    k8s_ovs("config", "set", text())
    before = etcd.ctl("get", "-w", "fields", f"{prefix}/config")
    done = k8s_ovs("config", "set", "--file", "-", stdin=text())
    assert done.stdout == f"{prefix}/config is already up to date\n"
    after = etcd.ctl("get", "-w", "fields", f"{prefix}/config")
    assert _revision(after) == _revision(before)


def test_a_dry_run_shows_the_change_and_writes_nothing(prefix: str, k8s_ovs: Cli) -> None:
    k8s_ovs("config", "set", text())
    done = k8s_ovs("config", "set", text(MTU=1400), "--dry-run")
    assert done.exit_code == 0
    assert "MTU    -    1400" in done.stdout
    assert json.loads(k8s_ovs("config", "show", "-o", "json").stdout) == CONFIG


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "config set: expected either JSON or --file FILE"),
        (("{}", "-f", "x"), "config set: expected either JSON or --file FILE"),
        (("-f", "/nowhere"), "--file /nowhere: No such file or directory"),
        (("{",), "JSON: not JSON ("),
        ((text(Network="172.11.0.1/16"),), 'JSON: Network: found "172.11.0.1/16", host bits'),
        ((text(HostSubnetLength="10"),), 'JSON: HostSubnetLength: found "10", expected a whole'),
        ((text(PluginName="acme"),), 'PluginName: no plugin "acme" is installed; installed are'),
        ((text(PluginName=""),), 'PluginName: found "" with an empty name'),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_line(
    words: tuple[str, ...], complaint: str, prefix: str, k8s_ovs: Cli, etcd: EtcdProcess
) -> None:
    done = k8s_ovs("config", "set", *words)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {complaint}")
    assert done.stderr.count("\n") == 1
    assert etcd.ctl("get", "--prefix", prefix) == ""


def test_unknown_plugins_can_be_forced_since_other_nodes_may_have_them(
    prefix: str, k8s_ovs: Cli
) -> None:
    refused = k8s_ovs("config", "set", text(PluginName="k8s-ovs-subnet,acme"))
    assert refused.stderr.endswith("; add --force to write it anyway\n")
    forced = k8s_ovs("config", "set", "--force", text(PluginName="k8s-ovs-subnet,acme"))
    assert forced.exit_code == 0
    assert 'warning: PluginName: no plugin "acme" is installed' in forced.stderr


def test_a_network_that_does_not_contain_the_subnets_must_be_forced(
    prefix: str, k8s_ovs: Cli, etcd: EtcdProcess
) -> None:
    k8s_ovs("config", "set", text())
    etcd.ctl("put", f"{prefix}/k8ssdn/subnets/10.0.0.1", json.dumps(HOST))
    refused = k8s_ovs("config", "set", text(Network="172.12.0.0/16"))
    assert refused.exit_code == 1
    assert "error: subnets/10.0.0.1: Subnet: found 172.11.4.0/22" in refused.stderr
    assert json.loads(k8s_ovs("config", "show", "-o", "json").stdout) == CONFIG
    assert k8s_ovs("config", "set", text(Network="172.12.0.0/16"), "--force").exit_code == 0
    assert "172.12.0.0/16" in k8s_ovs("config", "show").stdout


def test_a_field_that_nobody_knows_is_kept_with_a_warning(prefix: str, k8s_ovs: Cli) -> None:
    done = k8s_ovs("config", "set", text(Pluginname="x"))
    assert done.exit_code == 0
    assert "warning: Pluginname: unknown field, kept as it is" in done.stderr
    assert json.loads(k8s_ovs("config", "show", "-o", "json").stdout)["Pluginname"] == "x"


def test_fields_of_plugins_are_known_where_those_run_and_checked(prefix: str, k8s_ovs: Cli) -> None:
    fields = {"GlobalNamespaces": ["red"], "BandwidthUnenforced": "warn"}
    good = k8s_ovs("config", "set", text(PluginName="k8s-ovs-multitenant", **fields))
    assert (good.exit_code, good.stderr) == (0, "")
    wrong = k8s_ovs("config", "set", "--force", text(BandwidthUnenforced="no"))
    assert wrong.exit_code == 1
    assert wrong.stderr == (
        'error: JSON: BandwidthUnenforced: found "no", expected "refuse" or "warn"\n'
    )
    other = k8s_ovs("config", "set", text(**fields))
    assert other.exit_code == 0
    assert "warning: GlobalNamespaces: unknown field, kept as it is; known f" in other.stderr
    assert "BandwidthUnenforced:" not in other.stderr


def test_without_a_configuration_show_check_and_list_say_what_to_do(
    prefix: str, k8s_ovs: Cli
) -> None:
    expected = (
        f"error: there is no configuration at {prefix}/config; make one: k8s-ovs config set JSON; "
        "or bring it back from a backup: k8s-ovs restore FILE\n"
    )
    for words in (("config", "show"), ("config", "check"), ("subnet", "list")):
        done = k8s_ovs(*words)
        assert (done.exit_code, done.stderr) == (1, expected)


def test_check_tells_every_problem_and_fails(prefix: str, k8s_ovs: Cli, etcd: EtcdProcess) -> None:
    k8s_ovs("config", "set", text())
    assert k8s_ovs("config", "check").exit_code == 0
    etcd.ctl("put", f"{prefix}/k8ssdn/subnets/10.0.0.1", json.dumps(HOST))
    etcd.ctl("put", f"{prefix}/k8ssdn/subnets/10.0.0.2", json.dumps(HOST))
    etcd.ctl("put", f"{prefix}/k8ssdn/subnets/10.0.0.3", "nonsense")
    etcd.ctl("put", f"{prefix}/k8ssdn/subnet/10.0.0.4", "{}")
    done = k8s_ovs("config", "check")
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "warning: k8ssdn/subnet/10.0.0.4: unknown key, no kind of record has it"
    assert [line.split(": ")[1] for line in lines[1:]] == [
        "subnets/10.0.0.2",
        "k8ssdn/subnets/10.0.0.3",
    ]
    found = json.loads(k8s_ovs("config", "check", "-o", "json").stdout)
    assert (len(found["problems"]), len(found["notes"]), found["records"]) == (2, 1, 5)


def test_subnets_are_listed_with_their_state(prefix: str, k8s_ovs: Cli, etcd: EtcdProcess) -> None:
    k8s_ovs("config", "set", text())
    etcd.ctl("put", f"{prefix}/k8ssdn/subnets/10.0.0.1", json.dumps(HOST))
    etcd.ctl("put", f"{prefix}/k8ssdn/given/10.0.0.1", '{"Host":"node1"}')
    etcd.ctl("put", f"{prefix}/k8ssdn/subnets/10.0.0.2", "nonsense")
    done = k8s_ovs("subnet", "list")
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["node1", "10.0.0.1", "172.11.4.0/22", "node", "ok"],
        ["?", "10.0.0.2", "-", "hand", "quarantined"],
        ["63", "of", "64", "subnets", "(/22", "of", "172.11.0.0/16)", "are", "free"],
    ]
    assert "warning: k8ssdn/subnets/10.0.0.2: not JSON" in done.stderr
    first, _ = json.loads(k8s_ovs("subnet", "list", "-o", "json").stdout)
    assert (first["host"], first["given_to"], first["state"]) == ("node1", "node", "ok")


def test_an_etcd_that_does_not_answer_is_named(prefix: str, k8s_ovs: Cli) -> None:
    done = k8s_ovs("config", "show", "--etcd-endpoints", "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: etcd did not answer list")
    assert "http://127.0.0.1:1: " in done.stderr


SETTINGS = LabSettings(f"c{uuid4().hex[:8]}", nodes=1)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of one node with a pod, which the tests below leave as it was."""
    with tempfile.TemporaryDirectory(prefix="lab-") as parent:
        layout = Layout(SETTINGS.name, Path(parent) / "s")
        try:
            lab = Lab.up(SETTINGS, layout.directory)
            lab.run_pod("node1", "web")
            yield lab
        finally:
            tear_down(layout, lambda _: None)


@pytest.fixture
def on_node(lab: Lab) -> Run:
    """Runs a command on the node, as a person who has logged in there."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return lab.exec("node1", ["env", "PYTHONWARNINGS=ignore", *words], check=False)

    return run


def test_a_node_that_is_ready_says_so(on_node: Run) -> None:
    shown = on_node("k8s-ovs", "status")
    assert shown.returncode == 0
    assert shown.stdout.startswith("node1 is ready\n")
    found = json.loads(on_node("k8s-ovs", "status", "-o", "json").stdout)
    assert (found["ready"], found["running"], found["pods"]) == (True, True, 1)
    assert found["here"]["subnet"] == "172.11.0.0/22"
    assert found["switch"]["flows"] == found["flows"]


def test_the_switch_has_just_the_flows_that_are_computed_here(on_node: Run) -> None:
    shown = on_node("k8s-ovs", "flows", "--diff")
    assert shown.stdout == "the switch has exactly the desired flows\n"
    assert shown.returncode == 0
    installed = json.loads(on_node("k8s-ovs", "flows", "-o", "json").stdout)
    desired = json.loads(on_node("k8s-ovs", "flows", "--desired", "-o", "json").stdout)
    assert {each["cookie"] for each in installed} == {each["cookie"] for each in desired}
    owners = {each["cookie"]: each["owner"] for each in desired}
    assert {each["cookie"]: each["owner"] for each in installed} == owners
    for words in ("table", "match", "actions"):
        expected = {each["cookie"]: each.get(words) for each in desired}
        assert {each["cookie"]: each.get(words) for each in installed} == expected
    wanted = {name for each in desired for name in each["wanted_by"]}
    assert wanted == {"the network", "pod default/web"}


def test_the_difference_shows_missing_and_unexpected_flows(lab: Lab, on_node: Run) -> None:
    unknown_keys = encode(Flow(ARP, 7, tcp(tcp_dst=80)), 0, Pipeline(CORE_TABLES))
    desired = json.loads(on_node("k8s-ovs", "flows", "--desired", "-o", "json").stdout)
    missing = next(each for each in desired if each["table"] == "POD_IN" and each["priority"])
    # A running daemon would repair it, sooner or later.
    lab.stop_daemon("node1")
    bridge = OpenFlow.connect(str(lab.node("node1").ovs_directory / "br0.mgmt"))
    bridge.commit([unknown_keys], [int(missing["cookie"], 16)])
    shown = on_node("k8s-ovs", "flows", "--diff")
    as_json = json.loads(on_node("k8s-ovs", "flows", "--diff", "-o", "json").stdout)
    only = json.loads(on_node("k8s-ovs", "flows", "--diff", "--table", "arp", "-o", "json").stdout)
    sick = on_node("k8s-ovs", "doctor")
    bridge.close()
    lab.start_daemon("node1")

    assert shown.returncode == 1
    changes = [line.split()[:3] for line in shown.stdout.splitlines()[1:]]
    assert changes == [["+", "POD_IN", "100"], ["-", "ARP", "7"]]
    assert {each["change"]: each["cookie"] for each in as_json} == {
        "add": missing["cookie"],
        "delete": f"{unknown_keys.cookie:#x}",
    }
    assert [each["change"] for each in only] == ["delete"]
    assert "WRONG flows" in sick.stdout
    assert "1 missing, 1 unexpected" in sick.stdout


def test_flows_are_chosen_by_table_and_owner(on_node: Run) -> None:
    verdict = on_node("k8s-ovs", "flows", "--table", "verdict", "--owner", "k8s-ovs-subnet")
    assert [line.split()[-2:] for line in verdict.stdout.splitlines()[1:]] == [
        ["ip", "actions=goto_table:RETURN"]
    ]
    wrong = on_node("k8s-ovs", "flows", "--table", "POD")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: --table POD: expected one of ARP, CLASSIFY")
    both = on_node("k8s-ovs", "flows", "--diff", "--desired")
    assert both.stderr == "error: flows: expected one of --desired and --diff\n"


def test_flows_of_a_switch_that_is_not_there_are_an_error(k8s_ovs: Cli, tmp_path: Path) -> None:
    shown = k8s_ovs("flows", "--ovs-run-dir", str(tmp_path))
    assert shown.exit_code == 1
    assert shown.stderr.startswith(f"error: no connection to ovsdb-server at unix:{tmp_path}/db")


def test_the_doctor_finds_a_healthy_node_well_and_names_what_was_broken(
    on_node: Run, lab: Lab
) -> None:
    well = on_node("k8s-ovs", "doctor")
    assert (well.returncode, "WRONG" in well.stdout) == (0, False), well.stdout
    daemon = lab.part("node1/daemon")
    daemon.pause()  # it would repair what is broken here
    on_node("ip", "route", "delete", "172.11.0.0/16", "dev", "tun0")
    on_node("sysctl", "-qw", "net.ipv4.ip_forward=0")
    sick = on_node("k8s-ovs", "doctor", "-o", "json")
    daemon.resume()

    assert sick.returncode == 1
    wrong = {each["name"]: each for each in json.loads(sick.stdout) if not each["ok"]}
    assert list(wrong) == ["tun0"]
    assert wrong["tun0"]["found"] == (
        "route 172.11.0.0/16 by tun0: missing; sysctl net/ipv4/ip_forward: value is 0, expected 1"
    )
    assert "a running daemon repairs this" in wrong["tun0"]["advice"]
    deadline = time.monotonic() + 30
    while on_node("k8s-ovs", "doctor").returncode != 0:
        assert time.monotonic() < deadline, "the daemon did not repair tun0"


def test_the_daemon_shows_its_numbers(on_node: Run) -> None:
    page = on_node("curl", "-s", "http://127.0.0.1:9477/metrics").stdout.splitlines()
    assert "k8s_ovs_ready 1.0" in page
    assert "k8s_ovs_pods 1.0" in page
    requests = [line for line in page if line.startswith("k8s_ovs_cni_request_seconds_count")]
    assert requests, page


def _revision(fields: str) -> str:
    return next(line for line in fields.splitlines() if line.startswith('"ModRevision"'))
