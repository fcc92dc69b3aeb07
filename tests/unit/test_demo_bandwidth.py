"""What the demonstration reads in iperf3's words."""

from __future__ import annotations

from pathlib import Path

from k8s_ovs_lab.demo.bandwidth import bandwidth_chapters
from k8s_ovs_lab.demo.play import Step
from k8s_ovs_lab.layout import Layout

SECOND = "[  5]  {0:5.2f}-{1:.2f}  sec  1.14 MBytes  {2} Mbits/sec"
SENDER = "[  5]   0.00-1.00   sec  2.22 MBytes  18.6 Mbits/sec    0   21.8 KBytes"


def no_second_is_above_11(*received: str) -> bool:
    output = "\n".join((SENDER, "Server output:", *received))
    _, exact, _ = bandwidth_chapters(Layout("demo", Path("/run/demo")))
    sent = exact.steps[0]
    assert isinstance(sent, Step)
    (claim,) = (each for each in sent.claims if "no second is above" in each.text)
    return claim.holds(output, {})


def seconds(rate: float, count: int = 10) -> list[str]:
    return [SECOND.format(number, number + 1, rate) for number in range(count)]


def test_only_whole_seconds_of_the_receiver_count() -> None:
    rest = "[  5]  10.00-10.01 sec  13.7 KBytes  13.2 Mbits/sec"
    assert no_second_is_above_11(*seconds(9.55), rest)
    assert not no_second_is_above_11(*seconds(9.55, 9), SECOND.format(9, 10, 11.2))
    assert not no_second_is_above_11(*seconds(9.55, 9), rest)
