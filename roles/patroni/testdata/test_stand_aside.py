"""Tests of stand_aside.py: who gets the tag, who hands over, and what is said."""

import os
import tempfile
import unittest

import stand_aside
from disk_full import REASON
from patroni_api import Answer


class Fake:
    """A Patroni that answers as the test says."""

    def __init__(self) -> None:
        self.leader: bool | None = False
        self.answer: Answer | None = None
        self.runs = True
        self.calls: list[str] = []

    def leads(self) -> bool | None:
        """As the test says."""
        return self.leader

    def hand_over(self) -> Answer | None:
        """Counts."""
        self.calls.append("hand over")
        return self.answer

    def reload(self) -> bool:
        """Counts."""
        if self.runs:
            self.calls.append("reload")
        return self.runs

    def take(self) -> list[str]:
        """The calls since."""
        taken, self.calls = self.calls, []
        return taken


class NodeTest(unittest.TestCase):
    """A node with a full disk."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.config = os.path.join(folder.name, "config")
        os.mkdir(self.config)
        self.link = os.path.join(self.config, "40-disk-full.yml")
        self.patroni = Fake()
        self.said: list[str] = []
        self.node = stand_aside.Node(self.patroni, self.link, REASON, lambda *words: self.said.append(" ".join(words)))  # type: ignore[arg-type]

    def look(self, now: float) -> tuple[bool, list[str]]:
        """Is the tag there, and what was done?"""
        self.node.look(now)
        return os.path.lexists(self.link), self.patroni.take()

    def test_replica(self) -> None:
        self.assertEqual(self.look(0), (True, ["reload"]))
        self.assertEqual(os.readlink(self.link), stand_aside.TAG)
        self.assertEqual(self.look(1), (True, []))
        os.unlink(self.link)  # Patroni was started again
        self.assertEqual(self.look(2), (True, ["reload"]))
        self.assertEqual(self.said, [])

    def test_leader(self) -> None:
        self.patroni.leader, self.patroni.answer = True, Answer(412, "no good candidates have been found")
        self.assertEqual(self.look(0), (False, ["hand over"]))
        self.assertEqual(self.look(1), (False, []))
        self.assertEqual(self.look(5), (False, ["hand over"]))
        self.assertEqual(self.look(61), (False, ["hand over"]))
        self.assertEqual(self.said, ["disk warn the disk is full, and this node leads: no other node can lead (412: no good candidates have been found);"
                                     " delete data, or make the data disk larger"] * 2)
        self.patroni.answer = Answer(200, 'Successfully switched over to "p2"')
        self.look(70)
        self.assertEqual(self.said[2:], ['disk warn the disk is full, so another node leads: Successfully switched over to "p2"'])
        self.patroni.leader = False
        self.assertEqual(self.look(71), (True, ["hand over", "reload"][1:]))

    def test_silence(self) -> None:
        self.patroni.leader = True
        self.look(0)
        self.assertIn("Patroni does not answer", self.said[0])
        # A leader that does not answer for a moment keeps its replicas' slots.
        self.patroni.leader = None
        self.assertEqual(self.look(1), (False, []))

    def test_becomes_leader(self) -> None:
        self.look(0)
        self.patroni.leader = True
        self.assertEqual(self.look(10), (False, ["reload", "hand over"]))

    def test_starting(self) -> None:
        self.patroni.runs, self.patroni.leader = False, None
        self.assertEqual(self.look(0), (True, []))
        self.patroni.runs = True
        self.assertEqual(self.look(1), (True, ["reload"]))

    def test_no_configuration_yet(self) -> None:
        os.rmdir(self.config)
        self.assertEqual(self.look(0), (False, []))


if __name__ == "__main__":
    unittest.main()
