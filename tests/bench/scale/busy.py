"""What does a daemon cost while the cluster lives as clusters do?"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from tests.bench.machine import processor
from tests.bench.scale.living import trace
from tests.bench.scale.stage import Progress, Stage

__all__ = ["measure"]


def measure(stage: Stage, seconds: float, progress: Progress) -> dict[str, Any]:
    """{"percent": of a core, "minute": as of an idle one, "changes": how many of each there were,
    "late_s": how late the last one was made}."""
    happening = list(trace(stage.living, seconds, stage.cluster.seed))
    progress(f"{seconds:g} s of a cluster that lives: {len(happening)} changes")
    with stage.traffic.counted(str(stage.node.address)):
        counts, before, begin = stage.traffic.now(), processor(stage.pid), time.monotonic()
        for at, change in happening:
            time.sleep(max(0.0, begin + at - time.monotonic()))
            stage.apply(change)
        late = time.monotonic() - begin - (happening[-1][0] if happening else 0.0)
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        spent, lasted = processor(stage.pid) - before, time.monotonic() - begin
        minute = stage.traffic.now().since(counts, lasted)
    return {
        "percent": round(spent / lasted * 100, 2),
        "minute": minute,
        "changes": dict(Counter(change.what for _, change in happening)),
        "late_s": round(late, 1),
    }
