"""Certificates for etcd that are replaced while we run: the next connection shows the new ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.node.etcd.watching import MakeClient, MakeWatch, back, change_of, etcd_port, lost, until

from k8s_ovs.errors import Unavailable
from k8s_ovs.observe.watch_event import Snapshot, SourceState
from k8s_ovs_testing.servers.certificates import Certificates, make_certificates
from k8s_ovs_testing.servers.etcd import EtcdProcess


def install(pki: Certificates, directory: Path) -> dict[str, str]:
    """The client's files, as settings name them; each is replaced at once."""
    directory.mkdir(exist_ok=True)
    found = {}
    for setting, source in (
        ("cafile", pki.ca),
        ("certfile", pki.client_certificate),
        ("keyfile", pki.client_key),
    ):
        shutil.copy(source, directory / "new")
        found[setting] = str((directory / "new").rename(directory / setting))
    return found


def other_authority(process: EtcdProcess, pki: Certificates) -> None:
    """etcd is started anew, with certificates that nobody knows yet."""
    process.stop()
    process.certificates = pki
    process.start()


@pytest.fixture
def pkis(tmp_path: Path) -> tuple[Certificates, Certificates]:
    return make_certificates(tmp_path / "one"), make_certificates(tmp_path / "two")


@pytest.fixture
def secure(tmp_path: Path, pkis: tuple[Certificates, Certificates]) -> EtcdProcess:
    return EtcdProcess(tmp_path / "etcd", certificates=pkis[0])


def sockets_of(port: int) -> int:
    """Connections of this process to a port of this machine."""
    ends = f":{port:04X} 01 "
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()
    inodes = {line.split()[9] for line in lines if ends in " ".join(line.split()[2:4]) + " "}
    own = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            own.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return sum(f"socket:[{inode}]" in own for inode in inodes)


def test_an_etcd_with_another_authority_is_reached_once_the_files_are_replaced(
    secure: EtcdProcess,
    pkis: tuple[Certificates, Certificates],
    client: MakeClient,
    watch: MakeWatch,
    tmp_path: Path,
) -> None:
    with secure:
        etcd = client(secure.endpoint, **install(pkis[0], tmp_path / "used"))
        etcd.put("/r/a", b"1")
        events = watch(etcd, "/r/")
        until(events, back)
        other_authority(secure, pkis[1])
        until(events, lost)
        with pytest.raises(Unavailable):
            etcd.get("/r/a")
        install(pkis[1], tmp_path / "used")
        etcd.put("/r/b", b"2")
        seen = until(events, change_of("b"))
        assert not [event for event in seen if isinstance(event, Snapshot)], "it goes on"


def test_a_watch_is_undisturbed_and_connections_do_not_pile_up(
    secure: EtcdProcess,
    pkis: tuple[Certificates, Certificates],
    client: MakeClient,
    watch: MakeWatch,
    tmp_path: Path,
) -> None:
    with secure:
        etcd = client(secure.endpoint, **install(pkis[0], tmp_path / "used"))
        events = watch(etcd, "/u/")
        seen = until(events, back)
        for number in range(10):
            # Others by content, of the same authority.
            own = tmp_path / "used" / "certfile"
            own.write_text(f"# {number}\n{pkis[0].client_certificate.read_text()}")
            etcd.put(f"/u/{number}", b"x")
            seen += until(events, change_of(str(number)))
        assert [event.connected for event in seen if isinstance(event, SourceState)] == [True]
        assert sockets_of(etcd_port(secure)) <= 3, "one for the watch, one for calls"


@pytest.mark.parametrize("name", ["cafile", "certfile", "keyfile"])
def test_while_the_new_files_cannot_be_used_the_old_connection_is(
    secure: EtcdProcess,
    client: MakeClient,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pki = secure.certificates
    assert pki is not None
    with secure:
        files = install(pki, tmp_path / "used")
        etcd = client(secure.endpoint, **files)
        etcd.put("/o/a", b"1")
        for content in ("", "half of a cert", None):
            path = Path(files[name])
            path.unlink()
            if content is not None:
                path.write_text(content)
            assert etcd.get("/o/a")
        told = capsys.readouterr().out
        assert told.count("cannot be read again, the previous ones stay") == 1
        assert f"--etcd-{name}: " in told
        install(pki, tmp_path / "used")
        assert etcd.get("/o/a")
        assert "certificates for etcd read again" in capsys.readouterr().out


def test_a_watch_that_breaks_while_it_begins_is_lost_too(
    secure: EtcdProcess,
    pkis: tuple[Certificates, Certificates],
    client: MakeClient,
    watch: MakeWatch,
    tmp_path: Path,
) -> None:
    with secure:
        for number in range(20):
            etcd = client(secure.endpoint, **install(pkis[number % 2], tmp_path / f"{number}"))
            etcd.put("/b/a", b"1")
            events = watch(etcd, "/b/")
            until(events, back)
            other_authority(secure, pkis[(number + 1) % 2])
            until(events, lost)
