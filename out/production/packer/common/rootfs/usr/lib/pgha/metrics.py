#!/usr/bin/python3 -sES
"""Gives out what watch.py wrote: GET /metrics and GET /status, and nothing else."""

import http.server
import os
import socket
import threading
import time
from typing import Any

FOLDER = os.path.join(os.environ.get("PGHA_RUN", "/run/pgha"), "metrics")
FILES = {
    "/metrics": ("pgha.prom", "text/plain; version=0.0.4; charset=utf-8"),
    "/status": ("status.json", "application/json"),
}
THREADS = 8
OLD = 30  # seconds: then watch.py no longer runs


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = 5
    server_version, sys_version = "pgha", ""

    def do_GET(self) -> None:
        """The file, if it is of now."""
        if self.path not in FILES:
            self.send_error(404)
            return
        name, kind = FILES[self.path]
        try:
            with open(os.path.join(FOLDER, name), "rb") as file:
                age = time.time() - os.fstat(file.fileno()).st_mtime
                text = file.read()
        except FileNotFoundError:
            self.send_error(503, "nothing has been measured yet")
            return
        if age > OLD:
            self.send_error(503, f"last measured {age:.0f} s ago")
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is no news."""


class Server(http.server.ThreadingHTTPServer):
    """A few requests at a time, each for a few seconds at most."""

    daemon_threads = True
    request_queue_size = 16
    patience = 10.0

    def __init__(self, address: tuple[str, int]) -> None:
        self.free = threading.BoundedSemaphore(THREADS)
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Binds without a look-up of the host's name, which HTTPServer does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves it, or closes it if too many are being served."""
        if not self.free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves it, and ends one that takes too long, such as of a slow client."""
        def end() -> None:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

        timer = threading.Timer(self.patience, end)
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def main() -> None:
    """Serves until it is stopped."""
    Server((os.environ["NODE_ADDRESS"], int(os.environ["PGHA_METRICS_PORT"]))).serve_forever()


if __name__ == "__main__":
    main()
