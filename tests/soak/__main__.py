"""`make soak`: an hour of requests, with kill -9 of the daemon and of the CNI program.

    python -m tests.soak [--requests 100000] [--every 10000] [--kill-every 20] [--seed 1]

In the first half of the requests the daemon is killed now and then; in the second half it lives on
and its memory may not grow. Ends with status 1 where something was left over, or memory grew.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import Checkpoint, Soak

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_cni.standalone import build
from k8s_ovs_lab import Lab, LabSettings

#: How much more memory than after the first part may be in use in the end.
_GROWTH = 1.1


def main() -> int:
    wanted = _parse()
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "k8s-ovs"
        build(program)
        lab = Lab.up(LabSettings(name="soak", nodes=1, plugin="k8s-ovs-multitenant"), report=_say)
        soak = Soak(lab, program, wanted.seed, _tell)
        try:
            soak.run(wanted.requests // 2, wanted.every, wanted.kill_every)
            every = min(wanted.every, wanted.requests // 4)
            _say(f"{soak.kills} times the daemon was killed; from now on it lives")
            found = soak.run(wanted.requests - wanted.requests // 2, every, kill_every=0)
        except K8sOvsError as error:
            _say(f"after {soak.requests} requests: {error}")
            return 1
        finally:
            soak.close()
            lab.down(_say)
    return _judge(found[1:])


def _judge(lived: list[Checkpoint]) -> int:
    """The first part fills caches and pools, so there are at least two."""
    first, last = lived[0].memory, lived[-1].memory
    grown = [name for name in last if last[name] > _GROWTH * first[name]]
    for name in grown:
        _say(f"{name}: found {last[name]} MiB, expected no more than the {first[name]} of before")
    if not grown:
        _say("nothing was left over, and memory is flat")
    return 1 if grown else 0


def _tell(found: Checkpoint) -> None:
    memory = ", ".join(f"{name} {mib} MiB" for name, mib in found.memory.items())
    _say(
        f"{found.seconds:.0f} s: {found.requests} requests, {found.failures} of them refused; "
        f"nothing left over; {memory}"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"soak: {text}\n")
    sys.stdout.flush()


def _parse() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--requests", type=int, default=100_000, help="(100000)")
    parser.add_argument("--every", type=int, default=10_000, help="requests per checkpoint (10000)")
    parser.add_argument("--kill-every", type=float, default=20.0, help="seconds (20)")
    parser.add_argument("--seed", type=int, default=1, help="of what is asked when (1)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
