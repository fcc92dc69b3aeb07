"""A web server that says who it is and who asked: `python3 server.py NAME`.

It is run by file, so that a pod of the demonstration needs nothing but an interpreter.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["PORT"]

PORT = 8080


class _Who(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = f"{sys.argv[1]} was asked by {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the answer says it all."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), _Who).serve_forever()
