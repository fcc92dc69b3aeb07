"""On what was it measured?"""

from __future__ import annotations

import os
import platform
import time
from typing import Any

from k8s_ovs_lab import Lab

__all__ = ["machine_facts", "processor", "rss_mib"]


def machine_facts(lab: Lab) -> dict[str, Any]:
    """Kernel, processors, versions, and how busy the machine was."""
    node = lab.nodes[0].name
    version = lab.exec(node, ["ovs-vswitchd", "--version"]).stdout.split()[3]
    return {
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "open_vswitch": version,
        "datapath": lab.state.datapath,
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def processor(pid: int) -> float:
    """Seconds of processor that a process has used, with all its threads, also those that ended.

    clock_getcpuclockid(3): the same as utime and stime of proc(5), in nanoseconds.
    """
    return time.clock_gettime(~pid << 3 | 2)


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
    raise ValueError(f"process {pid} has no VmRSS")
