"""Tests of order.py: who missed a change, and who was told to go back."""

import unittest

import order
import step


class OrderTest(unittest.TestCase):
    """What is known in etcd, and what a machine had, oldest first."""

    def test_newer(self) -> None:
        for reason, known, own, want in (
            ("a new cluster", "", "d1", ""),
            ("a machine that does not know what it has", "d1", "", ""),
            ("nothing changed", "d1 d2", "d2", ""),
            ("a change that arrives", "d1", "d1 d2", ""),
            ("a new machine with a change that nobody else has yet", "d1", "d2", ""),
            ("it missed a change", "d1 d2", "d1", "d2"),
            ("it missed all since it was made", "d1 d2 d3", "d0 d1", "d3"),
            ("it was told to go back", "d1 d2", "d1 d2 d1", ""),
            ("the others were told to go back, and it was not", "d1 d2 d1", "d2", "d1"),
            ("the same, and it had been where they are before", "d1 d2 d1", "d1 d2", "d1"),
            ("what it had before anybody kept it does not matter", "d1 d2", "d0 d1", "d2"),
            ("nor what it had first", "d1 d2", "d0 d1 d2", ""),
        ):
            with self.subTest(reason):
                self.assertEqual(order.newer(known.split(), own.split()), want)

    def test_follow(self) -> None:
        for reason, known, own, want in (
            ("a new cluster", "", "d1", "d1"),
            ("nothing changed", "d1 d2", "d2", "d1 d2"),
            ("a change", "d1", "d1 d2", "d1 d2"),
            ("two, of which the first was never applied: a machine may have stopped at it", "d1", "d1 d2 d3", "d1 d2 d3"),
            ("back, and forth", "d1 d2", "d1 d2 d1", "d1 d2 d1"),
            ("a new machine", "d1", "d2", "d1 d2"),
            ("one that has been where the others are again", "d1 d2 d1", "d1", "d1 d2 d1"),
            ("what it had before anybody kept it does not matter", "d1 d2", "d0 d1 d2", "d1 d2"),
            ("a machine that does not know what it has", "d1", "", "d1"),
        ):
            with self.subTest(reason):
                self.assertEqual(order.follow(known.split(), own.split()), want.split())

    def test_lived(self) -> None:
        for reason, own, met, want in (
            ("it never had what is newest", "d2", None, "d2"),
            ("it had what is newest when it was made", "d1", ("d1", "d1 d2 d1"), "d1 d2 d1"),
            ("and something since", "d1 d2", ("d1", "d1 d2 d1"), "d1 d2 d1 d2"),
            ("what it keeps of its own is not all any more", "d2 d3", ("d1 d2", "d1 d2"), "d2 d3"),
        ):
            with self.subTest(reason):
                self.assertEqual(order.lived(own.split(), order.Met(met[0].split(), met[1].split()) if met else None), want.split())

    def test_length(self) -> None:
        known = [f"d{n}" for n in range(step.REMEMBERED)]
        self.assertEqual(order.follow(known, [known[-1], "new"]), [*known[1:], "new"])


if __name__ == "__main__":
    unittest.main()
