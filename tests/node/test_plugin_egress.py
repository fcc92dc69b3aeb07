"""A plugin of somebody else decides what namespaces reach outside the cluster, and changes that."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest
from tests.node.installed import with_plugin

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import SERVER_PORT, LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX, OUTSIDE
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.traffic.traffic import PingStream

WITHIN = 10
ALL = "0.0.0.0/0"


@pytest.fixture(scope="module")
def net(lab_of: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabNet]:
    """One node, with pods of a namespace that gets rules and of one that does not."""
    with with_plugin("acme_egress", tmp_path_factory.mktemp("acme")):
        lab = lab_of("egr", nodes=1, plugin="k8s-ovs-multitenant,acme-egress")
        lab.run_pod("node1", "one", "red")
        lab.run_pod("node1", "two", "red")
        lab.run_pod("node1", "other", "blue")
        yield LabNet(lab)


@pytest.fixture(autouse=True)
def no_rules(net: LabNet) -> Iterator[None]:
    yield
    net.lab.etcdctl("del", f"{ETCD_PREFIX}/k8ssdn/egress/red")
    await_that("no rules", lambda: not net.flows("node1", "EGRESS_HEARD")[1:], WITHIN)


def rule(action: str, to: str = ALL, **more: object) -> dict[str, object]:
    return {"Action": action, "To": to, **more}


def put(net: LabNet, *rules: dict[str, object]) -> None:
    net.lab.etcdctl("put", f"{ETCD_PREFIX}/k8ssdn/egress/red", json.dumps({"Rules": rules}))


def order(net: LabNet, *rules: dict[str, object]) -> None:
    """Returns when these rules are in the switch, and no others."""
    put(net, *rules)
    # The core's flow of priority 0, and the one for what no rule is about.
    there = len(rules) + 2
    await_that("the rules", lambda: len(net.flows("node1", "EGRESS_RULES")) == there, WITHIN)


def test_a_namespace_without_rules_reaches_all(net: LabNet) -> None:
    assert net.pings("red/one", OUTSIDE.ip)


def test_the_first_rule_that_fits_decides(net: LabNet) -> None:
    order(net, rule("allow", f"{OUTSIDE.ip}/32"), rule("deny"))
    assert net.pings("red/one", OUTSIDE.ip)
    order(net, rule("deny"), rule("allow", f"{OUTSIDE.ip}/32"))
    assert not net.pings("red/one", OUTSIDE.ip)
    assert not net.pings("red/two", OUTSIDE.ip)
    assert net.pings("blue/other", OUTSIDE.ip)
    # Inside the cluster nothing is judged.
    assert net.pings("red/one", net.address("red/two"))


def test_a_rule_may_be_for_a_port(net: LabNet) -> None:
    order(net, rule("allow", Protocol="tcp", Port=SERVER_PORT), rule("deny"))
    assert not net.pings("red/one", OUTSIDE.ip)
    assert net.ask("tcp", "red/one", OUTSIDE.ip, ["outside"]).server == "outside"


def test_a_wrong_rule_leaves_the_last_right_ones(net: LabNet) -> None:
    order(net, rule("deny"))
    put(net, rule("allow"), rule("maybe"))
    said = 'Rules[1].Action: found "maybe", expected allow or deny'
    await_that("the problem", lambda: said in str(net.status("node1")["problems"]), WITHIN)
    assert not net.pings("red/one", OUTSIDE.ip)


def test_a_hundred_rules_change_at_once_and_what_both_allow_goes_on(net: LabNet) -> None:
    """New connections too: each stream of echo requests has an identifier of its own."""
    allowed = rule("allow", f"{OUTSIDE.ip}/32")
    versions = [
        [*(rule("deny", f"10.{version}.{number}.0/24") for number in range(99)), allowed]
        for version in (1, 2)
    ]
    versions[1].reverse()
    order(net, *versions[0])
    whole = PingStream(net.netns("red/one"), OUTSIDE.ip, every=0.002)
    lost = 0
    for number in range(6):
        put(net, *versions[(number + 1) % 2])
        for _ in range(10):
            short = PingStream(net.netns("red/two"), OUTSIDE.ip, every=0.005)
            time.sleep(0.03)
            lost += short.stop()
    assert (whole.stop(), lost) == (0, 0)
    assert bundles(net) == [(100, 100)] * 6


def bundles(net: LabNet) -> list[tuple[int, int]]:
    """Flows added and deleted by each of the last six bundles in which there were many."""
    log = (net.lab.node("node1").directory / "daemon.log").read_text()
    found = re.findall(r" commit .*?\badded=(\d+).*?\bdeleted=(\d+)", log)
    many = [(int(added), int(deleted)) for added, deleted in found if int(added) > 50]
    return many[-6:]
