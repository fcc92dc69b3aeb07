"""The embedded API server: `python -m k8s_ovs_testing.apiserver --listen HOST:PORT`."""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import sys
import threading
from pathlib import Path

from k8s_ovs_testing.apiserver.server import ApiHttpServer
from k8s_ovs_testing.apiserver.store import Store
from k8s_ovs_testing.apiserver.write import Writer

__all__ = ["main"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="k8s_ovs_testing.apiserver", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument(
        "--history", type=int, default=10_000, help="changes that a watch may lag behind"
    )
    parser.add_argument(
        "--bookmark-interval", type=float, default=60.0, help="seconds of silence before a bookmark"
    )
    parser.add_argument(
        "--service-range", type=ipaddress.IPv4Network, default="10.96.0.0/12", metavar="CIDR"
    )
    parser.add_argument(
        "--load", type=Path, metavar="FILE", help="objects to begin with, one in a line, as JSON"
    )
    return parser.parse_args()


def _load(writer: Writer, path: Path) -> None:
    with path.open() as lines:
        for line in lines:
            writer.load(json.loads(line))


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    arguments = _arguments()
    host, _, port = arguments.listen.rpartition(":")
    writer = Writer(Store(arguments.history), arguments.service_range)
    try:
        if arguments.load:
            _load(writer, arguments.load)
    except (OSError, ValueError, LookupError, TypeError) as error:
        print(f"cannot load {arguments.load}: {error!r}", file=sys.stderr)
        return 1
    writer.begin()
    try:
        server = ApiHttpServer((host, int(port)), writer, arguments.bookmark_interval)
    except (OSError, ValueError) as error:
        print(f"cannot listen on {arguments.listen}: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the loop that this very thread runs, so another must call it.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    bound = ":".join(str(part) for part in server.server_address[:2])
    print(f"serving on http://{bound}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
