"""What does a daemon cost where nothing happens, and what does it ask for meanwhile?"""

from __future__ import annotations

import time
from typing import Any

from tests.bench.machine import processor, rss_mib
from tests.bench.scale.stage import Progress, Stage

__all__ = ["measure"]


def measure(stage: Stage, seconds: float, progress: Progress) -> dict[str, Any]:
    """{"percent": of a core, "rss_mib": memory, "minute": {"requests": to both servers, "bytes" to
    and from them}}, over so many seconds."""
    progress(f"{seconds:g} s of a daemon that has nothing to do")
    with stage.traffic.counted(str(stage.node.address)):
        counts, before, begin = stage.traffic.now(), processor(stage.pid), time.monotonic()
        time.sleep(seconds)
        spent, lasted = processor(stage.pid) - before, time.monotonic() - begin
        minute = stage.traffic.now().since(counts, lasted)
    return {
        "percent": round(spent / lasted * 100, 2),
        "rss_mib": rss_mib(stage.pid),
        "minute": minute,
    }
