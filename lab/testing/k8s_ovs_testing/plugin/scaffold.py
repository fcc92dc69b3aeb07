"""What is in the project of a new plugin? The files of template/, with its names put in."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path
from string import Template

from k8s_ovs.builtin import BUILTIN
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.hooks.load import installed_plugins
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import RESERVED_KINDS
from k8s_ovs.plugin import API_VERSION

__all__ = ["check_new_name", "make_project"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Characters: some lines of the project have the name three times.
_LONGEST = 24

#: Where each file of the template goes in the project.
_PLACES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "plugin.py": "$module/__init__.py",
    "py.typed": "$module/py.typed",
    "test_plugin.py": "tests/test_$module.py",
}


def check_new_name(name: str) -> str:
    """`name`, if a plugin can have it. Raises InvalidRecord that says what is wrong with it."""
    module = name.replace("-", "_")
    manager = PluginManager({})
    taken = {
        "is a word or a module of Python": {*sys.stdlib_module_names, *keyword.kwlist},
        "is the name of a table of the core": {
            table.name.lower() for table in manager.pipeline.tables
        },
        "is the name of records of the core": {*RESERVED_KINDS, *manager.kinds, *manager.resources},
        "is the name of a plugin of the core": {each.replace("-", "_") for each in BUILTIN},
        "is installed already": {
            *packages_distributions(),
            *(each.replace("-", "_") for each in installed_plugins()["plugins"]),
        },
    }
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InvalidRecord(
            f"NAME: found {name!r}, expected small letters and digits, words joined by -, such as "
            f"acme-audit, {_LONGEST} characters at most"
        )
    if module.startswith("k8s_ovs"):
        raise InvalidRecord(f"NAME: found {name!r}, expected one that does not begin with k8s-ovs")
    for why, names in taken.items():
        if module in names:
            raise InvalidRecord(f"NAME: found {name!r}, which {why}, expected another name")
    return name


def make_project(name: str, directory: Path) -> list[Path]:
    """Write the project of the plugin `name` into `directory`; returns its files.

    Raises InvalidRecord where the directory is none, or is not empty.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        found = "that has files" if directory.is_dir() else "that is a file"
        raise InvalidRecord(f"--directory: found {directory} {found}, expected an empty or new one")
    module = name.replace("-", "_")
    names = {
        "name": name,
        "module": module,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "table": module.upper(),
        "api_version": API_VERSION,
    }
    made: list[Path] = []
    for template, place in _PLACES.items():
        text = (files(__package__) / "template" / f"{template}.template").read_text("utf-8")
        path = directory / Template(place).substitute(names)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(names), "utf-8")
        made.append(path)
    return made
