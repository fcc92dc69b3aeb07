"""Transmit checksums, by the ethtool ioctl (linux/ethtool.h; ioctl SIOCETHTOOL).

The userspace datapath reads packets as they are: a checksum that is left for hardware to finish
never is, and its receiver drops the packet.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Sequence
from errno import ENODEV

from k8s_ovs.link.netlink import LinkError
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Offload, Value

__all__ = ["OffloadDriver", "disable_tx_checksums"]

_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM, _ETHTOOL_STXCSUM = 0x16, 0x17
_IFREQ = struct.Struct("16sP16x")
_VALUE = struct.Struct("=II")


class OffloadDriver:
    """Transmit checksum offload of devices in the calling thread's network namespace."""

    kinds = frozenset({Offload.kind})

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        found = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            for each in desired:
                if isinstance(each, Offload):
                    try:
                        found.append(Offload(each.device, _has_tx_checksums(channel, each.device)))
                    except LinkError as error:
                        if error.errno != ENODEV:
                            raise
        return found

    def apply(self, differences: Sequence[Difference]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            for each in differences:
                if isinstance(each.expected, Offload):
                    disable_tx_checksums(channel, each.expected.device)


def disable_tx_checksums(channel: socket.socket, device: str) -> None:
    """Let the kernel finish the checksums of what `device` sends (and so segment it, too).

    `channel`: any socket of the namespace where `device` is. Raises LinkError.
    """
    _ask(channel, device, _ETHTOOL_STXCSUM, "disable transmit checksum offload")


def _has_tx_checksums(channel: socket.socket, device: str) -> bool:
    return _ask(channel, device, _ETHTOOL_GTXCSUM, "read transmit checksum offload") != 0


def _ask(channel: socket.socket, device: str, command: int, what: str) -> int:
    value = ctypes.create_string_buffer(_VALUE.pack(command, 0), _VALUE.size)
    request = _IFREQ.pack(device.encode(), ctypes.addressof(value))
    try:
        fcntl.ioctl(channel.fileno(), _SIOCETHTOOL, request)
    except OSError as error:
        message = f"cannot {what} of {device}: {error.strerror}"
        raise LinkError(message, error.errno or 0) from error
    return int(_VALUE.unpack(value.raw)[1])
