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
    "OLDEST",
    "PROGRAM",
    "STANDALONE_SOURCE",
    "SYSTEM_PYTHON",
    "executable",
    "is_executable",
    "stamp",
]

SYSTEM_PYTHON = Path("/usr/bin/python3")
#: Where an installation that carries the standalone program has it.
PROGRAM = Path(__file__).with_name("k8s-ovs")
#: The oldest Python that runs the script.
OLDEST = (3, 9)

#: In the second line of each version's script, and somewhere in each version's program. It stays
#: as it is, also in its words: by it a file of any version is known.
_MARK = "# k8s-ovs: the CNI plugin."

_SOURCE = Path(__file__).with_name("program.py")
#: The standalone program, in C.
STANDALONE_SOURCE = Path(__file__).with_name("standalone.c")

_TEMPLATE = """\
#!{python} -IS
{mark} Made of k8s_ovs_cni/program.py; `source` below is its text.
import marshal, sys
source = {source!r}
code = {code!r}
exec(marshal.loads(code) if sys.hexversion >> 16 == {version} else source)
"""


def executable(version: int = sys.hexversion >> 16) -> str:
    """The script's text; `version`: of the Python whose code is in it, 0x030b."""
    source = _SOURCE.read_text()
    code = marshal.dumps(compile(source, "k8s-ovs", "exec", optimize=2))
    return _TEMPLATE.format(
        python=SYSTEM_PYTHON, mark=_MARK, source=source, code=code, version=version
    )


def stamp() -> str:
    """What a standalone program contains that was made of the current sources. It has what
    program.py defines, so that is one of them."""
    sources = _SOURCE.read_bytes() + STANDALONE_SOURCE.read_bytes()
    return f"{_MARK} {sha256(sources).hexdigest()}"


def is_executable(content: bytes) -> bool:
    """Whether a file with this content was made here, by any version."""
    mark = _MARK.encode()
    if content.startswith(b"\x7fELF"):
        return mark in content
    return content.partition(b"\n")[2].startswith(mark)
