"""How does the CNI program come to need nothing of its host, neither Python nor a libc?

    python -m k8s_ovs_cni.standalone

compiles standalone.c. The host that does it needs a C compiler and the static C library: on Debian
the packages gcc and libc6-dev.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from k8s_ovs_cni import program as script
from k8s_ovs_cni.executable import PROGRAM, STANDALONE_SOURCE, stamp

__all__ = ["build"]

_LIMIT_S = 300
_FLAGS = ("-O2", "-static", "-s")


def build(program: Path = PROGRAM, *flags: str) -> None:
    """Write the program, which has answered VERSION by then. flags: more of them for the compiler.

    Raises OSError, subprocess.TimeoutExpired, RuntimeError with the words of the compiler or of
    the program.
    """
    with tempfile.TemporaryDirectory(prefix=".k8s-ovs-program-", dir=program.parent) as directory:
        made = Path(directory, program.name)
        defines = [f"-D{name}={value}" for name, value in _definitions().items()]
        _run(["cc", *_FLAGS, *flags, *defines, str(STANDALONE_SOURCE), "-o", str(made)])
        _run([str(made)], {"CNI_COMMAND": "VERSION"})
        made.chmod(0o755)
        made.replace(program)


def _definitions() -> dict[str, str]:
    """What standalone.c leaves open: texts and numbers as C writes them."""
    return {
        "STAMP": json.dumps(stamp()),
        "SOCKET": json.dumps(script.SOCKET.decode()),
        "TIMEOUT_MS": str(round(script.TIMEOUT * 1e3)),
        "VERSIONS": ",".join(json.dumps(each.decode()) for each in script.VERSIONS),
    }


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {said}")


if __name__ == "__main__":
    try:
        build()
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        sys.exit(f"error: {error}")
    print(f"made {PROGRAM}")
