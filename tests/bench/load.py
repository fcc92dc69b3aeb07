"""What do iperf3 and ping see at the same time, through the same limit?"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from attrs import frozen
from limited import Place

from k8s_ovs_lab.command import command_in, run
from k8s_ovs_lab.process import await_that

__all__ = ["Load", "iperf_client", "iperf_server", "put", "received", "running"]

#: Headers of a TCP segment with timestamps, in bytes: TCP, IPv4, Ethernet.
_HEADERS = 32 + 20 + 14
#: Bytes of data of an echo, and of its frame; echoes take this share of the rate.
_ECHO, _ECHO_FRAME, _ECHO_SHARE = 16, 58, 0.0025
_LEAST_INTERVAL_S = 0.02
#: Seconds beyond the length of a run; emulated machines take long to start programs.
_GRACE_S = 60.0
#: Seconds; the slowest limit lets a frame through every 12 ms.
_QUIET_S = 0.2
#: iperf3's port in /proc/net/tcp, in hex, and the state LISTEN.
_LISTENS = re.compile(r":1451 \S+ 0A ")


@frozen
class Load:
    """protocol: tcp or udp. streams: at once. seconds: how long. rate: the limit, bits per second.
    congestion: TCP's congestion control; None: the system's. offered: how much of the rate UDP
    offers: more than may pass. pace: bits per second that TCP asks for; None: all it can get."""

    protocol: str
    streams: int
    seconds: int
    rate: int
    congestion: str | None = None
    offered: float = 1.25
    pace: int | None = None


def put(sender: Place, receiver: Place, load: Load) -> dict[str, Any]:
    """Put a load on, and ask for echoes meanwhile. Figures:

    bits_per_second: payload, by the receiver's own intervals; first_second: the same of the first
    of them; ceiling: of a TCP stream, the payload's share of a full frame; retransmits: by TCP;
    refused: those of them that the sender's own queue did not take, so that nothing was sent;
    lost_percent: of UDP; ping_ms: {p50, p99} or None, and {sent, received}.
    """
    _await_quiet(receiver)
    refused = _refused(sender)
    with iperf_server(receiver) as server, _echoes(sender, receiver, load) as echoes:
        words = iperf_client(receiver, load)
        said = run(words, netns=sender.netns, timeout=load.seconds + _GRACE_S).stdout
        sent, got = json.loads(said), json.loads(server.communicate(timeout=_GRACE_S)[0])
        pings = echoes.communicate(timeout=load.seconds + _GRACE_S)[0]
    sums = [each["sum"] for each in got["intervals"]]
    found = {
        "bits_per_second": round(8 * sum(each["bytes"] for each in sums) / sums[-1]["end"]),
        "first_second": round(sums[0]["bits_per_second"]),
        "ping_ms": _round_trips(pings),
    }
    if load.protocol == "udp":
        return found | {"lost_percent": round(got["end"]["sum"]["lost_percent"], 1)}
    mss = sent["start"]["tcp_mss_default"]
    return found | {
        "ceiling": round(mss / (mss + _HEADERS), 4),
        "retransmits": sent["end"]["sum_sent"]["retransmits"],
        "refused": _refused(sender) - refused,
        "congestion_control": sent["end"]["sender_tcp_congestion"],
    }


@contextmanager
def iperf_server(place: Place) -> Iterator[subprocess.Popen[str]]:
    """Meanwhile an iperf3 server for one client, which listens; it prints JSON."""
    with running(place, ["iperf3", "--server", "--one-off", "--version4", "--json"]) as server:
        seen = Path(f"/proc/{server.pid}/net/tcp")
        await_that("iperf3 listens", lambda: bool(_LISTENS.search(seen.read_text())), 30)
        yield server


def iperf_client(receiver: Place, load: Load) -> list[str]:
    """The words of an iperf3 client that puts it on; it prints JSON at its end."""
    lengths = [f"--time={load.seconds}", f"--parallel={load.streams}"]
    words = ["iperf3", "--client", receiver.address, "--json", "--connect-timeout=10000"]
    return [*words, *lengths, *_offer(load)]


def _offer(load: Load) -> list[str]:
    # iperf3 takes the rate of one stream.
    if load.protocol == "udp":
        return ["--udp", f"--bitrate={round(load.rate * load.offered / load.streams)}"]
    congestion = [f"--congestion={load.congestion}"] if load.congestion else []
    pace = [f"--bitrate={round(load.pace / load.streams)}"] if load.pace else []
    return [*congestion, *pace]


@contextmanager
def _echoes(sender: Place, receiver: Place, load: Load) -> Iterator[subprocess.Popen[str]]:
    every = max(_LEAST_INTERVAL_S, _ECHO_FRAME * 8 / (load.rate * _ECHO_SHARE))
    words = ["ping", "-n", f"-i{every:.3f}", f"-s{_ECHO}", f"-w{load.seconds}", receiver.address]
    with running(sender, words) as process:
        yield process


@contextmanager
def running(place: Place, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Meanwhile a program in a place; at the end it is ended."""
    with subprocess.Popen(
        command_in(place.netns, words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _await_quiet(place: Place) -> None:
    """Until nothing of an earlier load comes any more: an iperf3 server takes a datagram that it
    does not know for the beginning of a stream."""
    await_that(f"nothing comes to {place.netns}", lambda: _is_quiet(place), _GRACE_S)


def _is_quiet(place: Place) -> bool:
    before = _packets(place)
    time.sleep(_QUIET_S)
    return _packets(place) == before


def _packets(place: Place) -> int:
    return received(run(["cat", "/proc/net/dev"], netns=place.netns).stdout)[1]


def received(devices: str) -> tuple[int, int]:
    """Bytes and packets that a pod's interface has got, by what its /proc/net/dev says."""
    octets, packets = devices.partition("eth0:")[2].split()[:2]
    return int(octets), int(packets)


def _refused(place: Place) -> int:
    """Retransmissions that failed so far in a namespace: TCPRetransFail of /proc/net/netstat."""
    said = run(["cat", "/proc/net/netstat"], netns=place.netns).stdout
    names, values = (line.split() for line in said.splitlines() if line.startswith("TcpExt:"))
    return int(values[names.index("TCPRetransFail")])


def _round_trips(said: str) -> dict[str, Any]:
    """Milliseconds of the echoes that came back, from what ping printed."""
    times = [float(each) for each in re.findall(r"time=([0-9.]+) ms", said)]
    sent = re.search(r"(\d+) packets transmitted", said)
    found: dict[str, Any] = {"sent": int(sent[1]) if sent else 0, "received": len(times)}
    if len(times) < 2:
        return found | {"p50": None, "p99": None}
    cuts = quantiles(times, n=100, method="inclusive")
    return found | {f"p{each}": round(cuts[each - 1], 1) for each in (50, 99)}
