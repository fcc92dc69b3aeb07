"""Credentials for the API server are replaced while we run: the next request has the new ones."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.observe.kube import Kube, KubeSettings, ResourceWatch, WatchedResource
from k8s_ovs.observe.watch_event import RecordChange, SourceState, WatchEvent
from k8s_ovs_testing.kubeconfig import kubeconfig
from k8s_ovs_testing.servers.certificates import Certificates, make_certificates

NODES = WatchedResource("/api/v1/nodes", "nodes")


class AskedServer(ThreadingHTTPServer):
    """An API server that notes the Authorization of each request; a watch says what `say` is
    given until `hang_up`."""

    daemon_threads = True
    block_on_close = False
    # Who shows another certificate than the server takes is no news.
    handle_error = lambda self, request, client_address: None  # noqa: E731

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str | None] = []
        self.certificates: list[Any] = []
        self.watching = threading.Event()
        self.say: Callable[[bytes], None] = lambda _: None
        self.hung_up = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def serve_tls(self, pki: Certificates) -> None:
        """Only to clients with a certificate of this authority; connections that are, stay."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.server_certificate, pki.server_key)
        context.load_verify_locations(pki.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        self.context = context

    context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        return connection, address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AskedServer

    def log_message(self, format: str, *args: object) -> None:
        """No news."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization"))
        if isinstance(self.connection, ssl.SSLSocket):
            self.server.certificates.append(self.connection.getpeercert())
        if "watch=true" in self.path:
            self.send_response(200)
            self.end_headers()
            self.server.say = lambda line: (self.wfile.write(line), self.wfile.flush())  # type: ignore[assignment]
            self.server.watching.set()
            self.server.hung_up.wait()
            return
        body = json.dumps({"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": []})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def server() -> Iterator[AskedServer]:
    made = AskedServer()
    yield made
    made.hung_up.set()
    made.shutdown()
    made.server_close()


@contextmanager
def opened(settings: KubeSettings | None) -> Iterator[Kube]:
    assert settings is not None
    kube = Kube(settings)
    try:
        yield kube
    finally:
        kube.close()


def url(server: AskedServer, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.server_port}"


def test_a_token_file_that_is_replaced_is_sent_with_the_next_request(
    server: AskedServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    environment = kubeconfig(tmp_path / "config", url(server), {"tokenFile": "token"})
    with opened(KubeSettings.from_environment(environment)) as kube:
        kube.list("/api/v1/nodes")
        token.write_text("two\n")
        kube.list("/api/v1/nodes")
        # As kubelet does it: a link to another directory.
        (tmp_path / "new").write_text("three")
        token.unlink()
        token.symlink_to(tmp_path / "new")
        kube.list("/api/v1/nodes")
    assert server.seen == ["Bearer one", "Bearer two", "Bearer three"]


def test_a_token_file_is_before_a_token(server: AskedServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("filed")
    user = {"tokenFile": "token", "token": "written"}
    environment = kubeconfig(tmp_path / "config", url(server), user)
    with opened(KubeSettings.from_environment(environment)) as kube:
        kube.list("/api/v1/nodes")
    assert server.seen == ["Bearer filed"]


def test_a_token_in_the_kubeconfig_is_read_again_too(server: AskedServer, tmp_path: Path) -> None:
    path = tmp_path / "config"
    with opened(
        KubeSettings.from_environment(kubeconfig(path, url(server), {"token": "one"}))
    ) as kube:
        kube.list("/api/v1/nodes")
        kubeconfig(path, url(server), {"token": "two"})
        kube.list("/api/v1/nodes")
    assert server.seen == ["Bearer one", "Bearer two"]


def test_a_service_accounts_token_is_sent_as_soon_as_it_is_another(
    tmp_path: Path, server: AskedServer
) -> None:
    pki = make_certificates(tmp_path / "pki")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_certificate, pki.server_key)
    server.context = context
    account = tmp_path / "account"
    account.mkdir()
    shutil.copy(pki.ca, account / "ca.crt")
    (account / "token").write_text("one")
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(server.server_port),
    }
    with opened(KubeSettings.from_environment(environment, account)) as kube:
        kube.list("/api/v1/nodes")
        (account / "token").write_text("two")
        kube.list("/api/v1/nodes")
    assert server.seen == ["bearer one", "bearer two"]


def test_while_the_new_credentials_cannot_be_read_the_old_ones_are_sent(
    server: AskedServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    environment = kubeconfig(tmp_path / "config", url(server), {"tokenFile": "token"})
    structlog.reset_defaults()
    with opened(KubeSettings.from_environment(environment)) as kube, capture_logs() as logs:
        for content in (None, "", "\n", "ü", "t\nwo"):
            token.unlink(missing_ok=True)
            if content is not None:
                token.write_text(content)
            kube.list("/api/v1/nodes")
        token.write_text("two")
        kube.list("/api/v1/nodes")
    assert server.seen == [*["Bearer one"] * 5, "Bearer two"]
    (failed,) = [line for line in logs if line["log_level"] == "warning"]
    assert f"tokenFile: found {str(token)!r} (No such file" in failed["reason"]
    assert logs[-1]["event"] == "credentials for the API server read again"


def test_a_watch_goes_on_while_the_token_is_replaced(server: AskedServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    environment = kubeconfig(tmp_path / "config", url(server), {"tokenFile": "token"})
    events: list[WatchEvent] = []
    changed = threading.Event()

    def sink(event: WatchEvent) -> None:
        events.append(event)
        if isinstance(event, RecordChange):
            changed.set()

    with opened(KubeSettings.from_environment(environment)) as kube:
        watch = ResourceWatch(kube, NODES, sink)
        watch.start()
        assert server.watching.wait(10)
        token.write_text("two")
        kube.list("/api/v1/nodes")
        node = {"metadata": {"name": "node1", "resourceVersion": "2"}}
        server.say(json.dumps({"type": "ADDED", "object": node}).encode() + b"\n")
        assert changed.wait(10), "the watch is the same"
        watch.stop()
    assert server.seen[-1] == "Bearer two"
    assert [event.connected for event in events if isinstance(event, SourceState)] == [True]


def test_certificates_that_are_replaced_are_shown_to_a_server_that_takes_no_others(
    server: AskedServer, tmp_path: Path
) -> None:
    first, second = (make_certificates(tmp_path / name) for name in ("first", "second"))
    used = tmp_path / "used"

    def install(pki: Certificates) -> None:
        used.mkdir(exist_ok=True)
        for source, name in (
            (pki.ca, "ca"),
            (pki.client_certificate, "crt"),
            (pki.client_key, "key"),
        ):
            shutil.copy(source, used / name)

    install(first)
    user = {"client-certificate": "used/crt", "client-key": "used/key"}
    environment = kubeconfig(
        tmp_path / "config", url(server, "https"), user, **{"certificate-authority": "used/ca"}
    )
    server.serve_tls(first)
    with opened(KubeSettings.from_environment(environment)) as kube:
        kube.list("/api/v1/nodes")
        shutil.copy(second.client_certificate, used / "crt")  # half of it, so not taken
        kube.list("/api/v1/nodes")
        install(second)
        server.serve_tls(second)
        kube.list("/api/v1/nodes")
    one, two, three = server.certificates
    assert one == two != three


EXPIRED = "2020-01-01T00:00:00Z"


def plugin(path: Path, status: dict[str, str]) -> dict[str, Any]:
    """A user whose exec plugin numbers its tokens."""
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    text = json.dumps(answer | {"status": status | {"token": "NUMBER"}})
    path.write_text(
        f"#!/bin/sh\necho >> {path}.runs\n"
        f"echo '{text}' | sed s/NUMBER/token$(wc -l < {path}.runs)/\n"
    )
    path.chmod(0o755)
    return {"exec": {"apiVersion": answer["apiVersion"], "command": str(path)}}


def test_an_exec_plugin_is_asked_again_when_its_token_has_expired(
    server: AskedServer, tmp_path: Path
) -> None:
    user = plugin(tmp_path / "plugin", {"expirationTimestamp": EXPIRED})
    environment = kubeconfig(tmp_path / "config", url(server), user)
    with opened(KubeSettings.from_environment(environment)) as kube:
        kube.list("/api/v1/nodes")
    assert server.seen == ["Bearer token2"]


def test_an_exec_plugin_that_hangs_holds_up_nobody_for_long(
    server: AskedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s_ovs.observe.kube.credentials._PATIENCE", 0.1)
    path = tmp_path / "plugin"
    environment = kubeconfig(
        tmp_path / "config", url(server), plugin(path, {"expirationTimestamp": EXPIRED})
    )
    with opened(KubeSettings.from_environment(environment)) as kube:
        path.write_text(f"#!/bin/sh\necho >> {path}.runs\nexec sleep 60\n")
        for _ in range(3):
            kube.list("/api/v1/nodes")
        runs = Path(f"{path}.runs").read_text().count("\n")
    assert server.seen == ["Bearer token1"] * 3, "the previous one"
    assert runs == 2, "once at the start, once in vain"


def test_an_exec_plugin_is_asked_once_for_a_token_that_lasts(
    server: AskedServer, tmp_path: Path
) -> None:
    environment = kubeconfig(tmp_path / "config", url(server), plugin(tmp_path / "plugin", {}))
    with opened(KubeSettings.from_environment(environment)) as kube:
        for _ in range(3):
            kube.list("/api/v1/nodes")
    assert server.seen == ["Bearer token1"] * 3


@pytest.mark.parametrize("user", [{"token": "one"}, {"username": "a", "password": "b"}, {}])
def test_a_master_beside_a_kubeconfig_is_asked_and_not_the_files_server(
    server: AskedServer, tmp_path: Path, user: dict[str, str]
) -> None:
    environment = kubeconfig(tmp_path / "config", "http://127.0.0.1:1", user)
    environment["KUBERNETES_MASTER"] = url(server)
    with opened(KubeSettings.from_environment(environment)) as kube:
        for _ in range(2):
            kube.list("/api/v1/nodes")
            assert kube.settings.server == url(server)
    assert len(server.seen) == 2


def test_a_master_by_tls_is_judged_by_the_files_authority(
    server: AskedServer, tmp_path: Path
) -> None:
    pki = make_certificates(tmp_path / "pki")
    server.serve_tls(pki)
    user = {"client-certificate": str(pki.client_certificate), "client-key": str(pki.client_key)}
    environment = kubeconfig(
        tmp_path / "config", "http://127.0.0.1:1", user, **{"certificate-authority": str(pki.ca)}
    )
    environment["KUBERNETES_MASTER"] = url(server, "https")
    with opened(KubeSettings.from_environment(environment)) as kube:
        kube.list("/api/v1/nodes")
    assert len(server.seen) == 1


def test_the_error_names_the_server_that_was_asked_and_who_named_it(tmp_path: Path) -> None:
    environment = kubeconfig(tmp_path / "config", "http://127.0.0.1:1", {"token": "one"})
    environment["KUBERNETES_MASTER"] = "127.0.0.1:2"
    with opened(KubeSettings.from_environment(environment)) as kube:
        for _ in range(2):
            with pytest.raises(K8sOvsError) as failed:
                kube.get("/version")
            assert "127.0.0.1:1" not in str(failed.value)
            assert str(failed.value).startswith(
                "API server http://127.0.0.1:2 (from KUBERNETES_MASTER=127.0.0.1:2"
            )
