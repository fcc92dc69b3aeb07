"""Options that several commands have: where etcd and this node's sockets are, the output's form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import frozen

from k8s_ovs.cli.flag_values import (
    check_directory,
    check_prefix,
    check_readable,
    check_socket,
)
from k8s_ovs.node.install.cni_config import Style
from k8s_ovs.observe.etcd.settings import EtcdSettings, parse_endpoints

__all__ = [
    "OVS_RUN_DIR",
    "BinDir",
    "CaFile",
    "CertFile",
    "CniSocket",
    "CniStyle",
    "ConfDir",
    "Endpoints",
    "EtcdLocation",
    "KeyFile",
    "OvsRunDir",
    "Password",
    "Prefix",
    "Username",
    "etcd_settings",
    "with_etcd",
    "with_options",
]

OVS_RUN_DIR = Path("/var/run/openvswitch")

_PANEL = "etcd"


def _option(
    flag: str, help_text: str, variable: str, check: Callable[[Any], Any] | None = None
) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        flag, help=help_text, envvar=variable, rich_help_panel=_PANEL, callback=check
    )
    return option


def _file(flag: str, help_text: str, variable: str) -> typer.models.OptionInfo:
    return _option(flag, help_text, variable, check_readable(flag))


Endpoints = Annotated[
    str, _option("--etcd-endpoints", "URLs, comma-separated.", "K8S_OVS_ETCD_ENDPOINTS")
]
Prefix = Annotated[
    str,
    _option("--etcd-prefix", "Where the network's keys are.", "K8S_OVS_ETCD_PREFIX", check_prefix),
]
CaFile = Annotated[
    str | None,
    _file("--etcd-cafile", "Who signed etcd's certificate (PEM).", "K8S_OVS_ETCD_CAFILE"),
]
CertFile = Annotated[
    str | None, _file("--etcd-certfile", "Our certificate (PEM).", "K8S_OVS_ETCD_CERTFILE")
]
KeyFile = Annotated[str | None, _file("--etcd-keyfile", "Its key (PEM).", "K8S_OVS_ETCD_KEYFILE")]
Username = Annotated[
    str | None, _option("--etcd-username", "etcd's user.", "K8S_OVS_ETCD_USERNAME")
]
Password = Annotated[
    str | None, _option("--etcd-password", "The user's password.", "K8S_OVS_ETCD_PASSWORD")
]

CniSocket = Annotated[
    Path,
    typer.Option(
        "--cni-socket",
        help="Where the CNI program finds the daemon.",
        envvar="K8S_OVS_CNI_SOCKET",
        callback=check_socket,
    ),
]
OvsRunDir = Annotated[
    Path,
    typer.Option(
        "--ovs-run-dir",
        help="Where Open vSwitch has its sockets.",
        envvar="OVS_RUNDIR",
        callback=check_directory("--ovs-run-dir"),
    ),
]
BinDir = Annotated[
    Path,
    typer.Option(
        "--bin-dir",
        help="Where the runtime finds CNI programs.",
        envvar="K8S_OVS_CNI_BIN_DIR",
        callback=check_directory("--bin-dir"),
    ),
]
ConfDir = Annotated[
    Path,
    typer.Option(
        "--conf-dir",
        help="Where the runtime finds networks.",
        envvar="K8S_OVS_CNI_CONF_DIR",
        callback=check_directory("--conf-dir"),
    ),
]
CniStyle = Annotated[
    Style,
    typer.Option(
        "--cni-style",
        help="conflist: chained with the CNI program portmap, for hostPort. conf: alone. "
        "auto: conflist where portmap is there and speaks the version.",
        envvar="K8S_OVS_CNI_STYLE",
    ),
]


@frozen
class EtcdLocation:
    """Where the network's records are, as the `--etcd-...` options say it."""

    settings: EtcdSettings
    prefix: str


def etcd_settings(  # noqa: PLR0917 - six flags, in the order of --help
    endpoints: str,
    cafile: str | None,
    certfile: str | None,
    keyfile: str | None,
    username: str | None,
    password: str | None,
) -> EtcdSettings:
    """The flags as settings. Raises InvalidRecord naming the flag."""
    return EtcdSettings(parse_endpoints(endpoints), cafile, certfile, keyfile, username, password)


def with_options(
    command: Callable[..., None], names: Collection[str], source: Callable[..., Any]
) -> Callable[..., None]:
    """`command` with the options of `source` in place of its parameters `names`.

    source: from its options to a context manager, whose value each of `names` gets.
    """
    own = inspect.signature(command, eval_str=True)
    options = inspect.signature(source, eval_str=True).parameters

    @wraps(command)
    def run(**given: Any) -> None:
        with source(**{name: given.pop(name) for name in options}) as made:
            command(**given, **dict.fromkeys(names, made))

    parameters = [each for name, each in own.parameters.items() if name not in names]
    # What typer makes options from.
    run.__signature__ = own.replace(parameters=[*parameters, *options.values()])  # type: ignore[attr-defined]  # inspect.signature reads it from any function
    return run


def with_etcd(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes an EtcdLocation as `etcd`, with `--etcd-...` options in its place."""
    return with_options(command, ["etcd"], _etcd_location)


@contextmanager
def _etcd_location(
    *,
    etcd_endpoints: Endpoints = "http://127.0.0.1:2379",
    etcd_prefix: Prefix = "/k8s.ovs.com/ovs/network",
    etcd_cafile: CaFile = None,
    etcd_certfile: CertFile = None,
    etcd_keyfile: KeyFile = None,
    etcd_username: Username = None,
    etcd_password: Password = None,
) -> Iterator[EtcdLocation]:
    settings = etcd_settings(
        etcd_endpoints, etcd_cafile, etcd_certfile, etcd_keyfile, etcd_username, etcd_password
    )
    yield EtcdLocation(settings, etcd_prefix)
