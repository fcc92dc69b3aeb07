"""The figures as tables in Markdown, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import log2
from typing import Any

from attrs import frozen

__all__ = ["ROLES", "changes_of", "figure", "tables"]

ROLES = ("follows", "leads")
#: How an effect of a change is told.
_EFFECTS = {"flow": "flow in the switch", "answered": "answered", "told": "told in the status"}

Figures = Mapping[str, Any]
Path = tuple[str, ...]


@frozen
class _Row:
    """paths: of its figures in those of a size, told side by side."""

    title: str
    paths: tuple[Path, ...]


def tables(found: Figures) -> str:
    """All of them, one below the other."""
    parts = []
    if sizes := found["sizes"]:
        parts = [_table(sizes, list(rows)) for rows in (_of_sizes(), _of_changes(sizes))]
    if "daemons" in found:
        parts.append(_daemons(found["daemons"]))
    if "index" in found:
        parts.append(_index(found["index"]))
    return "\n\n".join(part for part in parts if part)


def _index(found: Figures) -> str:
    """Of a plugin that reads all pods by an index."""
    return "\n".join(
        (
            f"| {found['pods']} pods, {found['selected']} of them selected | |",
            "|---|---|",
            f"| all of them listed, s of processor | {found['list_s']} |",
            f"| status of one that is not selected, ms | {found['status_ms']} |",
            f"| a new one that is not selected, ms | {found['other_ms']} |",
            f"| a new one that is, ms | {found['selected_ms']} |",
        )
    )


def figure(of_size: Figures, path: Path) -> float | None:
    """One figure of a size; of requests and bytes of a minute all that begin with the last word of
    the path. None: it was not measured."""
    found: Any = of_size
    for step in path[:-1]:
        found = found.get(step, {})
    if "minute" in path:
        mine = [count for name, count in found.items() if name.split()[0] == path[-1]]
        return float(sum(mine)) if found else None
    value = found.get(path[-1])
    return None if value is None else float(value)


def changes_of(sizes: Figures) -> list[str]:
    """What was changed, in order."""
    found: dict[str, None] = {}
    for of_size in sizes.values():
        for role in ROLES:
            found |= dict.fromkeys(of_size[role].get("changes", {}))
    return list(found)


def _of_sizes() -> Iterator[_Row]:
    yield _both("idle, % of a core", "idle", "percent")
    yield _both("living, % of a core", "busy", "percent")
    yield _both("memory, MiB", "idle", "rss_mib")
    yield _Row("killed: ready after, s", (("restarts", "killed", "ready_s", "median"),))
    yield _Row("processor of that start, s", (("restarts", "killed", "cpu_s", "median"),))
    names = ("etcd out", "kube out")
    yield _Row("bytes of a start: etcd / API", tuple(("restarts", "bytes", n) for n in names))
    yield _Row("all flows from nothing", (("restarts", "from_nothing", "flows"),))
    parts = ("ms", "flows_ms")
    title = "after etcd's snapshot, ms / of it the flows"
    yield _Row(title, tuple(("restarts", "from_nothing", part) for part in parts))
    yield _Row("namespaces at once, per second", (("namespaces", "per_second"),))
    for when in ("idle", "busy"):
        title = "living" if when == "busy" else when
        for what in ("requests", "bytes"):
            for server, name in (("etcd", "etcd"), ("kube", "API")):
                yield _both(f"{title}, {what} a minute, {name}", when, "minute", what, server)


def _of_changes(sizes: Figures) -> Iterator[_Row]:
    """Processor time, then how soon each effect is there."""
    for what in changes_of(sizes):
        yield _both(f"{what}, a second of it: processor, ms", "changes", what, "cpu_ms", "median")
        for effect, told in _EFFECTS.items():
            yield _both(f"{what}: {told} after, ms", "changes", what, "ms", effect, "median")


def _both(title: str, *path: str) -> _Row:
    return _Row(title, tuple((role, *path) for role in ROLES))


def _table(sizes: Figures, rows: Sequence[_Row]) -> str:
    """Of a daemon that follows / leads. Rows without any figure are left out. The last column: how
    it grows where nodes and namespaces double, from the last two sizes of one shape."""
    pair = _alike(list(sizes))
    lines = []
    for row in rows:
        values = {name: [figure(each, path) for path in row.paths] for name, each in sizes.items()}
        if any(value is not None for each in values.values() for value in each):
            cells = [" / ".join(map(_text, each)) for each in values.values()]
            lines.append(f"| {row.title} | {' | '.join(cells)} | {_growth(values, pair)} |")
    if not lines:
        return ""
    head = f"| follows / leads | {' | '.join(sizes)} | per doubling |"
    return "\n".join([head, "|---" * (len(sizes) + 2) + "|", *lines])


def _alike(names: Sequence[str]) -> tuple[str, str, float] | None:
    """The last two sizes with the same nodes per namespace, and the doublings between them."""
    for before, name in reversed(list(pairwise(names))):
        nodes, namespaces = map(int, name.split("x"))
        fewer, less = map(int, before.split("x"))
        if nodes > fewer and nodes * less == namespaces * fewer:
            return before, name, log2(nodes / fewer)
    return None


def _growth(
    values: Mapping[str, Sequence[float | None]], pair: tuple[str, str, float] | None
) -> str:
    if pair is None:
        return ""
    both = zip(values[pair[0]], values[pair[1]], strict=True)
    return " / ".join(_per_doubling(before, after, pair[2]) for before, after in both)


def _per_doubling(before: float | None, after: float | None, doublings: float) -> str:
    if not before or not after or before < 0 or after < 0:
        return "-"
    return f"{(after / before) ** (1 / doublings):.2f}"


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"


def _daemons(found: Figures) -> str:
    """A second's worth of what etcd gets, sends and uses: idle / with one change a second."""
    by_count, at = found["by_count"], found["at"]
    phases = ("idle", "changing")
    names = sorted(set().union(*(each[phase] for each in by_count.values() for phase in phases)))
    heads = [*(f"{count} daemons" for count in by_count), "5,000, on paper"]
    lines = [f"| etcd, a second: idle / changing | {' | '.join(heads)} |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for name in names:
        cells = [
            " / ".join(_text(each[phase].get(name, 0.0)) for phase in phases)
            for each in (*by_count.values(), at)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    told = {
        "the last daemon has told a change after, s": ("told_s", "worst"),
        "all at once have started after, s": ("start", "seconds"),
        "memory of etcd, MiB": ("rss_mib",),
    }
    for title, path in told.items():
        cells = [_text(figure(each, path)) for each in by_count.values()]
        lines.append(f"| {title} | {' | '.join(cells)} | |")
    return "\n".join(lines)
