"""The daemon's numbers, for Prometheus.

What happens often is only counted; everything else is rendered from the last node state when the
page is asked for, in the page's own thread.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.switch import Commits
from k8s_ovs.node.tell.listen_address import listen_address
from k8s_ovs.node.tell.node_state import NodeState
from k8s_ovs.node.tell.plugin_metrics import PluginMetrics
from k8s_ovs.output import Output

__all__ = ["Metrics", "MetricsPage"]

#: Seconds. An ADD takes some milliseconds, and waits for half a minute at most.
_CNI_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECONCILE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """Counters, and the page that shows them. state: what it shows until another is offered."""

    def __init__(self, state: NodeState) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._states = _StateCollector(state)
        self.registry.register(self._states)
        self._reconciles = Histogram(
            "k8s_ovs_reconcile_seconds",
            "How long a reconcile of the daemon took.",
            buckets=_RECONCILE_BUCKETS,
            registry=self.registry,
        )
        self._cni = Histogram(
            "k8s_ovs_cni_request_seconds",
            "CNI requests by command and outcome, and how long each took.",
            ("command", "outcome"),
            buckets=_CNI_BUCKETS,
            registry=self.registry,
        )

    def offer(self, state: NodeState) -> None:
        """The newest state; from any thread."""
        self._states.newest = state

    def reconciled(self, seconds: float) -> None:
        """A reconcile of the daemon is over."""
        self._reconciles.observe(seconds)

    def cni(self, command: str, outcome: str, seconds: float) -> None:
        """A request has been answered. outcome: ok, or the number of the CNI's error."""
        self._cni.labels(command, outcome).observe(seconds)

    def serve(self, address: str) -> Callable[[], None]:
        """Show the page at HOST:PORT, from threads of its own; the result ends it.

        Raises InvalidRecord for what is no address, K8sOvsError where it cannot be had.
        """
        host, port = listen_address(address)
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            hint = "; another program listens there" if error.errno == errno.EADDRINUSE else ""
            raise K8sOvsError(
                f'--metrics-address {address}: {error.strerror}{hint}: give another, or "" for none'
            ) from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop


class MetricsPage(Output):
    """The page of `metrics` at HOST:PORT, served as soon as the address can be had.

    Raises InvalidRecord for what is no address.
    """

    def __init__(self, metrics: Metrics, address: str) -> None:
        listen_address(address)
        super().__init__("metrics page")
        self._metrics = metrics
        self._address = address
        self._stop: Callable[[], None] | None = None

    def tend(self) -> None:
        """Serve it, if it is not served yet and it is time to try. Never raises."""
        if self._stop is None and not self.put_off:
            self.attempt(self._serve)

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()

    def _serve(self) -> None:
        self._stop = self._metrics.serve(self._address)


class _StateCollector(Collector):
    def __init__(self, state: NodeState) -> None:
        self.newest = state
        self._of_plugins = PluginMetrics()

    def describe(self) -> Iterable[Family]:
        """Which families there are is known by the state alone."""
        return ()

    def collect(self) -> Iterator[Family]:
        state = self.newest
        yield InfoMetricFamily("k8s_ovs_build", "This program.", {"version": state.version})
        yield _gauge("ready", "1 if pods can be attached.", state.ready)
        yield _gauge(
            "leader",
            "1 if this node is the leader, which allocates for the cluster.",
            state.is_leader,
        )
        yield _gauge("pods", "Pods attached on this node.", state.pods)
        yield _gauge("flows", "Desired flows of this node.", state.flows)
        yield _gauge("problems", "What k8s-ovs status reports as problems.", len(state.problems))
        sources = GaugeMetricFamily(
            "k8s_ovs_source_connected",
            "1 if etcd, or the API server's watch of a resource, is connected and up to date.",
            labels=("source",),
        )
        for source, connected in state.sources.items():
            sources.add_metric((source,), connected)
        yield sources
        repairs = CounterMetricFamily(
            "k8s_ovs_repairs",
            "What somebody changed of this node's network and the daemon put right, by kind.",
            labels=("kind",),
        )
        for kind, count in sorted(state.repairs.items()):
            repairs.add_metric((kind,), count)
        yield repairs
        yield from _of_commits(state.commits)
        of_plugins = state.plugin_metrics()
        if of_plugins is not None:
            yield from self._of_plugins.families(of_plugins)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"k8s_ovs_{name}", text, value)


def _of_commits(commits: Commits) -> Iterator[Family]:
    yield SummaryMetricFamily(
        "k8s_ovs_commit_seconds",
        "Bundles of flow changes, and the time they took.",
        commits.count,
        commits.seconds,
    )
    changed = CounterMetricFamily(
        "k8s_ovs_flow_changes", "Flows added and deleted.", labels=("change",)
    )
    changed.add_metric(("added",), commits.added)
    changed.add_metric(("deleted",), commits.deleted)
    yield changed
    yield _gauge("last_commit_timestamp_seconds", "When flows were last changed.", commits.last)
