"""Where in a plugin's code was it? File and line, as its author knows them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import Any

from k8s_ovs.errors import is_ctrl_c

__all__ = ["class_at", "defined_at", "in_brackets", "module_at", "module_of", "raised_at"]


def raised_at(error: BaseException, module: str) -> str:
    """The innermost line of the package of `module` that an error went through; "": none."""
    if isinstance(error, SyntaxError) and error.filename:
        return _place(str(error.filename), error.lineno or 1)
    for each in (error, error.__cause__):
        own = [
            (code, line)
            for code, line, name in _steps(each.__traceback__ if each else None)
            if module and _package(name) == _package(module)
        ]
        if own:
            code, line = own[-1]
            return _place(code.co_filename, line)
    return ""


def defined_at(function: object) -> str:
    """The first line of a function; "": it has none that Python knows. Never raises."""
    try:
        code: Any = inspect.unwrap(function).__code__  # type: ignore[arg-type]  # any object
        return _place(str(code.co_filename), int(code.co_firstlineno))
    except BaseException as error:  # of a plugin's own class, it may raise anything
        if is_ctrl_c(error):
            raise
        return ""


def module_of(function: object) -> str:
    """The module of a function; "": it has none. Never raises."""
    try:
        module = inspect.unwrap(function).__module__  # type: ignore[arg-type]  # any object
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        return ""
    return module if type(module) is str else ""


def class_at(plugin: object) -> str:
    """The first line of a plugin's class; "": Python does not find it. Never raises."""
    try:
        kind = type(plugin)
        return _place(str(inspect.getsourcefile(kind)), inspect.getsourcelines(kind)[1])
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        return ""


def module_at(module: str) -> str:
    """The file of a module that is loaded, at its first line; "": it has none."""
    path = getattr(sys.modules.get(module), "__file__", None)
    return _place(path, 1) if isinstance(path, str) else ""


def in_brackets(where: str) -> str:
    """As the end of an error's text; "" stays so."""
    return f" ({where})" if where else ""


def _steps(trace: TracebackType | None) -> Iterator[tuple[CodeType, int, object]]:
    """Code, line and module of each frame, the innermost last."""
    while trace is not None:
        frame = trace.tb_frame
        yield frame.f_code, trace.tb_lineno, frame.f_globals.get("__name__")
        trace = trace.tb_next


def _package(module: object) -> str:
    return module.partition(".")[0] if type(module) is str else ""


def _place(path: str, line: int) -> str:
    """The path below where Python has found it: the rest is the same for all of a distribution."""
    roots = [f"{root}/" for root in sys.path if root and path.startswith(f"{root}/")]
    return f"{path.removeprefix(max(roots, key=len, default=''))}:{line}"
