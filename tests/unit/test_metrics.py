"""The metrics page: what it says, and that nothing a plugin does can break it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.node.tell.listen_address import listen_address
from k8s_ovs.node.tell.metrics import Metrics
from k8s_ovs.plugin import Metric, View, hook
from k8s_ovs_testing.node_state import sample_state
from k8s_ovs_testing.servers.etcd import free_port


@contextmanager
def page(metrics: Metrics) -> Iterator[str]:
    """Where it is served."""
    port = free_port()
    stop = metrics.serve(f"127.0.0.1:{port}")
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        stop()


def numbers(metrics: Metrics) -> dict[str, float]:
    """What Prometheus reads from the page: samples by name and labels."""
    with page(metrics) as url, urlopen(url, timeout=5) as answer:  # noqa: S310 - always http
        text = answer.read().decode()
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_page_shows_what_the_daemon_knows_now() -> None:
    shown = numbers(Metrics(sample_state()))
    expected = {
        "k8s_ovs_build_info version=0.1.0": 1,
        "k8s_ovs_ready": 1,
        "k8s_ovs_leader": 0,
        "k8s_ovs_source_connected source=etcd": 1,
        "k8s_ovs_source_connected source=kube:nodes": 0,
        "k8s_ovs_problems": 1,
        "k8s_ovs_pods": 2,
        "k8s_ovs_flows": 71,
        "k8s_ovs_commit_seconds_count": 2,
        "k8s_ovs_commit_seconds_sum": 0.5,
        "k8s_ovs_flow_changes_total change=added": 70,
        "k8s_ovs_flow_changes_total change=deleted": 3,
        "k8s_ovs_last_commit_timestamp_seconds": 1e9,
    }
    assert {name: shown.get(name) for name in expected} == expected
    assert shown["process_resident_memory_bytes"] > 0


def test_the_page_shows_the_newest_state() -> None:
    metrics = Metrics(sample_state(flows=70))
    assert numbers(metrics)["k8s_ovs_flows"] == 70
    metrics.offer(sample_state(flows=71))
    assert numbers(metrics)["k8s_ovs_flows"] == 71


def test_reconciles_are_counted_and_requests_by_command_and_outcome() -> None:
    metrics = Metrics(sample_state())
    metrics.reconciled(0.003)
    for outcome in ("ok", "ok", "11"):
        metrics.cni("ADD", outcome, 0.02)
    shown = numbers(metrics)
    assert shown["k8s_ovs_reconcile_seconds_count"] == 1
    assert shown["k8s_ovs_reconcile_seconds_bucket le=0.002"] == 0
    assert shown["k8s_ovs_reconcile_seconds_bucket le=0.005"] == 1
    assert shown["k8s_ovs_cni_request_seconds_count command=ADD outcome=ok"] == 2
    assert shown["k8s_ovs_cni_request_seconds_count command=ADD outcome=11"] == 1


class Counts:
    @hook
    def metrics(self, view: View) -> list[Metric]:
        pods = len(view.pods())
        return [Metric("pods", "Pods.", pods, {"of": "all"}), Metric("pods", "Pods.", 0)]


class Raises:
    @hook
    def metrics(self, view: View) -> list[Metric]:
        raise RuntimeError("lost count")


class Misnames:
    @hook
    def metrics(self, view: View) -> list[Metric]:
        return [Metric("two words", "?", 1)]


class Mislabels:
    @hook
    def metrics(self, view: View) -> list[Metric]:
        return [Metric("fine", "?", 1, {"a-b": "c"})]


def test_plugins_metrics_carry_their_names_and_a_bad_one_breaks_nothing() -> None:
    plugins = {"good": Counts(), "raises": Raises(), "bad": Misnames(), "worse": Mislabels()}
    state = sample_state(manager=PluginManager(plugins))
    shown = {
        name: value
        for name, value in numbers(Metrics(state)).items()
        if name.startswith("k8s_ovs_plugin_")
    }
    assert shown == {
        "k8s_ovs_plugin_pods of=all plugin=good": 2,
        "k8s_ovs_plugin_pods plugin=good": 0,
        "k8s_ovs_plugin_metrics_failed plugin=good": 0,
        "k8s_ovs_plugin_metrics_failed plugin=raises": 1,
        "k8s_ovs_plugin_metrics_failed plugin=bad": 1,
        "k8s_ovs_plugin_metrics_failed plugin=worse": 1,
    }


BAD: dict[str, tuple[Metric, str]] = {
    "huge": (Metric("big", "h", 10**400), "metric 'big': value: found "),
    "twice": (Metric("pods", "Pods.", 7), "metric 'pods': labels: found {} twice"),
    "twice, with an empty label": (Metric("pods", "h", 7, {"a": ""}), "found {'a': ''} twice"),
    "the core's": (Metric("metrics_failed", "h", 1), "name: found 'metrics_failed', expected"),
    "no name": (Metric("two words", "h", 1), "metric 'two words': name: found 'two words'"),
    "no label": (Metric("a", "h", 1, {"a-b": "c"}), "labels: found 'a-b', expected letters"),
    "whose": (Metric("a", "h", 1, {"plugin": "other"}), "labels: found 'plugin', expected"),
    "reserved": (Metric("a", "h", 1, {"__name__": "b"}), "labels: found '__name__', expected"),
    "half a character": (Metric("a", "\ud800", 1), "expected text that UTF-8 can write"),
}


class Mixed:
    def __init__(self, bad: Metric) -> None:
        self.bad = bad

    @hook
    def metrics(self, view: View) -> list[Metric]:
        return [Metric("pods", "Pods.", 1), self.bad, Metric("last", "Line\nof two.", float("nan"))]


@pytest.mark.parametrize("case", BAD)
def test_a_bad_metric_is_left_out_alone_and_told_once_with_its_plugin(case: str) -> None:
    metric, told = BAD[case]
    manager = PluginManager({"mixed": Mixed(metric), "good": Counts()})
    metrics = Metrics(sample_state(manager=manager))
    with capture_logs() as logs:
        for _ in range(2):
            shown = numbers(metrics)
    assert [(each["event"], each["plugin"]) for each in logs] == [("metric left out", "mixed")]
    assert told in str(logs[0]["exc_info"])
    names = {name for name in shown if name.startswith("k8s_ovs_plugin_")}
    assert names == {
        "k8s_ovs_plugin_pods plugin=mixed",
        "k8s_ovs_plugin_last plugin=mixed",
        "k8s_ovs_plugin_pods of=all plugin=good",
        "k8s_ovs_plugin_pods plugin=good",
        "k8s_ovs_plugin_metrics_failed plugin=mixed",
        "k8s_ovs_plugin_metrics_failed plugin=good",
    }
    assert shown["k8s_ovs_plugin_metrics_failed plugin=mixed"] == 1
    assert shown["k8s_ovs_plugin_pods plugin=mixed"] == 1


def test_a_port_in_use_is_an_error_that_names_the_flag() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(K8sOvsError) as error:
            Metrics(sample_state()).serve(address)
    assert str(error.value) == (
        f"--metrics-address {address}: Address already in use; another program listens there: "
        'give another, or "" for none'
    )


def test_an_address_of_another_host_is_an_error_that_names_the_flag() -> None:
    with pytest.raises(K8sOvsError, match=r"^--metrics-address 192\.0\.2\.1:9477: Cannot assign"):
        Metrics(sample_state()).serve("192.0.2.1:9477")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9477", ("127.0.0.1", 9477)),
        (":9477", ("0.0.0.0", 9477)),  # noqa: S104 - what an empty host means
        ("[::1]:9477", ("::1", 9477)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["9477", "host:", "host:http", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecord, match=r"^--metrics-address: found .*, expected HOST:PORT"):
        listen_address(text)


def test_the_reference_describes_each_metric() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    metrics = Metrics(sample_state(manager=PluginManager({"raises": Raises()})))
    for family in metrics.registry.collect():
        if family.name.startswith("k8s_ovs_"):
            suffix = {"info": "_info", "counter": "_total"}.get(family.type, "")
            assert f"`{family.name}{suffix}" in text
