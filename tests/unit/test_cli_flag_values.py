"""What a flag may be: each is checked before its command does anything, and named if wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from k8s_ovs.cli.host import node

Cli = Callable[..., Result]

DIRECTORIES = ("--ovs-run-dir", "--bin-dir", "--conf-dir")
WRONG = [
    ("--datapath", "foo", "found foo, expected one of auto, system, netdev"),
    ("--datapath", "", "found '', expected one of auto"),
    ("--datapath", "Kernel", "found Kernel, expected one of auto"),
    ("--log-level", "loud", "found loud, expected one of debug, info, warning, error"),
    ("--log-format", "xml", "found xml, expected one of text, json"),
    ("--metrics-address", "9477", "found '9477', expected HOST:PORT"),
    ("--metrics-address", "localhost:http", "expected HOST:PORT"),
    ("--metrics-address", ":65536", "expected HOST:PORT"),
    ("--metrics-address", "a b:9477", "expected HOST:PORT"),
    ("--metrics-address", "10.0.0.256:9477", "expected HOST:PORT"),
    ("--metrics-address", "http://localhost:9477", "expected HOST:PORT"),
    ("--metrics-address", "localhost:٣", "expected HOST:PORT"),
    ("--hostname", "Node1", "found 'Node1', expected small letters, digits"),
    ("--hostname", "node 1", "expected small letters"),
    ("--hostname", "-node", "expected small letters"),
    ("--hostname", "node..1", "expected small letters"),
    ("--hostname", "node1\n", "expected small letters"),
    ("--hostname", "n" * 254, "expected small letters"),
    ("--hostname", "", "found '', expected small letters"),
    ("--network", "-x", "found '-x', expected a Name"),
    ("--network", "a/b", "found 'a/b', expected a Name"),
    ("--etcd-prefix", "k8s", "found 'k8s', expected one such as /k8s.ovs.com/ovs/network"),
    ("--etcd-prefix", "", "found '', expected one such as"),
    ("--etcd-prefix", "/", "found '/', expected one such as"),
    ("--etcd-prefix", "/a//b", "expected one such as"),
    ("--etcd-cafile", "/nowhere", "found '/nowhere' (No such file or directory), expected a file"),
    ("--etcd-certfile", "/etc", "found '/etc' (Is a directory), expected a file"),
    ("--etcd-keyfile", "/etc/passwd/x", "(Not a directory), expected a file"),
    ("--etcd-endpoints", "10.0.0.1", "found '10.0.0.1', expected http://HOST:PORT"),
    ("--cni-socket", "/etc", "found '/etc' (a directory), expected the path of a socket"),
    ("--cni-socket", "/etc/passwd/x", "(/etc/passwd is no directory), expected the path"),
    ("--cni-socket", "/run/" + "s" * 120, "(longer than 107 bytes), expected the path"),
    *(
        (each, "/etc/passwd", "(/etc/passwd is no directory), expected a dir")
        for each in DIRECTORIES
    ),
    *((each, "/etc/passwd/x", "expected a directory") for each in DIRECTORIES),
    *(
        (each, "/" + "d" * 5000, "(File name too long), expected a directory")
        for each in DIRECTORIES
    ),
]


@pytest.mark.parametrize(("flag", "value", "complaint"), WRONG, ids=lambda each: each[:30])
def test_a_wrong_flag_of_the_daemon_is_named_before_anything_starts(
    flag: str, value: str, complaint: str, k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "Daemon", None)
    shown = k8s_ovs("node", f"{flag}={value}")
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert shown.stderr.startswith(f"error: {flag}: found ")
    assert complaint in shown.stderr
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--datapath", "netdev"),
        ("--metrics-address", ""),
        ("--metrics-address", ":9477"),
        ("--metrics-address", "[::1]:9477"),
        ("--metrics-address", "node-1.example:9477"),
        ("--metrics-address", "10.0.0.1:0"),
        ("--hostname", "ip-10-0-0-1.eu.internal"),
        ("--network", "k8s.sdn_1"),
        ("--etcd-prefix", "/k8s.ovs.com/ovs/network/"),
        ("--etcd-cafile", ""),
        ("--ovs-run-dir", "/not/there/yet"),
        ("--cni-socket", "/not/there/yet.sock"),
    ],
)
def test_a_right_flag_starts_the_daemon(
    flag: str, value: str, k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):
        pass

    def started(_settings: object) -> None:
        raise Started

    monkeypatch.setattr(node, "Daemon", started)
    with pytest.raises(Started):
        k8s_ovs("node", f"{flag}={value}")


def test_the_environment_is_checked_as_the_flag_is(k8s_ovs: Cli) -> None:
    shown = k8s_ovs("status", OVS_RUNDIR="/etc/passwd")
    assert shown.stderr == (
        "error: --ovs-run-dir: found '/etc/passwd' (/etc/passwd is no directory), "
        "expected a directory\n"
    )
    assert k8s_ovs("status", "--help", OVS_RUNDIR="/etc/passwd").exit_code == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("install-cni", "--cni-version", "x"), "--cni-version: found x, expected one of 0.3.0"),
        (("install-cni", "--conf-dir", "/etc/passwd"), "--conf-dir: found '/etc/passwd' ("),
        (("uninstall", "--bin-dir", "/etc/passwd"), "--bin-dir: found '/etc/passwd' ("),
        (("doctor", "--etcd-prefix", "x"), "--etcd-prefix: found 'x', expected one such as"),
        (("config", "show", "--etcd-prefix", "x"), "--etcd-prefix: found 'x'"),
        (("tenant", "list", "--ovs-run-dir", "/etc/passwd"), "--ovs-run-dir: found '/etc/passwd'"),
        (("version", "--cni-socket", "/etc"), "--cni-socket: found '/etc' (a directory)"),
    ],
    ids=str,
)
def test_other_commands_check_theirs_too(
    words: tuple[str, ...], complaint: str, k8s_ovs: Cli, tmp_path: Path
) -> None:
    shown = k8s_ovs(*words)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith(f"error: {complaint}")
