"""Tests of metrics.py: what it gives out, and that nobody holds it up."""

import http.client
import os
import socket
import tempfile
import threading
import time
import unittest

import metrics


class MetricsTest(unittest.TestCase):
    """A server on this host's loopback."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        metrics.FOLDER = folder.name
        self.file = os.path.join(folder.name, "pgha.prom")
        for name, text in (("pgha.prom", "pgha_ready 1\n"), ("status.json", '{"ready": true}\n')):
            with open(os.path.join(folder.name, name), "w", encoding="ascii") as file:
                file.write(text)
        self.server = metrics.Server(("127.0.0.1", 0))
        self.server.patience = 1.0
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def ask(self, method: str, path: str) -> tuple[int, str, str]:
        """Status, type and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
        finally:
            connection.close()

    def test_metrics(self) -> None:
        self.assertEqual(self.ask("GET", "/metrics"), (200, "text/plain; version=0.0.4; charset=utf-8", "pgha_ready 1\n"))

    def test_status(self) -> None:
        self.assertEqual(self.ask("GET", "/status"), (200, "application/json", '{"ready": true}\n'))

    def test_nothing_else(self) -> None:
        for method, path, status in (
            ("GET", "/", 404), ("GET", "/metrics/", 404), ("GET", "/metrics?x", 404), ("GET", "/../etc/passwd", 404), ("GET", "/status.json", 404),
            ("POST", "/metrics", 501), ("HEAD", "/metrics", 501), ("PUT", "/x", 501), ("DELETE", "/metrics", 501),
        ):
            with self.subTest(f"{method} {path}"):
                self.assertEqual(self.ask(method, path)[0], status)

    def test_old(self) -> None:
        then = time.time() - 31
        os.utime(self.file, (then, then))
        self.assertEqual(self.ask("GET", "/metrics")[0], 503)

    def test_none(self) -> None:
        os.unlink(self.file)
        self.assertEqual(self.ask("GET", "/metrics")[0], 503)

    def test_silent_clients(self) -> None:
        silent = [socket.create_connection(("127.0.0.1", self.server.server_port)) for _ in range(metrics.THREADS)]
        time.sleep(0.3)
        # One more is sent away, and not served when it is too late.
        with socket.create_connection(("127.0.0.1", self.server.server_port)) as more:
            more.settimeout(0.5)
            self.assertEqual(more.recv(1), b"")
        for client in silent:
            client.sendall(b"G")  # a byte now and then
        time.sleep(1.2)
        self.assertEqual(self.ask("GET", "/metrics")[0], 200)
        for client in silent:
            client.close()


if __name__ == "__main__":
    unittest.main()
