"""Where the API server is: what the environment may say, and what it is told when it is wrong."""

from __future__ import annotations

import base64
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
from k8s_ovs_testing.servers.certificates import make_certificates


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
    ["ftp://api:21", "api:port", "api:0", "http://", "api:99999", "http://a?b=c"],
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


@pytest.mark.parametrize(
    "text",
    [
        *("", "just words", "{unclosed", "- a\n- b\n", "a: 1\n", "\x00", "!!python/object:x {}"),
        *("[" * 3000, "[" * 3000 + "]" * 3000, "&a [*a]", "clusters: &a [*a]", "2026-01-01"),
        *("clusters: [null]", "users: {}", "contexts: 5", "clusters: [{name: 5}]"),
        *("current-context: 5", "current-context: [x]", "a: 1\n---\nb: 2\n"),
    ],
)
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


WRONG: list[Any] = [None, 5, True, 1.5, [], {}, ["x"], {"a": 1}, ""]
TEXTS = ("token", "tokenFile", "client-certificate", "client-key", "username", "password")
FIELDS = [
    *(("cluster", name) for name in ("server", "certificate-authority", "tls-server-name")),
    *(("cluster", name) for name in ("certificate-authority-data", "proxy-url")),
    *(("user", name) for name in (*TEXTS, "client-certificate-data", "client-key-data")),
]


def written(path: Path, part: str, fields: dict[str, Any]) -> dict[str, str]:
    """An environment with a kubeconfig whose cluster or user has these fields too."""
    document = json.loads(Path(kubeconfig(path)).read_text())
    document[f"{part}s"][0][part] |= fields
    path.write_text(json.dumps(document))
    return {"KUBECONFIG": str(path)}


@pytest.mark.parametrize(("part", "name"), FIELDS, ids=str)
def test_a_field_of_a_wrong_type_is_named_with_file_found_and_expected(
    tmp_path: Path, part: str, name: str
) -> None:
    path = tmp_path / "config"
    item = {"cluster": "clusters[c].cluster", "user": "users[u].user"}[part]
    for value in WRONG:
        with pytest.raises(InvalidRecord) as refused:
            KubeSettings.from_environment(written(path, part, {name: value}))
        text = str(refused.value)
        assert text.startswith(f"KUBECONFIG={path}: {path}: {item}.{name}: found ")
        assert ", expected " in text
        assert "object has no attribute" not in text


@pytest.mark.parametrize("value", [None, "yes", 0, []])
def test_whether_to_verify_is_true_or_false(tmp_path: Path, value: Any) -> None:
    fields = {"insecure-skip-tls-verify": value}
    with pytest.raises(InvalidRecord, match=r"insecure-skip-tls-verify: found .*, expected true"):
        KubeSettings.from_environment(written(tmp_path / "config", "cluster", fields))


@pytest.mark.parametrize(
    "server", ["10.0.0.1:6443", "ftp://a", "https://", "https://a b", "https://ü", "https://a:x"]
)
def test_a_server_that_is_no_url_is_named(tmp_path: Path, server: str) -> None:
    with pytest.raises(InvalidRecord, match=r"\.server: found .*, expected an http\(s\) URL"):
        KubeSettings.from_environment(written(tmp_path / "config", "cluster", {"server": server}))


@pytest.mark.parametrize("provider", ["gcp", "azure", "oidc", None])
def test_an_auth_provider_is_said_not_to_be_supported(tmp_path: Path, provider: Any) -> None:
    fields = {"auth-provider": {"name": provider, "config": {}}}
    with pytest.raises(InvalidRecord) as refused:
        KubeSettings.from_environment(written(tmp_path / "config", "user", fields))
    expected = f"users[u].user.auth-provider: found {provider!r}, which is not supported, expected "
    assert expected in str(refused.value)


EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        (EXEC, "users[u].user.exec: the command gave no credentials"),
        (EXEC | {"command": "/nowhere"}, "users[u].user.exec: the command gave no credentials"),
        (EXEC | {"command": 5}, "users[u].user.exec.command: found a number, expected a string"),
        ({"apiVersion": "x"}, "users[u].user.exec.command: found nothing, expected a string"),
        (EXEC | {"args": "x"}, "users[u].user.exec.args: found a string, expected a list"),
        (EXEC | {"env": [{}]}, "users[u].user.exec.env: found a list, expected a list of objects"),
        (5, "users[u].user.exec: found a number, expected an object"),
    ],
    ids=str,
)
def test_an_exec_plugin_that_gives_nothing_is_named(tmp_path: Path, plugin: Any, told: str) -> None:
    path = tmp_path / "config"
    environment = written(path, "user", {"exec": plugin})
    document = json.loads(path.read_text())
    del document["users"][0]["user"]["token"]
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidRecord) as refused:
        KubeSettings.from_environment(environment)
    assert told in str(refused.value)


def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    for name in ("token", "password", "client-key-data", "client-certificate-data"):
        for value in (12345678, ["12345678"], {"x": 12345678}):
            with pytest.raises(InvalidRecord) as refused:
                KubeSettings.from_environment(written(tmp_path / "config", "user", {name: value}))
            assert "12345678" not in str(refused.value)


@pytest.mark.parametrize("content", ["abc\n", "abc\r\n\n"])
def test_the_line_end_of_a_token_file_is_not_sent(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    path = tmp_path / "config"
    environment = written(path, "user", {"tokenFile": "token"})
    document = json.loads(path.read_text())
    del document["users"][0]["user"]["token"]
    path.write_text(json.dumps(document))
    settings = KubeSettings.from_environment(environment)
    assert settings is not None
    for _ in range(2):
        assert settings.configuration.auth_settings()["BearerToken"]["value"] == "Bearer abc"


@pytest.mark.parametrize("token", ["a\nb", "ü", "a\x00b"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(
    tmp_path: Path, token: str
) -> None:
    with pytest.raises(InvalidRecord, match="the token is not one line of ASCII") as refused:
        KubeSettings.from_environment(written(tmp_path / "config", "user", {"token": token}))
    assert token not in str(refused.value)


def test_certificates_that_are_none_are_named_with_their_field(tmp_path: Path) -> None:
    no_pem = base64.b64encode(b"root:x:0:0").decode()
    for part, fields, told in (
        ("cluster", {"certificate-authority-data": no_pem}, "cluster.certificate-authority: found"),
        ("cluster", {"certificate-authority": "/etc/passwd"}, "cluster.certificate-authority: f"),
        ("user", {"client-certificate-data": no_pem}, "user.client-certificate: found no cert"),
        ("cluster", {"certificate-authority": "none"}, "(No such file or directory), expected"),
    ):
        with pytest.raises(InvalidRecord) as refused:
            KubeSettings.from_environment(written(tmp_path / "config", part, fields))
        assert told in str(refused.value)


def test_a_key_has_to_be_the_certificates(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "pki")
    good = {"client-certificate": str(made.client_certificate), "client-key": str(made.client_key)}
    assert KubeSettings.from_environment(written(tmp_path / "config", "user", good))
    for key, told in (
        (made.server_key, "found the key of another certificate than"),
        (made.ca, "found no key in PEM"),
    ):
        with pytest.raises(InvalidRecord, match=f"client-key: {told}"):
            KubeSettings.from_environment(
                written(tmp_path / "config", "user", good | {"client-key": str(key)})
            )
    alone = {"client-certificate": str(made.client_certificate)}
    environment = written(tmp_path / "config", "user", alone)
    with pytest.raises(InvalidRecord, match="one of client-certificate and client-key"):
        KubeSettings.from_environment(environment)
