"""The examples of docs/plugins.md run as they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from k8s_ovs_testing.ovs import OvsProcess

pytest_plugins = ["k8s_ovs_testing.fixtures"]

TEXT = (Path(__file__).parents[2] / "docs/plugins.md").read_text()
PLUGIN, TEST = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def acme_audit() -> Iterator[ModuleType]:
    """The module of the first example, as if it were installed."""
    module = ModuleType("acme_audit")
    sys.modules["acme_audit"] = module
    exec(compile(PLUGIN, "docs/plugins.md", "exec"), vars(module))  # noqa: S102  our own document
    yield module
    del sys.modules["acme_audit"]


@pytest.mark.usefixtures("acme_audit")
def test_the_plugin_passes_the_test_that_is_written_for_it(ovs_dummy: OvsProcess) -> None:
    test: dict[str, object] = {}
    exec(compile(TEST, "docs/plugins.md", "exec"), test)  # noqa: S102  our own document
    test["test_a_silent_namespace_says_nothing"](ovs_dummy)  # type: ignore[operator]  # a function
