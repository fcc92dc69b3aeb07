"""docs/pipeline.md describes just the tables and registers that there are, in packet order."""

from __future__ import annotations

import re
from pathlib import Path

from k8s_ovs.pipeline.field import REGISTERS
from k8s_ovs.pipeline.tables import CONNECTION_ZONE, CORE_TABLES, SERVICE_MARK, VIRTUAL_MAC

TEXT = (Path(__file__).parents[2] / "docs/pipeline.md").read_text()


def test_each_table_is_described_under_its_own_question() -> None:
    described = re.findall(r"^## ([A-Z_]+)\n> (.+)\n\nWritten by ", TEXT, re.MULTILINE)
    assert described == [(table.name, table.question) for table in CORE_TABLES]


def test_each_register_is_described() -> None:
    described = re.findall(r"^\| `([A-Z_]+)` \| .+ \| .+ \|$", TEXT, re.MULTILINE)
    assert set(described) >= {"SRC_TENANT", "DST_TENANT", "OUT_PORT", "SCRATCH"}
    assert set(described) <= REGISTERS.keys()


def test_the_numbers_are_the_real_ones() -> None:
    assert f"tracked in the zone {CONNECTION_ZONE}." in TEXT
    assert SERVICE_MARK.mask == 1
    assert "the node has translated have bit 0 of their mark\nset." in TEXT
    assert f"gets the answer `{VIRTUAL_MAC}`" in TEXT
