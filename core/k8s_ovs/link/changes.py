"""Has somebody changed the kernel's networking? It sends what changes, and some of that is ours.

rtnetlink(7): devices, addresses, routes, and some sysctls of devices. nfnetlink: nftables.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from k8s_ovs.link import encode
from k8s_ovs.link.netlink import attributes, messages
from k8s_ovs.link.nftables import TABLE
from k8s_ovs.link.veth import PREFIX
from k8s_ovs.state.value import (
    Address,
    Bridge,
    Device,
    NftTable,
    Port,
    Route,
    Sysctl,
    Veth,
)
from k8s_ovs.supervise import SupervisedThread

__all__ = ["KernelChanges"]

#: Bits of the groups (linux/rtnetlink.h, linux/netfilter/nfnetlink.h).
_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_NETCONF = 1 << 0, 1 << 4, 1 << 6, 1 << 23
_NFTABLES = 1 << 6
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12

_RTM_DELADDR, _RTM_DELROUTE, _RTM_NEWNETCONF = 21, 25, 80
_IFLA_IFNAME, _RTA_OIF, _NFTA_TABLE = 3, 4, 1
_IFINFO_SIZE, _IFADDR_SIZE, _RTMSG_SIZE, _NFGENMSG_SIZE = 16, 8, 12, 4

_OF_DEVICES = frozenset({Device.kind, Address.kind, Route.kind})
_OF_ANY = _OF_DEVICES | {Bridge.kind, Port.kind, Sysctl.kind, Veth.kind, NftTable.kind}
_BUFFER = 1 << 16
#: Seconds in which changes are gathered: one command makes many.
_GATHER = 0.1


class KernelChanges:
    """Follows the network namespace of the thread that starts it.

    device: the node's own. changed: called with kinds of values (`state.value`) of which something
    may have changed, in the thread of this. A kernel without a group sends nothing of it.
    """

    def __init__(self, device: str, changed: Callable[[frozenset[str]], None]) -> None:
        self._device = device
        self._changed = changed
        self._stopped = threading.Event()
        self._began = False
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = SupervisedThread(
            name="kernel-changes", target=self._follow, stopped=self._stopped
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        os.eventfd_write(self._stop_fd, 1)
        self._thread.join()
        os.close(self._stop_fd)

    def _follow(self) -> None:
        with ExitStack() as stack:
            route = _listening(stack, _NETLINK_ROUTE, _LINK | _IPV4_IFADDR | _IPV4_ROUTE)
            netconf = _listening(stack, _NETLINK_ROUTE, _IPV4_NETCONF)
            nft = _listening(stack, _NETLINK_NETFILTER, _NFTABLES)
            channels = [each for each in (route, netconf, nft) if each is not None]
            poll = select.poll()
            for channel in channels:
                poll.register(channel, select.POLLIN)
            poll.register(self._stop_fd, select.POLLIN)
            if self._began:
                self._changed(_OF_ANY)  # since it failed nobody listened
            self._began = True
            while not self._stopped.is_set():
                poll.poll()
                self._stopped.wait(_GATHER)
                kinds: set[str] = set()
                for channel in channels:
                    kinds |= self._kinds(channel, of_nft=channel is nft)
                if kinds:
                    self._changed(frozenset(kinds))

    def _kinds(self, channel: socket.socket, *, of_nft: bool) -> set[str]:
        kinds: set[str] = set()
        index = _index(self._device)
        for kind, body in _received(channel):
            if kind is None:
                kinds |= _OF_ANY
            elif of_nft:
                kinds |= _changed_by_nft(body)
            else:
                kinds |= _changed_by_route(kind, body, self._device, index)
        return kinds


def _changed_by_route(kind: int, body: bytes, device: str, index: int) -> frozenset[str]:
    """Of which kinds a message of rtnetlink tells something that may be ours.

    device, index: the node's own device. body: what follows the header.
    """
    if kind in (encode.RTM_NEWLINK, encode.RTM_DELLINK):
        told = attributes(body[_IFINFO_SIZE:]).get(_IFLA_IFNAME, b"")
        name = told.rstrip(b"\0").decode(errors="replace")
        if name == device:
            # Open vSwitch made it, as the device of one of its ports.
            return _OF_DEVICES | {Bridge.kind, Port.kind}
        return frozenset({Veth.kind}) if name.startswith(PREFIX) else frozenset()
    if kind in (encode.RTM_NEWADDR, _RTM_DELADDR):
        ours = len(body) >= _IFADDR_SIZE and struct.unpack_from("=I", body, 4)[0] == index
        return _OF_DEVICES if ours else frozenset()
    if kind in (encode.RTM_NEWROUTE, _RTM_DELROUTE):
        # One that leads nowhere, or several ways, names no device.
        by = attributes(body[_RTMSG_SIZE:]).get(_RTA_OIF)
        return _OF_DEVICES if by in (None, struct.pack("=I", index)) else frozenset()
    return frozenset({Sysctl.kind}) if kind == _RTM_NEWNETCONF else frozenset()


def _changed_by_nft(body: bytes) -> frozenset[str]:
    """The same of a message of nftables: each names its table first, but for generations."""
    name = attributes(body[_NFGENMSG_SIZE:]).get(_NFTA_TABLE, b"").rstrip(b"\0")
    return frozenset({NftTable.kind}) if name == TABLE.encode() else frozenset()


def _listening(stack: ExitStack, family: int, groups: int) -> socket.socket | None:
    """A socket that is closed with `stack`; None: this kernel has no such groups."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        channel = stack.enter_context(socket.socket(socket.AF_NETLINK, kind, family))
        channel.bind((0, groups))
    except OSError:
        return None
    return channel


def _received(channel: socket.socket) -> Iterator[tuple[int | None, bytes]]:
    """(type, body) of each message that has come; (None, b""): some were lost."""
    with suppress(BlockingIOError):
        while True:
            try:
                part = channel.recv(_BUFFER)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield None, b""
                continue
            yield from ((kind, body) for kind, _, body in messages(part))


def _index(device: str) -> int:
    """0: there is none."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0
