"""docs/plugin-reference.md is what the script makes of the code."""

from __future__ import annotations

import runpy
from pathlib import Path

from k8s_ovs.pipeline.field import FIELDS
from k8s_ovs.plugin import __all__ as offered

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/plugin-reference.md").read_text()


def test_the_page_is_what_the_script_prints() -> None:
    printed = runpy.run_path(str(ROOT / "scripts/plugin_reference.py"))["page"]()
    assert printed == PAGE, "run scripts/plugin_reference.py"


def test_every_field_is_there_and_every_action_is_offered_to_authors() -> None:
    rows = [row.split("|")[1].strip(" `") for row in PAGE.splitlines() if row.startswith("| `")]
    assert FIELDS.keys() <= set(rows)
    actions = PAGE.partition("## Actions")[2]
    names = [row.split("`")[1].partition("(")[0] for row in actions.splitlines() if "| `" in row]
    assert len(names) > 8
    assert set(names) <= set(offered)
