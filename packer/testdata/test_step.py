"""Tests of step.py: the console, the record of steps, files written whole."""

import os
import tempfile
import unittest

import step


class StepTest(unittest.TestCase):
    """A machine below a folder."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_say(self) -> None:
        step.STEPS = os.path.join(self.folder, "steps")
        step.CONSOLE = os.path.join(self.folder, "console")
        step.Console("demo-pg-1").say("refresh", "fail", "two\nlines")
        with open(step.CONSOLE, encoding="utf-8") as file:
            console = file.read().split(" ", 2)
        self.assertEqual(console[2], "demo-pg-1 refresh fail two lines\n")
        with open(os.path.join(step.STEPS, "refresh"), encoding="utf-8") as file:
            self.assertEqual(file.read(), f"{console[1]} fail two lines\n")
        self.assertEqual(os.listdir(step.STEPS), ["refresh"])

    def test_say_without_a_place(self) -> None:
        step.STEPS = step.CONSOLE = "/proc/nowhere/x"
        step.Console("demo-pg-1").say("refresh", "ok", "said all the same")

    def test_write(self) -> None:
        path = os.path.join(self.folder, "x.prom")
        os.umask(0o077)
        step.write(path, "a 1\n")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)
        self.assertEqual(os.listdir(self.folder), ["x.prom"])

    def test_digest(self) -> None:
        # printf '#cloud-config' | sha256sum; cloudinit.Digest has the same.
        self.assertEqual(step.digest(b"#cloud-config"), "a1b0542e7cce032c")
        self.assertEqual(step.digest(b"#cloud-config\n\n"), step.digest(b"#cloud-config"))


if __name__ == "__main__":
    unittest.main()
