"""Which of Python's warnings does a user of k8s-ovs see? Those of its own code and of plugins.

What libraries warn of, such as that one of them is deprecated, is for those who choose them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType

__all__ = ["show_own"]

#: What gets a warning as one line.
Say = Callable[[str], object]

#: Entry points that name modules of plugins.
_GROUPS = ("k8s_ovs.plugins", "k8s_ovs.features", "k8s_ovs.commands")
#: Modules through which a warning passes on its way here.
_PASSED = frozenset({"warnings", "_py_warnings", "k8s_ovs.cli.main", "k8s_ovs.cli.host.node"})


def show_own(say: Say, message: Warning | str, category: type[Warning], file: str, at: int) -> None:
    """`say` a warning if it is of our own code or of a plugin, and was raised there."""
    roots = _roots()
    if _is_below(file, roots) and _is_own(_raiser(), roots):
        say(f"{file}:{at}: {category.__name__}: {message}")


def _roots() -> frozenset[str]:
    """Top-level packages whose warnings are shown."""
    named = {each.module for group in _GROUPS for each in entry_points(group=group)}
    loaded = {name for name in sys.modules if name.startswith("k8s_ovs")}
    return frozenset(name.partition(".")[0] for name in named | loaded)


def _is_own(module: str, roots: frozenset[str]) -> bool:
    """Whether a module is no library: the language's own ones warn of what their callers do."""
    return module in roots or module in sys.stdlib_module_names


def _is_below(file: str, roots: frozenset[str]) -> bool:
    """Whether a file belongs to one of the packages."""
    modules = filter(None, map(sys.modules.get, roots))
    places = [(each.__file__, list(getattr(each, "__path__", ()))) for each in modules]
    return any(
        file == own or any(Path(file).is_relative_to(path) for path in paths)
        for own, paths in places
    )


def _raiser() -> str:
    """The top-level package of the code that called warnings.warn."""
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name not in {*_PASSED, __name__}:
            break
        frame = frame.f_back
    return name.partition(".")[0]
