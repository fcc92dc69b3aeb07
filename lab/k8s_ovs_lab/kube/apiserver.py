"""Which API server does the lab run, and how is it reached?

The real kube-apiserver where its binary is found, else the embedded one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from k8s_ovs.errors import Unavailable
from k8s_ovs.observe.kube import Kube, KubeSettings, NotFound
from k8s_ovs_lab.command import inside, run
from k8s_ovs_lab.process import LabProcess, await_that

__all__ = ["ApiServer", "find_kube_apiserver"]

_NAME = "kube-apiserver"
_PORT = 6443
_SERVICE_RANGE = "10.96.0.0/12"
_READY_WITHIN = 60.0
_ISSUER = "https://kubernetes.default.svc"
_TOKEN = "lab-admin"  # noqa: S105 - opens a server that lives in a namespace of the lab alone
# Without a controller manager there are no service accounts, and nobody to lift a taint.
_WITHOUT = "ServiceAccount,TaintNodesByCondition"


def find_kube_apiserver(environment: Mapping[str, str]) -> Path | None:
    """The real one: in KUBEBUILDER_ASSETS, else on PATH; None where there is none."""
    assets = environment.get("KUBEBUILDER_ASSETS")
    if assets and os.access(Path(assets) / _NAME, os.X_OK):
        return Path(assets) / _NAME
    found = shutil.which(_NAME, path=environment.get("PATH", os.defpath))
    return Path(found) if found else None


@frozen
class ApiServer:
    """An API server, running or not, known by its directory."""

    directory: Path

    @classmethod
    def start(
        cls,
        directory: Path,
        address: str,
        netns: str | None,
        etcd_url: str,
        *,
        port: int = _PORT,
        service_range: str = _SERVICE_RANGE,
    ) -> ApiServer:
        """Start one that outlives the caller, and wait until it has its namespaces.

        address: where it listens, inside netns. etcd_url: for the real one alone, the embedded
        one keeps its objects in memory. Raises Unavailable or TimedOut with the end of its log.
        """
        server = cls(directory)
        directory.mkdir(parents=True, exist_ok=True)
        binary = find_kube_apiserver(os.environ)
        if binary is None:
            command = _embedded(address, port, service_range)
            server._write_kubeconfig(f"http://{address}:{port}", {}, {})
        else:
            command = server._real(binary, address, port, service_range, etcd_url)
            authority = {"certificate-authority": str(server._certificates / "apiserver.crt")}
            server._write_kubeconfig(f"https://{address}:{port}", authority, {"token": _TOKEN})
        server._process.start(command, netns)
        try:
            await_that(
                f"API server at {address}:{port}",
                lambda: server._serves(netns),
                _READY_WITHIN,
                server._process.log,
                server._process,
            )
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def kubeconfig(self) -> Path:
        """The file that says how to reach it, for KUBECONFIG and kubectl."""
        return self.directory / "kubeconfig"

    @property
    def url(self) -> str:
        """Where it listens. Raises InvalidRecord if none was started in this directory."""
        return self._settings().server

    def running(self) -> bool:
        """Whether it is alive."""
        return self._process.running()

    def stop(self) -> None:
        """End it; nothing happens if it does not run."""
        self._process.stop()

    def pause(self) -> None:
        """Let it hang: it exists and does not answer, until `resume`."""
        self._process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._process.resume()

    def kill(self) -> None:
        """Let it die as in a crash."""
        self._process.kill()

    @property
    def _process(self) -> LabProcess:
        return LabProcess(self.directory, "apiserver")

    @property
    def _certificates(self) -> Path:
        return self.directory / "certificates"

    def _settings(self) -> KubeSettings:
        return KubeSettings.from_kubeconfig(str(self.kubeconfig))

    def _serves(self, netns: str | None) -> bool:
        """Whether it has the namespace that pods live in; the real one makes it after a while."""
        certificate = self._certificates / "apiserver.crt"
        if self._settings().server.startswith("https") and not certificate.exists():
            raise Unavailable(f"{certificate} is not written yet")
        kube = Kube(self._settings(), timeout=2.0)
        try:
            if netns is None:
                kube.get("/api/v1/namespaces/default")
            else:
                with inside(netns):
                    kube.get("/api/v1/namespaces/default")
        except NotFound:
            return False
        finally:
            kube.close()
        return True

    def _write_kubeconfig(
        self, url: str, authority: Mapping[str, str], user: Mapping[str, str]
    ) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": url, **authority}}],
            "users": [{"name": "lab", "user": dict(user)}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }
        # JSON is YAML, and needs no library to be written.
        self.kubeconfig.write_text(json.dumps(document, indent=2) + "\n")
        self.kubeconfig.chmod(0o600)

    def _real(
        self, binary: Path, address: str, port: int, service_range: str, etcd_url: str
    ) -> list[str]:
        key, tokens = self.directory / "service-account.key", self.directory / "tokens.csv"
        if not key.exists():
            run(["openssl", "genrsa", "-out", str(key), "2048"], timeout=30)
        tokens.touch(mode=0o600)
        tokens.write_text(f"{_TOKEN},admin,admin,system:masters\n")
        return [
            str(binary),
            f"--etcd-servers={etcd_url}",
            f"--bind-address={address}",
            f"--advertise-address={address}",
            f"--secure-port={port}",
            f"--cert-dir={self._certificates}",
            f"--service-cluster-ip-range={service_range}",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=AlwaysAllow",
            f"--disable-admission-plugins={_WITHOUT}",
            "--allow-privileged=true",
        ]


def _embedded(address: str, port: int, service_range: str) -> list[str]:
    program = [sys.executable, "-m", "k8s_ovs_testing.apiserver"]
    return [*program, f"--listen={address}:{port}", f"--service-range={service_range}"]
