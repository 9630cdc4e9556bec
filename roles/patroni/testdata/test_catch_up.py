"""catch_up.py, with a PostgreSQL and an archive that answer as the test says."""

import unittest
from typing import Any

import catch_up

TWO = "1\t0/4000500\tno recovery target specified\n\n2\t0/4000800\tno recovery target specified\n"
ONE = "1\t0/3000500\tno recovery target specified\n2\t0/4000800\tno recovery target specified\n"
WANTED = "000000030000000000000004"
TAKEN = f"catch-up ok the leader cannot send {WANTED} to this node: it is taken from the archive"
NOT_YET = f"catch-up wait the leader cannot send {WANTED} to this node, and the archive does not have it yet"


class TestCatchUp(unittest.TestCase):
    """A replica takes from the archive what nobody can send to it, and nothing else."""

    def setUp(self) -> None:
        self.streaming, self.there, self.encrypted = False, True, True
        self.state: dict[str, Any] = {"segment": 16 << 20, "position": "0/4000000", "folder": "/data", "history": ["00000003.history", TWO]}
        self.trouble = ""
        self.took: list[str] = []
        self.said: list[str] = []
        self.one = catch_up.CatchUp("p1", self.streams, lambda _: self.state, lambda: self.encrypted, self.take, lambda *words: self.said.append(" ".join(words)))

    def streams(self) -> bool:
        """This node's Patroni."""
        if self.trouble:
            raise ValueError(self.trouble)
        return self.streaming

    def take(self, folder: str, segment: str) -> bool:
        """The archive."""
        if self.there:
            self.took.append(f"{folder} {segment}")
        return self.there

    def run_for(self, seconds: int, leads: bool | None = False) -> None:
        """Time passes."""
        for now in range(1000, 1000 + seconds):
            self.one.look(now, leads)

    def test_stuck(self) -> None:
        """Two timelines began in the segment that it wants: the newest one's file has all of it."""
        self.run_for(20)
        self.assertEqual(self.took, [], "it may just have started")
        self.run_for(25)
        self.assertEqual((self.took, self.said), ([f"/data {WANTED}"], [TAKEN]))

    def test_within_the_segment(self) -> None:
        """It was lost between the two."""
        self.state["position"] = "0/4000600"
        self.run_for(25)
        self.assertEqual(self.took, [f"/data {WANTED}"])

    def test_not_archived_yet(self) -> None:
        """Said once, and asked for again."""
        self.there = False
        self.run_for(45)
        self.assertEqual(self.said, [NOT_YET])
        self.there = True
        self.one.look(1050, False)
        self.assertEqual((self.took, self.said), ([f"/data {WANTED}"], [NOT_YET, TAKEN]))

    def test_left_alone(self) -> None:
        """What the leader can send, it sends."""
        for name, change in (
            ("each timeline began in a segment of its own", {"history": ["00000003.history", ONE]}),
            ("a segment before", {"position": "0/3FFFFFF"}),
            ("a segment after", {"position": "0/5000000"}),
            ("no timeline but the first", {"history": None}),
            ("no position yet", {"position": None}),
        ):
            with self.subTest(name):
                before = dict(self.state)
                self.state.update(change)
                self.run_for(60)
                self.assertEqual((self.took, self.said), ([], []))
                self.state = before

    def test_in_clear(self) -> None:
        """Who may write to the bucket would say what this node runs."""
        self.encrypted = False
        self.run_for(60)
        self.assertEqual((self.took, self.said), ([], [
            f"catch-up warn the leader cannot send {WANTED} to this node, and the archive is not encrypted: copy it anew (pgha-gen cluster reinit p1 --yes)"]))

    def test_streams(self) -> None:
        """It streams, or did a moment ago."""
        self.streaming = True
        self.run_for(60)
        self.streaming = False
        self.one.look(1060, False)
        self.one.look(1070, False)
        self.assertEqual(self.took, [])
        self.one.look(1080, False)
        self.assertEqual(self.took, [f"/data {WANTED}"])

    def test_no_replica(self) -> None:
        """The leader waits for nobody's WAL; and who does not know that it is none does nothing."""
        self.run_for(60, True)
        self.run_for(60, None)
        self.assertEqual((self.took, self.said), ([], []))

    def test_no_history(self) -> None:
        """A file that is none of PostgreSQL's ends nothing."""
        self.state["history"] = ["00000003.history", "1\n"]
        self.run_for(60)
        self.assertEqual((self.took, self.said), ([], [
            "catch-up warn this node does not stream from the leader, and gets nothing from the archive: '1' is no line of a timeline's history"]))

    def test_trouble(self) -> None:
        """Said once, and that it is over, too."""
        def take(_folder: str, _segment: str) -> bool:
            raise ValueError("object storage does not answer")

        self.one.take = take
        self.run_for(60)
        self.streaming = True
        self.one.look(1070, False)
        self.one.look(1080, False)
        self.assertEqual(self.said, [
            "catch-up warn this node does not stream from the leader, and gets nothing from the archive: object storage does not answer",
            "catch-up ok this node streams from the leader again"])

    def test_leads_then(self) -> None:
        """A moment in which Patroni says nothing forgets nothing."""
        self.there = False
        self.run_for(40)
        self.one.look(1045, None)
        self.one.look(1050, True)
        self.one.look(1060, True)
        self.assertEqual(self.said, [NOT_YET, "catch-up ok this node leads"])

    def test_silent(self) -> None:
        """Patroni does not answer: it says that itself."""
        self.trouble = "Patroni does not answer"
        self.run_for(60)
        self.assertEqual((self.took, self.said), ([], []))


if __name__ == "__main__":
    unittest.main()
