"""From `PluginName` to a running set: what is installed, and what keeps it from running.

Distributions are made up: a directory on the path with the metadata that an installer writes.
"""

from __future__ import annotations

import pytest
from tests.unit.made_up import Install

from k8s_ovs.builtin import CORE, NODE_SUBNETS
from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.load import installed_plugins, load_plugins

MODE = """
    from k8s_ovs.plugin import hook

    class Plugin:
        @hook
        def tenant_of(self, view, pod):
            return 0
"""
FEATURE = """
    class Plugin:
        pass
"""


def test_the_single_tenant_mode_loads() -> None:
    manager = load_plugins("k8s-ovs-subnet")
    assert manager.mode == "k8s-ovs-subnet"
    assert manager.names[:3] == (CORE, NODE_SUBNETS, "k8s-ovs-subnet")


def test_installed_plugins_and_features_are_found(install: Install) -> None:
    install(FEATURE, ("acme-shaping",), ("acme-shaping",))
    found = installed_plugins()
    assert {"acme-shaping", "k8s-ovs-subnet"} <= set(found["plugins"])
    assert "acme-shaping" in found["features"]


def test_a_feature_comes_along_and_is_taken_out_again(install: Install) -> None:
    install(FEATURE, ("acme-shaping",), ("acme-shaping",))
    assert "acme-shaping" in load_plugins("k8s-ovs-subnet").names
    assert "acme-shaping" not in load_plugins("k8s-ovs-subnet,-acme-shaping").names


def test_without_a_mode_the_installed_modes_are_told(install: Install) -> None:
    install(FEATURE, ("acme-audit",))
    install(MODE, ("acme-mode",))
    install("raise RuntimeError('not to be told of')", ("acme-broken",))
    with pytest.raises(PluginError) as refused:
        load_plugins("acme-audit")
    said, _, modes = str(refused.value).partition("; installed modes are ")
    assert said == 'PluginName: "acme-audit" names no mode, expected exactly one'
    assert {"acme-mode", "k8s-ovs-subnet"} <= set(modes.split(", "))
    assert not {"acme-audit", "acme-broken"} & set(modes.split(", "))


def test_two_modes_are_refused(install: Install) -> None:
    install(MODE, ("acme-mode",))
    with pytest.raises(PluginError, match=r"names 2 modes \(k8s-ovs-subnet, acme-mode\)"):
        load_plugins("k8s-ovs-subnet,acme-mode")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("class Other: pass", "module 'made_up_"),
        ("class Plugin:\n    def __init__(self):\n        raise RuntimeError('no licence')", "lic"),
    ],
)
def test_a_plugin_that_does_not_load_is_named(install: Install, source: str, reason: str) -> None:
    install(source, ("acme-broken",))
    with pytest.raises(PluginError, match=r'plugin "acme-broken" \(made_up_.*does not load') as it:
        load_plugins("k8s-ovs-subnet,acme-broken")
    assert reason in str(it.value)
    assert "acme-broken" not in load_plugins("k8s-ovs-subnet").names


def test_two_distributions_of_one_plugin_name_are_refused(install: Install) -> None:
    install(FEATURE, ("acme-audit",))
    install(FEATURE, ("acme-audit",))
    with pytest.raises(
        PluginError, match=r'"acme-audit" is installed more than once: made_up_.* and'
    ):
        load_plugins("k8s-ovs-subnet,acme-audit")


def test_a_plugin_that_came_later_asks_for_a_restart(install: Install) -> None:
    load_plugins("k8s-ovs-subnet")
    install(FEATURE, ("acme-late",))
    with pytest.raises(PluginError, match="acme-late came after this program had started, restart"):
        load_plugins("k8s-ovs-subnet,acme-late")
