"""Whether the bridge's ports do all that a port does, read and set by OpenFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import PortConfig, Value

__all__ = ["PortConfigDriver"]

#: Bits of a port that takes no packets in, or sends none out (OpenFlow 1.4 section 7.2.1). Whether
#: it is down, its device says.
_OFF = {"no-receive": 1 << 2, "no-forward": 1 << 5}


class PortConfigDriver:
    """connect: opens a connection to the bridge; raises Unavailable."""

    kinds = frozenset({PortConfig.kind})

    def __init__(self, connect: Callable[[], OpenFlow]) -> None:
        self._connect = connect

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        """A port that is missing has nothing to be set, and others say that it is."""
        if not desired:
            return ()
        with closing(self._connect()) as bridge:
            ports = bridge.ports()
        configs = {name: port.config for name, port in ports.items()}
        return [
            PortConfig(each.name, _text(configs.get(each.name, 0)), pod=each.pod)
            for each in desired
            if isinstance(each, PortConfig)
        ]

    def apply(self, differences: Sequence[Difference]) -> None:
        names = {each.key.name for each in differences}
        with closing(self._connect()) as bridge:
            wrong = [port for name, port in bridge.ports().items() if name in names]
            bridge.clear_ports(wrong, sum(_OFF.values()))


def _text(config: int) -> str:
    return ", ".join(word for word, bit in _OFF.items() if config & bit)
