"""Requests to the kernel's route netlink, by pyroute2, within a time limit (rtnetlink(7)).

For infrequent requests. One costs a millisecond or more, an entry of a list a tenth of one; the
requests per pod are in `netlink`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pyroute2.iproute.linux
from pyroute2.netlink import NLM_F_DUMP_INTR
from pyroute2.netlink.exceptions import NetlinkError

from k8s_ovs.link.netlink import LinkError

__all__ = ["Kernel", "listed", "request", "talk"]

#: A pyroute2.AsyncIPRoute: the library's classes carry no types.
Kernel = Any
_AsyncIPRoute: Any = pyroute2.iproute.linux.AsyncIPRoute
_Answer = TypeVar("_Answer")

_TIMEOUT = 10.0
#: A list that changed while it was read is read again, so many times at most.
_TRIES = 5


def talk(about: Callable[[Kernel], Awaitable[_Answer]]) -> _Answer:
    """The result of `about`, which talks to the kernel of the calling thread's namespace.

    Not for a thread that runs an event loop. Raises LinkError, in ten seconds at the latest.
    """

    async def limited() -> _Answer:
        # The socket is opened by its first use, which is in here: so it belongs to this namespace.
        async with asyncio.timeout(_TIMEOUT), _AsyncIPRoute(ext_ack=True) as kernel:
            return await about(kernel)

    try:
        return asyncio.run(limited())
    except TimeoutError as error:
        raise LinkError(f"netlink: no answer within {_TIMEOUT:g} s") from error
    except NetlinkError as error:
        raise _link_error("netlink", error) from error
    except OSError as error:
        raise LinkError(f"netlink: {error.strerror}", error.errno or 0) from error


async def listed(kernel: Kernel, kind: str) -> list[Any]:
    """All IPv4 messages of a list, kind "addr" or "route".

    pyroute2 does not tell whether a list changed while it was read; the messages' flags do, and so
    none may be left out here. Raises LinkError when it changes all the time.
    """
    for _ in range(_TRIES):
        messages = await getattr(kernel, kind)("dump", family=socket.AF_INET)
        found = [message async for message in messages]
        if not any(each["header"]["flags"] & NLM_F_DUMP_INTR for each in found):
            return found
    raise LinkError(f"netlink: the list ({kind}) changed {_TRIES} times while it was read")


async def request(kernel: Kernel, what: str, kind: str, command: str, **fields: object) -> None:
    """Change something; `what` finishes the sentence "cannot ...". Raises LinkError."""
    try:
        await getattr(kernel, kind)(command, **fields)
    except NetlinkError as error:
        raise _link_error(f"cannot {what}", error) from error


def _link_error(what: str, error: NetlinkError) -> LinkError:
    code, reason = error.args
    return LinkError(f"{what}: {reason}", code)
