"""Where the API server is: what the environment may say, and what it is told when it is wrong."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.observe.kube import Kube, KubeSettings


def kubeconfig(path: Path, server: str = "https://10.0.0.1:6443", **context: str) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        **(context or {"current-context": "x"}),
    }
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(
    ("master", "server"),
    [
        ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://api:8080/", "http://api:8080"),
        ("https://api.example:6443", "https://api.example:6443"),
        ("https://rancher.example/k8s/clusters/c1", "https://rancher.example/k8s/clusters/c1"),
        ("[fd00::1]:8080", "http://[fd00::1]:8080"),
    ],
)
def test_the_master_is_an_address_or_a_url(master: str, server: str) -> None:
    settings = KubeSettings.from_environment({"KUBERNETES_MASTER": master})

    assert settings.server == server
    assert settings.origin == f"KUBERNETES_MASTER={master}"


@pytest.mark.parametrize(
    "master",
    ["ftp://api:21", "api:port", "api:0", "http://", "api:99999", "http://u:p@api", "http://a?b=c"],
)
def test_a_master_that_makes_no_sense_is_named(master: str) -> None:
    with pytest.raises(InvalidRecord) as refused:
        KubeSettings.from_environment({"KUBERNETES_MASTER": master})

    assert str(refused.value).startswith(f"KUBERNETES_MASTER={master}: expected host:port or")


def test_a_kubeconfig_gives_server_and_token(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config")

    settings = KubeSettings.from_environment({"KUBECONFIG": path})

    assert settings.server == "https://10.0.0.1:6443"
    assert settings.origin == f"KUBECONFIG={path}"
    assert settings.configuration.auth_settings()["BearerToken"]["value"] == "Bearer secret"


def test_a_master_beside_a_kubeconfig_replaces_its_server_alone(tmp_path: Path) -> None:
    environment = {
        "KUBECONFIG": kubeconfig(tmp_path / "config"),
        "KUBERNETES_MASTER": "https://other:6443",
    }

    settings = KubeSettings.from_environment(environment)

    assert settings.server == "https://other:6443"
    assert settings.configuration.auth_settings()["BearerToken"]["value"] == "Bearer secret"


def test_a_kubeconfig_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent"

    with pytest.raises(InvalidRecord, match=f"^KUBECONFIG={path}: no such file$"):
        KubeSettings.from_environment({"KUBECONFIG": str(path)})


def test_a_directory_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecord, match=f"{tmp_path} is not a readable file"):
        KubeSettings.from_environment({"KUBECONFIG": str(tmp_path)})


@pytest.mark.parametrize("text", ["", "just words", "{unclosed", "- a\n- b\n", "a: 1\n", "\x00"])
def test_a_kubeconfig_that_is_malformed_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(InvalidRecord, match=f"^KUBECONFIG={path}: "):
        KubeSettings.from_environment({"KUBECONFIG": str(path)})


def test_a_kubeconfig_without_its_current_context_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", **{"current-context": "nowhere"})

    with pytest.raises(InvalidRecord, match=f"^KUBECONFIG={path}: .*nowhere"):
        KubeSettings.from_environment({"KUBECONFIG": path})


def test_a_pods_service_account_is_the_last_resort(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    (tmp_path / "ca.crt").write_text("certificate")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}

    settings = KubeSettings.from_environment(environment, tmp_path)

    assert settings.server == "https://[fd00::1]:443"
    assert settings.origin == f"service account {tmp_path}"


def test_a_service_account_without_token_is_named(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}

    with pytest.raises(InvalidRecord, match=f"^service account {tmp_path}: .*token"):
        KubeSettings.from_environment(environment, tmp_path)


def test_an_empty_environment_names_no_api_server(tmp_path: Path) -> None:
    empty = {"KUBECONFIG": "", "KUBERNETES_MASTER": ""}
    assert KubeSettings.from_environment(empty, tmp_path) is None


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    path = kubeconfig(kept / "config")
    (kept / "config").chmod(0o600)
    kept.chmod(0o700)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(InvalidRecord, match=f"KUBECONFIG={path}: {path}: Permission denied"):
            KubeSettings.from_environment({"KUBECONFIG": path})
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "path", ["~nobody-has-this-name/config", "/" + "a" * 5000, "/proc/self/mem/x"]
)
def test_a_path_that_cannot_be_is_named(path: str) -> None:
    with pytest.raises(InvalidRecord, match="KUBECONFIG="):
        KubeSettings.from_environment({"KUBECONFIG": path})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("x"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "cluster",
                    "user",
                    "context",
                    "server",
                    "token",
                    "insecure-skip-tls-verify",
                ]
            )
            | st.sampled_from(
                ["certificate-authority-data", "certificate-authority", "client-certificate"]
            )
            | st.sampled_from(
                ["client-key-data", "tls-server-name", "proxy-url", "username", "auth-provider"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("clusters", "users", "contexts", "current-context"), ANYTHING)
        | {"cluster": ANYTHING, "user": ANYTHING},
    )
)
def test_any_document_is_settings_or_one_error(tmp_path: Path, parts: dict[str, Any]) -> None:
    path = tmp_path / "config"
    document = json.loads(Path(kubeconfig(path)).read_text())
    document["clusters"][0]["cluster"] = parts.pop("cluster", {"server": "https://10.0.0.1:6443"})
    document["users"][0]["user"] = parts.pop("user", {"token": "secret"})
    path.write_text(json.dumps(document | parts))
    with suppress(InvalidRecord):
        found = KubeSettings.from_environment({"KUBECONFIG": str(path)})
        assert found is not None
        Kube(found).close()
