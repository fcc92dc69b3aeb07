"""Which datapath the bridge gets: the kernel's where there is one, else the userspace one."""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import Any, Literal, get_args

import pyroute2.netlink.generic
from pyroute2.netlink import genlmsg
from pyroute2.netlink.exceptions import NetlinkError

from k8s_ovs.errors import InvalidRecord, SwitchError, Unavailable

__all__ = ["Datapath", "Wanted", "choose_datapath", "kernel_has_datapath"]

Datapath = Literal["system", "netdev"]
Wanted = Literal["auto", "system", "netdev"]

# The generic netlink family of the kernel's module: include/uapi/linux/openvswitch.h.
_FAMILY = "ovs_datapath"

# The library's classes carry no types.
_Socket: Any = pyroute2.netlink.generic.GenericNetlinkSocket


def choose_datapath(wanted: str, in_kernel: bool, switch_types: Collection[str]) -> Datapath:
    """The datapath_type to give the bridge.

    wanted: of the flag --datapath, one of `Wanted`. in_kernel: `kernel_has_datapath()`.
    switch_types: what ovs-vswitchd supports (Open_vSwitch.datapath_types); it lists `system`
    on every kernel, so that alone proves nothing.
    Raises InvalidRecord for another word, SwitchError where that datapath cannot be had.
    """
    if wanted not in get_args(Wanted):
        raise InvalidRecord(
            f"--datapath: found {wanted!r}, expected one of {', '.join(get_args(Wanted))}"
        )
    if wanted == "system" and not in_kernel:
        raise SwitchError(
            "--datapath system: this kernel has no Open vSwitch datapath; "
            "load its module (modprobe openvswitch), or say --datapath netdev or auto"
        )
    if wanted != "netdev" and in_kernel and "system" in switch_types:
        return "system"
    if wanted == "system" or "netdev" not in switch_types:
        listed = ", ".join(sorted(switch_types)) or "none"
        raise SwitchError(
            f"--datapath {wanted}: ovs-vswitchd does not offer that datapath, only: {listed}"
        )
    return "netdev"


def kernel_has_datapath() -> bool:
    """Whether the kernel has Open vSwitch's datapath; asking makes it load the module.

    Raises Unavailable where the kernel cannot be asked.
    """
    try:
        with _Socket() as socket:
            socket.bind(_FAMILY, genlmsg)
    except (NetlinkError, OSError) as error:
        if isinstance(error, NetlinkError) and error.code == errno.ENOENT:
            return False
        raise Unavailable(f"generic netlink, asked for {_FAMILY}: {error}") from error
    return True
