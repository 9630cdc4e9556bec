"""beside.py, with programs of this user."""

import os
import tempfile
import time
import unittest
from unittest import mock

import beside


def runs(pid: int) -> bool:
    """Is it there, and not only waited for?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end_of(program: beside.Beside) -> tuple[int, str] | None:
    """How it ended; None: it does not."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ended = program.ended()
        if ended:
            return ended
        time.sleep(0.01)
    return None


class TestBeside(unittest.TestCase):
    """A program that runs beside."""

    def test_says_much(self) -> None:
        """More than a pipe holds, before anybody reads it: the end of it is kept."""
        much = 3 * beside.LARGEST
        program = beside.Beside(["sh", "-c", f"head -c {much} /dev/zero | tr '\\0' x; echo end >&2; exit 3"])
        self.assertEqual(end_of(program), (3, (beside.LARGEST - 4) * "x" + "end\n"))

    def test_says_no_text(self) -> None:
        """What is no UTF-8 is shown as such."""
        self.assertEqual(end_of(beside.Beside(["printf", "a\\377"])), (0, "a\ufffd"))

    def test_end(self) -> None:
        """With all that it started, as the user whose they are."""
        with (
                tempfile.TemporaryDirectory() as folder, mock.patch.object(beside, "PATIENCE", 1),
                mock.patch.object(beside, "as_postgres", lambda *arguments: list(arguments))):
            for ignores in ("", "trap '' TERM; "):
                pipe = f"{folder}/{len(ignores)}"
                os.mkfifo(pipe)
                program = beside.Beside(["sh", "-c", f"{ignores}sleep 60 & echo $! >{pipe}; wait"])
                with open(pipe, encoding="ascii") as answer:
                    child = int(answer.readline())
                self.assertIsNone(program.ended())
                program.end()
                self.assertIsNotNone(program.process.returncode)
                deadline = time.monotonic() + 5
                while runs(child) and time.monotonic() < deadline:
                    time.sleep(0.01)
                self.assertFalse(runs(child), ignores)


if __name__ == "__main__":
    unittest.main()
