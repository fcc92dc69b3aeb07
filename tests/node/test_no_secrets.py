"""Whatever goes wrong, no output has a credential in it: no log, status, error, or doctor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from k8s_ovs_testing.kubeconfig import kubeconfig
from k8s_ovs_testing.servers.etcd import EtcdProcess

SECRET = "p4ssw0rd-that-nobody-may-read"  # noqa: S105 - planted
COMMANDS = (("doctor",), ("subnet", "list"))
DAEMON_SECONDS = 3.0
PREFIX = "/k8s.ovs.com/ovs/network"
CONFIG = {"Name": "k8ssdn", "Network": "172.11.0.0/16", "HostSubnetLength": 10}
CONFIG |= {"ServiceNetwork": "10.96.0.0/12", "PluginName": "k8s-ovs-multitenant"}


class Echo(BaseHTTPRequestHandler):
    """Answers with all that it was sent, as servers for debugging do."""

    protocol_version = "HTTP/1.1"
    status = 200
    server: Any

    def log_message(self, format: str, *args: object) -> None:
        """No news."""

    def do_GET(self) -> None:
        sent = dict(self.headers)
        body = self.server.answer(self.path, sent)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


ANSWERS = {
    "a list": lambda _, sent: json.dumps({"items": sent}),
    "no JSON": lambda _, sent: f"<html>{sent}",
    "a watch": lambda path, sent: json.dumps(
        {"type": str(sent)}
        if "watch=true" in path
        else {"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": []}
    ),
    "a refusal": lambda _, sent: json.dumps({"message": f"who is {sent}?"}),
}


@contextmanager
def echoing(kind: str) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.status = 401 if kind == "a refusal" else 200  # type: ignore[attr-defined]  # for Echo
    make = ANSWERS[kind]
    server.answer = lambda path, sent: make(path, sent).encode()  # type: ignore[attr-defined]  # too
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    with EtcdProcess(tmp_path_factory.mktemp("etcd")) as process:
        process.ctl("put", f"{PREFIX}/config", json.dumps(CONFIG))
        process.enable_auth("root", {"node": (SECRET, f"{PREFIX}/")})
        yield process


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """An environment with nothing of the machine's own."""
    (tmp_path / "run").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("K")}
    own = {"OVS_RUNDIR": "run", "K8S_OVS_CNI_SOCKET": "run/s", "K8S_OVS_CNI_CONF_DIR": "."}
    paths = {name: str(tmp_path / value) for name, value in own.items()}
    return kept | paths | {"GRPC_VERBOSITY": "DEBUG"}


def said(environment: dict[str, str], tmp_path: Path) -> str:
    """All that the daemon and the commands write with this environment, wherever to."""
    program = [sys.executable, "-m", "k8s_ovs.cli.main"]
    node = [*program, "node", "--log-level=debug", "--metrics-address=", "--hostname=node1"]
    written = ""
    with (tmp_path / "log").open("ab") as log:
        daemon = subprocess.Popen(node, env=environment, stdout=log, stderr=log)
        commands = [
            subprocess.Popen([*program, *words], env=environment, stdout=log, stderr=log)
            for words in COMMANDS
        ]
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(DAEMON_SECONDS)
        for command in commands:
            command.wait(60)
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        daemon.wait(20)
    for path in (tmp_path / "log", *(tmp_path / "run").glob("*.json")):
        written += path.read_text()
    assert len(written) > 100
    return written


def is_told(text: str) -> bool:
    """In clear, or as HTTP has a user and a password."""
    return SECRET in text or b64encode(SECRET.encode()).decode().rstrip("=")[2:-2] in text


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_server_that_repeats_the_token(
    etcd: EtcdProcess, place: dict[str, str], tmp_path: Path, kind: str
) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    with echoing(kind) as url:
        place |= kubeconfig(tmp_path / "config", url, {"tokenFile": "token"})
        place |= {"K8S_OVS_ETCD_ENDPOINTS": etcd.endpoint, "K8S_OVS_ETCD_USERNAME": "node"}
        text = said(place | {"K8S_OVS_ETCD_PASSWORD": SECRET}, tmp_path)
    assert url in text, "it was asked"
    assert not is_told(text)


@pytest.mark.parametrize(
    "environment",
    [
        {"KUBERNETES_MASTER": f"http://admin:{SECRET}@127.0.0.1:1"},
        {"KUBERNETES_MASTER": f"http://admin:/?#{SECRET}:x@127.0.0.1:1"},
        {"K8S_OVS_ETCD_ENDPOINTS": f"http://root:/{SECRET}@127.0.0.1:1"},
        {"K8S_OVS_ETCD_ENDPOINTS": f"http://root:{SECRET},{SECRET}@127.0.0.1:1"},
        {"K8S_OVS_ETCD_USERNAME": "node", "K8S_OVS_ETCD_PASSWORD": f"{SECRET} wrong"},
        {"K8S_OVS_ETCD_PASSWORD": SECRET},
    ],
    ids=str,
)
def test_a_password_where_none_is_expected_or_a_wrong_one(
    etcd: EtcdProcess, place: dict[str, str], tmp_path: Path, environment: dict[str, str]
) -> None:
    place |= {"K8S_OVS_ETCD_ENDPOINTS": etcd.endpoint}
    assert not is_told(said(place | environment, tmp_path))


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"token": f"{SECRET}\nmore"}, {}),
        ({"username": "u", "password": SECRET}, {}),
        ({"client-key-data": SECRET, "client-certificate-data": SECRET}, {}),
        ({"token": "x"}, {"server": f"https://u:{SECRET}@127.0.0.1:1"}),
        ({"token": "x"}, {"proxy-url": f"http://u:{SECRET}@127.0.0.1:1"}),
        ({"token": "x"}, {"proxy-url": f"http://u:/{SECRET}@127.0.0.1:x"}),
    ],
    ids=str,
)
def test_a_kubeconfig_with_a_mistake(
    etcd: EtcdProcess,
    place: dict[str, str],
    tmp_path: Path,
    user: dict[str, Any],
    cluster: dict[str, str],
) -> None:
    named = {"server": "https://127.0.0.1:1"} | cluster
    place |= kubeconfig(tmp_path / "config", named.pop("server"), user, **named)
    place |= {"K8S_OVS_ETCD_ENDPOINTS": etcd.endpoint, "K8S_OVS_ETCD_USERNAME": "node"}
    assert not is_told(said(place | {"K8S_OVS_ETCD_PASSWORD": SECRET}, tmp_path))


@pytest.mark.parametrize("text", [f"*{SECRET}", f"!{SECRET} x"])
def test_a_kubeconfig_that_is_no_yaml(
    etcd: EtcdProcess, place: dict[str, str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "config").write_text(f"users:\n- name: u\n  user:\n    password: {text}\n")
    place |= {"KUBECONFIG": str(tmp_path / "config"), "K8S_OVS_ETCD_ENDPOINTS": etcd.endpoint}
    assert not is_told(said(place, tmp_path))
