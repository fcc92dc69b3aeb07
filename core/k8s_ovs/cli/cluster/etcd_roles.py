"""`k8s-ovs etcd-roles`: which roles and users of etcd does the network need, and no more?"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from attrs import frozen

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, read_snapshot
from k8s_ovs.cli.flag_values import fitting
from k8s_ovs.cli.options import EtcdLocation, with_etcd
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.node_status import LEADER_KEY, SEEN, STATUS, SUCCESSOR_KEY
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.plugin.command.output import printable

__all__ = ["Grant", "Role", "User", "commands", "connection", "roles", "run", "users"]

_ADMIN, _NODE, _HOST = "k8s-ovs-admin", "k8s-ovs-node", "k8s-ovs-external"
_NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"


@frozen
class Grant:
    """What a role may do. key: one key, or the beginning of all that are meant (is_prefix)."""

    key: str
    is_prefix: bool
    writes: bool


@frozen
class Role:
    """name: etcd's."""

    name: str
    grants: tuple[Grant, ...]


@frozen
class User:
    """name: etcd's, and with certificates their common name. roles: by name."""

    name: str
    roles: tuple[str, ...]


def roles(
    prefix: str, name: str, kinds: Iterable[str], nodes: Iterable[str], hosts: Iterable[str]
) -> list[Role]:
    """What daemons and people do in etcd.

    name: the network's. kinds: folders of its records. nodes: that have users of their own. hosts:
    external ones, as NAME=ADDRESS. Any daemon of a Kubernetes node may become the leader, so all of
    them may write what a leader does.
    """
    base = f"{prefix}/{name}"
    reads = Grant(f"{prefix}/", is_prefix=True, writes=False)
    offices = LEADER_KEY, SUCCESSOR_KEY
    leads = [Grant(f"{base}/{key}", is_prefix=False, writes=True) for key in offices]
    leads += [Grant(f"{base}/{kind}/", is_prefix=True, writes=True) for kind in sorted(kinds)]
    own = [f"{base}/{STATUS}/{node}" for node in nodes]
    says = Grant(f"{base}/{STATUS}/", is_prefix=True, writes=True)
    found = [
        Role(_ADMIN, (Grant(f"{prefix}/", is_prefix=True, writes=True),)),
        Role(_NODE, (reads, *leads, *(() if own else (says,)))),
    ]
    for node, key in zip(nodes, own, strict=True):
        found.append(Role(f"{_NODE}-{node}", (Grant(key, is_prefix=False, writes=True),)))
    for host, _, address in (each.partition("=") for each in hosts):
        keys = f"{base}/{STATUS}/{host}", f"{base}/{SEEN}/{address}"
        said = (Grant(key, is_prefix=False, writes=True) for key in keys)
        found.append(Role(f"{_HOST}-{host}", (reads, *said)))
    return found


def users(nodes: Iterable[str], hosts: Iterable[str]) -> list[User]:
    """Who has which of the `roles`."""
    own = [User(f"{_NODE}-{node}", (_NODE, f"{_NODE}-{node}")) for node in nodes]
    external = [f"{_HOST}-{host.partition('=')[0]}" for host in hosts]
    return [
        User(_ADMIN, (_ADMIN,)),
        *(own or [User(_NODE, (_NODE,))]),
        *(User(each, (each,)) for each in external),
    ]


def connection(settings: EtcdSettings, key: str) -> Iterator[str]:
    """Lines of a shell by which etcdctl asks the etcd of `settings`, and which end the shell where
    that does not answer. key: one that is there.

    A password is never in them; where a user is given, it is a variable of the shell.
    """
    given = {
        "ETCDCTL_ENDPOINTS": ",".join(settings.endpoints),
        "ETCDCTL_CACERT": settings.cafile,
        "ETCDCTL_CERT": settings.certfile,
        "ETCDCTL_KEY": settings.keyfile,
        "ETCDCTL_USER": settings.username,
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in given.items() if value]
    yield f"export {' '.join(words)}"
    if settings.username:
        yield 'export ETCDCTL_PASSWORD="${ETCDCTL_PASSWORD:-${K8S_OVS_ETCD_PASSWORD:?}}"'
    yield "export ETCDCTL_DIAL_TIMEOUT=5s ETCDCTL_COMMAND_TIMEOUT=10s"
    # `etcdctl role` and `etcdctl user` wait for ever, whatever the time limits are.
    yield f"{_line('get', '--keys-only', key)} > /dev/null || exit 1"


def commands(wanted: Iterable[Role], who: Iterable[User], *, passwords: bool) -> Iterator[str]:
    """As lines of a shell. passwords: from variables of the shell, else users have none."""
    for role in wanted:
        yield _line("role", "add", role.name)
        for each in role.grants:
            way = "readwrite" if each.writes else "read"
            words = ["--prefix=true"] if each.is_prefix else []
            yield _line("role", "grant-permission", role.name, *words, way, each.key)
    for user in who:
        if passwords:
            variable = f"{user.name.upper().replace('-', '_').replace('.', '_')}_PASSWORD"
            yield f'etcdctl user add "{user.name}:${{{variable}:?}}"'
        else:
            yield _line("user", "add", user.name, "--no-password")
        for role_name in user.roles:
            yield _line("user", "grant-role", user.name, role_name)


def _line(*words: str) -> str:
    return shlex.join(["etcdctl", *words])


def _checked(flag: str, found: list[str], pattern: str, expected: str) -> list[str]:
    check = fitting(flag, pattern, expected)
    for each in found:
        check(each)
    if len(set(found)) < len(found):
        raise InvalidRecord(f"{flag}: found the same name twice, expected each once")
    return found


@with_etcd
def run(
    *,
    node: Annotated[
        list[str], typer.Option(help="A Kubernetes node with a user of its own; repeatable.")
    ] = [],  # noqa: B006 - typer reads it
    external: Annotated[
        list[str], typer.Option(help="An external host as NAME=ADDRESS; repeatable.")
    ] = [],  # noqa: B006 - typer reads it
    passwords: Annotated[
        bool, typer.Option("--passwords", help="Users have passwords, not certificates.")
    ] = False,
    etcd: EtcdLocation,
) -> None:
    """Print etcdctl commands that make roles and users; nothing is changed.

    The first lines tell etcdctl which etcd this command asked, and end the shell where that does
    not answer. No password is printed. To run the lines twice does no harm: etcdctl says `already
    exists` of what is there.

    Daemons read all below the prefix. Those of Kubernetes nodes write what the leader allocates,
    since each may become the leader, and statuses: of all nodes, or with --node just their own. An
    external host writes its own status. The user k8s-ovs-admin is for people. With --node there is
    no user k8s-ovs-node.

    \b
    Examples:
      k8s-ovs etcd-roles | sh
      k8s-ovs etcd-roles --node node1 --node node2 --external lb1=192.168.0.199
      k8s-ovs etcd-roles --passwords
    """
    _checked("--node", node, _NAME, "the name of a node")
    address = r"[0-9]{1,3}([.][0-9]{1,3}){3}"
    _checked("--external", external, f"{_NAME}={address}", "NAME=ADDRESS")
    snapshot = read_snapshot(etcd)
    wanted = roles(etcd.prefix, _name_of(snapshot), snapshot.manager.kinds, node, external)
    for line in connection(etcd.settings, snapshot.key):
        typer.echo(printable(line))
    for line in commands(wanted, users(node, external), passwords=passwords):
        typer.echo(printable(line))


def _name_of(snapshot: ClusterSnapshot) -> str:
    return snapshot.followed_config().name
