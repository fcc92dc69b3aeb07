"""What the demonstration shows of tenants: the steps that people take with one tenant per
namespace.

The network of one tenant becomes one of many while its pods run.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from k8s_ovs_lab.demo.play import (
    THIS_MACHINE,
    Act,
    Chapter,
    Claim,
    Step,
    all_of,
    lacks,
    matches,
    shows,
)
from k8s_ovs_lab.demo.server import PORT
from k8s_ovs_lab.layout import ETCD_PREFIX, Layout

__all__ = ["tenant_chapters"]

_RECORDS = f"{ETCD_PREFIX}/k8ssdn/netnamespaces"
_FIRST, _SECOND, _THIRD = "helloworld1", "helloworld2", "helloworld3"
#: Seconds until a server that does not answer counts as silent.
_CONNECT_TIMEOUT = 0.5
_SOON = 10.0


@frozen
class _Pod:
    """A pod; its address is kept as `measured`. number: of its namespace and of its node."""

    namespace: str
    number: int
    node: int

    @property
    def measured(self) -> str:
        return f"hello{self.number}on{self.node}"

    @property
    def name(self) -> str:
        return f"hello{self.number}-{self.node}"

    @property
    def place(self) -> str:
        return f"{self.namespace}/{self.name}"


_PODS = tuple(
    _Pod(namespace, number, node)
    for number, namespace in enumerate((_FIRST, _SECOND, _THIRD), 1)
    for node in (1, 2)
)


def tenant_chapters(layout: Layout) -> tuple[Chapter, ...]:
    """For a lab that runs pods called client and web-2 in one flat network."""
    return (_tenants(layout), _apart(), _join(), _isolate(), _global(layout))


def _record(namespace: str, net_id: str, action: str = "", other: str = "") -> str:
    return f'{{"NetName":"{namespace}","NetID":{net_id},"Action":"{action}","Namespace":"{other}"}}'


def _get(namespace: str, claim: Claim, keep: str) -> Step:
    """Read a record again, until it is answered."""
    command = f"etcdctl get --print-value-only {_RECORDS}/{namespace}"
    return Step("node1", command, (claim,), keep=keep, find=r'"NetID":(\d+)', within=_SOON)


def _ask(namespace: str, net_id: str, action: str, other: str = "") -> Step:
    record = _record(namespace, net_id, action, other)
    command = f"etcdctl put {_RECORDS}/{namespace} '{record}'"
    return Step("node1", command, (Claim("etcd takes it", shows("OK")),))


def _run(layout: Layout, pod: _Pod) -> Step:
    command = (
        f"k8s-ovs lab run {pod.name} --node node{pod.node} --namespace {pod.namespace}"
        f" --name {layout.name}"
    )
    subnet = matches(rf"^172\.11\.[{'0-3' if pod.node == 1 else '4-7'}]\.\d+$")
    return Step(
        THIS_MACHINE, command, (Claim("it has an address of its node", subnet),), keep=pod.measured
    )


def _service(layout: Layout, number: int) -> Step:
    pods = [pod for pod in _PODS if pod.number == number]
    endpoints = " ".join(f"--endpoint {pod.name}:{PORT}" for pod in pods)
    command = (
        f"k8s-ovs lab service shop{number} --namespace {pods[0].namespace} --port 80 {endpoints}"
        f" --name {layout.name}"
    )
    address = matches(r"^10\.96\.\d+\.\d+$")
    return Step(THIS_MACHINE, command, (Claim("it has an address", address),), keep=f"shop{number}")


def _curl(pod: _Pod, others: Iterable[int], reached: Iterable[int]) -> Step:
    """A pod asks its own and other namespaces: their pods on both nodes, and their services."""
    asked = sorted({pod.number, *others})
    targets = {
        number: [
            f"${each.measured}:{PORT}" for each in _PODS if each.number == number and each != pod
        ]
        + [f"$shop{number}:80"]
        for number in asked
    }
    urls = ",".join(target for number in asked for target in targets[number])
    command = (
        f"curl -sZ -o /dev/null --connect-timeout {_CONNECT_TIMEOUT} "
        f"-w '%{{url}} %{{http_code}}\\n' 'http://{{{urls}}}' 2>/dev/null | sort"
    )
    claims = [
        Claim(
            _sentence(pod, number, number in {pod.number, *reached}),
            shows(
                *(
                    f"http://{target} {'200' if number in {pod.number, *reached} else '000'}"
                    for target in targets[number]
                )
            ),
        )
        for number in asked
    ]
    return Step(pod.place, command, tuple(claims), within=_SOON)


def _sentence(pod: _Pod, number: int, answers: bool) -> str:
    if number == pod.number:
        return "its own namespace answers: the other pod, and the service"
    said = "answer" if answers else "are silent"
    return f"helloworld{number}'s pods, on this node and across, and its service {said}"


def _all_curl(reach: dict[int, set[int]], others: set[int]) -> tuple[Step, ...]:
    """Each pod of the namespaces in `others` asks all of them. reach: who answers whom."""
    return tuple(
        _curl(pod, others - {pod.number}, reach.get(pod.number, set()))
        for pod in _PODS
        if pod.number in others
    )


def _tenants(layout: Layout) -> Chapter:
    config = (
        '{"Name":"k8ssdn","Network":"172.11.0.0/16","HostSubnetLength":10,'
        '"ServiceNetwork":"10.96.0.0/12","PluginName":"k8s-ovs-multitenant"}'
    )
    changed = matches(r"PluginName +k8s-ovs-subnet +k8s-ovs-multitenant")
    return Chapter(
        "Tenants",
        "Another PluginName: each namespace is a tenant of its own. The daemons take it "
        "over while they run, and no pod is restarted.",
        (
            Step(
                "node1",
                f"k8s-ovs config set '{config}'",
                (Claim("one field changes", changed),),
            ),
            Step(
                "client",
                "ping -q -c 3 -i 0.2 -W 1 $web2",
                (Claim("pods that run already go on", shows(" 0% packet loss")),),
                within=_SOON,
            ),
            *(_run(layout, pod) for pod in _PODS if pod.namespace != _THIRD),
            *(_service(layout, number) for number in (1, 2)),
            Act("web servers are started in the new pods", "serve"),
            _get(
                _FIRST,
                Claim("helloworld1 has got its record", shows(f'"NetName":"{_FIRST}"')),
                "id1",
            ),
            _get(
                _SECOND,
                Claim(
                    "helloworld2 has got another number",
                    all_of(shows(f'"NetName":"{_SECOND}"'), lacks('"NetID":$id1,')),
                ),
                "id2",
            ),
        ),
    )


def _apart() -> Chapter:
    def ping(target: str, claim: Claim, *, fails: bool = False) -> Step:
        command = f"ping -q -c 3 -i 0.2 -W 1 {target}"
        return Step(f"{_FIRST}/hello1-1", command, (claim,), fails=fails)

    lost = shows("100% packet loss")
    return Chapter(
        "Tenants apart",
        "Inside a namespace pods and the service answer, across namespaces neither does.",
        (
            ping("$hello1on2", Claim("ping within the namespace", shows(" 0% packet loss"))),
            ping("$hello2on1", Claim("none to the other one's pod on this node", lost), fails=True),
            ping("$hello2on2", Claim("nor to the one across nodes", lost), fails=True),
            *_all_curl({}, {1, 2}),
        ),
    )


def _join() -> Chapter:
    return Chapter(
        "Join",
        "Anyone who can write the record can ask for it; the answer is in the same record.",
        (
            _ask(_FIRST, "$id1", "join", _SECOND),
            _get(
                _FIRST,
                Claim(
                    "its tenant id is helloworld2's, and no request is left",
                    shows(_record(_FIRST, "$id2")),
                ),
                "joined",
            ),
            *_all_curl({1: {2}, 2: {1}}, {1, 2}),
        ),
    )


def _isolate() -> Chapter:
    answered = all_of(
        shows(f'"NetName":"{_FIRST}"', '"Action":"","Namespace":""'),
        lacks('"NetID":$id2,', '"NetID":$id1,'),
    )
    return Chapter(
        "Isolate",
        "Apart again, under a tenant id that nobody had for a while.",
        (
            _ask(_FIRST, "$id2", "isolate"),
            _get(_FIRST, Claim("it has got a new tenant id", answered), "isolated"),
            *_all_curl({}, {1, 2}),
        ),
    )


def _global(layout: Layout) -> Chapter:
    return Chapter(
        "Global",
        "A third namespace reaches both and is reached by both, which stay apart.",
        (
            *(_run(layout, pod) for pod in _PODS if pod.namespace == _THIRD),
            _service(layout, 3),
            Act("web servers are started in the new pods", "serve"),
            _get(
                _THIRD,
                Claim("helloworld3 has got its record", shows(f'"NetName":"{_THIRD}"')),
                "id3",
            ),
            _curl(_PODS[4], {1, 2}, set()),
            _curl(_PODS[1], {3}, set()),
            _ask(_THIRD, "$id3", "global"),
            _get(_THIRD, Claim("its tenant id is 0", shows(_record(_THIRD, "0"))), "everywhere"),
            *_all_curl({1: {3}, 2: {3}, 3: {1, 2}}, {1, 2, 3}),
        ),
    )
