"""Transmit checksums, by the ethtool ioctl (linux/ethtool.h; ioctl SIOCETHTOOL).

The userspace datapath reads packets as they are: a checksum that is left for hardware to finish
never is, and its receiver drops the packet.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

from k8s_ovs.link.netlink import LinkError

__all__ = ["disable_tx_checksums"]

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_IFREQ = struct.Struct("16sP16x")


def disable_tx_checksums(channel: socket.socket, device: str) -> None:
    """Let the kernel finish the checksums of what `device` sends (and so segment it, too).

    `channel`: any socket of the namespace where `device` is. Raises LinkError.
    """
    off = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_STXCSUM, 0), 8)
    request = _IFREQ.pack(device.encode(), ctypes.addressof(off))
    try:
        fcntl.ioctl(channel.fileno(), _SIOCETHTOOL, request)
    except OSError as error:
        message = f"cannot disable transmit checksum offload of {device}: {error.strerror}"
        raise LinkError(message, error.errno or 0) from error
