"""`PluginName`: which words name which plugins, and what is said where they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.selection import chosen_plugins

INSTALLED = ("acme-audit", "k8s-ovs-extlb", "k8s-ovs-shaping", "k8s-ovs-subnet")
FEATURES = ("k8s-ovs-extlb", "k8s-ovs-shaping")


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ("k8s-ovs-subnet", ("k8s-ovs-subnet", "k8s-ovs-extlb", "k8s-ovs-shaping")),
        (
            "k8s-ovs-subnet,acme-audit",
            ("k8s-ovs-subnet", "acme-audit", "k8s-ovs-extlb", "k8s-ovs-shaping"),
        ),
        (" k8s-ovs-subnet , -k8s-ovs-shaping ", ("k8s-ovs-subnet", "k8s-ovs-extlb")),
        ("-k8s-ovs-shaping,k8s-ovs-subnet,-k8s-ovs-extlb", ("k8s-ovs-subnet",)),
        (
            "k8s-ovs-shaping,k8s-ovs-subnet",
            ("k8s-ovs-shaping", "k8s-ovs-subnet", "k8s-ovs-extlb"),
        ),
    ],
)
def test_features_come_along_until_they_are_taken_out(said: str, chosen: tuple[str, ...]) -> None:
    assert chosen_plugins(said, INSTALLED, FEATURES) == chosen


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "k8s-ovs-subnett",
            'PluginName: no plugin "k8s-ovs-subnett" is installed; installed are acme-audit, '
            "k8s-ovs-extlb, k8s-ovs-shaping, k8s-ovs-subnet",
        ),
        ("k8s-ovs-subnet,-nothing", 'PluginName: no plugin "nothing" is installed; installed are'),
        ("k8s-ovs-subnet,k8s-ovs-subnet", '"k8s-ovs-subnet" is named more than once'),
        ("k8s-ovs-shaping,-k8s-ovs-shaping", '"k8s-ovs-shaping" is named more than once'),
        (
            "k8s-ovs-subnet,-acme-audit",
            '"-acme-audit": only what comes along by itself can be taken out: '
            "k8s-ovs-extlb, k8s-ovs-shaping",
        ),
        ("", 'PluginName: found "" with an empty name, installed are acme-audit'),
        ("k8s-ovs-subnet,", 'found "k8s-ovs-subnet," with an empty name'),
        ("k8s-ovs-subnet,-", 'found "k8s-ovs-subnet,-" with an empty name'),
    ],
)
def test_names_that_make_no_sense_are_refused(said: str, message: str) -> None:
    with pytest.raises(PluginError) as refused:
        chosen_plugins(said, INSTALLED, FEATURES)
    assert message in str(refused.value)


def test_an_empty_installation_says_so() -> None:
    with pytest.raises(PluginError, match="installed are none"):
        chosen_plugins("k8s-ovs-subnet", (), ())
    with pytest.raises(PluginError, match="can be taken out: nothing does"):
        chosen_plugins("-a", ("a",), ())


@given(words=st.lists(st.sampled_from(["a", "b", "c", "-a", "-b", "-c", "d", ""]), max_size=4))
def test_any_choice_is_installed_and_present_once(words: list[str]) -> None:
    try:
        chosen = chosen_plugins(",".join(words), {"a", "b", "c"}, {"c"})
    except PluginError:
        return
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= {"a", "b", "c"}
    assert ("c" in chosen) == ("-c" not in words)
