"""Where are the kernel's network settings? (sysctl: /proc/sys/net)"""

from __future__ import annotations

from pathlib import Path

__all__ = ["OF_HOST", "SYSCTL"]

_OWN = Path("/proc/sys/net")
OF_HOST = Path("/host/proc/sys/net")

#: A container's own tree is read-only, so deploy/k8s-ovs.yaml gives it the host's too. In each
#: one the kernel shows the settings of the caller's own network namespace.
SYSCTL = OF_HOST if OF_HOST.exists() else _OWN
