"""`k8s-ovs lab node`, `namespace`, `restart`, `apply`: changes of a lab that is up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.plugin.command.output import complain
from k8s_ovs_lab import Lab

__all__ = ["Name", "State", "apply", "namespaces", "nodes", "restart"]

Name = Annotated[str, typer.Option("--name", help="Name of the lab, for several side by side.")]
State = Annotated[
    Path | None,
    typer.Option("--state", help="Directory of the lab's files.", show_default="/run/k8s-ovs-NAME"),
]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="node1, node2 and so on.")]
NamespaceName = Annotated[str, typer.Argument(metavar="NAMESPACE", help="Its name.")]

nodes = typer.Typer(
    no_args_is_help=True,
    help="""Add and remove nodes of a lab that is up.

    \b
    Examples:
      k8s-ovs lab node add node3
      k8s-ovs lab node remove node3
    """,
)
namespaces = typer.Typer(
    no_args_is_help=True,
    help="""Add and remove namespaces of Kubernetes.

    \b
    Examples:
      k8s-ovs lab namespace add shop
      k8s-ovs lab namespace remove shop
    """,
)


@nodes.command("add")
def add_node(node: NodeName, name: Name = "lab", state: State = None) -> None:
    """Make one more node, with Open vSwitch and a daemon, and print its address.

    \b
    Examples:
      k8s-ovs lab node add node3
    """
    typer.echo(Lab.open(name, state).add_node(node).address)


@nodes.command("remove")
def remove_node(node: NodeName, name: Name = "lab", state: State = None) -> None:
    """Remove a node with its pods: its machine is gone, and Kubernetes has deleted it.

    \b
    Examples:
      k8s-ovs lab node remove node3
    """
    Lab.open(name, state).remove_node(node)


@namespaces.command("add")
def add_namespace(namespace: NamespaceName, name: Name = "lab", state: State = None) -> None:
    """Make a namespace.

    \b
    Examples:
      k8s-ovs lab namespace add shop
    """
    Lab.open(name, state).add_namespace(namespace)


@namespaces.command("remove")
def remove_namespace(namespace: NamespaceName, name: Name = "lab", state: State = None) -> None:
    """Delete a namespace with its pods and services.

    \b
    Examples:
      k8s-ovs lab namespace remove shop
    """
    Lab.open(name, state).remove_namespace(namespace)


def restart(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node or an external host.")],
    *,
    daemon: Annotated[bool, typer.Option("--daemon", help="The daemon alone.")] = False,
    ovs: Annotated[bool, typer.Option("--ovs", help="Open vSwitch alone.")] = False,
    name: Name = "lab",
    state: State = None,
) -> None:
    """Restart a node's Open vSwitch and its daemon, and wait until its network serves.

    A restarted Open vSwitch has lost its flows and has kept its ports.

    \b
    Examples:
      k8s-ovs lab restart node1
      k8s-ovs lab restart node1 --daemon
      k8s-ovs lab restart node1 --ovs
    """
    lab = Lab.open(name, state)
    if ovs or not daemon:
        lab.restart_ovs(node)
    if daemon or not ovs:
        lab.restart_daemon(node)
    else:
        lab.await_node(node)


def apply(
    *,
    file: Annotated[
        str, typer.Option("--file", "-f", help="JSON or YAML of objects, - for stdin.")
    ],
    name: Name = "lab",
    state: State = None,
) -> None:
    """Put objects of Kubernetes into the lab's API server, as `kubectl apply` does.

    A new Pod is an object alone: k8s-ovs lab run makes pods that run.

    \b
    Examples:
      k8s-ovs lab apply -f namespaces.yaml
      kubectl get pod web -o json | jq .metadata.annotations.a=1 | k8s-ovs lab apply -f -
    """
    # It brings the Kubernetes client, which help can do without.
    from k8s_ovs_lab.kube.apply import read_documents  # noqa: PLC0415 - see above

    label = "stdin" if file == "-" else f"--file {file}"
    documents = read_documents(_text(file, label), label)
    lab = Lab.open(name, state)
    pods = lab.pods()
    for document, said in zip(documents, lab.apply(documents), strict=False):
        typer.echo(said)
        metadata = document["metadata"]
        title = f"{metadata.get('namespace', 'default')}/{metadata['name']}"
        if document["kind"] == "Pod" and title not in pods:
            complain("warning", f"pod {title} does not run: k8s-ovs lab run makes pods that do")


def _text(file: str, label: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode()
    except OSError as error:
        raise InvalidRecord(f"{label}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"{label}: neither JSON nor YAML: {error}") from error
