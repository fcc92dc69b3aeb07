"""`k8s-ovs node`: the daemon of every node."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import warnings
from contextlib import suppress
from typing import Annotated, Any, get_args

import structlog
import typer

from k8s_ovs.cli import options
from k8s_ovs.cli.flag_values import check_listen_address, fitting, one_of
from k8s_ovs.cli.own_warnings import show_own
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.network import NETWORK_NAME
from k8s_ovs.node.cni.protocol import ANSWER_SECONDS
from k8s_ovs.node.daemon import Daemon
from k8s_ovs.node.install.cni_config import SOCKET, Style
from k8s_ovs.node.install.installer import BIN_DIR, CONF_DIR
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.observe.kube import KubeSettings
from k8s_ovs.ovs.datapath import Wanted

__all__ = ["run"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_FORMATS = ("text", "json")
#: What Kubernetes accepts as a node's name (RFC 1123, section 2.1).
_CHECK_HOSTNAME = fitting(
    "--hostname",
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*",
    "small letters, digits, dashes and dots, as Kubernetes names nodes",
)
_CHECK_NETWORK = fitting(
    "--network", NETWORK_NAME.pattern, "a Name: letters, digits, dots and dashes"
)

_log = structlog.get_logger(__name__)


def run(
    *,
    etcd_endpoints: options.Endpoints = "http://127.0.0.1:2379",
    etcd_prefix: options.Prefix = "/k8s.ovs.com/ovs/network",
    etcd_cafile: options.CaFile = None,
    etcd_certfile: options.CertFile = None,
    etcd_keyfile: options.KeyFile = None,
    etcd_username: options.Username = None,
    etcd_password: options.Password = None,
    network: Annotated[
        str | None,
        typer.Option(help="Refuse a configuration with another Name.", callback=_CHECK_NETWORK),
    ] = None,
    hostname: Annotated[
        str | None,
        typer.Option(
            help="The node's name, where kubelet has --hostname-override.",
            callback=_CHECK_HOSTNAME,
        ),
    ] = None,
    datapath: Annotated[
        str,
        typer.Option(
            help="auto, system (the kernel's) or netdev (userspace).",
            callback=one_of("--datapath", get_args(Wanted)),
        ),
    ] = "auto",
    cni_socket: options.CniSocket = SOCKET,
    ovs_run_dir: options.OvsRunDir = options.OVS_RUN_DIR,
    metrics_address: Annotated[
        str,
        typer.Option(
            help='HOST:PORT of the metrics page, "" for none.', callback=check_listen_address
        ),
    ] = "127.0.0.1:9477",
    cni_wait: Annotated[
        float,
        typer.Option(
            min=0,
            max=ANSWER_SECONDS,
            help="Seconds for which an ADD waits for the network.",
        ),
    ] = ANSWER_SECONDS,
    install_cni: Annotated[
        bool,
        typer.Option(
            "--install-cni", help="Once the network is ready, do what k8s-ovs install-cni does."
        ),
    ] = False,
    cni_style: options.CniStyle = Style.AUTO,
    bin_dir: options.BinDir = BIN_DIR,
    conf_dir: options.ConfDir = CONF_DIR,
    log_level: Annotated[
        str,
        typer.Option(
            help="debug, info, warning or error.", callback=one_of("--log-level", _LEVELS)
        ),
    ] = "info",
    log_format: Annotated[
        str, typer.Option(help="text or json.", callback=one_of("--log-format", _FORMATS))
    ] = "text",
) -> None:
    """Run the daemon of this node until SIGTERM. Pods and their traffic do not need it to run.

    KUBECONFIG, KUBERNETES_MASTER (host:port or URL) or the pod's service account names the API
    server. A daemon with no API server configured runs on an external host: it joins the network by
    its record below subnets/, serves no pods, and does not allocate subnets.

    \b
    Examples:
      KUBECONFIG=/etc/kubernetes/admin.conf k8s-ovs node --etcd-endpoints=http://10.0.0.1:2379
      k8s-ovs node --etcd-endpoints=https://a:2379,https://b:2379 --etcd-cafile=ca.pem
    """
    _set_up_log(log_level, log_format)
    if os.geteuid() != 0:
        raise K8sOvsError(f"k8s-ovs node must run as root, found uid {os.geteuid()}")
    settings = NodeSettings(
        etcd=options.etcd_settings(
            etcd_endpoints,
            etcd_cafile,
            etcd_certfile,
            etcd_keyfile,
            etcd_username,
            etcd_password,
        ),
        prefix=etcd_prefix,
        hostname=hostname or socket.gethostname().lower(),
        kube=KubeSettings.from_environment(os.environ),
        cni_socket=cni_socket,
        ovs_run_dir=ovs_run_dir,
        network=network,
        datapath=datapath,
        metrics=metrics_address or None,
        cni_wait=cni_wait,
        install_cni=cni_style if install_cni else None,
        bin_dir=bin_dir,
        conf_dir=conf_dir,
    )
    # None of a large cluster's many thousand records is garbage, and by Python's own thresholds all
    # are looked through again and again: a third of the time of a start.
    gc.set_threshold(20_000, 20, 20)
    Daemon(settings).run()


class _Stderr:
    """What the log is printed to. A full disk or a reader that ended must not end the daemon."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def _set_up_log(level: str, form: str) -> None:
    """One line per event on stderr."""
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(_Stderr()),  # type: ignore[arg-type]  # prints
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), stream=sys.stderr)
    warnings.showwarning = _log_warning


def _log_warning(  # noqa: PLR0917 - as warnings.showwarning has it
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """A warning of Python as a line of the log, if it is of our own code or of a plugin."""
    show_own(_log.warning, message, category, filename, lineno)
