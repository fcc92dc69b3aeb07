"""The benchmark of scale: how its figures are told, and carried on to more daemons."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from tests.bench.scale import curves, daemons, report
from tests.bench.scale.gateway import samples


def of_size(processor: float) -> dict[str, Any]:
    """Figures of a size in which a change takes so many milliseconds, ten times as many for the
    leader."""
    minute = {
        "requests": {"etcd Range": 2.0, "etcd Watch": 40.0, "kube GET": 30.0},
        "bytes": {"etcd in": 100.0, "etcd out": 50.0, "kube in": 10.0},
    }

    def change(each: float) -> dict[str, Any]:
        return {"cpu_ms": {"median": each, "worst": 2 * each}, "ms": {"flow": {"median": 7.0}}}

    return {
        "follows": {"idle": {"minute": minute}, "changes": {"new Node": change(processor)}},
        "leads": {"changes": {"new Node": change(10 * processor)}},
    }


def test_a_table_has_a_column_per_size_and_how_it_grows_by_doubling() -> None:
    sizes = {"50x20": of_size(1.0), "100x40": of_size(2.0), "100x400": of_size(8.0)}
    lines = report.tables({"sizes": sizes}).splitlines()

    assert "| follows / leads | 50x20 | 100x40 | 100x400 | per doubling |" in lines
    title = "new Node, a second of it: processor, ms"
    assert f"| {title} | 1.0 / 10.0 | 2.0 / 20.0 | 8.0 / 80.0 | 2.00 / 2.00 |" in lines
    requests = "| idle, requests a minute, etcd | 42.0 / - | 42.0 / - | 42.0 / - | 1.00 / - |"
    assert requests in lines
    assert not [line for line in lines if "memory" in line], "nobody has measured it"


def test_curves_are_an_image_with_a_line_per_change_and_role() -> None:
    drawn = curves.drawn({"50x20": of_size(1.0), "500x200": of_size(30.0)})
    root = ElementTree.fromstring(drawn)  # noqa: S314 - our own text
    marked = [each for each in root.iter() if each.get("class") == "curve"]
    assert len(marked) == 4, "a curve and its place in the legend, for each role"


def test_more_daemons_go_on_by_a_straight_line() -> None:
    by_count = {
        count: {"idle": {"Watch": 3.0 + count, "Status": 0.0}, "changing": {"Txn": 2.0 * count}}
        for count in (50, 100, 200)
    }
    found = daemons.at(by_count, 5000)
    assert found["idle"] == {"Watch": pytest.approx(5003.0), "Status": 0.0}
    assert found["changing"] == {"Txn": pytest.approx(10000.0)}


def test_a_page_for_prometheus_is_read_with_its_labels() -> None:
    page = '# TYPE a counter\na{x="1",y="b c"} 4\nb 2.5e+06\n'
    assert list(samples(page)) == [("a", {"x": "1", "y": "b c"}, 4.0), ("b", {}, 2.5e6)]
