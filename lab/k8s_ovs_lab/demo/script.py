"""What the demonstration shows: the steps that people take with a network of one tenant, then
(tenants.py) with one of many, and with an external host (external.py)."""

from __future__ import annotations

import re

from k8s_ovs_lab.demo.bandwidth import bandwidth_chapters
from k8s_ovs_lab.demo.external import external_chapters
from k8s_ovs_lab.demo.play import (
    THIS_MACHINE,
    Act,
    Chapter,
    Claim,
    Measured,
    Step,
    every_line,
    lacks,
    matches,
    shows,
)
from k8s_ovs_lab.demo.server import PORT
from k8s_ovs_lab.demo.tenants import tenant_chapters
from k8s_ovs_lab.layout import ETCD_PREFIX, OUTSIDE, Layout

__all__ = ["script"]

_CONFIG = (
    '{"Name":"k8ssdn","Network":"172.11.0.0/16","HostSubnetLength":10,'
    '"ServiceNetwork":"10.96.0.0/12","PluginName":"k8s-ovs-subnet"}'
)
_SUBNETS = f"{ETCD_PREFIX}/k8ssdn/subnets"
_NODE1, _NODE2, _NODE3 = "192.168.0.11", "192.168.0.12", "192.168.0.13"
_GATEWAY1 = "172.11.0.1"
_OUTSIDE = str(OUTSIDE.ip)

_IN_NODE1 = matches(r"^172\.11\.[0-3]\.\d+$")
_IN_NODE2 = matches(r"^172\.11\.[4-7]\.\d+$")
_SPEED = r"([\d.]+) Mbits/sec\s+receiver"


def _none_lost(output: str, _: Measured) -> bool:
    """ping's own count, of each ping in the output."""
    return set(re.findall(r"([\d.]+)% packet loss", output)) == {"0"}


def script(layout: Layout) -> tuple[Chapter, ...]:
    """The chapters, for a lab of two nodes that the first step brings up."""
    return (
        _install(layout),
        _configure(),
        _run(layout),
        _ping(),
        _curl(),
        _services(layout),
        _nodes(),
        _restart(layout),
        _speed(),
        *tenant_chapters(layout),
        *bandwidth_chapters(layout),
        *external_chapters(layout),
    )


def _record(node: str, address: str, subnet: str) -> str:
    return f'{{"Host":"{node}","HostIP":"{address}","Subnet":"{subnet}","Assign":false}}'


def _install(layout: Layout) -> Chapter:
    node1 = layout.node(1)
    return Chapter(
        "Install",
        "Two nodes: each has Open vSwitch, the CNI configuration and program, and the daemon. "
        "Here a node is a network namespace.",
        (
            Step(
                THIS_MACHINE,
                f"k8s-ovs lab up --name {layout.name}",
                (
                    Claim("node1 is Ready", matches(r"node1 .*\bReady\b")),
                    Claim("node2 is Ready", matches(r"node2 .*\bReady\b")),
                ),
                timeout=240.0,
                vital=True,
            ),
            Step(
                "node1",
                f"cat {node1.cni_config}",
                (Claim("kubelet finds the CNI configuration", shows('"type": "k8s-ovs"')),),
            ),
            Step(
                "node1",
                f"stat --format '%A %U %F' {node1.cni_socket}",
                (Claim("the daemon's socket is root's alone", shows("srw------- root socket")),),
            ),
            Step(
                "node1",
                "ovs-vsctl list-ports br0",
                (Claim("the bridge has its tunnel and the node's port", shows("vxlan0", "tun0")),),
            ),
        ),
    )


def _configure() -> Chapter:
    return Chapter(
        "Configure",
        "One key in etcd is the whole configuration; every daemon follows it.",
        (
            Step(
                "node1",
                f"etcdctl put {ETCD_PREFIX}/config '{_CONFIG}'",
                (Claim("etcd takes it", shows("OK")),),
            ),
            Step(
                "node1",
                f"etcdctl get {ETCD_PREFIX}/config",
                (Claim("it reads back as it was written", shows(_CONFIG)),),
            ),
            Step(
                "node1",
                f"etcdctl get --prefix {_SUBNETS}",
                (
                    Claim(
                        "node1 was given a /22", shows(_record("node1", _NODE1, "172.11.0.0/22"))
                    ),
                    Claim(
                        "node2 was given another", shows(_record("node2", _NODE2, "172.11.4.0/22"))
                    ),
                ),
                within=20.0,
            ),
            Step(
                "node1",
                "k8s-ovs config check",
                (Claim("configuration and records are valid", shows("no problem")),),
            ),
        ),
    )


def _run(layout: Layout) -> Chapter:
    def pod(name: str, node: str, inside: Claim) -> Step:
        command = f"k8s-ovs lab run {name} --node {node} --name {layout.name}"
        return Step(THIS_MACHINE, command, (inside,), keep=name.replace("-", ""))

    in_node1 = Claim("its address is in node1's subnet", _IN_NODE1)
    there = Claim("its address is in node2's subnet", _IN_NODE2)
    return Chapter(
        "Run pods",
        "Each pod gets its interface as from kubelet: the CNI program is started with ADD.",
        (
            pod("client", "node1", in_node1),
            pod("web-1", "node1", in_node1),
            pod("web-2", "node2", there),
            pod("web-3", "node2", there),
            Step(
                "client",
                "ip -brief address show eth0",
                (Claim("the pod has that address on eth0", shows("$client/22")),),
            ),
            _status(layout),
        ),
    )


def _status(layout: Layout) -> Step:
    command = f"k8s-ovs status --cni-socket {layout.node(1).cni_socket}"
    return Step("node1", command, (Claim("the node says that it is ready", shows("is ready")),))


def _ping() -> Chapter:
    def ping(where: str, target: str, claim: str) -> Step:
        return Step(where, f"ping -q -c 3 -i 0.2 {target}", (Claim(claim, _none_lost),))

    return Chapter(
        "Ping, both ways",
        "Pods, nodes, and a machine outside the cluster that knows no way to the pods.",
        (
            ping("node1", _NODE2, "node to node: the nodes themselves"),
            ping("client", "$web1", "pod to pod on one node"),
            ping("web-1", "$client", "and back"),
            ping("client", "$web2", "pod to pod across nodes"),
            ping("web-2", "$client", "and back"),
            ping("node1", "$web1", "node to a pod of its own"),
            ping("node1", "$web2", "node to a pod of another node"),
            ping("client", _NODE1, "pod to its node"),
            ping("client", _NODE2, "pod to another node"),
            ping("client", _OUTSIDE, "pod to outside"),
            Step(
                "client",
                "ping -q -c 2 -i 0.2 -M do -s 1422 $web2",
                (Claim("a packet of the whole MTU, 1450 bytes, crosses in one piece", _none_lost),),
            ),
        ),
    )


def _curl() -> Chapter:
    def curl(where: str, target: str, claim: str, answer: str) -> Step:
        url = f"http://{target}:{PORT}"
        return Step(where, f"curl -sS {url}", (Claim(claim, shows(answer)),), within=15.0)

    return Chapter(
        "TCP, and who is seen at the other end",
        "A web server in every pod, on the nodes and outside answers with the address that asked.",
        (
            Act("web servers are started everywhere", "serve"),
            curl("client", "$web1", "pod to pod: seen as itself", "web-1 was asked by $client"),
            curl("client", "$web2", "across nodes too", "web-2 was asked by $client"),
            curl("web-2", "$client", "and the other way", "client was asked by $web2"),
            curl(
                "node1",
                "$web2",
                "node to pod: seen by its own address in the network",
                f"web-2 was asked by {_GATEWAY1}",
            ),
            curl("client", _NODE1, "pod to its node: seen as itself", "node1 was asked by $client"),
            curl(
                "client",
                _OUTSIDE,
                "pod to outside: seen as its node",
                f"outside was asked by {_NODE1}",
            ),
        ),
    )


def _services(layout: Layout) -> Chapter:
    def service(name: str, *pods: str) -> Step:
        endpoints = " ".join(f"--endpoint {pod}:{PORT}" for pod in pods)
        return Step(
            THIS_MACHINE,
            f"k8s-ovs lab service {name} --port 80 {endpoints} --name {layout.name}",
            (Claim("it has an address of ServiceNetwork", matches(r"^10\.96\.\d+\.\d+$")),),
            keep=name,
        )

    return Chapter(
        "Services",
        "Each node translates as kube-proxy does, here by a few nftables rules.",
        (
            service("shop", "web-1", "web-2", "web-3"),
            Step(
                "client",
                "curl -sS 'http://$shop/[1-30]' | sort | uniq -c",
                (
                    Claim("all three pods behind it answer", shows("web-1", "web-2", "web-3")),
                    Claim("and see the client's own address", every_line("asked by $client")),
                ),
            ),
            Step(
                "node2",
                "curl -sS http://$shop",
                (Claim("a node reaches the service", shows("was asked by")),),
            ),
            service("solo", "web-1"),
            Step(
                "client",
                "curl -sS http://$solo",
                (Claim("a service with one pod", shows("web-1 was asked by $client")),),
            ),
            Step(
                "web-1",
                "curl -sS http://$solo",
                (Claim("a pod reaches itself through its service", shows("web-1 was asked by")),),
            ),
        ),
    )


def _nodes() -> Chapter:
    def keys(claim: Claim) -> Step:
        command = f"etcdctl get --prefix --print-value-only {_SUBNETS}"
        return Step("node1", command, (claim,), within=20.0)

    def given(node: str, address: str, subnet: str, text: str) -> Step:
        return keys(Claim(text, shows(_record(node, address, subnet))))

    def answers(text: str) -> Step:
        ping = "ping -q -c 3 -i 0.2 -W 1 $web2"
        return Step("client", ping, (Claim(text, _none_lost),), within=10.0)

    return Chapter(
        "Nodes come and go",
        "The leader gives each Kubernetes node a subnet, and takes back what no pod is in.",
        (
            Act("node3 registers at the API server, as its kubelet does", "join node3"),
            given("node3", _NODE3, "172.11.8.0/22", "the new node was given a subnet"),
            Act("node2 is deleted, as by `kubectl delete node node2`", "delete node2"),
            Step(
                "node2",
                "k8s-ovs status",
                (Claim("node2 says what is wrong", shows("Kubernetes has no Node node2")),),
                fails=True,
                within=10.0,
            ),
            given("node2", _NODE2, "172.11.4.0/22", "its subnet stays, as its pods are in it"),
            answers("they go on"),
            Act("node2 registers again", "join node2"),
            given("node2", _NODE2, "172.11.4.0/22", "it has the subnet that it had"),
            answers("its pods, which nobody touched, go on"),
            Act("node3, where no pod runs, is deleted", "delete node3"),
            keys(Claim("its subnet is free again", lacks("node3"))),
        ),
    )


def _restart(layout: Layout) -> Chapter:
    return Chapter(
        "Restart",
        "Packets do not need the daemon, and its start changes nothing that is right.",
        (
            Step(
                "client",
                "ping -q -i 0.01 -c 300 $web2",
                (Claim("a hundred packets per second, none lost", _none_lost),),
                during=Act("both daemons are killed and started again", "restart daemons"),
            ),
            _status(layout),
            Step(
                "node1",
                "k8s-ovs flows --diff",
                (Claim("the switch has exactly the desired flows", lacks("\n+", "\n-")),),
            ),
        ),
    )


def _speed() -> Chapter:
    def iperf(target: str, measured: str, claim: str) -> Step:
        return Step(
            "client",
            f"iperf3 -c {target} -t 2 -i 0 -f m",
            (Claim(f"{claim}: ${measured} Mbit/s", matches(_SPEED)),),
            keep=measured,
            find=_SPEED,
        )

    return Chapter(
        "Speed",
        "iperf3, TCP, one stream, two seconds. What the machine is busy with counts in.",
        (
            iperf("$web1", "near", "pod to pod on one node"),
            iperf("$web2", "far", "pod to pod across nodes"),
        ),
    )
