"""Does this kernel have Open vSwitch's datapath?"""

from __future__ import annotations

import errno
from typing import Any

import pyroute2.netlink.generic
from pyroute2.netlink import genlmsg
from pyroute2.netlink.exceptions import NetlinkError

from k8s_ovs.errors import Unavailable

__all__ = ["kernel_has_datapath"]

# The generic netlink family of the kernel's module: include/uapi/linux/openvswitch.h.
_FAMILY = "ovs_datapath"

# The library's classes carry no types.
_Socket: Any = pyroute2.netlink.generic.GenericNetlinkSocket


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
