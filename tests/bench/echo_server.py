"""Says back what it hears, one connection after the other: `python3 -I -S echo_server.py PORT`."""

import socket
import sys

_BYTES = 4096


def main() -> None:
    """Never returns."""
    with socket.create_server(("", int(sys.argv[1])), backlog=64) as listening:
        while True:
            connection = listening.accept()[0]
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _say_back(connection)


def _say_back(connection: socket.socket) -> None:
    try:
        while said := connection.recv(_BYTES):
            connection.sendall(said)
    except OSError:
        pass  # the client is gone


if __name__ == "__main__":
    main()
