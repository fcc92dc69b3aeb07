"""Hosts outside are a feature: it comes along with each mode, goes with `-`, and is not missed."""

from __future__ import annotations

from pathlib import Path

import pytest

import k8s_ovs
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs_extlb.records import EXTERNAL

NAME = "k8s-ovs-extlb"
MODES = ("k8s-ovs-subnet", "k8s-ovs-multitenant")


@pytest.mark.parametrize("mode", MODES)
def test_it_comes_along_with_each_mode_and_goes_where_it_is_taken_out(mode: str) -> None:
    assert NAME in load_plugins(mode).names
    without = load_plugins(f"{mode},-{NAME}")
    assert NAME not in without.names
    assert EXTERNAL not in without.kinds


def test_the_core_does_not_know_its_name() -> None:
    core = Path(str(k8s_ovs.__file__)).parent
    naming = [
        str(path.relative_to(core))
        for path in core.rglob("*.py")
        if "extlb" in path.read_text() or "extlb" in path.name
    ]
    assert naming == []
