"""A configuration or a record that is absent or wrong: what runs goes on, what starts waits, and
both say why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import cni
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that

CONFIG = f"{ETCD_PREFIX}/config"
WITHIN = 20.0

GOOD: dict[str, Any] = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 5,
    "ServiceNetwork": "10.96.0.0/12",
    "PluginName": "k8s-ovs-subnet",
}


def changed(**fields: Any) -> str:
    return json.dumps({**GOOD, **fields})


#: What is put, and what is said of it.
WRONG = {
    "no JSON": ("{", "config: not JSON"),
    "no object": ("[]", "config: found [], expected a JSON object"),
    "a field missing": ('{"Name":"k8ssdn"}', "config: Network: found nothing, expected"),
    "host bits": (changed(Network="172.11.0.1/16"), 'Network: found "172.11.0.1/16", host bits'),
    "overlap": (changed(ServiceNetwork="172.0.0.0/8"), "ServiceNetwork: found 172.0.0.0/8"),
    "no room": (changed(HostSubnetLength=17), "HostSubnetLength: found 17, expected 2 to 16"),
    "unknown plugin": (changed(PluginName="k8s-ovs-subnet,acme"), 'no plugin "acme" is installed'),
    "doubled plugin": (
        changed(PluginName="k8s-ovs-subnet,k8s-ovs-subnet"),
        '"k8s-ovs-subnet" is named more than once',
    ),
    "a plugin's field": (
        changed(BandwidthUnenforced="no"),
        'BandwidthUnenforced: found "no", expected "refuse" or "warn"',
    ),
    "no plugin": (changed(PluginName=""), 'PluginName: found "" with an empty name'),
}
UNFIT = {
    "another network": (
        changed(Network="172.12.0.0/16"),
        "Network: found 172.12.0.0/16, expected one that holds 172.11.0.",
    ),
    "an MTU that does not fit below": (
        changed(MTU=9000),
        "MTU: found 9000, expected 1450 at most: the device with 192.168.0.11 has 1500, and VXLAN",
    ),
    "another name": (changed(Name="other"), "Name: found other, expected k8ssdn while 1 pods run"),
}
RUNNING = {**WRONG, **UNFIT, "absent": (None, 'the key "config" does not exist')}


@pytest.mark.parametrize(("text", "told"), RUNNING.values(), ids=RUNNING)
def test_a_daemon_that_runs_reports_it_and_goes_on(
    shaken: LabNet, text: str | None, told: str
) -> None:
    with configuration(shaken, text):
        await_that("it is reported", lambda: told in problems(shaken, "node1"), WITHIN)
        with shaken.attached("node1", "late") as pod:
            assert pod.ip is not None
            assert shaken.pings("y", pod.ip)


def test_a_daemon_that_starts_says_what_is_wrong_and_takes_what_is_right(
    shaken: LabNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_second_mode(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    two_modes = changed(PluginName="k8s-ovs-subnet,acme-mode")
    shaken.lab.stop_daemon("node1")
    with configuration(shaken, two_modes):
        shaken.lab.start_daemon("node1", "--cni-wait=1", wait=False)
        await_reason(shaken, "names 2 modes (k8s-ovs-subnet, acme-mode)")
        for text, told in WRONG.values():
            shaken.lab.etcdctl("put", CONFIG, text)
            await_reason(shaken, told)
        told_last = r'PluginName: found "" with an empty name'
        # The daemon has nothing that pods or bridge could be compared with.
        assert set(wrong_checks(shaken)) == {"records", "daemon", "not checked"}
        with pytest.raises(K8sOvsError, match=f"{told_last}.*code 50"):
            cni.call(shaken.lab.node("node1"), "STATUS", {}, "the network")
        with (
            pytest.raises(K8sOvsError, match=f"waited 1 s for: .*{told_last}.*code 11"),
            shaken.attached("node1", "early"),
        ):
            pass
    await_that("it is ready", lambda: shaken.status("node1")["ready"], WITHIN)


def test_an_add_that_waits_for_the_configuration_succeeds_when_it_comes(shaken: LabNet) -> None:
    shaken.lab.stop_daemon("node1")
    with ThreadPoolExecutor(1) as pool:
        with configuration(shaken, None):
            shaken.lab.start_daemon("node1", wait=False)
            await_reason(shaken, 'config: the key "config" does not exist')
            early = pool.submit(shaken.lab.run_pod, "node1", "early")
            await_that("the ADD waits", lambda: cni_clients(shaken, "node1") == 1, WITHIN)
            assert not early.done()
        assert early.result(WITHIN).ip in shaken.subnet("node1")
    assert shaken.pings("y", shaken.address("early"))
    shaken.lab.delete_pod("early")


@pytest.mark.parametrize("mtu", [576, 1279])
def test_an_mtu_that_ipv6_does_not_fit_into_serves_pods_and_is_left_again(
    shaken: LabNet, mtu: int
) -> None:
    def has(expected: int) -> bool:
        device = shaken.lab.exec("node1", ["ip", "-j", "link", "show", "tun0"]).stdout
        ready = shaken.status("node1")["ready"]
        return bool(ready and json.loads(device)[0]["mtu"] == expected)

    usual = shaken.status("node1")["here"]["mtu"]
    with configuration(shaken, changed(MTU=mtu)):
        await_that("it is applied", lambda: has(mtu), WITHIN)
        with shaken.attached("node1", "small") as pod:
            assert pod.ip is not None
            assert shaken.pings("y", pod.ip)
        assert wrong_checks(shaken) == {}
    await_that("it is left", lambda: has(usual), WITHIN)
    assert wrong_checks(shaken) == {}


def wrong_checks(world: LabNet) -> dict[str, str]:
    """What doctor finds wrong of node1, but for the CNI's files, which a lab has elsewhere."""
    said = world.lab.exec("node1", ["k8s-ovs", "doctor", "-o", "json"], check=False).stdout
    found = [each for each in json.loads(said) if not each["ok"]]
    return {each["name"]: each["found"] for each in found if not each["name"].startswith("CNI")}


class TestSubnetRecords:
    def test_a_malformed_one_of_a_node_is_told_and_packets_to_it_go_on(
        self, shaken: LabNet
    ) -> None:
        key = f"k8ssdn/subnets/{shaken.address('node2')}"
        with record(shaken, key, '{"Host":"node2","HostIP":"192.168.0.12","Subnet":"172.11.0.'):
            await_that("it is told", lambda: told_of(shaken, "node1", "192.168.0.12"), WITHIN)
            await_that("it is told", lambda: told_of(shaken, "node2", "192.168.0.12"), WITHIN)
            assert shaken.pings("x", shaken.address("y"))
            assert shaken.pings("y", shaken.address("x"))

    def test_one_that_takes_a_nodes_subnet_is_not_taken(self, shaken: LabNet) -> None:
        subnet = shaken.subnet("node1")
        thief = {"Host": "t", "HostIP": "192.168.0.99", "Subnet": str(subnet), "Assign": False}
        with record(shaken, "k8ssdn/subnets/192.168.0.99", json.dumps(thief)):
            await_that("it is told", lambda: told_of(shaken, "node2", "192.168.0.99"), WITHIN)
            assert not [flow for flow in shaken.flows("node2") if "192.168.0.99" in flow]
            assert shaken.pings("y", shaken.address("x"))

    def test_a_node_that_starts_with_a_malformed_one_waits_until_it_is_repaired(
        self, shaken: LabNet
    ) -> None:
        shaken.lab.stop_daemon("node1")
        with record(shaken, f"k8ssdn/subnets/{shaken.address('node1')}", '{"Subnet":7}'):
            shaken.lab.start_daemon("node1", wait=False)
            await_reason(shaken, "node node1 has no subnet: ")
            assert told_of(shaken, "node1", "192.168.0.11")
            assert shaken.pings("y", shaken.address("x"))
        await_that("it is ready", lambda: shaken.status("node1")["ready"], WITHIN)


@contextmanager
def configuration(world: LabNet, text: str | None) -> Iterator[None]:
    """Meanwhile etcd has this configuration; None: none at all."""
    with record(world, "config", text):
        yield


@contextmanager
def record(world: LabNet, key: str, text: str | None) -> Iterator[None]:
    """Meanwhile etcd has this text under a key below the prefix, then what it had before."""
    before = world.records().get(key)
    set_record(world, key, text)
    try:
        yield
    finally:
        set_record(world, key, before)


def set_record(world: LabNet, key: str, text: str | None) -> None:
    path = f"{ETCD_PREFIX}/{key}"
    world.lab.etcdctl(*(("del", path) if text is None else ("put", path, text)))


def problems(world: LabNet, node: str) -> str:
    return "\n".join(world.status(node)["problems"])


def told_of(world: LabNet, node: str, address: str) -> bool:
    return f"subnets/{address}" in problems(world, node)


def await_reason(world: LabNet, told: str) -> None:
    """Wait until the daemon of node1 says that this is what it waits for."""

    def said() -> bool:
        waiting_for = world.status("node1")["waiting_for"]
        if told not in waiting_for:
            raise K8sOvsError(f"it waits for: {waiting_for}")
        return True

    await_that(f"node1 waits for {told}", said, WITHIN)


def cni_clients(world: LabNet, node: str) -> int:
    """How many connections the daemon of a node has accepted and not answered (proc(5))."""
    # The socket is bound under another name, and renamed when it listens.
    name = f"/.{world.lab.node(node).cni_socket.name}."
    lines = world.lab.exec(node, ["cat", "/proc/net/unix"]).stdout.splitlines()
    return sum(name in line and line.split()[5] == "03" for line in lines)


def install_second_mode(directory: Path) -> None:
    """An installed distribution with another mode, as far as Python looks."""
    information = directory / "acme_mode-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-mode\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "[k8s_ovs.plugins]\nacme-mode = acme_mode:AcmeMode\n"
    )
    (directory / "acme_mode.py").write_text(
        "from k8s_ovs.plugin import hook\n\n\n"
        "class AcmeMode:\n"
        "    @hook\n"
        "    def tenant_of(self, view, pod):\n"
        "        return 1\n"
    )
