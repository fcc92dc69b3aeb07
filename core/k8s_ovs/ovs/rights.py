"""May we ask Open vSwitch, whose sockets are root's?"""

from __future__ import annotations

import os
from pathlib import Path

from k8s_ovs.errors import Unavailable

__all__ = ["NotPermitted", "check_rights"]


class NotPermitted(Unavailable):
    """Who runs this may not use a socket. Names it, and says what to do."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: Permission denied: run this command as root")


def check_rights(path: str) -> None:
    """Raises NotPermitted for a socket that is there, for all we may know, and not for us.

    The library of Open vSwitch says of it only that it does not answer.
    """
    try:
        denied = Path(path).exists() and not os.access(path, os.W_OK, effective_ids=True)
    except PermissionError:
        denied = True
    except OSError:
        denied = False  # who connects says more
    if denied:
        raise NotPermitted(path)
