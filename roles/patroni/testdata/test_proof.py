"""proof.py, with a pgBackRest and a Patroni that answer as the test says."""

import json
import unittest
from typing import Any

import proof

DAY = 86400
NOON = 1772366400.0  # of 2026-03-01, in UTC


def made(label: str, stop: float, error: bool = False, **found: Any) -> dict[str, Any]:
    """A backup as pgBackRest's info has it."""
    backup: dict[str, Any] = {"label": label, "timestamp": {"start": int(stop) - 60, "stop": int(stop)}, "info": {"size": 100}, "error": error}
    if found:
        rest = {"ok": {"restored": 1, "checked": 1, "instant": 7, "rows": 1, "tables": 1, "of": 1}, "failed": {"why": "checksum"}}.get(found["status"], {})
        backup["annotation"] = {"pgha-proof": json.dumps({"node": "c", **rest, **found})}
    return backup


class TestDue(unittest.TestCase):
    """Which backup is to be proved."""

    def test_due(self) -> None:
        """The first one, then one a week, and the one after a bad one."""
        for name, backups, days, want in [
            ("no backup", [], 7, None),
            ("the first", [made("A", NOON - 60)], 7, "A"),
            ("never, says the spec", [made("A", NOON - 60)], 0, None),
            ("it is proved", [made("A", NOON - 60, status="ok", at=int(NOON))], 7, None),
            ("and that of tomorrow is not yet due", [made("A", NOON - DAY, status="ok", at=int(NOON - DAY)), made("B", NOON - 60)], 7, None),
            ("a week later", [made("A", NOON - 7 * DAY, status="ok", at=int(NOON - 7 * DAY) + 900), made("B", NOON)], 7, "B"),
            ("a day early", [made("A", NOON - 6 * DAY, status="ok", at=int(NOON - 6 * DAY) + 900), made("B", NOON)], 7, None),
            ("the last was bad", [made("A", NOON - DAY, status="failed", at=int(NOON - DAY)), made("B", NOON)], 7, "B"),
            ("a bad one is not tried again", [made("A", NOON - DAY, status="failed", at=int(NOON - DAY))], 7, None),
            ("one runs", [made("A", NOON - 60, status="runs", node="c", at=int(NOON) - 30)], 7, None),
            ("one hangs", [made("A", NOON - 2 * DAY, status="runs", node="c", at=int(NOON) - DAY)], 7, "A"),
            ("its node is no replica any more", [made("A", NOON - 60, status="runs", node="d", at=int(NOON) - 30)], 7, "A"),
            ("this node was at it, and started anew", [made("A", NOON - 60, status="runs", node="b", at=int(NOON) - 30)], 7, "A"),
            ("one runs, and a newer backup is there", [made("A", NOON - DAY, status="runs", node="c", at=int(NOON) - 99), made("B", NOON)], 7, "B"),
            ("a damaged one is no backup", [made("A", NOON - DAY), made("B", NOON, True)], 7, "A"),
            ("only damaged ones", [made("B", NOON, True)], 7, None),
        ]:
            with self.subTest(name):
                found = proof.due(backups, days, NOON, ["a", "c"])
                self.assertEqual(found and found["label"], want)

    def test_of(self) -> None:
        """What is not in its form is nothing."""
        good = {"status": "ok", "at": 1, "node": "b", "restored": 1.5, "checked": 1, "instant": 7, "rows": 1, "tables": 1, "of": 1}
        self.assertEqual(proof.of({"annotation": {"pgha-proof": json.dumps({**good, "other": 2})}}), good)
        for change in ({"status": "x"}, {"status": []}, {"status": "later", "why": "x"}, {"status": "failed"}, {"at": "1"}, {"at": True}, {"node": 1}, {"rows": -1}, {"rows": 1 << 53}, {"restored": None}):
            self.assertIsNone(proof.of({"annotation": {"pgha-proof": json.dumps({**good, **change})}}), change)
        for text in ("", "x", "[]", "1", "{}", json.dumps(good).replace("1.5", "NaN"), json.dumps(good).replace("1.5", "Infinity")):
            self.assertIsNone(proof.of({"annotation": {"pgha-proof": text}}), text)
        self.assertIsNone(proof.of({"annotation": None}))
        self.assertIsNone(proof.of({}))

    def test_fit(self) -> None:
        """In the order of names, those that stream."""
        members = [
            {"name": "c", "role": "replica", "state": "streaming"}, {"name": "a", "role": "leader", "state": "running"},
            {"name": "b", "role": "sync_standby", "state": "streaming"}, {"name": "d", "role": "replica", "state": "starting"}]
        self.assertEqual(proof.fit(members), ["b", "c"])

    def test_order(self) -> None:
        """Another node looks again at what one found bad."""
        for done, want in [
            (None, "abc"), ({"status": "ok", "node": "a"}, "abc"), ({"status": "failed", "node": "a"}, "bca"), ({"status": "failed", "node": "x"}, "abc"),
        ]:
            self.assertEqual(proof.order(["c", "a", "b"], done), list(want))


class Process:
    """A proof that runs."""

    def __init__(self, stopped: list[Any]) -> None:
        self.status: int | None = None
        self.output = ""
        self.stopped = stopped

    def ended(self) -> tuple[int, str] | None:
        """As Beside's."""
        return None if self.status is None else (self.status, self.output)

    def end(self) -> None:
        """As Beside's."""
        self.stopped.append(self)


class TestProofs(unittest.TestCase):
    """A replica's work."""

    def setUp(self) -> None:
        self.backups = [made("A", NOON - 60)]
        self.members = [{"name": "b", "role": "replica", "state": "streaming"}, {"name": "c", "role": "replica", "state": "streaming"}]
        self.wrong: dict[str, str] = {}
        self.began: list[str] = []
        self.ended: list[Any] = []
        self.said: list[str] = []
        self.days = 7
        self.process = Process(self.ended)

    def node(self, name: str) -> proof.Proofs:
        """What a node does."""
        return proof.Proofs(
            name, self.run_pgbackrest, self.start, lambda: self.members, lambda: self.days,  # type: ignore[arg-type]
            lambda *line: self.said.append(" ".join(line)))

    def run_pgbackrest(self, *arguments: str) -> str:
        """What pgBackRest answers; it keeps annotations."""
        if arguments[0] in self.wrong:
            raise ValueError(self.wrong[arguments[0]])
        if arguments[0] == "annotate":
            backup = next(b for b in self.backups if arguments[1] == f"--set={b['label']}")
            value = arguments[2].removeprefix("--annotation=pgha-proof=")
            backup["annotation"] = {"pgha-proof": value} if value else None
        return json.dumps([{"status": {"code": 0, "message": "ok"}, "backup": self.backups}])

    def start(self, label: str, size: int) -> Any:
        """A proof begins."""
        self.began.append(f"{label} {size}")
        self.process = Process(self.ended)
        return self.process

    def known(self) -> Any:
        """What the newest backup says."""
        return proof.of(self.backups[-1])

    def test_proved(self) -> None:
        """One node does it, and the other sees that."""
        first, second = self.node("b"), self.node("c")
        for now in (NOON, NOON + 1):
            first.look(now, False)
            second.look(now, False)
        self.assertEqual(self.began, ["A 100"])
        self.assertEqual(self.known(), {"status": "runs", "at": int(NOON), "node": "b"})
        second.look(NOON + 3600, False)
        self.process.status = 0
        self.process.output = 'noise\n{"status": "ok", "restored": 12.4, "checked": 5.0, "instant": 7, "rows": 10, "tables": 3, "of": 3}\n'
        first.look(NOON + 18, False)
        self.assertEqual(self.said, [
            "proof wait backup A is restored beside and checked",
            "proof ok backup A was restored in 12 s and checked in 5 s: 10 rows in 3 tables as the replica had them"])
        self.assertEqual(self.known(), {"status": "ok", "restored": 12.4, "checked": 5.0, "instant": 7, "rows": 10, "tables": 3, "of": 3, "at": int(NOON) + 18, "node": "b"})
        for now in range(20, 9999, 30):
            first.look(NOON + now, False)
            second.look(NOON + now, False)
        self.assertEqual(self.began, ["A 100"])

    def test_as_each_week(self) -> None:
        """Whoever watches need not look at a proof that runs, if the last one was good."""
        week = 7 * 86400
        for status, want in [("ok", "ok"), ("failed", "wait")]:
            with self.subTest(status):
                self.setUp()
                self.backups = [made("A", NOON - week - 60, status=status, at=int(NOON) - week, node="b"), made("B", NOON - 60)]
                for node in (self.node("b"), self.node("c")):
                    node.look(NOON, False)
                self.assertEqual(self.said, [f"proof {want} backup B is restored beside and checked"])

    def test_second_in_turn(self) -> None:
        """If the first one cannot, the second one begins ten minutes later."""
        self.members[0]["state"] = "starting"
        self.members.append({"name": "a", "role": "replica", "state": "streaming"})
        second = self.node("c")
        second.look(NOON, False)
        second.look(NOON + 500, False)
        self.assertEqual(self.began, [])
        second.look(NOON + 540, False)
        self.assertEqual(self.began, ["A 100"])

    def test_failed(self) -> None:
        """It is said, and not tried again."""
        node = self.node("b")
        node.look(NOON, False)
        self.process.status, self.process.output = 0, '{"status": "failed", "why": "checksum"}'
        for now in (5, 100, 9999):
            node.look(NOON + now, False)
        self.assertEqual(self.said[1:], ["proof fail backup A cannot be relied on: checksum; a new one is made"])
        self.assertEqual(self.known(), {"status": "failed", "why": "checksum", "at": int(NOON) + 5, "node": "b"})
        self.assertEqual(len(self.began), 1)

    def test_taken_back(self) -> None:
        """Once another backup is proved, or this node leads, nothing is wrong any more."""
        node = self.node("b")
        node.look(NOON, False)
        self.process.status, self.process.output = 0, '{"status": "failed", "why": "checksum"}'
        node.look(NOON + 5, False)
        self.backups.append(made("B", NOON + 20, status="ok", at=int(NOON) + 30, node="c"))
        for now in (40, 80):
            node.look(NOON + now, False)
        self.assertEqual(self.said[2:], ["proof ok a backup was proved by c"])
        self.setUp()
        node = self.node("b")
        node.look(NOON, False)
        self.process.status, self.process.output = 0, '{"status": "later", "why": "no room"}'
        for now, leads in ((5, False), (6, True), (7, True)):
            node.look(NOON + now, leads)
        self.assertEqual(self.said[2:], ["proof ok replicas prove backups, and this node leads"])

    def test_later(self) -> None:
        """Nothing is known, and it is tried again after five minutes."""
        for said, why in [
            ('{"status": "later", "why": "no room"}', "no room"),
            ("Traceback\nValueError: x\n", "prove.py ends with: Traceback ValueError: x"),
            ("", "prove.py ends with: nothing"),
            ('{"status": "runs"}', 'prove.py ends with: {"status": "runs"}'),
            ('{"status": "ok", "restored": "x"}', 'prove.py ends with: {"status": "ok", "restored": "x"}'),
        ]:
            with self.subTest(said):
                self.setUp()
                node = self.node("b")
                node.look(NOON, False)
                self.process.status, self.process.output = 0, said
                node.look(NOON + 5, False)
                self.assertEqual(self.said[-1].replace("\n", " "), f"proof warn backup A is not proved: {why}; it is tried again")
                self.assertIsNone(self.known())
                node.look(NOON + 300, False)
                self.assertEqual(len(self.began), 1)
                node.look(NOON + 306, False)
                self.assertEqual(len(self.began), 2)

    def test_ended(self) -> None:
        """It leads, or takes too long."""
        node = self.node("b")
        node.look(NOON, False)
        node.look(NOON + 1, None)
        self.assertEqual(self.ended, [])
        node.look(NOON + 2, True)
        self.assertEqual(self.ended, [self.process])
        self.assertEqual(self.said[1:], ["proof warn backup A is not proved: this node leads", "proof ok replicas prove backups, and this node leads"])
        self.assertIsNone(self.known())
        node.look(NOON + 40, False)
        node.look(NOON + 41 + DAY, False)
        self.assertEqual(self.ended[1:], [self.process])
        self.assertEqual(self.said[-1], "proof warn backup A is not proved: it takes longer than a day")

    def test_away(self) -> None:
        """The leader says that object storage is away; what this node cannot write, it says itself."""
        node = self.node("b")
        self.wrong = {"info": "503"}
        node.look(NOON, False)
        self.assertEqual(self.said, [])
        self.wrong = {"annotate": "403"}
        node.look(NOON + 30, False)
        node.look(NOON + 60, False)
        self.assertEqual(self.said, ["proof warn not proved: 403"])
        self.assertEqual(self.began, [])
        self.wrong = {}
        node.look(NOON + 90, False)
        self.wrong = {"annotate": "403"}
        self.process.status, self.process.output = 0, '{"status": "failed", "why": "checksum"}'
        node.look(NOON + 95, False)
        self.assertEqual(self.said[-1], "proof warn backup A is not proved: 403; it is tried again")

    def test_not_its_work(self) -> None:
        """A node that does not stream, and a spec that wants none."""
        node = self.node("d")
        node.look(NOON, False)
        self.days = 0
        self.node("b").look(NOON, False)
        self.assertEqual(self.began, [])

    def test_some_tables(self) -> None:
        """What could not be counted is said."""
        self.assertEqual(proof.compared({"rows": 5, "tables": 1, "of": 2}), "5 rows in 1 of 2 tables as the replica had them")


if __name__ == "__main__":
    unittest.main()
