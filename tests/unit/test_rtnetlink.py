"""A talk with the kernel: what is told of a refusal, of silence, of a list that changes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from errno import ENODEV
from typing import Any

import pytest
from pyroute2.netlink import NLM_F_DUMP_INTR, NLM_F_MULTI

from k8s_ovs.link import rtnetlink
from k8s_ovs.link.lookup import device
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.rtnetlink import Kernel, listed, request, talk


class ChangingKernel:
    """Has addresses come and go during its first `changes` lists."""

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.lists = 0

    async def addr(self, command: str, family: int) -> AsyncIterator[dict[str, Any]]:
        assert (command, family) == ("dump", socket.AF_INET)
        self.lists += 1
        return self._messages(self.lists <= self.changes)

    async def _messages(self, changed: bool) -> AsyncIterator[dict[str, Any]]:
        for flags in (NLM_F_MULTI, NLM_F_MULTI | NLM_F_DUMP_INTR * changed):
            yield {"list": self.lists, "header": {"flags": flags}}


def test_a_list_that_changed_while_it_was_read_is_read_again() -> None:
    found = asyncio.run(listed(ChangingKernel(changes=1), "addr"))
    assert [each["list"] for each in found] == [2, 2]


def test_a_list_that_always_changes_is_given_up() -> None:
    kernel = ChangingKernel(changes=1000)
    with pytest.raises(LinkError, match=r"the list \(addr\) changed 5 times"):
        asyncio.run(listed(kernel, "addr"))
    assert kernel.lists == 5


def test_a_kernel_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtnetlink, "_TIMEOUT", 0.01)

    async def silence(_: Kernel) -> None:
        await asyncio.Event().wait()

    with pytest.raises(LinkError, match=r"netlink: no answer within 0\.01 s"):
        talk(silence)


def test_what_the_kernel_refuses_is_named_with_its_reason() -> None:
    async def change(kernel: Kernel) -> None:
        await request(
            kernel, "set the MTU of kovs-absent", "link", "set", ifname="kovs-absent", mtu=1400
        )

    with pytest.raises(LinkError, match="cannot set the MTU of kovs-absent: ") as refused:
        talk(change)
    assert refused.value.errno != 0


def test_a_question_that_is_refused_is_told() -> None:
    with pytest.raises(LinkError, match="netlink: ") as refused:
        talk(lambda kernel: device(kernel, "a-name-that-is-too-long-for-a-device"))
    assert refused.value.errno not in (0, ENODEV)


def test_a_device_that_is_not_there_is_none() -> None:
    assert talk(lambda kernel: device(kernel, "kovs-absent")) is None


def test_a_talk_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        talk(lambda kernel: device(kernel, "kovs-absent"))
    assert os.listdir("/proc/self/fd") == before
