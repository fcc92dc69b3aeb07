"""Which version of the plugin API is this, and does a plugin fit it?"""

from __future__ import annotations

import re

from k8s_ovs.errors import shown

__all__ = ["API_VERSION", "version_problem"]

#: MAJOR.MINOR of what `k8s_ovs.plugin` offers. What is added raises MINOR; what is removed, or
#: means something else, raises MAJOR. A plugin may name what it is written for, as `api_version`.
API_VERSION = "1.0"

_VERSION = re.compile(r"([0-9]+)(?:\.([0-9]+))?")


def version_problem(wanted: object) -> str:
    """Why a plugin that names the version `wanted` does not fit; "": it does.

    wanted: "MAJOR.MINOR", or "MAJOR" for MAJOR.0.
    """
    major, minor = map(int, API_VERSION.split("."))
    found = _VERSION.fullmatch(wanted) if type(wanted) is str else None
    if found and int(found[1]) == major and int(found[2] or 0) <= minor:
        return ""
    fitting = " or ".join(f'"{major}.{each}"' for each in range(minor + 1))
    return f'api_version: found {shown(wanted)}, expected "{major}" or {fitting}'
