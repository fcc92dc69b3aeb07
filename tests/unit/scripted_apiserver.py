"""An HTTP server whose answers a test chooses: what the embedded API server never says."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["LINE", "ScriptedApiServer"]

#: What a watch says, twice.
LINE = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1"}}}'


class ScriptedApiServer:
    """Serves /version and, below any other path, a watch of two lines.

    version_status: None, it never answers. watch_silence: seconds between the two lines.

    bodies: by path, what is answered to whoever does not ask for a watch, with `headers`; asked:
    how often. watch_body: what a watch
    is in place of the two lines; watch_open: seconds until it ends. watches: how many were asked
    for.
    """

    def __init__(self) -> None:
        self.version_status: int | None = 200
        self.version_headers: dict[str, str] = {}
        self.watch_headers: dict[str, str] = {}
        self.watch_chunked = True
        self.watch_silence = 0.0
        self.bodies: dict[str, tuple[int, bytes]] = {}
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.watch_body: bytes | None = None
        self.watch_open = 0.0
        self.watches = 0
        self._ended = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """No news."""

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                watches = "watch=true" in query
                if not watches and path in script.bodies:
                    script._say(self, *script.bodies[path])
                elif path == "/version":
                    script._say_version(self)
                elif watches and script.watch_body is not None:
                    script._say_watch(self, script.watch_body)
                else:
                    script._watch(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ScriptedApiServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _say_version(self, request: BaseHTTPRequestHandler) -> None:
        if self.version_status is None:
            self._ended.wait()
            return
        request.send_response(self.version_status)
        for name, value in self.version_headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"{}")

    def _say(self, request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        self.asked += 1
        request.send_response(status)
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _say_watch(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.watches += 1
        request.send_response(200)
        request.close_connection = True
        request.end_headers()
        request.wfile.write(body)
        request.wfile.flush()
        self._ended.wait(self.watch_open)

    def _watch(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        for name, value in self.watch_headers.items():
            request.send_header(name, value)
        if self.watch_chunked:
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.close_connection = True
        request.end_headers()
        for wait in (self.watch_silence, 30.0):
            data = LINE + b"\n"
            request.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if self.watch_chunked else data)
            self._ended.wait(wait)
