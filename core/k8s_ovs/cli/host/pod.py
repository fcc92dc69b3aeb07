"""`k8s-ovs pod`: the pods of this node, their rate limits, and the packets counted there."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import frozen

from k8s_ovs.cli.host.this_node import connected_switch, own_bridge
from k8s_ovs.cli.options import OVS_RUN_DIR, OvsRunDir
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.shaping.pod_rates import PodQueues, queues
from k8s_ovs.link.shaping.token_bucket import Queue
from k8s_ovs.model.pod import Pod
from k8s_ovs.node.switch import management_socket
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.ovs.openflow.meters import Metered
from k8s_ovs.plugin.command.output import (
    Output,
    OutputForm,
    as_columns,
    complain,
    say_columns,
    say_json,
)

__all__ = ["LimitedPod", "app", "as_json", "limits", "row", "said_rate"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The pods of this node, and their rate limits."
)

PodName = Annotated[str, typer.Argument(metavar="POD", help="NAMESPACE/NAME, or NAME (default/).")]


@frozen
class LimitedPod:
    """A pod of this node. queues: those at its interface, None: they cannot be read, for the reason
    in problem. meter: the one that enforces the limit behind its queue, None: there is none."""

    pod: Pod
    queues: PodQueues | None
    meter: Metered | None
    problem: str


@app.command("list")
def list_pods(output: OutputForm = Output.TABLE, *, ovs_run_dir: OvsRunDir = OVS_RUN_DIR) -> None:
    """List the pods of this node with their rate limits, as the kernel has them.

    TO POD is what a pod may receive, FROM POD what it may send, in bits per second; "-": no limit.

    \b
    Examples:
      k8s-ovs pod list
      k8s-ovs pod list -o json | jq '.[] | select(.from_pod != null) | .pod'
    """
    found = _pods(ovs_run_dir)
    if output is Output.JSON:
        say_json([as_json(each) for each in found])
    else:
        head = ("POD", "ADDRESS", "PORT", "OFPORT", "TO POD", "FROM POD")
        say_columns(head, (row(each) for each in found), none="no pods on this node")
    for each in found:
        if each.problem:
            complain("warning", f"pod {each.pod.identity}: {each.problem}")


@app.command()
def show(
    pod: PodName, output: OutputForm = Output.TABLE, *, ovs_run_dir: OvsRunDir = OVS_RUN_DIR
) -> None:
    """Show a pod of this node: its interface, its rate limits, and the packets that passed or were
    dropped.

    Packets above the limit wait in a queue, which drops them only when it is full. "meter" counts
    the pod's packets that Open vSwitch saw, and those it dropped because the pod lifted its own
    limit.

    \b
    Examples:
      k8s-ovs pod show web
      k8s-ovs pod show shop/web -o json | jq .from_pod.dropped
    """
    name = pod if "/" in pod else f"default/{pod}"
    found = [each for each in _pods(ovs_run_dir) if each.pod.identity == name]
    if not found:
        raise K8sOvsError(f"no pod {name} is attached on this node: see k8s-ovs pod list")
    if output is Output.JSON:
        say_json(as_json(found[0]) if len(found) == 1 else [as_json(each) for each in found])
        return
    for each in found:
        _say(each)


def _pods(ovs_run_dir: Path) -> list[LimitedPod]:
    with connected_switch(ovs_run_dir) as switch:
        own_bridge(switch)
        pods = sorted(switch.pods().values(), key=lambda pod: (pod.identity, pod.ifname))
    with closing(OpenFlow.connect(management_socket(ovs_run_dir))) as openflow:
        meters = openflow.meter_counts()
    return [_looked_at(pod, meters.get(pod.ofport)) for pod in pods]


def _looked_at(pod: Pod, meter: Metered | None) -> LimitedPod:
    try:
        return LimitedPod(pod, queues(pod.port, pod.netns, pod.ifname), meter, "")
    except LinkError as error:
        return LimitedPod(pod, None, meter, str(error))


def as_json(found: LimitedPod) -> dict[str, Any]:
    """One pod as JSON values; rates in bits per second."""
    pod, both = found.pod, found.queues or PodQueues(None, None)
    return {
        "pod": pod.identity,
        "uid": pod.uid,
        "address": str(pod.ip),
        "mac": pod.mac,
        "interface": pod.ifname,
        "port": pod.port,
        "ofport": pod.ofport,
        "container": pod.container,
        "to_pod": _queue_json(both.to_pod),
        "from_pod": _queue_json(both.from_pod),
        "meter": _meter_json(found.meter),
        "problem": found.problem,
    }


def _queue_json(queue: Queue | None) -> dict[str, int] | None:
    if queue is None:
        return None
    return {
        "rate": queue.rate,
        "sent_bytes": queue.sent_bytes,
        "sent_packets": queue.sent_packets,
        "dropped": queue.dropped,
    }


def _meter_json(meter: Metered | None) -> dict[str, int] | None:
    if meter is None:
        return None
    return {"packets": meter.packets, "bytes": meter.bytes, "dropped": meter.dropped_packets}


def said_rate(rate: int | None) -> str:
    """Bits per second as people write them: 10M, 1.5G, 12345; "-" for no limit."""
    if rate is None:
        return "-"
    for power, suffix in enumerate("PTGMk"):
        scale = 10 ** (15 - 3 * power)
        whole, rest = divmod(rate, scale)
        if whole and rest % (scale // 1000) == 0:
            digits = f"{whole}.{rest * 1000 // scale:03}"
            return digits.rstrip("0").rstrip(".") + suffix
    return str(rate)


def row(found: LimitedPod) -> tuple[str, ...]:
    """One pod as cells of the list; "?" for limits that cannot be read."""
    pod, both = found.pod, found.queues
    rates = ["?", "?"]
    if both is not None:
        queues_of = (both.to_pod, both.from_pod)
        rates = [said_rate(queue.rate if queue else None) for queue in queues_of]
    return (pod.identity, str(pod.ip), pod.port, str(pod.ofport), *rates)


def _say(found: LimitedPod) -> None:
    pod = found.pod
    events = [
        ("pod", pod.identity),
        ("uid", pod.uid or "-"),
        ("address", f"{pod.ip} on {pod.ifname}, {pod.mac}"),
        ("port", f"{pod.port}, OpenFlow number {pod.ofport}"),
        ("container", pod.container),
    ]
    for line in as_columns(events):
        typer.echo(line)
    say_columns(("LIMIT", "RATE", "BYTES", "PACKETS", "DROPPED"), limits(found))
    if found.problem:
        complain("warning", found.problem)
    elif not list(limits(found)):
        typer.echo("it has no limit")


def limits(found: LimitedPod) -> Iterable[tuple[str, ...]]:
    """The limits of a pod as rows: which, its rate, bytes, packets, and packets dropped."""
    both, meter = found.queues or PodQueues(None, None), found.meter
    for name, queue in (("to pod", both.to_pod), ("from pod", both.from_pod)):
        if queue is not None:
            counted = (queue.sent_bytes, queue.sent_packets, queue.dropped)
            yield (name, said_rate(queue.rate), *map(str, counted))
    if meter is not None:
        yield ("meter", "", str(meter.bytes), str(meter.packets), str(meter.dropped_packets))
