"""Who may write the network's records? With tenants, nobody but nodes: records say who is whose."""

from __future__ import annotations

from ipaddress import IPv4Address

from attrs import evolve, frozen

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, opened
from k8s_ovs.cli.options import EtcdLocation
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.tenant import GLOBAL_TENANT
from k8s_ovs.observe.etcd.settings import EtcdSettings

__all__ = ["EtcdAccess", "access_problem", "ask_access"]

#: Seconds that the question without credentials may take.
_TIMEOUT = 2.0
#: A pod of a namespace that nobody knows.
_NOBODY = Pod("", 0, "", "", "", namespace="", name="", uid="", ip=IPv4Address(0))


@frozen
class EtcdAccess:
    """settings: of the connection. tenants: the mode keeps pods apart. is_open: etcd answered
    somebody who showed neither a certificate nor a user."""

    settings: EtcdSettings
    tenants: bool
    is_open: bool


def ask_access(location: EtcdLocation, snapshot: ClusterSnapshot) -> EtcdAccess:
    """Look at the settings, and whether etcd asks for them at all."""
    settings = location.settings
    asks = settings.certfile or settings.username
    is_open = not asks or _is_open(location)
    return EtcdAccess(settings, has_tenants(snapshot), is_open)


def has_tenants(snapshot: ClusterSnapshot) -> bool:
    """Whether the mode keeps pods apart: it puts one that nobody knows not into the global tenant,
    which reaches all others."""
    try:
        view = snapshot.manager.view(snapshot.world)
        return bool(snapshot.manager.mode) and view.tenant_of(_NOBODY) != GLOBAL_TENANT
    except K8sOvsError:  # of a plugin's own
        return True


def access_problem(access: EtcdAccess) -> str:
    """Why others than nodes may write, and so join tenants; "": they may not."""
    plain = [each for each in access.settings.endpoints if each.startswith("http:")]
    found = []
    if plain:
        found.append(f"{plain[0]} is not encrypted (http)")
    if access.is_open:
        found.append("etcd asks for neither a user nor a certificate")
    if not found:
        return ""
    return f"{'; '.join(found)}: who reaches it can put any pod into any tenant"


def _is_open(location: EtcdLocation) -> bool:
    """Whether it answers without credentials."""
    bare = evolve(
        location.settings,
        certfile=None,
        keyfile=None,
        username=None,
        password=None,
        timeout=_TIMEOUT,
    )
    with opened(evolve(location, settings=bare)) as etcd:
        try:
            etcd.get(f"{location.prefix}/config")
        except K8sOvsError:
            return False
    return True
