"""Whatever stands where the kernel's netlink answers should be is an answer or a LinkError."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.unit.any_values import damaged_bytes

from k8s_ovs.link.netlink import LinkError, Step, ask, attribute, attributes, dump, perform

STEPS = [Step(f"do the {number}. thing", 16, 0, bytes(16)) for number in (1, 2, 3)]
QUESTIONS: list[Callable[[socket.socket], object]] = [
    lambda channel: perform(channel, STEPS),
    lambda channel: attributes(ask(channel, STEPS[0])[16:]),
    lambda channel: [attributes(body) for body in dump(channel, STEPS[0])],
]
ERROR, DONE, DEVICE = 2, 3, 16


def _answers() -> SearchStrategy[bytes]:
    """Datagrams of a message, sound or not: a device, the end, an error in the kernel's words."""
    words = st.binary(max_size=20).map(lambda text: attribute(1, text))
    errors = st.builds(
        lambda errno, told: struct.pack("=i", errno) + bytes(16) + told,
        st.integers(-4095, 1),
        words,
    )
    sound = st.builds(
        lambda kind, flags, number, body: (
            struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body
        ),
        st.sampled_from([ERROR, DONE, DEVICE]),
        st.sampled_from([0, 0x200, 0x300]),
        st.integers(0, 4),
        errors | words | st.binary(max_size=40),
    )
    return sound | sound.flatmap(damaged_bytes) | st.binary(max_size=40)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(_answers(), max_size=6), st.sampled_from(QUESTIONS))
def test_whatever_the_kernel_answers_is_an_answer_or_a_link_error(
    answers: list[bytes], question: Callable[[socket.socket], object]
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, suppress(LinkError):
        for each in answers:
            theirs.send(each)
        question(ours)
