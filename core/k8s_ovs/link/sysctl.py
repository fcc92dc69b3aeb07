"""The kernel's network settings (sysctl: /proc/sys/net), read and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from k8s_ovs.link.netlink import LinkError
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Sysctl, Value

__all__ = ["OF_HOST", "SYSCTL", "SysctlDriver", "forwarding_sysctls"]

_OWN = Path("/proc/sys/net")
OF_HOST = Path("/host/proc/sys/net")

#: A container's own tree is read-only, so deploy/k8s-ovs.yaml gives it the host's too. In each
#: one the kernel shows the settings of the caller's own network namespace.
SYSCTL = OF_HOST if OF_HOST.exists() else _OWN


class SysctlDriver:
    """Settings below net/ of the calling thread's network namespace."""

    kinds = frozenset({Sysctl.kind})

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        wanted = [each for each in desired if isinstance(each, Sysctl)]
        return [Sysctl(each.name, _read(each.name)) for each in wanted if _exists(each.name)]

    def apply(self, differences: Sequence[Difference]) -> None:
        for each in differences:
            if isinstance(each.expected, Sysctl) and _exists(each.expected.name):
                _write(each.expected.name, each.expected.value)


def forwarding_sysctls(device: str) -> list[Sysctl]:
    """What forwarding of service packets by `device` needs (ip-sysctl.rst in Linux).

    rp_filter: the larger of `all` and the device's counts; 2 (any route will do) overrules a
    strict 1 of `all` without changing other devices. send_redirects: either one turns it on.
    Without IPv6 in the kernel there is nothing to turn off. Raises LinkError.
    """
    strict = _read("ipv4/conf/all/rp_filter") != "0"
    wanted = {
        "ipv4/ip_forward": "1",
        f"ipv4/conf/{device}/rp_filter": "2" if strict else "0",
        "ipv4/conf/all/send_redirects": "0",
        f"ipv4/conf/{device}/send_redirects": "0",
        f"ipv6/conf/{device}/disable_ipv6": "1",
    }
    return [Sysctl(name, value) for name, value in wanted.items() if _exists(name)]


def _exists(name: str) -> bool:
    return (SYSCTL / name).exists()


def _read(name: str) -> str:
    try:
        return (SYSCTL / name).read_text().strip()
    except OSError as error:
        raise LinkError(f"cannot read net/{name}: {error.strerror}") from error


def _write(name: str, value: str) -> None:
    try:
        (SYSCTL / name).write_text(value)
    except OSError as error:
        raise LinkError(f"cannot set net/{name} to {value}: {error.strerror}") from error
