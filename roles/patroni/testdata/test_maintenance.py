"""Tests of maintenance.py: what an event makes this node do, and what ends it."""

import os
import tempfile
import unittest

import maintenance
import stand_aside
from patroni_api import Answer
from test_stand_aside import Fake


class FakeMetadata:
    """Metadata that announces what the test says."""

    def __init__(self) -> None:
        self.event = b"NONE"
        self.answers = True
        self.waits: list[float] = []

    def value(self, path: str, wait: float) -> bytes:
        """As the test says."""
        assert path == "instance/maintenance-event"
        self.waits.append(wait)
        if not self.answers:
            raise ConnectionError("metadata does not answer")
        return self.event


class WatchTest(unittest.TestCase):
    """A node whose host is to be maintained, or is not."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.link = os.path.join(folder.name, "41-maintenance.yml")
        self.patroni, self.metadata = Fake(), FakeMetadata()
        self.said: list[str] = []

        def say(*words: str) -> None:
            self.said.append(" ".join(words))

        node = stand_aside.Node(self.patroni, self.link, maintenance.REASON, say)  # type: ignore[arg-type]
        self.watch = maintenance.Watch(node, self.metadata, say)  # type: ignore[arg-type]

    def turn(self, now: float) -> tuple[float, bool, list[str]]:
        """The seconds until the next turn, whether the tag is there, and what was done."""
        pause = self.watch.turn(now)
        return pause, os.path.lexists(self.link), self.patroni.take()

    def test_nothing(self) -> None:
        self.patroni.leader = True
        self.assertEqual(self.turn(0), (0, False, []))
        self.assertEqual(self.turn(60), (0, False, []))
        self.assertEqual(self.metadata.waits, [60, 60])
        self.assertEqual(self.said, [])

    def test_leader(self) -> None:
        self.patroni.leader, self.patroni.answer = True, Answer(200, 'Successfully switched over to "p2"')
        self.metadata.event = b"MIGRATE_ON_HOST_MAINTENANCE\n"
        self.assertEqual(self.turn(0), (1, False, ["hand over"]))
        self.patroni.leader = False
        self.assertEqual(self.turn(1), (1, True, ["reload"]))
        self.assertEqual(self.turn(2), (1, True, []))
        self.metadata.event = b"NONE"
        self.assertEqual(self.turn(3), (0, False, ["reload"]))
        self.assertEqual(self.turn(4), (0, False, []))
        self.assertEqual(self.metadata.waits, [60, 0, 0, 0, 60])
        self.assertEqual(self.said, [
            "maintenance warn metadata announces MIGRATE_ON_HOST_MAINTENANCE: until it is over this node shall not lead",
            'maintenance warn the machine\'s host is to be maintained, so another node leads: Successfully switched over to "p2"',
            "maintenance ok it is over: this node may lead again",
        ])

    def test_nobody_else_can_lead(self) -> None:
        self.patroni.leader, self.patroni.answer = True, Answer(412, "no good candidates have been found")
        self.metadata.event = b"TERMINATE_ON_HOST_MAINTENANCE"
        for now, want in ((0, ["hand over"]), (1, []), (5, ["hand over"])):
            self.assertEqual(self.turn(now), (1, False, want))
        self.assertEqual(self.said[1:], [
            "maintenance warn the machine's host is to be maintained, and this node leads: no other node can lead (412: no good candidates have been found)"])

    def test_silence(self) -> None:
        # What metadata said holds for ten minutes.
        self.metadata.event = b"MIGRATE_ON_HOST_MAINTENANCE"
        self.assertEqual(self.turn(1000), (1, True, ["reload"]))
        self.metadata.answers = False
        self.assertEqual(self.turn(1001), (1, True, []))
        self.assertEqual(self.turn(1599), (1, True, []))
        self.assertEqual(self.turn(1600), (1, False, ["reload"]))
        self.assertEqual(self.turn(1601), (1, False, []))

    def test_left_behind(self) -> None:
        # The service was started again meanwhile; Patroni is not running yet.
        os.symlink("/usr/lib/pgha/nofailover.yml", self.link)
        self.patroni.runs = False
        self.assertEqual(self.turn(0), (1, False, []))
        self.patroni.runs = True
        self.assertEqual(self.turn(1), (0, False, ["reload"]))


if __name__ == "__main__":
    unittest.main()
