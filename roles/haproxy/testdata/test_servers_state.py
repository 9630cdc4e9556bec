"""Tests of servers_state.py: what a reload keeps, against a socket that answers as HAProxy does."""

import os
import socket
import tempfile
import threading
import unittest

import servers_state

HEAD = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state\n"
KNOWN = HEAD + "3 primary 1 demo-pg-1 10.0.0.1 2\n3 primary 2 demo-pg-2 10.0.0.2 0\n\n"
GIVEN = HEAD + "3 primary 1 demo-pg-1 - 0\n3 primary 2 demo-pg-4 - 0\n4 replicas 1 demo-pg-1 - 0\n"


class StateTest(unittest.TestCase):
    """What HAProxy knows wins; what it does not know is down."""

    def test_merged(self) -> None:
        self.assertEqual(
            servers_state.merged(KNOWN, GIVEN),
            HEAD + "3 primary 1 demo-pg-1 10.0.0.1 2\n3 primary 2 demo-pg-2 10.0.0.2 0\n"
            "3 primary 2 demo-pg-4 - 0\n4 replicas 1 demo-pg-1 - 0\n")

    def test_main(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            servers_state.RUN, servers_state.GIVEN = folder, os.path.join(folder, "given")
            with open(servers_state.GIVEN, "w", encoding="ascii") as file:
                file.write(GIVEN)
            server = socket.socket(socket.AF_UNIX)
            self.addCleanup(server.close)
            server.bind(os.path.join(folder, "admin.sock"))
            server.listen()

            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    self.asked = connection.recv(100)
                    connection.sendall(KNOWN.encode())

            thread = threading.Thread(target=answer)
            thread.start()
            servers_state.main()
            thread.join()
            self.assertEqual(self.asked, b"show servers state\n")
            with open(os.path.join(folder, "servers.state"), encoding="ascii") as file:
                self.assertEqual(file.read(), servers_state.merged(KNOWN, GIVEN))

    def test_leaders(self) -> None:
        for known, want in (
            (KNOWN, ["demo-pg-1"]),
            (GIVEN, []),
            (HEAD + "4 replicas 1 demo-pg-1 10.0.0.1 2\n", []),  # that one follows
            (HEAD + "3 primary 1 demo-pg-1 10.0.0.1 2\n3 primary 2 demo-pg-2 10.0.0.2 2\n", ["demo-pg-1", "demo-pg-2"]),
            (HEAD + "3 primary\n\n", []),
            ("", []),
        ):
            with self.subTest(known=known):
                self.assertEqual(servers_state.leaders(known), want)

    def test_silent(self) -> None:
        failed, passed = " 0 1 1 8 15 2", " 0 1 1 8 15 3"  # srv_check_result
        old = "3 primary 1 demo-pg-1 10.0.0.1 2"
        new = "3 primary 2 demo-pg-2 10.0.0.2 2" + passed + "\n"
        for name, known, want in (
            ("another one leads", HEAD + old + failed + "\n" + new, ["demo-pg-1"]),
            ("nobody else does", HEAD + old + failed + "\n", []),
            ("it answers", HEAD + old + passed + "\n" + new, []),
            ("nothing", "", []),
        ):
            with self.subTest(name):
                self.assertEqual(servers_state.silent(known), want)

    def test_nobody_answers(self) -> None:
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(OSError):
            servers_state.ask(os.path.join(folder, "admin.sock"), "x")


if __name__ == "__main__":
    unittest.main()
