"""Tests of check_parameters.py: what it asks the server, and what it passes on."""

import getpass
import os
import tempfile
import unittest

import check_parameters


class CheckTest(unittest.TestCase):
    """A server that is a script."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_parameters(self) -> None:
        os.makedirs(os.path.join(self.folder, "etc/patroni"))
        for name, text in (
            ("bootstrap.yml", "bootstrap: {dcs: {postgresql: {parameters: {max_connections: 300, work_mem: 1MB}}}}"),
            ("config.yml", "postgresql: {parameters: {work_mem: 2MB, jit: false}}"),
        ):
            with open(os.path.join(self.folder, "etc/patroni", name), "w", encoding="ascii") as file:
                file.write(text)
        self.assertEqual(check_parameters.parameters(self.folder), {"max_connections": 300, "work_mem": "2MB", "jit": False})

    def refused(self, lines: str) -> str:
        """What is said of a server that does so."""
        server = os.path.join(self.folder, "postgres.sh")
        with open(server, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n" + lines + "\n")
        os.chmod(server, 0o755)
        os.chmod(self.folder, 0o755)
        check_parameters.SERVER = server
        return check_parameters.refused({"work_mem": "lots", "jit": False}, getpass.getuser())

    @unittest.skipUnless(os.getuid() == 0, "only root becomes the service's user")
    def test_refused(self) -> None:
        for name, lines, want in (
            ("takes them", '[ "$*" != "${*#-C max_connections -D /}" ] && [ -e "$4/postgresql.conf" ] && [ "$6 $8" = "work_mem=lots jit=False" ] && echo 300', ""),
            ("invalid", "echo '2026-01-01 [1] FATAL:  invalid value for parameter \"work_mem\": \"lots\"' >&2; exit 1",
             'invalid value for parameter "work_mem": "lots"'),
            ("silent", "exit 3", "PostgreSQL does not start with these parameters"),
        ):
            with self.subTest(name):
                self.assertEqual(self.refused(lines), want)


if __name__ == "__main__":
    unittest.main()
