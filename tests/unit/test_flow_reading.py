"""Flows as a switch says them, read back into the words in which they are desired."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.ovs.openflow.messages import InstalledFlow
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.reading import read_actions, read_match
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.pipeline.wire import encode
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE, flows

TABLES = {SAMPLE_PIPELINE.number(each.name): each.name for each in SAMPLE_PIPELINE.tables}


def installed(flow: Flow) -> InstalledFlow:
    """What a switch that has this flow says of it."""
    body = encode(flow, 1, SAMPLE_PIPELINE).body[48:]
    length = int.from_bytes(body[2:4], "big")
    at = (length + 7) // 8 * 8
    return InstalledFlow(0, 1, flow.priority, 0, 0, body[4:length], body[at:])


@given(flows())
def test_a_flow_reads_as_it_is_desired(flow: Flow) -> None:
    found = installed(flow)
    desired = flow_text(flow, SAMPLE_PIPELINE, human=True)
    head = f"table={flow.table.name},priority={flow.priority}"
    match = read_match(found.match)
    assert read_actions(found.instructions, TABLES) == _padded(desired.partition(" actions=")[2])
    assert ",".join(filter(None, [head, match])) == desired.partition(" actions=")[0]


def _padded(actions: str) -> str:
    """Notes are filled up with zeros to a multiple of eight bytes, ovs-actions(7)."""
    words = []
    for word in actions.split(","):
        name, colon, data = word.partition("note:")
        if colon and not name:
            size = len(data.split(".")) if data else 0
            data = ".".join(filter(None, [data, *["00"] * (-(10 + size) % 8)]))
        words.append(f"{name}{colon}{data}")
    return ",".join(words)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_a_switch_says_is_read(match: bytes, instructions: bytes) -> None:
    assert isinstance(read_match(match), str)
    assert read_actions(instructions, {})
    assert read_actions(
        b"\0\4" + len(instructions + b"8 bytes.").to_bytes(2, "big") + b"\0\0\0\0" + instructions,
        {},
    )
