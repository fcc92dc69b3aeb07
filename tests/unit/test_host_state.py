"""What the one hand that puts a node right says of what it did, also when drivers fail."""

from __future__ import annotations

from collections.abc import Sequence

from k8s_ovs.errors import TimedOut
from k8s_ovs.node.host.state import HostState
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Sysctl, Value, Veth

FORWARD, REDIRECT = Sysctl("ipv4/ip_forward", "1"), Sysctl("ipv4/conf/all/send_redirects", "0")


class Backend:
    """Sysctls by name. failing: errors of the next calls, in order; None: that one works."""

    kinds = frozenset({Sysctl.kind})

    def __init__(self, **values: str) -> None:
        self.values = {FORWARD.name: "0", REDIRECT.name: "0"} | values
        self.failing: list[str | None] = []

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        self._fail("read")
        return [Sysctl(name, value) for name, value in self.values.items()]

    def apply(self, differences: Sequence[Difference]) -> None:
        for each in differences:
            if isinstance(each.expected, Sysctl):
                self.values[each.expected.name] = each.expected.value
        self._fail("apply")

    def _fail(self, call: str) -> None:
        if self.failing and self.failing[0] == call:
            self.failing.pop(0)
            raise TimedOut(f"{call} took too long")


def keys(found: Sequence[Difference]) -> list[str]:
    return [each.key.name for each in found]


def test_what_was_put_right_is_told_once() -> None:
    state = HostState([Backend()])
    done, left = state.repair([FORWARD, REDIRECT])
    assert (keys(done), left.differences, left.unknown) == (["net/ipv4/ip_forward"], (), ())
    assert state.repair([FORWARD, REDIRECT])[0] == []


def test_what_a_driver_changed_before_it_failed_is_told_when_it_can_be_looked_at() -> None:
    backend = Backend()
    state = HostState([backend])
    backend.failing = ["apply"]
    done, left = state.repair([FORWARD, REDIRECT])
    assert done == []
    assert left.why_unknown(Sysctl.kind) is not None
    done, left = state.repair([FORWARD, REDIRECT])
    assert (keys(done), left.unknown) == (["net/ipv4/ip_forward"], ())
    assert state.repair([FORWARD, REDIRECT])[0] == []


def test_what_is_wanted_no_more_was_not_put_right() -> None:
    backend = Backend()
    state = HostState([backend])
    backend.failing = ["apply"]
    state.repair([FORWARD, REDIRECT])
    del backend.values[FORWARD.name]
    assert state.repair([REDIRECT])[0] == []


def test_a_driver_that_fails_keeps_no_other_from_its_work() -> None:
    class Broken(Backend):
        kinds = frozenset({Veth.kind})

    broken = Broken()
    broken.failing = ["read"]
    done, left = HostState([broken, Backend()]).repair([Veth("kovs1"), FORWARD, REDIRECT])
    assert keys(done) == ["net/ipv4/ip_forward"]
    assert [str(each) for each in left.unknown] == ["veth: read took too long"]
