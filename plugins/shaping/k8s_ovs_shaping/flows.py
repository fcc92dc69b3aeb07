"""The flow behind a pod's rate limit, which a pod that changes its own interface cannot lift."""

from __future__ import annotations

from k8s_ovs.plugin import Flow, Goto, Meter, Pod, Table, ip

__all__ = ["POLICE", "policed"]

POLICE = Table("POLICE", "Does this pod keep to what it may send?", between=("POD_IN", "ROUTE"))

#: Percent of the limit that pass: what waits at the pod's interface never comes to it.
_ROOM = 105
#: Milliseconds of sending that may come at once, and kilobits that it is at least: Open vSwitch may
#: get segments of 64 KiB from a pod in one piece, and more of them in a row.
_BURST_MS, _LEAST_BURST = 100, 2_000
_MOST = 0xFFFFFFFF


def policed(pod: Pod, rate: int) -> Flow | None:
    """Drops packets of a pod well above `rate` bits per second; None: no meter counts so far."""
    kilobits = -(-rate * _ROOM // 100_000)
    burst = max(_LEAST_BURST, kilobits * _BURST_MS // 1000)
    if kilobits > _MOST:
        return None
    meter = Meter(pod.ofport, kilobits, min(burst, _MOST))
    return Flow(POLICE, 100, ip(in_port=pod.ofport), [meter, Goto("ROUTE")])
