"""Files of certificates and keys: a wrong one is named with its flag, in one line."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.observe.etcd.client import Etcd, EtcdSettings
from k8s_ovs_testing.servers.certificates import Certificates, make_certificates

SECURE = ("https://127.0.0.1:2379",)
Files = dict[str, str]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("pki"))


def right(pki: Certificates) -> Files:
    names = {"cafile": pki.ca, "certfile": pki.client_certificate, "keyfile": pki.client_key}
    return {name: str(path) for name, path in names.items()}


def test_files_that_are_right_are_taken(pki: Certificates) -> None:
    Etcd(EtcdSettings(SECURE, **right(pki))).close()


def test_what_stands_between_certificates_may_be_in_any_language(
    pki: Certificates, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(f"# für etcd: größer\n{pki.ca.read_text()}\n# Ende ü\n", encoding="utf-8")
    Etcd(EtcdSettings(SECURE, cafile=str(path))).close()


@pytest.mark.parametrize("flag", ["cafile", "certfile", "keyfile"])
@pytest.mark.parametrize("content", [b"", b"root:x:0:0\n", b"\x00\xff\x30", b"-----BEGIN X-----\n"])
def test_a_file_that_is_no_pem_is_named_with_its_flag(
    pki: Certificates, tmp_path: Path, flag: str, content: bytes
) -> None:
    path = tmp_path / "it"
    path.write_bytes(content)
    with pytest.raises(InvalidRecord) as refused:
        Etcd(EtcdSettings(SECURE, **right(pki) | {flag: str(path)}))
    assert str(refused.value).startswith(f"--etcd-{flag}: found {str(path)!r} (no ")
    assert "in PEM" in str(refused.value).partition("expected ")[2]


def test_a_key_has_to_be_the_certificates_and_open(pki: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", pki.client_key, "-aes256", "-passout", "pass:x", "-out", locked],
        check=True,
        capture_output=True,
    )
    for key, told in (
        (pki.server_key, "the key of another certificate than"),
        (locked, "a key that is encrypted"),
        (pki.ca, "no key in PEM"),
    ):
        with pytest.raises(InvalidRecord) as refused:
            Etcd(EtcdSettings(SECURE, **right(pki) | {"keyfile": str(key)}))
        assert str(refused.value).startswith(f"--etcd-keyfile: found {str(key)!r} ({told}")


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[int]:
    """The port of a server whose certificate another authority has signed."""
    made = make_certificates(tmp_path / "others")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server_certificate, made.server_key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_command_prints_no_line_of_grpc(pki: Certificates, strange: int) -> None:
    words = ("subnet", "list", "--etcd-cafile", str(pki.ca))
    done = subprocess.run(
        [sys.executable, "-m", "k8s_ovs.cli.main", *words],
        env={**os.environ, "K8S_OVS_ETCD_ENDPOINTS": f"https://127.0.0.1:{strange}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: etcd did not answer list")
