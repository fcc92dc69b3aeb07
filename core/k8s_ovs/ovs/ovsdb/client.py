"""The client of ovsdb-server: what Open vSwitch is set to, kept up to date, and changed.

Made for one thread that blocks in a poller: `wait` says what to wake up for, `run` takes in what
has come. Reading is free of I/O. A lost connection is reopened automatically (first at once, then
after 1 to 5 s); until then the last snapshot stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ovs.db.idl
import ovs.poller
import structlog

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable, shown
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.ovs.ovsdb.json_parser import speed_up
from k8s_ovs.ovs.ovsdb.rows import Rows, first, value
from k8s_ovs.ovs.ovsdb.schema import COLUMNS, SCHEMA
from k8s_ovs.ovs.ovsdb.state import Bridge, Port, SwitchState
from k8s_ovs.ovs.ovsdb.transaction import Operation, Transaction, deletion, operations, sign_of_life
from k8s_ovs.ovs.rights import check_rights
from k8s_ovs.supervise import FaultLog

__all__ = ["Ovsdb"]

# The library's classes carry no types.
_idl: Any = ovs.db.idl
_Poller: Any = ovs.poller.Poller

# A peer is asked after this long without a word, and given up after as long again.
_PROBE_MS = 2500
_BACKOFF_MS = (1000, 5000)

#: Seconds that one more port may take: ovs-vswitchd needs up to 15 ms for one on a busy machine,
#: and answers nothing meanwhile.
_PER_PORT = 0.05

_log = structlog.get_logger(__name__)


class Ovsdb:
    """One connection to ovsdb-server at `remote`, such as unix:/var/run/openvswitch/db.sock.

    timeout: seconds that any one call may take, and more for each port that Open vSwitch has to
    make or remove.
    """

    def __init__(self, remote: str, timeout: float = 5.0) -> None:
        self._remote = remote
        self._timeout = timeout
        speed_up()
        helper = _idl.SchemaHelper(schema_json=SCHEMA)
        for table, columns in COLUMNS.items():
            helper.register_columns(table, list(columns))
        self._idl = _idl.Idl(remote, helper)
        self._idl.notify = self._forget
        # The library never probes Unix sockets, yet a stopped ovsdb-server holds its end open.
        self._idl._session.reconnect.set_probe_interval(_PROBE_MS)
        self._idl._session.reconnect.set_backoff(*_BACKOFF_MS)
        self._rows = Rows(self._idl)
        self._told_seqno = 0
        self._unapplied_ports = 0
        self._faults = FaultLog()

    def connect(self) -> None:
        """Wait until the whole content has arrived.

        Raises Unavailable where nothing answers, NotPermitted where we may not ask, TimedOut where
        ovsdb-server answers but is silent.
        """
        check_rights(self._remote.removeprefix("unix:"))
        try:
            self._await(lambda: self.connected, self._deadline(), "it sent no content")
        except TimedOut:
            # The library asks once per connection, and waits for ever where it got no answer to it.
            self._idl.force_reconnect()
            raise
        if self._root() is None:
            raise Unavailable(
                f"the database at {self._remote} is empty: has ovs-vsctl init been run?"
            )

    def close(self) -> None:
        """End the connection."""
        self._idl.close()

    @property
    def connected(self) -> bool:
        """Whether the connection is open and what is read here is the database's content."""
        monitoring = self._idl.state == _idl.Idl.IDL_S_MONITORING
        return monitoring and bool(self._idl._session.is_connected())

    @property
    def seqno(self) -> int:
        """A number that changes with each change of the content."""
        return int(self._idl.change_seqno)

    def run(self) -> bool:
        """Process what has come. True if the content has changed since the last `run`.

        Raises Unavailable for what cannot be understood; the connection is made anew then.
        """
        self._take_in()
        changed = self.seqno != self._told_seqno
        self._told_seqno = self.seqno
        return changed

    def wait(self, poller: Any) -> None:
        """Have an ovs.poller.Poller's next block() end as soon as `run` has something to do."""
        self._idl.wait(poller)
        if self.seqno != self._told_seqno:
            poller.immediate_wake()

    def switch(self) -> SwitchState:
        """The switch as a whole. Raises Unavailable before the first `connect`."""
        root = self._known_root()
        return SwitchState(
            ovs_version=first(root.ovs_version),
            datapath_types=frozenset(root.datapath_types),
            iface_types=frozenset(root.iface_types),
            external_ids=root.external_ids,
            next_cfg=root.next_cfg,
            cur_cfg=root.cur_cfg,
        )

    def bridge(self, name: str) -> Bridge | None:
        """The bridge of this name with its ports, None if there is none.

        Raises Unavailable where the content makes no sense; the connection is made anew then.
        """
        root = self._known_root()
        try:
            return self._rows.bridge(root, name)
        except Exception as error:  # a row that others name, and that is not there
            raise self._refused(error) from error

    @property
    def applied(self) -> bool:
        """Whether ovs-vswitchd has carried out all that was committed."""
        root = self._known_root()
        return bool(value(root, "cur_cfg") >= value(root, "next_cfg"))

    @property
    def patience(self) -> float:
        """Seconds that ovs-vswitchd may take for the ports that it has to make and remove."""
        if self._unapplied_ports and self._root() is not None and self.applied:
            self._unapplied_ports = 0
        return self._unapplied_ports * _PER_PORT

    def commit(self, transaction: Transaction) -> None:
        """Bring the bridge to what `transaction` says, in one transaction; no write if it is up to
        date.

        Returns when the database has it, which is before ovs-vswitchd has carried it out:
        see `await_applied`. Raises SwitchError with OVSDB's words, TimedOut or Unavailable; after
        those two it may still be carried out later.
        """
        ports = len(transaction.add_ports) + len(transaction.remove_ports)
        self._transact(
            f"bridge {transaction.bridge}",
            lambda: operations(
                transaction, self._known_root().uuid, self.bridge(transaction.bridge)
            ),
            ports,
        )

    def delete_bridge(self, name: str) -> None:
        """Delete a bridge with all its ports; nothing happens if there is none."""
        there = self.bridge(name)
        self._transact(
            f"bridge {name}",
            lambda: deletion(self.bridge(name), self._known_root().uuid),
            len(there.ports) if there else 0,
        )

    def await_applied(self) -> None:
        """Wait until ovs-vswitchd has carried out all that was committed. Raises TimedOut."""
        wanted = value(self._known_root(), "next_cfg")
        self._await(
            lambda: value(self._known_root(), "cur_cfg") >= wanted,
            self._deadline(),
            "ovs-vswitchd has not carried out the change: is it running?",
        )

    def await_vswitchd(self) -> None:
        """Wait until ovs-vswitchd has shown that it runs. Raises TimedOut where it does not."""
        self._transact("ovs-vswitchd", lambda: sign_of_life(self._known_root().uuid))
        self.await_applied()

    def await_ofports(self, bridge: str, names: Iterable[str]) -> Mapping[str, int]:
        """The OpenFlow numbers of ports just committed, when ovs-vswitchd has given them.

        A number is another than the one asked for where a port had that already.
        Raises SwitchError naming the port that cannot have one, TimedOut or Unavailable.
        """
        self.await_applied()
        found = self.bridge(bridge)
        ports: Mapping[str, Port] = found.ports if found else {}
        return {name: _number(bridge, name, ports.get(name)) for name in names}

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout + self.patience

    def _take_in(self) -> None:
        state = self._idl.state
        try:
            self._idl.run()
        except Exception as error:  # the library trusts its peer
            raise self._refused(error) from error
        finally:
            if self._idl.state != state:
                # Of rows that are gone when it connects anew, the library tells nothing.
                self._rows = Rows(self._idl)

    def _refused(self, error: Exception) -> Unavailable:
        """What has come is of no use: the connection is made anew, and all content sent again."""
        self._faults.tell("OVSDB sent what cannot be understood", error, remote=self._remote)
        self._idl.force_reconnect()
        return Unavailable(
            f"ovsdb-server at {self._remote} sent what cannot be understood: {shown(error)}"
        )

    def _await(self, ready: Callable[[], bool], deadline: float, late: str) -> None:
        self._take_in()
        while not ready():
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late(late)
            poller = _Poller()
            self._idl.wait(poller)
            poller.timer_wait(max(1, int(left * 1000)))
            poller.block()
            self._take_in()

    def _late(self, late: str) -> Unavailable:
        within = f"within {self._timeout + self.patience:.3g} s"
        if self._idl._session.is_connected():
            return TimedOut(f"ovsdb-server at {self._remote}, {within}: {late}")
        return Unavailable(
            f"no connection to ovsdb-server at {self._remote} {within}: is it running, "
            "and is this its socket?"
        )

    def _transact(
        self, subject: str, compose: Callable[[], list[Operation]], ports: int = 0
    ) -> None:
        """ports: how many ovs-vswitchd has to make or remove for it."""
        begin, deadline = time.monotonic(), self._deadline() + ports * _PER_PORT
        while time.monotonic() < deadline:
            self._await(lambda: self.connected, deadline, "it sent no content")
            asked = compose()
            if not asked:
                return
            transaction = self._send(asked, deadline)
            self._unapplied_ports += ports
            status = transaction.commit()
            if status == _idl.Transaction.ERROR:
                raise SwitchError(f"{subject}: {_words(transaction.get_error())}")
            if status != _idl.Transaction.TRY_AGAIN:
                took = round((time.monotonic() - begin) * 1000, 1)
                _log.debug("ovsdb commit", subject=subject, operations=len(asked), ms=took)
                return
            # The connection was lost on the way. The operations depend on what exists then, so they
            # are composed again: doing them twice does no harm.
        raise self._late("it did not take the change")

    def _send(self, asked: list[Operation], deadline: float) -> Any:
        transaction = _idl.Transaction(self._idl)
        for operation in asked:
            transaction.add_op(operation)
        incomplete = _idl.Transaction.INCOMPLETE
        transaction.commit()
        self._await(
            lambda: transaction.commit() != incomplete, deadline, "it did not answer the change"
        )
        return transaction

    def _root(self) -> Any | None:
        return next(iter(self._idl.tables["Open_vSwitch"].rows.values()), None)

    def _known_root(self) -> Any:
        root = self._root()
        if root is None:
            raise Unavailable(f"nothing is known yet of the database at {self._remote}")
        return root

    def _forget(self, _event: str, row: Any, _updates: Any = None) -> None:
        self._rows.forget(row)


def _number(bridge: str, name: str, port: Port | None) -> int:
    if port is None:
        raise SwitchError(f"port {name} is not on bridge {bridge}")
    if port.error:
        raise SwitchError(f"port {name} of bridge {bridge}: {port.error}")
    if port.ofport is None:
        raise SwitchError(
            f"port {name} of bridge {bridge} got no OpenFlow number: see ovs-vswitchd's log"
        )
    return port.ofport


def _words(error: str) -> str:
    try:
        found = parse_json(error)
    except ValueError:
        return error
    if not isinstance(found, dict):
        return error
    return ": ".join(str(found[key]) for key in ("error", "details") if key in found)
