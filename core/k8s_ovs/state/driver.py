"""What reads and changes one backend: OVSDB, rtnetlink, sysctls, nftables, qdiscs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Value

__all__ = ["Driver"]


class Driver(Protocol):
    """kinds: of the values that it knows. Both methods raise K8sOvsError, in bounded time."""

    kinds: frozenset[str]

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        """What there is now: the desired things as they are, and what else is ours.

        With nothing desired that is all that `k8s-ovs uninstall` has to remove; what goes with
        another driver's things, such as an address with its device, need not be in it.
        """

    def apply(self, differences: Sequence[Difference]) -> None:
        """Bring what differs to what is expected, and remove what is unexpected; nothing else is
        touched."""
