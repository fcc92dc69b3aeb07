"""Which certificates does a test server need? A CA, one for the server, one for its client."""

from __future__ import annotations

import subprocess
from pathlib import Path

from attrs import frozen

from k8s_ovs.errors import K8sOvsError

__all__ = ["Certificates", "make_certificates"]


@frozen
class Certificates:
    """PEM files. The server's certificate is for the addresses it was made for."""

    ca: Path
    server_certificate: Path
    server_key: Path
    client_certificate: Path
    client_key: Path


def make_certificates(
    directory: Path, *, addresses: tuple[str, ...] = ("127.0.0.1",), client: str = "client"
) -> Certificates:
    """A new CA and two certificates that it signed, good for a day, by Debian's openssl.

    client: the client's common name. Raises K8sOvsError with openssl's words when it fails.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ca_key, ca = directory / "ca.key", directory / "ca.crt"
    _openssl("req", "-x509", *_new_key(ca_key), "-subj", "/CN=test CA", "-days", "1", "-out", ca)
    server_names = ",".join(f"IP:{address}" for address in addresses)
    server_certificate, server_key = _signed(directory, "server", "server", server_names)
    client_certificate, client_key = _signed(directory, "client", client, "DNS:client.invalid")
    return Certificates(ca, server_certificate, server_key, client_certificate, client_key)


def _signed(directory: Path, stem: str, common_name: str, names: str) -> tuple[Path, Path]:
    key, certificate = directory / f"{stem}.key", directory / f"{stem}.crt"
    request, extensions = directory / f"{stem}.csr", directory / f"{stem}.ext"
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    _openssl("req", *_new_key(key), "-subj", f"/CN={common_name}", "-out", request)
    authority = ("-CA", directory / "ca.crt", "-CAkey", directory / "ca.key", "-CAcreateserial")
    lasting = ("-days", "1", "-extfile", extensions)
    _openssl("x509", "-req", "-in", request, *authority, *lasting, "-out", certificate)
    return certificate, key


def _new_key(path: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path)


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(
        ["openssl", *words], capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        raise K8sOvsError(f"openssl {words[0]}: {done.stderr.strip()}")
