"""Which datapath the bridge gets: the kernel's where there is one, else the userspace one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from k8s_ovs.errors import InvalidRecord, SwitchError

__all__ = ["Datapath", "Wanted", "choose_datapath"]

Datapath = Literal["system", "netdev"]
Wanted = Literal["auto", "system", "netdev"]


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
