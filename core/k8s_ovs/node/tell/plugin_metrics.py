"""Which of the plugins' metrics can the page show? One bad line makes Prometheus drop all of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family

from k8s_ovs.errors import InvalidRecord, shown
from k8s_ovs.hooks.result import Failure, Results
from k8s_ovs.model.checked import is_utf8
from k8s_ovs.plugin.values import Metric
from k8s_ovs.supervise import FaultLog

__all__ = ["PluginMetrics"]

_PREFIX = "k8s_ovs_plugin_"
_FAILED = "metrics_failed"
#: Whose a metric is, as a label.
_PLUGIN = "plugin"

#: Prometheus' data model, "Metric names and labels": colons are for its own rules.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_Series = tuple[str, frozenset[tuple[str, str]]]


class PluginMetrics:
    """Families named k8s_ovs_plugin_NAME and labelled with the plugin. What cannot be shown is left
    out, and told once."""

    def __init__(self) -> None:
        self._faults = FaultLog()

    def families(self, results: Results[Metric]) -> Iterator[Family]:
        """Of what the plugins' hooks said, and which of them failed."""
        failures = GaugeMetricFamily(
            _PREFIX + _FAILED, "1 if the hook failed, or a metric is left out.", labels=(_PLUGIN,)
        )
        families: dict[str, Family] = {}
        for plugin, result in results:
            metrics = () if isinstance(result, Failure) else result
            good = list(self._good(plugin, metrics))
            failures.add_metric((plugin,), isinstance(result, Failure) or len(good) < len(metrics))
            for metric in good:
                name = _PREFIX + metric.name
                family = families.setdefault(name, Family(name, metric.help, "gauge"))
                family.add_sample(name, {_PLUGIN: plugin, **metric.labels}, float(metric.value))
        yield failures
        yield from families.values()

    def _good(self, plugin: str, metrics: Iterable[Metric]) -> Iterator[Metric]:
        shown_already: set[_Series] = set()
        for metric in metrics:
            # A label with an empty value is as none.
            series = metric.name, frozenset(each for each in metric.labels.items() if each[1])
            reason = _problem(metric)
            if not reason and series in shown_already:
                reason = f"labels: found {shown(metric.labels)} twice, expected each once"
            if reason:
                error = InvalidRecord(f"metric {shown(metric.name)}: {reason}")
                self._faults.tell("metric left out", error, plugin=plugin)
                continue
            shown_already.add(series)
            yield metric


def _problem(metric: Metric) -> str:
    """Why Prometheus could not read it; "": it can."""
    if not _NAME.fullmatch(metric.name) or metric.name == _FAILED:
        return f"name: found {shown(metric.name)}, expected letters, digits and _, not {_FAILED}"
    for label in metric.labels:
        if not _NAME.fullmatch(label) or label.startswith("__") or label == _PLUGIN:
            return (
                f"labels: found {shown(label)}, expected letters, digits and _, "
                f"no __ in front, not {_PLUGIN}"
            )
    for text in (metric.help, *metric.labels.values()):
        if not is_utf8(text):
            return f"found {shown(text)}, expected text that UTF-8 can write"
    try:
        float(metric.value)
    except OverflowError:
        return f"value: found {shown(metric.value, 40)}, expected a number that a float can hold"
    return ""
