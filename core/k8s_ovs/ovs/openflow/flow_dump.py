"""What flows does a bridge have, as text? From ovs-ofctl, which knows all that OVS can print.

For people; the daemon compares cookies over its own connection (`openflow`).
"""

from __future__ import annotations

import re
import subprocess

from attrs import frozen

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable

__all__ = ["DumpedFlow", "dump_flows", "parse_dump"]

_TIMEOUT = 5.0

# " cookie=0x1, duration=2s, table=ROUTE, n_packets=0, n_bytes=0, priority=1,ip actions=drop",
# ovs-ofctl(8), "dump-flows"; between n_bytes and priority are timeouts and ages.
_LINE = re.compile(
    r"\s*cookie=(?P<cookie>0x[0-9a-f]+), duration=\S+, table=(?P<table>[^,]+), "
    r"n_packets=(?P<packets>\d+), n_bytes=(?P<bytes>\d+), (?:[^ =]+=[^ ,]+, )*"
    r"(?:priority=(?P<priority>\d+),?)?(?P<match>\S*) actions=(?P<actions>.*)"
)
_DEFAULT_PRIORITY = 32768  # ovs-ofctl(8): left out where it is this


@frozen
class DumpedFlow:
    """A flow of a bridge. table: its name where it has one. match, actions: ovs-ofctl's words."""

    cookie: int
    table: str
    priority: int
    packets: int
    bytes: int
    match: str
    actions: str


def dump_flows(socket: str, timeout: float = _TIMEOUT) -> list[DumpedFlow]:
    """All flows of the bridge with the management socket `socket`, in table order.

    Raises Unavailable where ovs-ofctl is not installed or nothing answers, TimedOut.
    """
    command = ["ovs-ofctl", "-O", "OpenFlow14", "--names", "dump-flows", f"unix:{socket}"]
    try:
        done = subprocess.run(command, timeout=timeout, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Unavailable("ovs-ofctl is not installed: openvswitch-common has it") from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"the bridge at {socket} did not answer within {timeout:g} s") from error
    if done.returncode != 0:
        raise Unavailable(f"the bridge at {socket}: {done.stderr.strip()}")
    return parse_dump(done.stdout)


def parse_dump(text: str) -> list[DumpedFlow]:
    """ovs-ofctl's lines as values, without the quotes that it puts around some names."""
    return [_parsed(line) for line in text.splitlines() if "actions=" in line]


def _parsed(line: str) -> DumpedFlow:
    found = _LINE.fullmatch(line.replace('"', ""))
    if found is None:
        raise SwitchError(f"ovs-ofctl: a flow was expected, found: {line.strip()}")
    return DumpedFlow(
        cookie=int(found["cookie"], 16),
        table=found["table"],
        priority=int(found["priority"] or _DEFAULT_PRIORITY),
        packets=int(found["packets"]),
        bytes=int(found["bytes"]),
        match=found["match"],
        actions=found["actions"],
    )
