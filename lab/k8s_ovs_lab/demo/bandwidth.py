"""What the demonstration shows of bandwidth: a pod with rate limits that change while it runs."""

from __future__ import annotations

import re
from collections.abc import Callable

from k8s_ovs_lab.demo.play import (
    THIS_MACHINE,
    Act,
    Chapter,
    Claim,
    Measured,
    Step,
    all_of,
    lacks,
    matches,
    shows,
)
from k8s_ovs_lab.layout import Layout

__all__ = ["LIMITED", "bandwidth_chapters"]

#: The pod with limits: its namespace and name.
LIMITED = ("helloworld1", "limited")
_PLACE = "/".join(LIMITED)
_INGRESS, _EGRESS = "kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"
#: Retransmits in the document that this demonstration follows, which polices instead of shaping.
_POLICED = 1367
_SOON = 10.0

#: A second of an iperf3 receiver, its sum, and the sender's: Mbit/s; retransmits.
_INTERVAL = re.compile(r"([\d.]+)-([\d.]+) +sec .* ([\d.]+) Mbits/sec *$", re.MULTILINE)
_RECEIVED = re.compile(r"([\d.]+) Mbits/sec +receiver")
_RETRANSMITS = r"Mbits/sec +(\d+) +sender"


def bandwidth_chapters(layout: Layout) -> tuple[Chapter, ...]:
    """For a lab in which pods of helloworld1 run, each with an iperf3 server."""
    return (_limited(layout), _exact(), _changed())


def _run(layout: Layout, name: str, rate: str) -> str:
    return (
        f"k8s-ovs lab run {name} --node node1 --namespace {LIMITED[0]} --name {layout.name} "
        f"--annotation {_INGRESS}={rate} --annotation {_EGRESS}={rate}"
    )


def _limited(layout: Layout) -> Chapter:
    refused = shows(f'{_EGRESS}: found "10X", expected a number such as', f"{LIMITED[0]}/wrong")
    return Chapter(
        "A pod with limits",
        "Kubernetes' own annotations: how much a pod may receive and send, in bits per second.",
        (
            Step(
                THIS_MACHINE,
                _run(layout, LIMITED[1], "10M"),
                (Claim("it has an address of its node", matches(r"^172\.11\.[0-3]\.\d+$")),),
                keep="limited",
            ),
            Step(
                THIS_MACHINE,
                _run(layout, "wrong", "10X").replace(f"--annotation {_INGRESS}=10X ", ""),
                (Claim("an invalid value is rejected and reported", refused),),
                fails=True,
            ),
            Step(
                "node1",
                "k8s-ovs pod list",
                (Claim("the kernel has both rate limits", matches(rf"{_PLACE} .* 10M +10M")),),
            ),
            Act("iperf3 servers are started in the new pods", "serve"),
        ),
    )


def _exact() -> Chapter:
    def iperf(options: str, direction: str, measured: str) -> Step:
        return Step(
            _PLACE,
            f"iperf3 -c $hello1on2 -t 10 -f m {options}",
            (
                Claim(f"{direction} 10M, headers included: 9.3 to 9.7 of payload", _sum(9.3, 9.7)),
                Claim("no second is above 11, the first neither", _each_second(11.0)),
                Claim(
                    f"${measured} retransmits; with policing it was {_POLICED:,}", _few(_POLICED)
                ),
            ),
            keep=measured,
            find=_RETRANSMITS,
        )

    return Chapter(
        "Rate limits that hold",
        "Packets above the limit wait and are not dropped. Ten seconds per direction, with a pod "
        "without limits.",
        (
            iperf("--get-server-output", "it sends at", "sent"),
            iperf("-R", "it receives at", "received"),
        ),
    )


def _changed() -> Chapter:
    def speed(low: float, high: float, claim: str) -> Step:
        command = "iperf3 -c $hello1on2 -t 2 -i 0 -f m"
        return Step(_PLACE, command, (Claim(claim, _sum(low, high)),), within=_SOON)

    def listed(rates: str, claim: str) -> Step:
        pattern = matches(rf"{_PLACE} .* {rates}(\n|$)")
        return Step("node1", "k8s-ovs pod list", (Claim(claim, pattern),), within=_SOON)

    return Chapter(
        "Limits that change",
        "The annotations of a running pod are changed, then removed.",
        (
            Act("both annotations of limited are set to 50M", "limit 50M"),
            listed("50M +50M", "the kernel has the new rate limits"),
            speed(45.0, 48.5, "it sends at 50M"),
            Act("both annotations of limited are removed", "limit none"),
            listed("- +-", "there is no limit any more"),
            Step(
                _PLACE,
                "tc qdisc show dev eth0",
                (Claim("and no trace of it", all_of(shows("qdisc"), lacks("tbf"))),),
            ),
            speed(60.0, 1e6, "it sends as fast as it can"),
        ),
    )


def _sum(low: float, high: float) -> Callable[[str, Measured], bool]:
    """What was received in all, in Mbit/s, is between two figures."""

    def holds(output: str, _: Measured) -> bool:
        found = _RECEIVED.search(output)
        return found is not None and low <= float(found[1]) <= high

    return holds


def _each_second(most: float) -> Callable[[str, Measured], bool]:
    """No second of the receiver's has more Mbit/s."""

    def holds(output: str, _: Measured) -> bool:
        # The server's own seconds follow the client's, where the client is the sender.
        seconds = _seconds(output.partition("Server output")[2]) or _seconds(output)
        return len(seconds) >= 10 and max(seconds) <= most

    return holds


def _seconds(output: str) -> list[float]:
    """Mbit/s of each second; what is left at the end, of some milliseconds, says nothing."""
    intervals = [[float(each) for each in found] for found in _INTERVAL.findall(output)]
    return [rate for begin, end, rate in intervals if end - begin > 0.5]


def _few(most: int) -> Callable[[str, Measured], bool]:
    """Fewer packets were sent again."""

    def holds(output: str, _: Measured) -> bool:
        found = re.search(_RETRANSMITS, output)
        return found is not None and int(found[1]) < most

    return holds
