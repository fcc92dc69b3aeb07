"""What have daemons left beside their socket on this host?"""

from __future__ import annotations

from pathlib import Path

from k8s_ovs.node.install.cni_config import SOCKET

__all__ = ["run_files"]


def run_files(cni_socket: Path) -> list[Path]:
    """What daemons have left beside their socket, then the directory if that is all that is in it.

    A directory where no daemon has been stays, unless it is the usual one.
    """
    directory = cni_socket.parent
    if not directory.is_dir():
        return []
    there = sorted(directory.iterdir())
    # Half-made ones of a daemon that was killed, too: see `listener` and `status_file`.
    names = {cni_socket.name, "status.json", "status.new"}
    own = [
        path for path in there if path.name in names or path.name.startswith(f".{cni_socket.name}.")
    ]
    whole = len(own) == len(there) and (own or cni_socket == SOCKET)
    return [*own, directory] if whole else own
