"""Whatever people, Kubernetes and crashes do, in whatever order: no number is given twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.tenant import GLOBAL_TENANT
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_multitenant.records import NAMESPACE_VNIS, NETNAMESPACES
from k8s_ovs_testing.model.fake_cluster import FakeCluster
from k8s_ovs_testing.model.networks import Networks

MANAGER = PluginManager({"k8s-ovs-multitenant": MultiTenant()})

NAMES = ("a", "b", "c", "d", "kube-system")
names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("create"), names),
    st.tuples(st.just("delete"), names),
    st.tuples(st.sampled_from(("isolate", "global", "merge")), names),
    st.tuples(st.just("join"), names, names),
    st.tuples(st.just("remove"), names),
    st.tuples(st.sampled_from(("spoil", "spoil its number")), names),
    st.tuples(st.just("restart")),
)


def carry_out(fake: FakeCluster, networks: Networks, step: tuple[str, ...]) -> None:
    """One step of a person's, and what should come of it."""
    verb, name = (*step, "")[:2]
    if verb == "restart":
        fake.restart()
    elif verb == "create":
        if name not in networks.of:
            networks.first(name)
        fake.create(name)
    elif name not in networks.of:
        return
    elif verb == "delete":
        fake.delete(name)
        networks.gone(name)
    elif verb == "remove":
        fake.put(NETNAMESPACES, name, None)
        networks.first(name)
    elif verb.startswith("spoil"):
        fake.put(NETNAMESPACES if verb == "spoil" else NAMESPACE_VNIS, name, b"?")
    else:
        target = (*step, "")[2]
        fake.ask(name, verb, target)
        networks.asked(name, verb, target)


@settings(max_examples=100)
@given(sequence=st.lists(steps, max_size=20), restarts=st.booleans())
def test_whatever_happens_two_share_a_tenant_only_if_they_were_joined(
    sequence: list[tuple[str, ...]], restarts: bool
) -> None:
    fake, networks = FakeCluster(MANAGER), Networks()
    for step in [*(("create", name) for name in NAMES), *sequence]:
        carry_out(fake, networks, step)
        fake.settle()
        if restarts:
            fake.restart()
        found, vnis = fake.net_ids(), fake.vnis()
        assert found.keys() == vnis.keys() == networks.of.keys()
        assert len(set(vnis.values())) == len(vnis)
        for one in found:
            assert (found[one] == GLOBAL_TENANT) == (networks.of[one] == GLOBAL_TENANT)
            for other in found:
                together = networks.of[one] == networks.of[other]
                assert (found[one] == found[other]) == together


@settings(max_examples=100)
@given(sequence=st.lists(st.tuples(steps, st.integers(0, 3)), max_size=20))
def test_a_daemon_that_dies_between_two_writes_leaves_nothing_that_is_given_twice(
    sequence: list[tuple[tuple[str, ...], int]],
) -> None:
    """After each step only so many writes come about, then another daemon goes on."""
    fake, networks = FakeCluster(MANAGER), Networks()
    for step, writes in sequence:
        if step[0] in ("create", "delete") or (step[0] == "isolate" and step[1] in fake.net_ids()):
            carry_out(fake, networks, step)
        for each in fake.wanted()[:writes]:
            assert fake.write(each)
        own = [number for number in fake.net_ids().values() if number != GLOBAL_TENANT]
        assert len(own) == len(set(own)), "nobody has joined"
        assert len(set(fake.vnis().values())) == len(fake.vnis())
        fake.restart()
