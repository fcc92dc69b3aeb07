"""The shim as one file to install: compiled ahead, so that no pod waits for the compiler.

A tenth of the shim's time is Python reading its source (0.7 of 7 ms). A node whose /usr/bin/python3
is of another version than the one that made the file compiles the source, which is in it, too.
"""

from __future__ import annotations

import marshal
import sys
from pathlib import Path

__all__ = ["executable", "is_executable"]

_SHIM = Path(__file__).with_name("shim.py")

#: In the second line of each version's file.
_MARK = "# k8s-ovs: the CNI plugin."

_TEMPLATE = """\
#!/usr/bin/python3 -IS
{mark} Made of k8s_ovs_cni/shim.py; `source` below is its text.
import marshal, sys
source = {source!r}
code = {code!r}
exec(marshal.loads(code) if sys.hexversion >> 16 == {version} else source)
"""


def executable(version: int = sys.hexversion >> 16) -> str:
    """The text of /opt/cni/bin/k8s-ovs; `version`: of the Python whose code is in it, 0x030b."""
    source = _SHIM.read_text()
    code = compile(source, "k8s-ovs", "exec", optimize=2)
    return _TEMPLATE.format(source=source, code=marshal.dumps(code), version=version, mark=_MARK)


def is_executable(content: bytes) -> bool:
    """Whether a file with this content was made here, by any version."""
    return content.partition(b"\n")[2].startswith(_MARK.encode())
