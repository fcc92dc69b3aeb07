"""Which iptables rules does kube-proxy make for a service with one endpoint?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8s_ovs_lab.command import run

__all__ = ["install", "remove", "rules"]

_MARK = "0x4000"
_CHAINS = ("KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ")
_COMMON = (
    "-A PREROUTING -j KUBE-SERVICES",
    "-A OUTPUT -j KUBE-SERVICES",
    "-A POSTROUTING -j KUBE-POSTROUTING",
    f"-A KUBE-POSTROUTING -m mark ! --mark {_MARK}/{_MARK} -j RETURN",
    f"-A KUBE-POSTROUTING -j MARK --set-xmark {_MARK}/0x0",
    "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    f"-A KUBE-MARK-MASQ -j MARK --set-xmark {_MARK}/{_MARK}",
)


def rules(network: str, service: str, endpoint: str, ports: Iterable[int]) -> str:
    """The table nat as iptables-restore reads it, for ports of TCP that the endpoint has too.

    network: kube-proxy's clusterCIDR; only clients beyond it are masqueraded.
    """
    each = list(ports)
    chains = [*_CHAINS, *(f"KUBE-{kind}-{port}" for port in each for kind in ("SVC", "SEP"))]
    told = [line for port in each for line in _port(network, service, endpoint, port)]
    heads = [f":{chain} - [0:0]" for chain in chains]
    return "\n".join(["*nat", *heads, *_COMMON, *told, "COMMIT\n"])


def install(netns: str, table: str) -> None:
    """Put a table nat into force in a node's namespace, in place of what it has."""
    run(["iptables-restore"], netns=netns, text=table)


def remove(netns: str) -> None:
    """Leave nothing in the table nat."""
    install(netns, "*nat\nCOMMIT\n")


def _port(network: str, service: str, endpoint: str, port: int) -> Iterator[str]:
    match = f"-d {service}/32 -p tcp -m tcp --dport {port}"
    yield f"-A KUBE-SERVICES {match} -j KUBE-SVC-{port}"
    yield f"-A KUBE-SVC-{port} ! -s {network} {match} -j KUBE-MARK-MASQ"
    yield f"-A KUBE-SVC-{port} -j KUBE-SEP-{port}"
    yield f"-A KUBE-SEP-{port} -s {endpoint}/32 -j KUBE-MARK-MASQ"
    yield (f"-A KUBE-SEP-{port} -p tcp -m tcp -j DNAT --to-destination {endpoint}:{port}")
