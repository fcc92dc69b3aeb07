"""What the demonstration shows of an external host: a load balancer in front of two tenants."""

from __future__ import annotations

from k8s_ovs_lab.demo.play import Act, Chapter, Claim, Step, all_of, lacks, matches, shows
from k8s_ovs_lab.demo.server import PORT
from k8s_ovs_lab.layout import ETCD_PREFIX, Layout

__all__ = ["external_chapters"]

_SUBNETS = f"{ETCD_PREFIX}/k8ssdn/subnets"
_ADDRESS = "192.168.0.199"
_RECORD = f"{_SUBNETS}/{_ADDRESS}"
_SOON = 10.0
#: A pod of each tenant, by the kept value of its address, and by its place.
_PODS = {
    "hello1on1": "helloworld1/hello1-1",
    "hello2on2": "helloworld2/hello2-2",
    "hello3on1": "helloworld3/hello3-1",
}
_LOST = shows("100% packet loss")


def external_chapters(layout: Layout) -> tuple[Chapter, ...]:
    """For a lab in which the pods of three tenants run, with a web server in each."""
    return (_joined(), _balanced(layout), _removed())


def _joined() -> Chapter:
    asked = f'{{"Host":"lb1","HostIP":"{_ADDRESS}","Subnet":"","Assign":true}}'
    given = all_of(
        matches(r'"Host":"lb1","HostIP":"192\.168\.0\.199","Subnet":"172\.11\.\d+\.0/22"'),
        shows('"Assign":false'),
    )
    return Chapter(
        "An external host",
        "A server that is no Kubernetes node gets a subnet by its record, and pods of "
        "all tenants reach it and are reached.",
        (
            Act("lb1 comes: a server with Open vSwitch, and no kubelet", "add lb1"),
            Step(
                "node1",
                f"etcdctl put {_RECORD} '{asked}'",
                (Claim("etcd takes it", shows("OK")),),
            ),
            Step(
                "node1",
                f"etcdctl get --print-value-only {_RECORD}",
                (Claim("it has got a /22, and Assign is false", given),),
                keep="lb1",
                find=r'"Subnet":"([\d.]+)\.0/22"',
                within=_SOON,
            ),
            Act("k8s-ovs is started on lb1, with etcd's address and nothing else", "start lb1"),
            Step(
                "lb1",
                f"echo {' '.join(f'${measured}' for measured in _PODS)} | "
                "xargs -n 1 ping -q -c 3 -i 0.2 -W 1",
                (Claim("pods of all three tenants answer", matches(r"(?s)( 0% packet.*){3}")),),
                within=_SOON,
            ),
            *(
                Step(
                    place,
                    "ping -q -c 3 -i 0.2 -W 1 $lb1.1",
                    (Claim(f"{place.partition('/')[0]} reaches it", shows(" 0% packet loss")),),
                    within=_SOON,
                )
                for place in _PODS.values()
            ),
        ),
    )


def _balanced(layout: Layout) -> Chapter:
    backends = [f"server {measured} ${measured}:{PORT}" for measured in ("hello1on1", "hello2on2")]
    lines = [
        "defaults",
        "mode http",
        *(f"timeout {what} 5s" for what in ("connect", "client", "server")),
        "listen shop",
        f"bind {_ADDRESS}:80",
        *backends,
    ]
    config = layout.directory / "demo" / "haproxy.cfg"
    words = " ".join(f"'{line}'" for line in lines)
    both = shows("hello1-1 was asked by $lb1.1", "hello2-2 was asked by $lb1.1")
    return Chapter(
        "A load balancer",
        "HAProxy on lb1, with the addresses of pods of two tenants, which do not reach each other.",
        (
            Step("lb1", f"printf '%s\\n' {words} > {config}; haproxy -D -f {config}"),
            Step(
                "outside",
                f"curl -s --max-time 5 'http://{_ADDRESS}/[1-4]'",
                (Claim("a client far away is served by pods of both tenants", both),),
                within=_SOON,
            ),
        ),
    )


def _removed() -> Chapter:
    return Chapter(
        "The external host is removed",
        "Its record is what lets it in.",
        (
            Step(
                "node1",
                f"etcdctl del {_RECORD}",
                (Claim("one key is deleted", matches("^1$")),),
            ),
            *(
                Step(
                    node,
                    f"ovs-ofctl -O OpenFlow14 dump-flows br0 | grep -c {_ADDRESS}",
                    (Claim(f"{node} has no flow of it", matches("^0$")),),
                    fails=True,
                    within=_SOON,
                )
                for node in ("node1", "node2")
            ),
            Step(
                "lb1",
                "ping -q -c 3 -i 0.2 -W 1 $hello1on1",
                (Claim("its pings are lost", _LOST),),
                fails=True,
            ),
            Step(
                "node1",
                f"etcdctl get --prefix --print-value-only {_SUBNETS}",
                (Claim("its subnet is free again", all_of(shows('"node1"'), lacks('"lb1"'))),),
            ),
        ),
    )
