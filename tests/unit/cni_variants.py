"""How do tests change a constant of the CNI program, in Python and in C?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import k8s_ovs_cni
from k8s_ovs_cni import program
from k8s_ovs_cni.standalone import build

SOURCE = Path(k8s_ovs_cni.__file__).with_name("program.py")


def altered(variant: str, path: Path, name: str, value: object, *flags: str) -> Path:
    """Write the variant there, with this value of a constant of program.py; returns its path.

    variant: "source", or "standalone", with more flags for the compiler.
    """
    if variant == "source":
        line = re.compile(rf"^{name} = .*$", re.MULTILINE)
        text, found = line.subn(f"{name} = {value!r}", SOURCE.read_text())
        assert found == 1
        path.write_text(text)
        path.chmod(0o755)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program, name, value)
            build(path, *flags)
    return path
