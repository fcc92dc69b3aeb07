"""How does the CNI program come to need nothing of its host, neither Python nor a libc?

    python -m k8s_ovs_cni.standalone

links it with the interpreter that runs this. The host that does it needs a compiler and the static
libraries of Python and C: on Debian the packages gcc, libc6-dev and libpython3-dev.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from k8s_ovs_cni.executable import MAIN, PROGRAM, code, stamp

__all__ = ["build"]

_LIMIT_S = 300
_ARRAY = "static const unsigned char {name}[] = {{{code}}};\n"


def build(program: Path = PROGRAM) -> None:
    """Write the program, which has answered VERSION by then. Raises OSError,
    subprocess.TimeoutExpired, RuntimeError with the words of the compiler or of the program."""
    library = Path(sysconfig.get_config_var("LIBPL"), sysconfig.get_config_var("LIBRARY"))
    if not library.exists():
        raise RuntimeError(f"{library} is missing: Python's static library (libpython3-dev)")
    with tempfile.TemporaryDirectory(prefix=".k8s-ovs-program-", dir=program.parent) as directory:
        Path(directory, "program.h").write_text(_header())
        made = Path(directory, program.name)
        includes = [directory, *(sysconfig.get_path(name) for name in ("include", "platinclude"))]
        command = ["cc", "-O2", "-static", "-s", *(f"-I{each}" for each in includes), str(MAIN)]
        _run([*command, str(library), "-lm", "-o", str(made)])
        # It relies on private parts of CPython: a program that does not start must not be kept.
        _run([str(made)], {"CNI_COMMAND": "VERSION"})
        made.chmod(0o755)
        made.replace(program)


def _header() -> str:
    """What standalone.c includes."""
    bootstrap = Path(sysconfig.get_path("stdlib"), "importlib", "_bootstrap.py")
    arrays = {"program": code(), "bootstrap": code(bootstrap, "<frozen importlib._bootstrap>")}
    return f'#define STAMP "{stamp()}"\n' + "".join(
        _ARRAY.format(name=name, code=",".join(map(str, each))) for name, each in arrays.items()
    )


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
