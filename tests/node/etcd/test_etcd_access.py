"""What `k8s-ovs doctor` says of who may write to etcd, asked of real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.cli.doctor.etcd_access import EtcdAccess, access_problem, ask_access, has_tenants
from k8s_ovs.cli.options import EtcdLocation
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.model.world import World
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs_testing.servers.certificates import make_certificates
from k8s_ovs_testing.servers.etcd import EtcdProcess

PREFIX = "/k8s.ovs.com/ovs/network"
Asked = Callable[..., EtcdAccess]


def snapshot(plugins: str = "k8s-ovs-multitenant") -> ClusterSnapshot:
    return ClusterSnapshot("", None, load_plugins(plugins), World(), {}, 0, (), ())


def asked(endpoint: str, **settings: str) -> EtcdAccess:
    return ask_access(EtcdLocation(EtcdSettings((endpoint,), **settings), PREFIX), snapshot())  # type: ignore[arg-type]  # kwargs


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ("k8s-ovs-multitenant", True),
        ("k8s-ovs-subnet", False),
        ("k8s-ovs-subnet,k8s-ovs-extlb", False),
    ],
)
def test_a_mode_has_tenants_where_not_all_are_global(plugins: str, expected: bool) -> None:
    assert has_tenants(snapshot(plugins)) is expected


def test_plain_http_is_wrong(shared: EtcdProcess) -> None:
    access = asked(shared.endpoint)
    assert access.tenants
    problem = access_problem(access)
    assert f"{shared.endpoint} is not encrypted (http)" in problem
    assert "asks for neither a user nor a certificate" in problem
    assert "asks for" not in access_problem(evolve(access, is_open=False))


def test_tls_alone_keeps_nobody_out(own: EtcdProcess, tmp_path: Path) -> None:
    own.stop()
    pki = make_certificates(tmp_path / "pki")
    own.certificates = pki
    own.client_certificates = False
    own.endpoint = own.endpoint.replace("http:", "https:")
    own.start()
    mine = {"certfile": str(pki.client_certificate), "keyfile": str(pki.client_key)}
    user = {"username": "node", "password": "secret"}
    for given in ({}, mine, user):
        access = asked(own.endpoint, cafile=str(pki.ca), **given)
        assert access_problem(access).startswith("etcd asks for neither")
    own.enable_auth("root", {"node": ("secret", PREFIX)})
    assert access_problem(asked(own.endpoint, cafile=str(pki.ca), **user)) == ""


def test_an_etcd_that_takes_client_certificates_alone_is_well(tmp_path: Path) -> None:
    pki = make_certificates(tmp_path / "pki")
    mine = {"certfile": str(pki.client_certificate), "keyfile": str(pki.client_key)}
    with EtcdProcess(tmp_path / "etcd", certificates=pki) as secure:
        assert access_problem(asked(secure.endpoint, cafile=str(pki.ca), **mine)) == ""
