"""Who is who in the cluster? A CA, a certificate for each part, and kubeconfigs."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

from attrs import frozen

from k8s_ovs_lab.command import run

__all__ = ["Authority", "Identity"]


@frozen
class Identity:
    """PEM files of one part: its certificate and its key."""

    certificate: Path
    key: Path


@frozen
class Authority:
    """The cluster's CA and everything that it signed, in one directory; openssl does the work.

    Methods raise K8sOvsError with openssl's words when it fails.
    """

    directory: Path

    @property
    def ca(self) -> Path:
        """The CA's certificate (PEM)."""
        return self.directory / "ca.crt"

    @property
    def service_accounts(self) -> Path:
        """The key that signs service accounts' tokens (PEM)."""
        return self.directory / "service-accounts.key"

    def create(self) -> None:
        """Make the CA and the key for service accounts, good for a month."""
        self.directory.mkdir(parents=True, mode=0o700)
        key = self.directory / "ca.key"
        lasting = ["-subj", "/CN=cluster", "-days", "30", "-out", str(self.ca)]
        run(["openssl", "req", "-x509", *_new_key(key), *lasting])
        run(["openssl", "genrsa", "-out", str(self.service_accounts), "2048"])

    def sign(
        self, stem: str, common_name: str, organization: str = "", names: str = ""
    ) -> Identity:
        """A certificate for a server and client. The API server takes common name and organization
        for user and group. names: subjectAltName in openssl's syntax, a server's alone."""
        made = Identity(self.directory / f"{stem}.crt", self.directory / f"{stem}.key")
        request, extensions = self.directory / f"{stem}.csr", self.directory / f"{stem}.ext"
        subject = f"/O={organization}/CN={common_name}" if organization else f"/CN={common_name}"
        lines = ["extendedKeyUsage=serverAuth,clientAuth"]
        lines += [f"subjectAltName={names}"] if names else []
        extensions.write_text("\n".join(lines) + "\n")
        run(["openssl", "req", *_new_key(made.key), "-subj", subject, "-out", str(request)])
        signer = ["-CA", str(self.ca), "-CAkey", str(self.directory / "ca.key"), "-CAcreateserial"]
        lasting = ["-days", "30", "-extfile", str(extensions), "-out", str(made.certificate)]
        run(["openssl", "x509", "-req", "-in", str(request), *signer, *lasting])
        return made

    def kubeconfig(self, path: Path, server: str, stem: str, user: str, group: str = "") -> Path:
        """A file for KUBECONFIG: this user at the API server's URL, complete in itself."""
        identity = self.sign(stem, user, group)
        cluster = {"server": server, "certificate-authority-data": _base64(self.ca)}
        credentials = {
            "client-certificate-data": _base64(identity.certificate),
            "client-key-data": _base64(identity.key),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": user}}],
            "current-context": "cluster",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        # JSON is YAML, and needs no library to be written.
        path.write_text(json.dumps(document, indent=2) + "\n")
        return path


def _new_key(path: Path) -> list[str]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    return [*curve, "-nodes", "-keyout", str(path)]


def _base64(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()
