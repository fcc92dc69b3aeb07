"""Which datapath a bridge gets."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from pyroute2.netlink import exceptions

from k8s_ovs.errors import InvalidRecord, SwitchError, Unavailable
from k8s_ovs.link import kernel_datapath
from k8s_ovs.link.kernel_datapath import kernel_has_datapath
from k8s_ovs.ovs.datapath import choose_datapath

# The library's classes carry no types.
NetlinkError: Any = exceptions.NetlinkError

BOTH = ("netdev", "system")


@pytest.mark.parametrize(
    ("wanted", "in_kernel", "switch_types", "chosen"),
    [
        ("auto", True, BOTH, "system"),
        ("auto", False, BOTH, "netdev"),
        ("auto", True, ("netdev",), "netdev"),
        ("system", True, BOTH, "system"),
        ("netdev", True, BOTH, "netdev"),
        ("netdev", False, BOTH, "netdev"),
    ],
)
def test_the_kernels_datapath_is_taken_where_there_is_one(
    wanted: str, in_kernel: bool, switch_types: tuple[str, ...], chosen: str
) -> None:
    assert choose_datapath(wanted, in_kernel, switch_types) == chosen


def test_a_kernel_without_it_is_said_with_what_to_do() -> None:
    with pytest.raises(SwitchError, match=r"kernel has no.*modprobe openvswitch.*netdev or auto"):
        choose_datapath("system", False, BOTH)


@pytest.mark.parametrize(
    ("wanted", "switch_types", "listed"),
    [("system", ("netdev",), "netdev"), ("netdev", ("system",), "system"), ("auto", (), "none")],
)
def test_a_switch_that_lacks_it_is_said_with_what_it_has(
    wanted: str, switch_types: tuple[str, ...], listed: str
) -> None:
    with pytest.raises(SwitchError, match=rf"--datapath {wanted}: .*only: {listed}"):
        choose_datapath(wanted, True, switch_types)


def test_another_word_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidRecord, match="'dpdk', expected one of auto, system, netdev"):
        choose_datapath("dpdk", True, BOTH)


class Kernel:
    """A generic netlink socket whose kernel answers with an error, or with success on None."""

    def __init__(self, answer: Exception | None) -> None:
        self.answer = answer

    def __call__(self) -> Kernel:
        return self

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def bind(self, family: str, _message: type) -> None:
        assert family == "ovs_datapath"
        if self.answer:
            raise self.answer


def test_the_kernel_is_asked_for_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_datapath, "_Socket", Kernel(None))
    assert kernel_has_datapath()
    monkeypatch.setattr(kernel_datapath, "_Socket", Kernel(NetlinkError(errno.ENOENT)))
    assert not kernel_has_datapath()


@pytest.mark.parametrize("error", [NetlinkError(errno.EPERM), OSError(errno.EMFILE, "too many")])
def test_a_kernel_that_cannot_be_asked_is_not_one_without(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(kernel_datapath, "_Socket", Kernel(error))
    with pytest.raises(Unavailable, match="ovs_datapath"):
        kernel_has_datapath()
