"""How does the cluster get its mind? etcd, the API server, controllers and scheduler, as users run
them: TLS everywhere, RBAC, real tokens of service accounts."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.credentials import Authority
from tests.cluster.place import DOMAIN, NETWORK, SERVICE_OF_API, SERVICES, Place

from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import ROUTER
from k8s_ovs_lab.process import LabProcess, await_that
from k8s_ovs_lab.servers import start_etcd

__all__ = ["kubectl", "start_control_plane"]

READY_WITHIN_S = 90.0
# CHECKS_OF_OTHERS: whom a controller asks who its own callers are, and what they may.
CHECKS_OF_OTHERS = ("authentication-", "authorization-")
ISSUER = "https://kubernetes.default.svc"


def start_control_plane(place: Place, authority: Authority, programs: Path) -> None:
    """Start all of it in the fabric's namespace, and wait until the API server is ready.

    Raises K8sOvsError with the end of a program's log when it does not come up.
    """
    start_etcd(place.layout)
    directory = place.directory / "control-plane"
    authority.kubeconfig(place.kubeconfig, place.server, "admin", "admin", "system:masters")
    _write_kubectl(place, programs)
    server = _start(place, _api_server(place, authority, programs))
    # The others end at once where the API server has not made their roles yet.
    await_that("the API server", lambda: _is_ready(place), READY_WITHIN_S, server.log, server)
    for name, words in (
        ("kube-controller-manager", _controllers(authority)),
        ("kube-scheduler", ["--leader-elect=false"]),
    ):
        config = directory / f"{name}.conf"
        authority.kubeconfig(config, place.server, name, f"system:{name}")
        flags = [f"--{each}kubeconfig={config}" for each in ("", *CHECKS_OF_OTHERS)]
        _start(place, [str(programs / name), *flags, *words])


def kubectl(place: Place, *words: str, text: str | None = None, timeout: float = 30.0) -> str:
    """What `kubectl WORDS` prints. Raises K8sOvsError with its complaint when it fails."""
    return run([str(place.kubectl), *words], text=text, timeout=timeout).stdout


def _is_ready(place: Place) -> bool:
    return kubectl(place, "get", "--raw", "/readyz") == "ok"


def _start(place: Place, command: list[str]) -> LabProcess:
    process = LabProcess(place.directory / "control-plane", Path(command[0]).name)
    process.start(command, netns=place.layout.fabric)
    return process


def _write_kubectl(place: Place, programs: Path) -> None:
    """The API server is in a namespace, so that nothing of the machine's own network changes."""
    enter = f"exec nsenter --net=/run/netns/{place.layout.fabric} --"
    command = f'{programs}/kubectl --kubeconfig={place.kubeconfig} "$@"'
    place.kubectl.write_text(f"#!/bin/sh\n{enter} {command}\n")
    place.kubectl.chmod(0o755)


def _api_server(place: Place, authority: Authority, programs: Path) -> list[str]:
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += [f"kubernetes.default.svc.{DOMAIN}"]
    listed = ",".join(
        [f"DNS:{name}" for name in names] + [f"IP:{SERVICE_OF_API}", f"IP:{ROUTER.ip}"]
    )
    own = authority.sign("apiserver", "kube-apiserver", names=listed)
    to_kubelets = authority.sign("apiserver-kubelet", "kube-apiserver", "system:masters")
    return [
        str(programs / "kube-apiserver"),
        f"--advertise-address={ROUTER.ip}",
        f"--bind-address={ROUTER.ip}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={authority.ca}",
        "--enable-admission-plugins=NodeRestriction",
        f"--etcd-servers={place.layout.etcd_url}",
        f"--kubelet-client-certificate={to_kubelets.certificate}",
        f"--kubelet-client-key={to_kubelets.key}",
        # Else `kubectl exec` looks the nodes' names up.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={authority.service_accounts}",
        f"--service-account-signing-key-file={authority.service_accounts}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--tls-cert-file={own.certificate}",
        f"--tls-private-key-file={own.key}",
    ]


def _controllers(authority: Authority) -> list[str]:
    return [
        "--allocate-node-cidrs=false",
        f"--cluster-cidr={NETWORK}",
        f"--cluster-signing-cert-file={authority.ca}",
        f"--cluster-signing-key-file={authority.directory / 'ca.key'}",
        "--leader-elect=false",
        f"--root-ca-file={authority.ca}",
        f"--service-account-private-key-file={authority.service_accounts}",
        "--use-service-account-credentials=true",
    ]
