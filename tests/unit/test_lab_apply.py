"""Documents that people write, as objects for the lab's API server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import InvalidRecord
from k8s_ovs_lab import LabSettings
from k8s_ovs_lab.kube.apply import read_documents
from k8s_ovs_lab.layout import Layout
from k8s_ovs_lab.state import LabState

RED = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "red"}}
YAML = """
apiVersion: v1
kind: Namespace
metadata: {name: red}
---
# nothing
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, annotations: {at: 2026-01-01T00:00:00Z}}
"""


def test_json_yaml_and_lists_are_objects() -> None:
    assert read_documents(json.dumps(RED), "x") == [RED]
    first, second = read_documents(YAML, "x")
    assert first == RED
    assert second["metadata"]["annotations"]["at"].startswith("2026-01-01 00:00:00")
    listed = {"apiVersion": "v1", "kind": "List", "items": [RED, RED]}
    assert read_documents(json.dumps(listed), "x") == [RED, RED]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "x: found no object, expected one or more"),
        ("{", "x: neither JSON nor YAML: "),
        ("7", "x: document 1: found 7, expected an object of Kubernetes"),
        ("{}", "x: document 1: apiVersion: found nothing, expected one such as v1"),
        (json.dumps(RED | {"kind": 5}), "x: document 1: kind: found 5, expected one such as Pod"),
        (json.dumps(RED | {"metadata": None}), "metadata.name: found nothing, expected a name"),
        (json.dumps(RED | {"metadata": {"name": "a/../b"}}), "metadata.name: found 'a/../b'"),
        ("{kind: List, items: 5}", "x: document 1: items: found 5, expected a list"),
    ],
)
def test_what_is_no_object_is_named(text: str, complaint: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        read_documents(text, "x")
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_text_is_objects_or_one_error(text: str) -> None:
    try:
        found = read_documents(text, "x")
    except InvalidRecord:
        return
    assert all(isinstance(each["kind"], str) for each in found)


def test_the_labs_nodes_are_remembered(tmp_path: Path) -> None:
    state = LabState(LabSettings(nodes=2), "netdev")
    assert state.numbers == (1, 2)
    changed = state.with_node(5).without_node(1)
    assert changed.numbers == (2, 5)
    assert changed.with_node(1).without_node(5) != state
    assert changed.with_node(1).without_node(5).numbers == (1, 2)
    changed.write(tmp_path)
    assert LabState.read(tmp_path) == changed


@pytest.mark.parametrize("name", ["node0", "node01", "node181", "web", "node", "node1x", ""])
def test_a_node_has_a_number_in_its_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRecord, match="expected node1 to node180"):
        Layout("lab", tmp_path).node_number(name)
