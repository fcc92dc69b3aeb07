"""The manifest and the chart for somebody who chooses an etcd without TLS, as this cluster's is."""

from __future__ import annotations

import re

__all__ = ["VALUES", "with_plain_etcd"]

#: Values of the chart.
VALUES = (
    '--set-json=etcd.endpoints=["http://192.168.0.1:2379"]',
    "--set=etcd.caFile=,etcd.certFile=,etcd.keyFile=",
)


def with_plain_etcd(manifest: str) -> str:
    """The manifest with http, and without the three lines that name certificates."""
    manifest, schemes = re.subn(r"(_ENDPOINTS: )https://", r"\1http://", manifest)
    manifest, files = re.subn(r"^ +K8S_OVS_ETCD_(CA|CERT|KEY)FILE: .*\n", "", manifest, flags=re.M)
    assert (schemes, files) == (1, 3)
    return manifest
