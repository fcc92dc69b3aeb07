"""Who leads, and who is to follow? One daemon is ready to take over when the leader is gone.

Only these two look at the whole cluster. The successor holds a key of its own and alone runs for
leader; once it is the leader, it gives that key to another daemon.
"""

from __future__ import annotations

from collections.abc import Callable

from k8s_ovs.allocate.election import SUCCESSOR, LeaderElection, LeaderToken
from k8s_ovs.model.node_status import LEADER_KEY, SUCCESSOR_KEY
from k8s_ovs.observe.etcd.client import Etcd

__all__ = ["Succession"]


class Succession:
    """Both elections of one network.

    base: the network's prefix in etcd, `<prefix>/<Name>`. identity: the node's name. ttl: seconds
    until the key of a silent daemon expires. on_change: called when this daemon becomes or ceases
    to be one of the two. watched: somebody calls `saw`; else the keys are read every 2 s.
    """

    def __init__(
        self,
        etcd: Etcd,
        base: str,
        identity: str,
        ttl: int,
        on_change: Callable[[], None] = lambda: None,
        *,
        watched: bool = True,
    ) -> None:
        self._on_change = on_change
        self._successor = LeaderElection(
            etcd,
            f"{base}/{SUCCESSOR_KEY}",
            identity,
            ttl,
            lambda _: self._changed(),
            watched=watched,
            may_run=lambda: not self._leader.holds,
            messages=SUCCESSOR,
        )
        self._leader = LeaderElection(
            etcd,
            f"{base}/{LEADER_KEY}",
            identity,
            ttl,
            lambda _: self._changed(),
            watched=watched,
            may_run=lambda: self.sees_all,
        )

    @property
    def token(self) -> LeaderToken | None:
        """Proof that this daemon leads; None: another one does."""
        return self._leader.token

    @property
    def sees_all(self) -> bool:
        """Whether this daemon leads or is to follow."""
        # Roles of etcd that were made before there was a successor do not allow its key.
        return self._successor.holds or self._successor.forbidden or self._leader.holds

    @property
    def problem(self) -> str:
        """Why there can be no leader, although etcd answers; empty: there can."""
        return self._leader.problem or self._successor.problem

    def start(self) -> None:
        """Begin to run."""
        self._leader.start()
        self._successor.start()

    def saw(self, key: str, held: bool) -> None:
        """Whether the key exists, as a watch shows it; other keys are none of ours. From any
        thread."""
        for election in (self._leader, self._successor):
            if election.key == key:
                election.saw(held)

    @property
    def keys(self) -> tuple[str, str]:
        """Of etcd."""
        return self._leader.key, self._successor.key

    def stop(self) -> None:
        """Give back what this daemon holds and end, as soon as the calls in progress end."""
        self._successor.stop(wait=False)
        self._leader.stop()
        self._successor.stop()

    def _changed(self) -> None:
        self._leader.reconsider()
        self._successor.reconsider()
        self._on_change()
