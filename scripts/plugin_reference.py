"""Prints docs/plugin-reference.md: what plugins may match and do, from the tables of the code.

.venv/bin/python scripts/plugin_reference.py > docs/plugin-reference.md
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import attrs

import k8s_ovs.plugin
from k8s_ovs.pipeline.action import Action
from k8s_ovs.pipeline.field import FIELDS, FLAGS, REGISTERS, Field, FieldKind
from k8s_ovs.pipeline.match import FRAGMENTS
from k8s_ovs.pipeline.table import Table
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.plugin import API_VERSION, Flow, Match, PipelineError, register

#: What is written for a field, by the kind of its values: in words, and one of them.
VALUES: dict[FieldKind, tuple[str, str | int]] = {
    FieldKind.NUMBER: ("a number", 1),
    FieldKind.HEX: ("a number", 0x1),
    FieldKind.MAC: ("a MAC address", "0a:58:ac:0b:04:02"),
    FieldKind.IPV4: ("an IPv4 address or network", "172.11.4.2"),
    FieldKind.IPV6: ("an IPv6 address or network", "fd00::4:2"),
    FieldKind.PORT: ("a port's number", 101),
    FieldKind.FRAGMENT: (", ".join(FRAGMENTS), "no"),
    FieldKind.CONJUNCTION: ("the name of a conjunction", "web"),
}
#: The same of flags, by the field.
FLAGS_OF = {"ct_state": "+trk+est", "tcp_flags": "+syn-ack"}
#: Of the functions that make a match an example takes the first that has the field.
PROTOCOLS: tuple[tuple[str, dict[str, int]], ...] = (
    *((name, {}) for name in ("any_packet", "ip", "ipv6", "arp", "tcp", "udp", "sctp")),
    *((name, {}) for name in ("icmp", "icmp6")),
    *(("icmp6", {"icmpv6_type": kind}) for kind in (135, 136)),
)
#: An argument of an action, by its type: as it is written, and its value.
ARGUMENTS: dict[str, tuple[str, Any]] = {
    "int": ("2", 2),
    "int | Field": ("101", 101),
    "Field": ('register("SCRATCH")', register("SCRATCH")),
    "str": ('"ROUTE"', "ROUTE"),
    "bytes": ('b"1"', b"1"),
}
HERE = Table("HERE", "", next=("ROUTE",))
HEAD = f"""# Fields and actions
What plugins may match and do, in version {API_VERSION} of the [plugin API](plugins.md), each with
an example as an author writes it, and as `k8s-ovs flows` shows it.
`scripts/plugin_reference.py` writes this page from the code.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, *protocols(), *fields(), *registers(), *actions()]
    return "\n".join(parts) + "\n"


def protocols() -> Iterator[str]:
    """The functions that make a match."""
    yield "## Which packets\n\n| function | packets | as shown |\n|---|---|---|"
    for name in k8s_ovs.plugin.__all__:
        found = getattr(k8s_ovs.plugin, name)
        if inspect.isfunction(found) and inspect.signature(found).return_annotation == "Match":
            words = (found.__doc__ or "").partition("\n")[0].rstrip(".")
            yield f"| `{name}()` | {words} | `{shown(found())}` |"


def fields() -> Iterator[str]:
    """All fields."""
    yield (
        "\n## Fields\nWith a mask, a value is written `VALUE/MASK`.\n\n"
        "| field | bits | mask | value | example | as shown |\n|---|---|---|---|---|---|"
    )
    for field in FIELDS.values():
        words, value = value_of(field)
        example, match = match_on(field, value)
        mask = "yes" if field.maskable else "no"
        cells = (f"`{field.name}`", field.bits, mask, words, f"`{example}`", f"`{shown(match)}`")
        yield f"| {' | '.join(map(str, cells))} |"


def value_of(field: Field) -> tuple[str, str | int]:
    """What is written for a field: in words, and one of them."""
    if field.kind is FieldKind.FLAGS:
        return f"+ or - and each of {', '.join(FLAGS[field.name])}", FLAGS_OF[field.name]
    return VALUES[field.kind]


def match_on(field: Field, value: str | int) -> tuple[str, Match]:
    """A match on a field as it is written, with the first function that has it, and itself."""
    for name, more in PROTOCOLS:
        fields = {**more, field.name: value}
        with suppress(PipelineError):
            match = getattr(k8s_ovs.plugin, name)(**fields)
            written = ", ".join(f"{each}={value!r}" for each, value in fields.items())
            return f"{name}({written})".replace("'", '"'), match
    raise ValueError(f"{field.name}: no function makes a match on it")


def registers() -> Iterator[str]:
    """The registers that have a name."""
    yield "\n## Registers\n\n| name | field |\n|---|---|"
    yield from (f'| `register("{name}")` | `{each.name}` |' for name, each in REGISTERS.items())


def actions() -> Iterator[str]:
    """All actions, each with the arguments that it must have."""
    yield "\n## Actions\n\n| action | what it does | example | as shown |\n|---|---|---|---|"
    for kind in get_args(Action):
        arguments = ", ".join(f"{name}: {words(each)}" for name, each in arguments_of(kind))
        words_of = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
        example, action = example_of(kind)
        text = flow_text(Flow(HERE, 1, Match(), [action]), human=True).partition("actions=")[2]
        yield f"| `{kind.__name__}({arguments})` | {words_of} | `{example}` | `{text}` |"


def arguments_of(kind: Any) -> Iterator[tuple[str, Any]]:
    return ((each.name, each) for each in attrs.fields(kind))


def words(argument: Any) -> str:
    """The type of an argument, as in the code, and its default."""
    default = "" if argument.default is attrs.NOTHING else f" = {argument.default!r}"
    return f"{argument.type}{default}".replace("|", "\\|")


def example_of(kind: Any) -> tuple[str, Any]:
    """An action with what it must have: as it is written, and itself."""
    needed = [each for _, each in arguments_of(kind) if each.default is attrs.NOTHING]
    given = {each.name: ARGUMENTS[str(each.type)] for each in needed}
    written = ", ".join(f"{name}={text}" for name, (text, _) in given.items())
    action = kind(**{name: value for name, (_, value) in given.items()})
    return f"{kind.__name__}({written})", action


def shown(match: Match) -> str:
    """A match as text."""
    text = flow_text(Flow(HERE, 1, match), human=True).partition(" actions=")[0]
    return text.removeprefix("table=HERE,priority=1").removeprefix(",") or "any"


if __name__ == "__main__":
    print(page(), end="")
