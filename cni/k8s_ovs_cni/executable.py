"""The CNI program as a script to install: compiled ahead, so that no pod waits for the compiler.

A tenth of the program's time is Python reading its source (0.7 of 7 ms). A node whose
/usr/bin/python3 has another version than the one that made the file compiles the source, which is
in it, too.
"""

from __future__ import annotations

import marshal
import sys
from hashlib import sha256
from pathlib import Path

__all__ = [
    "MAIN",
    "OLDEST",
    "PROGRAM",
    "SYSTEM_PYTHON",
    "code",
    "executable",
    "is_executable",
    "stamp",
]

SYSTEM_PYTHON = Path("/usr/bin/python3")
#: Where an installation that carries the program with a Python of its own has it.
PROGRAM = Path(__file__).with_name("k8s-ovs")
#: The oldest version on which its text runs.
OLDEST = (3, 9)

#: In the second line of each version's script, and somewhere in each version's program. It stays
#: as it is, also in its words: by it a file of any version is known.
_MARK = "# k8s-ovs: the CNI plugin."

_SOURCE = Path(__file__).with_name("program.py")
#: What starts the interpreter of the program with one of its own.
MAIN = Path(__file__).with_name("standalone.c")

_TEMPLATE = """\
#!{python} -IS
{mark} Made of k8s_ovs_cni/program.py; `source` below is its text.
import marshal, sys
source = {source!r}
code = {code!r}
exec(marshal.loads(code) if sys.hexversion >> 16 == {version} else source)
"""


def code(source: Path = _SOURCE, name: str = "k8s-ovs") -> bytes:
    """The CNI program compiled by and for the Python that runs this, as `marshal` has it; or
    another source. name: the file's name in a stack trace."""
    return marshal.dumps(compile(source.read_text(), name, "exec", optimize=2))


def executable(version: int = sys.hexversion >> 16) -> str:
    """The script's text; `version`: of the Python whose code is in it, 0x030b."""
    return _TEMPLATE.format(
        python=SYSTEM_PYTHON, mark=_MARK, source=_SOURCE.read_text(), code=code(), version=version
    )


def stamp() -> str:
    """What a program contains that was made of the current sources."""
    return f"{_MARK} {sha256(_SOURCE.read_bytes() + MAIN.read_bytes()).hexdigest()}"


def is_executable(content: bytes) -> bool:
    """Whether a file with this content was made here, by any version."""
    mark = _MARK.encode()
    if content.startswith(b"\x7fELF"):
        return mark in content
    return content.partition(b"\n")[2].startswith(mark)
