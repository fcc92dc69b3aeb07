"""`k8s-ovs install-cni`: what the container runtime needs on this host."""

from __future__ import annotations

from typing import Annotated

import typer

from k8s_ovs.cli.flag_values import one_of
from k8s_ovs.cli.options import BinDir, CniSocket, CniStyle, ConfDir
from k8s_ovs.node.cni.protocol import VERSIONS
from k8s_ovs.node.install.cni_config import CNI_VERSION, SOCKET, Style
from k8s_ovs.node.install.cni_program import Python
from k8s_ovs.node.install.installer import BIN_DIR, CONF_DIR, install

__all__ = ["run"]


def run(
    *,
    bin_dir: BinDir = BIN_DIR,
    conf_dir: ConfDir = CONF_DIR,
    cni_socket: CniSocket = SOCKET,
    cni_version: Annotated[
        str,
        typer.Option(
            help="Version of the CNI specification that the runtime speaks.",
            callback=one_of("--cni-version", VERSIONS),
        ),
    ] = CNI_VERSION,
    cni_style: CniStyle = Style.AUTO,
    python: Annotated[
        Python,
        typer.Option(
            help="What the CNI program runs on: the system's; own: none, as a standalone program; "
            "or auto: own where this installation carries that."
        ),
    ] = Python.AUTO,
) -> None:
    """Put the CNI program and its configuration where the container runtime looks for them.

    \b
    Examples:
      k8s-ovs install-cni
      k8s-ovs install-cni --bin-dir /usr/lib/cni --cni-version 0.4.0
      k8s-ovs install-cni --cni-style conflist
      k8s-ovs install-cni --python own
    """
    for path in install(bin_dir, conf_dir, cni_style, cni_version, cni_socket, python=python):
        typer.echo(f"installed {path}")
