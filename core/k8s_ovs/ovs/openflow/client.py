"""A bridge's flows, meters and ports: changed all or nothing, and read."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from k8s_ovs.errors import SwitchError
from k8s_ovs.ovs.openflow import messages, meters
from k8s_ovs.ovs.openflow.connection import NO_QUESTION, Connection, errors_in
from k8s_ovs.ovs.openflow.errors import error_name
from k8s_ovs.ovs.openflow.messages import Bundle, InstalledFlow, Message, OpenPort
from k8s_ovs.ovs.openflow.meters import Metered
from k8s_ovs.pipeline.action import Meter
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.pipeline.wire import WireFlow, delete_by_cookie, delete_meter, put_meter

__all__ = ["FlowRefused", "InstalledFlow", "OpenFlow"]

_TOLD_AT_MOST = 5


class FlowRefused(SwitchError):
    """Open vSwitch refused flows of a commit, and did nothing of it.

    cookies: of the flows it refused. Without them the others may pass.
    """

    def __init__(self, text: str, cookies: tuple[int, ...]) -> None:
        super().__init__(text)
        self.cookies = cookies


class OpenFlow(Connection):
    """What one bridge is asked, and told to do, over a connection of its own."""

    def __init__(self, connected: socket.socket, path: str, timeout: float) -> None:
        """As of `Connection`."""
        super().__init__(connected, path, timeout)
        self._bundle = 0
        self._in_bundle = 0

    def commit(self, adds: Sequence[WireFlow], deletes: Sequence[int] = ()) -> None:
        """Add flows and delete those of the given cookies, in one atomic bundle.

        Packets meet either all of the changes or none. Deletes come first, so all of `adds` exists
        afterwards; a flow replaces one of the same table, priority and match, whether or
        not that one's cookie is in `deletes`.
        Raises FlowRefused (or another SwitchError), after which the bridge is as it was.
        """
        if not adds and not deletes:
            return
        flow_mods = [delete_by_cookie(each) for each in deletes] + [flow.body for flow in adds]
        self._bundle += 1
        xid = self._new_xids(len(flow_mods) + 2)
        self._in_bundle = len(flow_mods)
        errors = self._fill_bundle(flow_mods, xid)
        if errors:
            self._control(Bundle.DISCARD)
        else:
            errors = self._control(Bundle.COMMIT)
        if errors:
            raise self._refusal(errors, adds, xid + 1 + len(deletes))

    def dump(self) -> list[InstalledFlow]:
        """Every flow of every table, in no particular order."""
        xid = self._new_xids(1)
        replies = self._answers(messages.flow_request(xid), xid, "reading its flows")
        return [flow for reply in replies for flow in messages.installed_flows(reply)]

    def meters(self) -> dict[int, Meter]:
        """The bridge's meters, by number."""
        xid = self._new_xids(1)
        request = meters.configuration_request(xid)
        return meters.configured_meters(self._answers(request, xid, "reading its meters"))

    def meter_counts(self) -> dict[int, Metered]:
        """What each meter has counted, by its number."""
        xid = self._new_xids(1)
        return meters.meter_counts(
            self._answers(meters.counts_request(xid), xid, "reading its meters")
        )

    def most_meters(self) -> int:
        """How many meters the bridge's datapath can have; 0: it has none."""
        xid = self._new_xids(1)
        return meters.most_meters(
            self._answers(meters.features_request(xid), xid, "asking for its meters")
        )

    def put_meters(self, add: Sequence[Meter], change: Sequence[Meter]) -> dict[int, str]:
        """Meters that are new, and those that get another rate. Bundles cannot contain them: put
        them before the flows that name them. Returns those that the bridge refuses, by number, with
        the reason."""
        return self._mod_meters(
            [*(put_meter(each, 0) for each in add), *(put_meter(each, 1) for each in change)],
            [each.number for each in (*add, *change)],
        )

    def delete_meters(self, numbers: Sequence[int]) -> None:
        """Delete meters, and flows that still name them. A missing one is no error."""
        self._mod_meters([delete_meter(number) for number in numbers], numbers)

    def _mod_meters(self, mods: Sequence[bytes], numbers: Sequence[int]) -> dict[int, str]:
        if not mods:
            return {}
        first = self._new_xids(len(mods) + 1)
        last = first + len(mods)
        sent = [messages.with_xid(mod, first + place) for place, mod in enumerate(mods)]
        replies = self._ask(b"".join(sent) + messages.barrier(last), last, len(mods))
        return {
            numbers[error.xid - first]: f"meter: {error_name(error.body)}"
            for error in errors_in(replies)
            if 0 <= error.xid - first < len(numbers)
        }

    def match_fragments(self) -> None:
        """Have flows find the ports in a packet's first fragment: a flow that drops a port would
        let it pass otherwise, and who puts the packet together has it. The bridge keeps it until
        ovs-vswitchd ends."""
        first = self._new_xids(2)
        request = messages.set_fragments(first) + messages.barrier(first + 1)
        self._answers(request, first + 1, "being told how to match fragments")

    def ports(self) -> dict[str, OpenPort]:
        """The bridge's ports by name, its own port included.

        A name here has at most 15 bytes (section 7.2.1), as a Linux interface's has.
        """
        xid = self._new_xids(1)
        replies = self._answers(messages.port_request(xid), xid, "reading its ports")
        return {name: port for reply in replies for name, port in messages.ports(reply)}

    def clear_ports(self, ports: Iterable[OpenPort], bits: int) -> None:
        """Switch off these bits of the ports' configurations. A port that is gone is no error."""
        wanted = list(ports)
        first = self._new_xids(len(wanted) + 1)
        sent = [messages.port_change(each, bits, first + n) for n, each in enumerate(wanted)]
        last = first + len(wanted)
        self._ask(b"".join(sent) + messages.barrier(last), last, len(wanted))

    def send_packet(self, frame: bytes, actions: bytes) -> None:
        """Let the bridge do `actions` with a frame of ours; returns at once, and what becomes of
        it is not told. Raises Unavailable where the bridge has closed the connection.
        """
        self._refuse_closed()
        self._outgoing += messages.packet_out(frame, actions, NO_QUESTION)
        self.service()

    def _fill_bundle(self, flow_mods: Sequence[bytes], xid: int) -> list[Message]:
        """Open the bundle, put all flow-mods into it, close it; what was refused of it."""
        # Open vSwitch leaves a flow-mod that it cannot decode out of the bundle and says so, and
        # a commit sent right behind would do the rest. So nothing is committed before the answer
        # to the close, which every such error precedes.
        closing = xid + 1 + len(flow_mods)
        parts = [messages.bundle_control(self._bundle, Bundle.OPEN, xid)]
        parts += (
            messages.bundle_add(self._bundle, flow_mod, xid + 1 + place)
            for place, flow_mod in enumerate(flow_mods)
        )
        parts.append(messages.bundle_control(self._bundle, Bundle.CLOSE, closing))
        return errors_in(self._ask(b"".join(parts), closing, len(parts)))

    def _control(self, what: Bundle) -> list[Message]:
        xid = self._new_xids(1)
        control = messages.bundle_control(self._bundle, what, xid)
        return errors_in(self._ask(control, xid, self._in_bundle))

    def _refusal(
        self, errors: Sequence[Message], adds: Sequence[WireFlow], first: int
    ) -> SwitchError:
        """The exception for errors in a bundle whose added flows have xids from `first` on."""
        head = f"the bridge at {self._path} refused"
        refused = [
            (error_name(error.body), adds[error.xid - first])
            for error in errors
            if 0 <= error.xid - first < len(adds)
        ]
        if not refused:
            return SwitchError(f"{head} a bundle of flows: {error_name(errors[0].body)}")
        told = [
            f"{name} for cookie={wire.cookie:#x},{flow_text(wire.flow, human=True)}"
            for name, wire in refused[:_TOLD_AT_MOST]
        ]
        if len(refused) > len(told):
            told.append(f"and {len(refused) - len(told)} more")
        return FlowRefused(
            f"{head} {len(refused)} of {len(adds)} flows, so nothing was changed: "
            f"{'; '.join(told)}",
            tuple(wire.cookie for _, wire in refused),
        )
