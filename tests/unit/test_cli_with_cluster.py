"""A plugin's command that wants the cluster gets it, and the options that say where it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from k8s_ovs.cli.cluster import etcd_cluster as cluster_module
from k8s_ovs.cli.cluster.etcd_cluster import EtcdCluster
from k8s_ovs.cli.cluster.snapshot import snapshot_of
from k8s_ovs.cli.cluster.with_cluster import give_clusters
from k8s_ovs.cli.options import EtcdLocation
from k8s_ovs.errors import InvalidRecord, PluginError
from k8s_ovs.observe.etcd.client import EtcdSettings
from k8s_ovs.observe.watch_event import Entry
from k8s_ovs.plugin.command.cluster import Cluster

PREFIX = "/network"
PLACE = EtcdLocation(EtcdSettings(("http://10.0.0.1:2379",)), PREFIX)
CONFIG = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 10,
    "ServiceNetwork": "10.96.0.0/12",
}


def group(*commands: Callable[..., None]) -> typer.Typer:
    """A group of a plugin acme with these commands, as k8s-ovs takes it in."""
    app = typer.Typer()

    @app.callback()
    def _group() -> None:
        """Acme's."""

    for command in commands:
        app.command()(command)
    give_clusters("acme", app)
    return app


def say(word: str = "-", *, loud: bool = False, cluster: Cluster) -> None:
    typer.echo(f"{word} {loud} {type(cluster).__name__}")


def plain(word: str) -> None:
    typer.echo(word)


def test_the_command_gets_the_cluster_beside_its_own_options() -> None:
    done = CliRunner().invoke(group(say), ["say", "--word", "hello", "--loud"])
    assert done.stdout == "hello True EtcdCluster\n"


def test_the_command_has_the_options_that_say_where_the_cluster_is() -> None:
    wrong = CliRunner().invoke(group(say), ["say", "--etcd-endpoints", "10.0.0.1"])
    assert isinstance(wrong.exception, InvalidRecord)
    assert "--etcd-endpoints: found '10.0.0.1'" in str(wrong.exception)


def test_a_command_that_wants_no_cluster_has_no_such_options() -> None:
    assert CliRunner().invoke(group(plain), ["plain", "x"]).stdout == "x\n"
    assert CliRunner().invoke(group(plain), ["plain", "x", "--etcd-prefix", "y"]).exit_code == 2


def test_commands_of_groups_in_a_group_get_it_too() -> None:
    outer = typer.Typer()
    outer.add_typer(group(), name="inner")
    inner = typer.Typer()
    inner.command()(say)
    inner.command()(plain)
    outer.add_typer(inner, name="more")
    give_clusters("acme", outer)
    assert CliRunner().invoke(outer, ["more", "say"]).stdout == "- False EtcdCluster\n"


def test_to_be_taken_in_twice_changes_nothing() -> None:
    app = group(say)
    give_clusters("acme", app)
    assert CliRunner().invoke(app, ["say"]).stdout == "- False EtcdCluster\n"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EtcdCluster]:
    """The cluster of a plugin, with this configuration in etcd."""

    def make(plugin: str, **config: Any) -> EtcdCluster:
        entries = {"config": Entry(json.dumps(config).encode(), 1)} if config else {}
        snapshot = snapshot_of(PREFIX, entries, 1)
        monkeypatch.setattr(cluster_module, "read_snapshot", lambda place: snapshot)
        no_etcd: Any = None
        return EtcdCluster(plugin, PLACE, no_etcd, PLACE)  # type: ignore[arg-type]  # not asked

    return make


def test_a_network_that_does_not_run_the_plugin_says_what_it_runs(
    cluster: Callable[..., EtcdCluster],
) -> None:
    with pytest.raises(PluginError) as caught:
        cluster("acme", **CONFIG, PluginName="k8s-ovs-subnet").view()
    assert str(caught.value) == (
        "network k8ssdn runs k8s-ovs-subnet, not acme, whose command this is"
    )


def test_a_network_whose_plugins_do_not_load_says_which(
    cluster: Callable[..., EtcdCluster],
) -> None:
    with pytest.raises(PluginError, match='no plugin "nowhere" is installed'):
        cluster("acme", **CONFIG, PluginName="nowhere").view()


def test_where_there_is_no_configuration_the_command_says_what_to_do(
    cluster: Callable[..., EtcdCluster],
) -> None:
    with pytest.raises(InvalidRecord, match="there is no configuration at /network/config"):
        cluster("acme").get("subnets", "10.0.0.1")


def test_a_kind_of_record_that_nobody_declares_is_named(
    cluster: Callable[..., EtcdCluster],
) -> None:
    own = cluster("k8s-ovs-subnet", **CONFIG, PluginName="k8s-ovs-subnet")
    with pytest.raises(PluginError, match='kind "netnamespaces" are not declared, expected one of'):
        own.get("netnamespaces", "hw1")
