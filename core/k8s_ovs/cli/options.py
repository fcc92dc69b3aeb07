"""Options that several commands have: where etcd is, and under which prefix."""

from __future__ import annotations

from typing import Annotated

import typer

from k8s_ovs.observe.etcd_settings import EtcdSettings, parse_endpoints

__all__ = [
    "CaFile",
    "CertFile",
    "Endpoints",
    "KeyFile",
    "Password",
    "Prefix",
    "Username",
    "etcd_settings",
]

_PANEL = "etcd"


def _option(flag: str, help_text: str, variable: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        flag, help=help_text, envvar=variable, rich_help_panel=_PANEL
    )
    return option


Endpoints = Annotated[
    str, _option("--etcd-endpoints", "URLs, comma-separated.", "K8S_OVS_ETCD_ENDPOINTS")
]
Prefix = Annotated[
    str, _option("--etcd-prefix", "Where the network's keys are.", "K8S_OVS_ETCD_PREFIX")
]
CaFile = Annotated[
    str | None,
    _option("--etcd-cafile", "Who signed etcd's certificate (PEM).", "K8S_OVS_ETCD_CAFILE"),
]
CertFile = Annotated[
    str | None, _option("--etcd-certfile", "Our certificate (PEM).", "K8S_OVS_ETCD_CERTFILE")
]
KeyFile = Annotated[str | None, _option("--etcd-keyfile", "Its key (PEM).", "K8S_OVS_ETCD_KEYFILE")]
Username = Annotated[
    str | None, _option("--etcd-username", "etcd's user.", "K8S_OVS_ETCD_USERNAME")
]
Password = Annotated[
    str | None, _option("--etcd-password", "The user's password.", "K8S_OVS_ETCD_PASSWORD")
]


def etcd_settings(
    endpoints: str,
    cafile: str | None,
    certfile: str | None,
    keyfile: str | None,
    username: str | None,
    password: str | None,
) -> EtcdSettings:
    """The flags as settings. Raises InvalidRecord naming the flag."""
    return EtcdSettings(parse_endpoints(endpoints), cafile, certfile, keyfile, username, password)
