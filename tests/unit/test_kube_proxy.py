"""What `k8s-ovs doctor` says of kube-proxy, whose settings decide whether tenants hold."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.cli.doctor.kube_proxy import ask_kube_proxy, check_kube_proxy
from k8s_ovs_testing.world import sample_config

CONFIG = sample_config()
NEW = {
    "Linux": {"MasqueradeAll": False},
    "DetectLocalMode": "ClusterCIDR",
    "DetectLocal": {"ClusterCIDRs": ["172.11.0.0/16"]},
}
OLD = {"ClusterCIDR": "172.11.0.0/16", "IPTables": {"MasqueradeAll": False}}


def told(**fields: Any) -> dict[str, Any]:
    return {"kubeproxy.config.k8s.io": fields}


@pytest.mark.parametrize(
    ("found", "ok", "words"),
    [
        (told(**NEW), True, "shows pods who speaks to them (172.11.0.0/16)"),
        (told(**OLD), True, "shows pods who speaks to them (172.11.0.0/16)"),
        (told(**OLD | {"ClusterCIDR": "fd00::/48,172.0.0.0/8"}), True, "fd00::/48, 172.0.0.0/8"),
        (told(**OLD | {"ClusterCIDR": ""}), True, "shows pods who speaks to them (no clusterCIDR)"),
        (told(**NEW | {"DetectLocal": {"ClusterCIDRs": None}}), True, "no clusterCIDR"),
        (told(**OLD | {"ClusterCIDR": "10.244.0.0/16"}), False, "found 10.244.0.0/16, expected"),
        (told(**OLD | {"IPTables": {"MasqueradeAll": True}}), False, "masqueradeAll"),
        (told(**NEW | {"Linux": {"MasqueradeAll": True}}), False, "masqueradeAll"),
        (told(**NEW | {"DetectLocalMode": "NodeCIDR"}), False, "tells pods by detectLocalMode"),
        (
            told(DetectLocalMode="BridgeInterface", DetectLocal={"BridgeInterface": "tun0"}),
            True,
            "(tun0)",
        ),
        (
            told(
                DetectLocalMode="InterfaceNamePrefix", DetectLocal={"InterfaceNamePrefix": "cali"}
            ),
            False,
            "(cali)",
        ),
    ],
)
def test_what_opens_tenants_is_wrong(found: Any, ok: bool, words: str) -> None:
    (check,) = check_kube_proxy(found, CONFIG)
    assert check.ok is ok
    assert words in check.found


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                    lambda each: st.lists(each) | st.dictionaries(st.text(), each)))  # fmt: skip
def test_whatever_answers_there_ends_nothing(found: Any) -> None:
    assert len(list(check_kube_proxy(found, CONFIG))) == isinstance(found, dict)
    list(check_kube_proxy({"ClusterCIDR": found, "DetectLocalMode": found}, CONFIG))


@pytest.fixture
def page() -> Iterator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(told(**NEW)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are no news."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_it_is_asked_at_its_own_page(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    assert ask_kube_proxy(f"{page}/configz") == told(**NEW)
    assert ask_kube_proxy("http://127.0.0.1:1/configz") is None
