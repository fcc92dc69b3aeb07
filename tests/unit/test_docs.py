"""What the documents say exists: links, commands, flags, fields, plugins, decisions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import typer
from attrs import fields

from k8s_ovs.cli.main import app
from k8s_ovs.model.codec import decode, encode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.subnet import HostSubnet

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
#: The text between backticks, of one line or of many.
CODE = re.compile(r"```.*?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
#: A line that types k8s-ovs: a prompt, variables, and where the program is, may precede it.
TYPED = re.compile(r"^ *(?:[#$] )?(?:[A-Z_]+=\S+ )*(?:\S*/bin/)?k8s-ovs +([a-z].*)", re.MULTILINE)
CODE_AND_TESTS = ("core", "plugins", "cni", "tests")
#: Messages of other programs.
FOREIGN = {'failed to find plugin "portmap" in path'}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(path: Path) -> str:
    """All code of a document, lines that go on joined."""
    found = CODE.findall(path.read_text())
    return "\n".join(block or span for block, span in found).replace("\\\n", " ")


def anchors(path: Path) -> set[str]:
    """The headings of a document, as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@cache
def command_at(*words: str) -> Any:
    """The command that these words name; None if there is none."""
    root = typer.main.get_command(app)
    context = root.make_context("k8s-ovs", [], resilient_parsing=True)
    found: Any = root
    for word in words:
        found = found.get_command(context, word) if hasattr(found, "get_command") else None
    return found


def typed_commands(path: Path) -> Iterator[tuple[str, Any, str]]:
    """(line, the command it names, what follows) for each `k8s-ovs ...` in a document's code."""
    for match in TYPED.finditer(code_of(path)):
        words = match[1].split()
        command = command_at(words[0])
        if hasattr(command, "get_command") and len(words) > 1 and words[1][0].isalpha():
            command = command_at(words[0], words[1])
        yield match[0], command, match[1]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text()):
        target, _, anchor = link.partition("#")
        if target.startswith(("http://", "https://")):
            continue
        place = (path.parent / target) if target else path
        assert place.exists(), f"{name_of(path)}: {link}"
        if anchor:
            assert anchor in anchors(place), f"{name_of(path)}: {link}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_make_has_the_targets_that_documents_name(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|\n|&& )make ([a-z-]+)", code_of(path)))
    assert named <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_that_documents_type_exist_with_their_flags(path: Path) -> None:
    for line, command, rest in typed_commands(path):
        assert command is not None, line
        own = rest.partition(" -- ")[0].partition("#")[0]
        known = {flag for each in command.params for flag in each.opts} | {"--help"}
        for flag in re.findall(r"(?<=\s)--[a-z-]+", own):
            assert flag in known, line


def test_the_readme_names_the_commands_of_everyday() -> None:
    typed = {rest.split()[0] for _, _, rest in typed_commands(ROOT / "README.md")}
    assert {"node", "config", "status", "doctor", "flows", "install-cni", "lab"} <= typed


def test_the_configuration_in_the_readme_is_one() -> None:
    text = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"/config '(\{.*\})'", text)
    config = decode(NetworkConfig, "config", example.encode())
    assert config.plugin_name == "k8s-ovs-subnet"
    assert not config.extra


def test_the_readme_describes_every_field_of_the_configuration() -> None:
    text = (ROOT / "README.md").read_text()
    described = set(re.findall(r"^\| `([A-Z]\w+)` \|", text, re.MULTILINE))
    names = {each.metadata["json"] for each in fields(NetworkConfig) if "json" in each.metadata}
    assert described == names


def test_the_record_in_the_readme_is_one() -> None:
    (example,) = re.findall(r"```json\n(\{.*\})\n```", (ROOT / "README.md").read_text())
    record = decode(HostSubnet, "subnets/192.168.0.11", example.encode())
    assert encode(record) == example.encode()


def test_the_readme_lists_just_the_plugins_that_are_here() -> None:
    listed = set(
        re.findall(r"^\| `(k8s-ovs-\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    )
    assert listed == {entry.name for entry in entry_points(group="k8s_ovs.plugins")}


def test_operations_describe_just_the_flags_of_the_daemon() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    section = text.partition("## Flags of `k8s-ovs node`")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `--")]
    described = {flag for row in rows for flag in re.findall(r"--[a-z-]+", row)}
    flags = {flag for each in command_at("node").params for flag in each.opts}
    assert described == {flag for flag in flags if flag.startswith("--")} - {"--help"}


@cache
def strings_of_the_code() -> tuple[str, ...]:
    """All strings of source and tests; what is put into an f-string is dots."""
    found = []
    for path in (path for top in CODE_AND_TESTS for path in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    each.value if isinstance(each, ast.Constant) else "..." for each in node.values
                ]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                found.append(node.value.decode(errors="replace"))
    return tuple(found)


def troubles() -> list[str]:
    """The messages of the table of troubles."""
    text = (ROOT / "docs/operations.md").read_text()
    section = text.partition("\n## Troubleshooting\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \|$", section, re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("message", sorted({*troubles()} - FOREIGN))
def test_operations_explain_messages_that_there_are(message: str) -> None:
    wanted = re.compile(".*".join(map(re.escape, message.strip(". ").split("..."))))
    assert any(wanted.search(each) for each in strings_of_the_code())


def test_every_decision_is_listed_under_its_title() -> None:
    directory = ROOT / "docs/decisions"
    listed = dict(
        re.findall(
            r"^\| \[\d{4}\]\((.+)\) \| (.+) \|$",
            (directory / "README.md").read_text(),
            re.MULTILINE,
        )
    )
    titles = {
        path.name: path.read_text().splitlines()[0].removeprefix(f"# {path.name[:4]} ")
        for path in directory.glob("0*.md")
    }
    assert listed == titles
    for path in directory.glob("0*.md"):
        parts = re.findall(r"^\*\*(\w+)\.\*\*", path.read_text(), re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], path.name


def test_images_can_be_read() -> None:
    for path in ROOT.glob("docs/*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own file
