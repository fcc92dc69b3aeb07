"""With which certificates does one speak to etcd? The files of the `--etcd-...file` flags, checked.

gRPC says of a wrong one only that its handshake could not begin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.observe.pem import certificate_problem, key_problem

__all__ = ["channel_credentials"]

# It has no types.
_grpc: Any = grpc


def channel_credentials(settings: EtcdSettings) -> Any:
    """gRPC's, of the files. Raises InvalidRecord that names flag and file."""
    cafile, certfile = settings.cafile, settings.certfile
    read = {
        "root_certificates": _certificates("--etcd-cafile", cafile),
        "certificate_chain": _certificates("--etcd-certfile", certfile),
        "private_key": _read("--etcd-keyfile", settings.keyfile),
    }
    if certfile and settings.keyfile and (problem := key_problem(certfile, settings.keyfile)):
        raise InvalidRecord(
            f"--etcd-keyfile: found {settings.keyfile!r} ({problem}), expected the key of "
            f"{certfile} in PEM, not encrypted"
        )
    return _grpc.ssl_channel_credentials(**read)


def _certificates(flag: str, path: str | None) -> bytes | None:
    data = _read(flag, path)
    if data is not None and (problem := certificate_problem(data)):
        raise InvalidRecord(f"{flag}: found {path!r} ({problem}), expected certificates in PEM")
    return data


def _read(flag: str, path: str | None) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise InvalidRecord(f"{flag}: cannot read {path}: {error.strerror}") from error
