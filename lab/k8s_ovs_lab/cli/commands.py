"""`k8s-ovs lab`: a cluster on this machine, to try things on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Annotated, Any

import typer
from rich.console import Console

from k8s_ovs.errors import InvalidRecord, K8sOvsError, PluginError
from k8s_ovs.model.codec import decode
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs_lab import Lab, LabSettings, Layout, Report
from k8s_ovs_lab.cli.changes import Name, State, apply, namespaces, nodes, restart
from k8s_ovs_lab.cli.demo import demo
from k8s_ovs_lab.cli.tables import as_json, print_tables
from k8s_ovs_lab.lifecycle import directory_of, tear_down
from k8s_ovs_lab.status import examine

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="A cluster on this machine: each node is a network namespace with its own Open vSwitch.",
)
app.command()(demo)

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Kubernetes namespace.")]
Output = Annotated[str, typer.Option("--output", "-o", help="table or json.")]


@app.command()
def up(
    *,
    nodes: Annotated[int, typer.Option(help="How many nodes.")] = 2,
    plugin: Annotated[
        str, typer.Option(help="PluginName of the network's configuration.")
    ] = "k8s-ovs-subnet",
    datapath: Annotated[
        str, typer.Option(help="auto, system (the kernel's) or netdev (userspace).")
    ] = "auto",
    config: Annotated[
        str, typer.Option(help="JSON object: fields of the network's configuration to replace.")
    ] = "{}",
    name: Name = "lab",
    state: State = None,
) -> None:
    """Bring the lab up; nothing happens if it is up with the same options.

    \b
    Examples:
      k8s-ovs lab up
      k8s-ovs lab up --nodes 3 --datapath netdev
      k8s-ovs lab up --config '{"Network":"10.32.0.0/12","HostSubnetLength":9}'
    """
    settings = LabSettings(name, nodes, plugin, datapath, _object(config, "--config"))
    _check(settings)
    with _progress() as report:
        lab = Lab.up(settings, state, report)
    print_tables(examine(lab))


@app.command()
def down(name: Name = "lab", state: State = None) -> None:
    """Remove the lab, or what a crash left of it: programs, namespaces, files.

    \b
    Examples:
      k8s-ovs lab down
      k8s-ovs lab down --name other
    """
    LabSettings(name)
    with _progress() as report:
        found = tear_down(Layout(name, directory_of(name, state)), report)
    typer.echo(f"lab {name} is removed" if found else f"there is no lab {name}")


@app.command()
def status(output: Output = "table", name: Name = "lab", state: State = None) -> None:
    """Show nodes, pods and services, and what does not work.

    \b
    Examples:
      k8s-ovs lab status
      k8s-ovs lab status -o json
    """
    if output not in ("table", "json"):
        raise InvalidRecord(f"--output {output}: expected table or json")
    found = examine(Lab.open(name, state))
    if output == "json":
        typer.echo(as_json(found))
    else:
        print_tables(found)


@app.command()
def run(
    pod: Annotated[str, typer.Argument(metavar="POD", help="Name of the pod to make.")],
    *,
    node: Annotated[str, typer.Option(help="Node that it runs on.")],
    namespace: Namespace = "default",
    annotation: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Annotation; may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Label; may be repeated.")
    ] = None,
    name: Name = "lab",
    state: State = None,
) -> None:
    """Make a pod through the CNI and print its address.

    \b
    Examples:
      k8s-ovs lab run web --node node1
      k8s-ovs lab run web --node node1 --namespace shop \\
        --annotation kubernetes.io/egress-bandwidth=10M
    """
    lab = Lab.open(name, state)
    annotations = _pairs(annotation, "--annotation")
    made = lab.run_pod(node, pod, namespace, annotations, _pairs(label, "--label"))
    typer.echo(made.ip)


@app.command()
def delete(
    pod: Annotated[str, typer.Argument(metavar="POD", help="Pod to delete.")],
    namespace: Namespace = "default",
    name: Name = "lab",
    state: State = None,
) -> None:
    """Delete a pod through the CNI.

    \b
    Examples:
      k8s-ovs lab delete web
      k8s-ovs lab delete web --namespace shop
    """
    Lab.open(name, state).delete_pod(pod, namespace)


@app.command("exec")
def execute(
    where: Annotated[
        str,
        typer.Argument(
            metavar="WHERE", help="A node or host, POD, NAMESPACE/POD, outside or fabric."
        ),
    ],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...")],
    name: Name = "lab",
    state: State = None,
) -> None:
    """Run a command in a place of the lab; returns the command's exit status.

    \b
    Examples:
      k8s-ovs lab exec web -- ping -c1 172.11.4.2
      k8s-ovs lab exec node1 -- ovs-vsctl show
      k8s-ovs lab exec fabric -- etcdctl get --prefix /k8s.ovs.com
      k8s-ovs lab exec shop/web -- curl -s http://10.96.0.11
      k8s-ovs lab exec outside --name other -- tcpdump -ni eth0
    """
    words, environment = Lab.open(name, state).command(where, command)
    try:
        os.execvpe(words[0], words, os.environ | environment)  # noqa: S606 - a list, no shell
    except OSError as error:
        raise K8sOvsError(f"{words[0]}: {error.strerror}") from error


@app.command()
def host(
    host_name: Annotated[str, typer.Argument(metavar="HOST", help="Name of the host to make.")],
    name: Name = "lab",
    state: State = None,
) -> None:
    """Make a host that Kubernetes does not know, with a daemon, and print its address.

    It joins the network once it has a record with a subnet.

    \b
    Examples:
      k8s-ovs lab host lb1
      k8s-ovs lab exec node1 -- k8s-ovs external add lb1 192.168.0.199
      k8s-ovs lab exec lb1 -- k8s-ovs status
    """
    lab = Lab.open(name, state)
    made = lab.add_host(host_name)
    lab.start_daemon(made.name, wait=False)
    typer.echo(made.address)


@app.command()
def unhost(
    host_name: Annotated[str, typer.Argument(metavar="HOST", help="Host to remove.")],
    name: Name = "lab",
    state: State = None,
) -> None:
    """Remove such a host; its record in etcd stays.

    \b
    Examples:
      k8s-ovs lab unhost lb1
    """
    Lab.open(name, state).remove_host(host_name)


@app.command()
def service(
    service_name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the service.")],
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")],
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="POD[:PORT]", help="Pod behind it; may be repeated."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="tcp or udp.")] = "tcp",
    cluster_ip: Annotated[
        str | None, typer.Option(help="Its address.", show_default="the first that is free")
    ] = None,
    namespace: Namespace = "default",
    name: Name = "lab",
    state: State = None,
) -> None:
    """Make a service, translated on every node as kube-proxy does it, and print its address.

    \b
    Examples:
      k8s-ovs lab service web --port 80 --endpoint web1:8080 --endpoint web2:8080
      k8s-ovs lab service dns --port 53 --protocol udp --endpoint dns --cluster-ip 10.96.0.10
    """
    if protocol not in ("tcp", "udp"):
        raise InvalidRecord(f"--protocol {protocol}: expected tcp or udp")
    address = None if cluster_ip is None else _address(cluster_ip)
    made = Lab.open(name, state).service(
        service_name,
        port,
        endpoint or [],
        namespace=namespace,
        protocol=protocol,
        address=address,
    )
    typer.echo(made.address)


@app.command()
def unservice(
    service_name: Annotated[str, typer.Argument(metavar="NAME", help="Service to delete.")],
    namespace: Namespace = "default",
    name: Name = "lab",
    state: State = None,
) -> None:
    """Delete a service.

    \b
    Examples:
      k8s-ovs lab unservice web
    """
    Lab.open(name, state).delete_service(service_name, namespace)


app.add_typer(nodes, name="node")
app.add_typer(namespaces, name="namespace")
app.command()(restart)
app.command()(apply)


@contextmanager
def _progress() -> Iterator[Report]:
    """Steps as they are begun: a spinner for people, plain lines for a file or a pipe."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step: typer.echo(f"{step} ...", err=True)
        return
    with console.status("") as spinner:
        yield lambda step: spinner.update(f"{step} ...")


def _check(settings: LabSettings) -> None:
    """Refuse a configuration that the daemons would refuse, before anything is made."""
    # Only to bring a lab up are plugins loaded here.
    from k8s_ovs.hooks.load import load_plugins  # noqa: PLC0415 - see above

    config = decode(NetworkConfig, "--config", json.dumps(settings.network_config()).encode())
    try:
        manager = load_plugins(config.plugin_name)
    except PluginError as error:
        raise InvalidRecord(f"--plugin: {error}") from error
    for problem in manager.config_problems(config):
        raise InvalidRecord(f"--config: {problem}")


def _object(text: str, option: str) -> dict[str, Any]:
    try:
        found = parse_json(text)
    except ValueError as error:
        raise InvalidRecord(f"{option} {text!r}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRecord(f"{option} {text!r}: expected a JSON object")
    return found


def _pairs(words: list[str] | None, option: str) -> dict[str, str]:
    for word in words or []:
        if "=" not in word:
            raise InvalidRecord(f"{option} {word!r}: expected KEY=VALUE")
    return {key: value for key, _, value in (word.partition("=") for word in words or [])}


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise InvalidRecord(f"--cluster-ip {text}: {error}") from error
