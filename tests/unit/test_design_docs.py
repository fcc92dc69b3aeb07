"""docs/design.md has the real tree and threads, docs/glossary.md the real places and our words."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core/k8s_ovs"
TEXT = (ROOT / "docs/design.md").read_text()
GLOSSARY = (ROOT / "docs/glossary.md").read_text()

#: Words that the code once had where the field has one; docs/glossary.md says which.
PRIVATE = re.compile(
    r"\b(seats?|seated|roads?|(in|out of) sight|sights|intakes?|town|doomed|stray|spoil(ed|t)"
    r"|whoever|census|announcer|queue_fairly|let_go|flow_?book|no_?place|find_place|daemon_?word"
    r"|switch_?word|hosts? outside|overtaken|mended)\b",
    re.IGNORECASE,
)


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def tree() -> set[Path]:
    """The folders that the tree in the document has, from the root."""
    found: set[Path] = set()
    parents: list[tuple[int, Path]] = []
    for line in re.findall(r"^    ( *\S+/) ", section("The tree"), re.MULTILINE):
        depth, name = len(line) - len(line.lstrip()), line.strip().rstrip("/")
        parents = [each for each in parents if each[0] < depth]
        path = (parents[-1][1] if parents else Path()) / name
        parents.append((depth, path))
        found.add(path)
    return found


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    return [Path(name) for name in listed.stdout.split("\0") if name]


def threads_of_the_code() -> Iterator[str]:
    """Names of the threads that the core starts, without what differs from one to another."""
    made = re.compile(r'Thread(?:PoolExecutor)?\([^)]*?name(?:_prefix)?=f?"([^"]*)"', re.DOTALL)
    for path in CORE.rglob("*.py"):
        for name in made.findall(path.read_text()):
            yield name.partition("{")[0].strip()


def test_every_folder_of_the_tree_is_there() -> None:
    assert [str(path) for path in tree() if not (ROOT / path).is_dir()] == []


def test_every_folder_with_modules_is_in_the_tree() -> None:
    packages = {path.parent for path in tracked() if path.name == "__init__.py"}
    ours = {path for path in packages if path.parts[0] in ("core", "lab")}
    plugins = {path.parent for path in packages if path.parts[0] == "plugins"}
    assert {*ours, *plugins} - tree() == set()


def test_no_folder_of_the_core_has_more_modules_than_one_sees_at_once() -> None:
    modules = [path for path in tracked() if path.parts[0] == "core" and path.suffix == ".py"]
    folders = {path.parent for path in modules}
    sizes = {
        folder: sum(path.parent == folder and path.name != "__init__.py" for path in modules)
        for folder in folders
    }
    assert {str(folder): size for folder, size in sizes.items() if size > 14} == {}


def test_the_threads_are_those_of_the_code() -> None:
    table = section("The daemon's threads")
    told = set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) - {"MainThread"}
    started = set(threads_of_the_code())
    assert len(started) > 5
    for name in started:
        assert any(each.startswith(name) for each in told), name
    for name in told:
        assert any(name.startswith(each) for each in started), name


TEXTS = [path for path in tracked() if path.suffix in (".py", ".md", ".yaml", ".sh", ".toml")]


@pytest.mark.parametrize(
    "top", ["core", "plugins", "cni", "lab", "deploy", "docs", "README.md", "CONTRIBUTING.md"]
)
def test_words_are_those_of_the_field(top: str) -> None:
    found = [
        f"{path}:{number}: {match[0]}"
        for path in TEXTS
        if path.parts[0] == top and path.name != "glossary.md"
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if (match := PRIVATE.search(line))
    ]
    assert found == []


def glossary_places() -> Iterator[tuple[str, str]]:
    """The paths of the glossary, each with a name that it says is there; or with none."""
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]+) \|$", GLOSSARY, re.MULTILINE)[1:]
    for part in (part for row in rows for part in row.split("; ")):
        quoted = re.findall(r"`([^`]+)`", part)
        paths = [each for each in quoted if "/" in each and f"etcd `{each}`" not in part]
        names = [each for each in quoted if "/" not in each]
        if not paths and names:
            paths = ["plugin/hooks.py" if part.startswith("hook ") else "plugin/view.py"]
        for path in paths:
            yield path, ""
        yield from ((paths[0], name) for name in names)


def test_what_the_glossary_names_is_where_it_says() -> None:
    places = list(glossary_places())
    assert len(places) > 100
    for path, name in places:
        found = [root / path for root in (CORE, ROOT) if (root / path).exists()]
        assert found, path
        for word in name.split(".") if name else ():
            assert re.search(rf"\b{word}\b", found[0].read_text()), f"{path}: {name}"
