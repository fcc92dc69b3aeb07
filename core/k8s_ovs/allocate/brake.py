"""Are so many records to be deleted at once that a person must be asked?

An API server that was restored or is the wrong one lists no nodes or no namespaces: then the
subnets and tenants of all would go, and with them all packets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from k8s_ovs.model.allowance import ALLOWED, DELETIONS
from k8s_ovs.model.world import World
from k8s_ovs.plugin.values import Allocation, Problem

__all__ = ["HELD_BACK", "held_back"]

#: By these words of a problem is it known that deletions wait for a person.
HELD_BACK = "would go or become others' at once"

#: So many are never too many, unless they are all that there are.
_FEW = 3


def held_back(world: World, wanted: Iterable[Allocation]) -> tuple[list[Allocation], list[Problem]]:
    """Those allocations that take in masses from whom Kubernetes does not list any more, and what
    is said of them.

    More than half of a kind's records are too many, if they are four or more, and so are all of two
    or more.
    """
    taking = [each for each in wanted if each.missing]
    allowance = world.slot(DELETIONS, ALLOWED).settled
    most = allowance.most if allowance is not None else 0
    masses, total = dict[str, int](), dict[str, int]()
    for kind, number in _counts(taking).items():
        total[kind] = len(world.of(kind))
        taken = min(number, total[kind])
        if taken > most and _is_mass(taken, total[kind]):
            masses[kind] = taken
    stopped = [each for each in taking if any(write.kind in masses for write in each.writes)]
    return stopped, [_problem(masses, total, stopped)] if stopped else []


def _counts(taking: Iterable[Allocation]) -> Counter[str]:
    """How many records that exist are taken from somebody, or soon will be, by kind."""
    count = Counter[str]()
    for each in taking:
        there = Counter(write.kind for write in each.writes if write.revision)
        count.update({kind: number + each.alike for kind, number in there.items()})
    return count


def _is_mass(number: int, total: int) -> bool:
    return number > 1 and (number >= total or (number > _FEW and 2 * number > total))


def _problem(
    masses: Mapping[str, int], total: Mapping[str, int], stopped: list[Allocation]
) -> Problem:
    told = ", ".join(f"{number} of {total[kind]} {kind}" for kind, number in sorted(masses.items()))
    named = sorted(each.reason for each in stopped)
    reasons = "; ".join(named[:3]) + ("; ..." if named[3:] else "")
    return Problem(
        told,
        f"{HELD_BACK} ({reasons}), so nothing is, until somebody looks: if that is right, k8s-ovs "
        f"allow-deletions {max(masses.values())}",
    )
