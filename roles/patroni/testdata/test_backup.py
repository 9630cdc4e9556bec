"""backup.py, with a pgBackRest and a PostgreSQL that answer as the test says."""

import json
import os
import subprocess
import tempfile
import time
import unittest
from typing import Any

import backup

DAY, HOUR = 86400, 3600
NOON = 1772366400.0  # of 2026-03-01, in UTC


def made(label: str, start: float, **more: Any) -> dict[str, Any]:
    """A backup as pgBackRest's info has it."""
    return {
        "label": label, "type": "full" if label.endswith("F") else "incr", "timestamp": {"start": int(start), "stop": int(start) + 60},
        "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000002"},
        "info": {"size": 100, "repository": {"delta": 10}}, "error": False, **more,
    }


class TestRules(unittest.TestCase):
    """When a backup is due."""

    def test_due(self) -> None:
        """One a day, full ones every 7 days; what was missed is made up for."""
        rules = backup.Rules("01:00", 7, 1 << 30)
        at = NOON - 11 * HOUR  # today at 01:00
        for name, backups, now, want in [
            ("none yet", [], NOON, "full"),
            ("today's is there", [made("F", at + 5)], NOON, ""),
            ("tomorrow, before the time", [made("F", at + 5)], at + DAY - 1, ""),
            ("tomorrow", [made("F", at + 5)], at + DAY, "incr"),
            ("days were missed", [made("F", at + 5)], at + 3 * DAY + 9 * HOUR, "incr"),
            ("a week later", [made("F", at + 5), made("I", at + 6 * DAY + 5)], at + 7 * DAY, "full"),
            ("the last full one began late", [made("F", at + 50 * 60), made("I", at + 6 * DAY + 5)], at + 7 * DAY, "full"),
            ("not yet a week", [made("F", at + 5), made("I", at + 5 * DAY + 5)], at + 6 * DAY, "incr"),
            ("only increments are left", [made("I", at + 5)], at + DAY, "full"),
        ]:
            with self.subTest(name):
                self.assertEqual(rules.due(backups, now), want)


class Process:
    """A backup that runs."""

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


class TestBackups(unittest.TestCase):
    """The leader's work."""

    def setUp(self) -> None:
        self.ended: list[Any] = []
        self.info: Any = [{"status": {"code": 0, "message": "ok"}, "db": [{"id": 1, "version": "18", "system-id": 7}], "backup": [made("20260301F", NOON)]}]
        self.state = {"segment": 16 << 20, "timeline": "00000001", "waiting": 0, "last": NOON - 5, "system": "7", "folder": "/data", "failing": False}
        self.names = ["000000010000000000000002", "000000010000000000000003"]
        self.wrong: dict[str, str] = {}
        self.ran: list[str] = []
        self.said: list[str] = []
        self.reports: list[dict[str, Any] | None] = []
        self.wrote: dict[str, str] = {}
        self.process = Process(self.ended)
        self.folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(self.folder.cleanup)
        self.gap = os.path.join(self.folder.name, "archive-gap")
        self.backups = backup.Backups(
            self.run_pgbackrest, self.start, self.ask, lambda: backup.Rules("01:00", 7, 1 << 30),
            lambda *line: self.said.append(" ".join(line)), self.reports.append, lambda path: self.wrote.get(path, ""), self.forget, self.gap)

    def run_pgbackrest(self, *arguments: str) -> str:
        """What pgBackRest answers."""
        if arguments[0] in self.wrong:
            raise backup.Failed(self.wrong[arguments[0]])
        if arguments[0] == "info":
            return json.dumps(self.info)
        if arguments[0] == "repo-ls":
            if arguments[-1].endswith("18-1"):
                return json.dumps({name[:16]: {} for name in self.names})
            return json.dumps({name + "-a.zst": {} for name in self.names if name.startswith(arguments[-1][-16:])})
        self.ran.append(" ".join(arguments))
        if arguments[0] == "stanza-create":
            self.info[0]["status"]["code"] = 2
        return ""

    def forget(self, path: str) -> None:
        """As rm -f."""
        if os.path.exists(path):
            os.unlink(path)

    def start(self, kind: str) -> Any:
        """A backup begins."""
        self.ran.append(kind)
        self.process = Process(self.ended)
        return self.process

    def ask(self, question: str) -> Any:
        """What PostgreSQL answers."""
        if "postgresql" in self.wrong:
            raise backup.Failed(self.wrong["postgresql"])
        if "00000003.history" in question:
            return ""
        if "history" in question:
            return "1\t0/5000158\tno recovery target specified\n"
        if "pg_ls_waldir" in question:
            return ["000000010000000000000004", "000000020000000000000005"]
        return self.state

    def test_begins(self) -> None:
        """A cluster without a backup has a stanza at once, and a full backup."""
        self.info[0].update(status={"code": 1, "message": "missing stanza path"}, backup=[])
        self.backups.look(NOON, True)
        self.assertEqual(self.ran, ["stanza-create", "full"])
        report = self.reports[-1]
        assert report
        self.assertEqual(report["running"], "full")
        self.process.status = 0
        self.info[0]["backup"] = [made("20260301-120000F", NOON)]
        self.backups.look(NOON + 9, True)
        self.assertEqual(self.said, [
            "archive ok WAL is archived", "backup wait a full backup is being made", "backup ok a full backup is made, in 9 s"])
        self.assertEqual(self.reports[-1], {
            "at": int(NOON) + 9, "last_archived": NOON - 5, "waiting": 0, "running": "", "gaps": [], "backups": [
                {"label": "20260301-120000F", "type": "full", "start": int(NOON), "stop": int(NOON) + 60, "size": 100, "stored": 10, "damaged": False, "proof": None}]})
        self.assertEqual(self.ran, ["stanza-create", "full"], "and no second one")

    def test_fails(self) -> None:
        """It is said why, and tried again after five minutes."""
        self.info[0]["backup"] = []
        self.backups.look(NOON, True)
        self.process.status, self.process.output = 55, "P00   WARN: x\nP00  ERROR: [055]: unable to load: [FileMissingError]\n"
        self.backups.look(NOON + 30, True)
        self.assertEqual(self.said[-1], "backup warn a full backup failed after 30 s: unable to load: [FileMissingError]; it is tried again")
        for later in (60, 120, 300):
            self.backups.look(NOON + later, True)
        self.assertEqual(self.ran, ["full"])
        self.backups.look(NOON + 331, True)
        self.assertEqual(self.ran, ["full", "full"])

    def test_as_each_day(self) -> None:
        """Whoever watches need not look at a backup that is being made, unless the one before failed."""
        day = NOON + DAY
        self.backups.look(day, True)
        self.assertEqual(self.said[-1], "backup ok an incremental backup is being made")
        self.process.status = 55
        self.backups.look(day + 30, True)
        self.backups.look(day + 331, True)
        self.assertEqual(self.said[-1], "backup wait an incremental backup is being made")

    def test_not_proved(self) -> None:
        """A backup that cannot be relied on is followed by a full one, whatever is due; that one by none."""
        self.info[0]["backup"][0]["annotation"] = {"pgha-proof": '{"status": "failed", "node": "b", "why": "checksum", "at": 5}'}
        self.backups.look(NOON, True)
        self.assertEqual(self.ran, ["full"])
        self.info[0]["backup"].append(made("20260302F", NOON + 60))
        self.process.status = 0
        self.backups.look(NOON + 600, True)
        self.backups.look(NOON + 1200, True)
        self.assertEqual(self.ran, ["full"])
        self.info[0]["backup"][1]["annotation"] = {"pgha-proof": '{"status": "failed", "node": "b", "why": "checksum", "at": 6}'}
        self.backups.look(NOON + 1800, True)
        self.assertEqual(self.ran, ["full"], "if that one fails, too, the next one is made at its time")
        self.assertEqual(backup.Rules("01:00", 7, 1).due(self.info[0]["backup"], NOON + DAY), "full")
        del self.info[0]["backup"][1]["annotation"]
        self.backups.look(NOON + 1900, True)
        report = self.reports[-1]
        assert report
        self.assertEqual([b["proof"] for b in report["backups"]], [{"status": "failed", "node": "b", "why": "checksum", "at": 5}, None])

    def test_another_leads(self) -> None:
        """What runs is ended; while Patroni is silent it goes on."""
        self.info[0]["backup"] = []
        self.backups.look(NOON, True)
        self.backups.look(NOON + 1, None)
        self.assertEqual(self.ended, [])
        self.backups.look(NOON + 2, False)
        self.assertEqual(self.ended, [self.process])
        self.assertEqual(self.said[-1], "backup warn a full backup was ended: another node leads")
        self.assertIsNone(self.reports[-1])

    def test_lost_leader(self) -> None:
        """What it had not archived, the next one does, and what it archives itself it leaves."""
        self.state["timeline"] = "00000002"
        self.names += ["000000020000000000000005"]
        self.backups.look(NOON, True)
        self.assertEqual(self.ran, ["archive-push --no-archive-async /data/pg_wal/000000010000000000000004"])

    def test_hole(self) -> None:
        """It is said once it stays, and a backup begins after which nothing is missing."""
        self.names.append("000000010000000000000006")
        self.backups.look(NOON, True)
        self.assertEqual(self.said, ["archive ok WAL is archived"])
        self.backups.look(NOON + 125, True)
        self.assertEqual(self.said[1:], [
            "archive warn WAL is archived, but is missing from 0000000000000004 to 0000000000000005: nobody can go back to an instant in it",
            "backup ok an incremental backup is being made"])
        report = self.reports[-1]
        assert report
        self.assertEqual(report["gaps"], [["0000000000000004", "0000000000000005"]])

    def test_one_hole_one_backup(self) -> None:
        """A backup that began after the hole covers it, so that no other one begins."""
        self.names.append("000000010000000000000006")
        self.backups.look(NOON, True)
        self.backups.look(NOON + 125, True)
        self.process.status = 0
        self.info[0]["backup"].append(made("20260301I", NOON + 125, archive={"start": "000000010000000000000006", "stop": "000000010000000000000006"}))
        for later in range(126, 600, 10):
            self.backups.look(NOON + later, True)
        self.assertEqual(self.ran, ["incr"])

    def test_dropped(self) -> None:
        """pgBackRest dropped WAL: a backup begins, and the mark is gone. Once it is made the hole is looked for."""
        with open(self.gap, "w", encoding="ascii"):
            pass
        self.backups.look(NOON, True)
        self.assertEqual(self.ran, ["incr"])
        self.assertFalse(os.path.exists(self.gap))
        self.assertEqual(self.said, [
            "archive warn WAL is archived, but more waited than may, and was dropped: nobody can go back to an instant between that and the backup that follows",
            "backup ok an incremental backup is being made"])
        self.names.append("000000010000000000000006")
        self.info[0]["backup"].append(made("20260301I", NOON, archive={"start": "000000010000000000000006", "stop": "000000010000000000000006"}))
        self.process.status = 0
        self.backups.look(NOON + 9, True)
        self.backups.look(NOON + 135, True)
        report = self.reports[-1]
        assert report
        self.assertEqual(report["gaps"], [["0000000000000004", "0000000000000005"]])
        self.assertEqual(self.ran, ["incr"], "and no other one")

    def test_mark_stays(self) -> None:
        """Backups do not follow each other at once."""
        self.forget = lambda path: None  # type: ignore[method-assign]
        self.backups.forget = self.forget
        with open(self.gap, "w", encoding="ascii"):
            pass
        for later in range(0, 300, 10):
            self.backups.look(NOON + later, True)
            self.process.status = 0
        self.assertEqual(self.ran, ["incr"])

    def test_no_history(self) -> None:
        """A timeline without its file: what is archived goes on."""
        self.state["timeline"] = "00000003"
        self.backups.look(NOON, True)
        self.assertEqual(self.said, ["archive ok WAL is archived"])

    def test_waits(self) -> None:
        """Before it is too much; and figures alone are no news."""
        self.state["waiting"] = 33
        self.backups.look(NOON, True)
        self.state["waiting"] = 44
        self.backups.look(NOON + 40, True)
        self.assertEqual(self.said, [
            "archive warn more than half of what may wait: 528 MB of WAL wait for the archive on the data disk; above 1024 MB all that waits is dropped"])

    def test_away(self) -> None:
        """While object storage is away, how much waits is said, and again from half of the limit; and it is in the report."""
        self.backups.look(NOON, True)
        self.wrong = {"info": "pgBackRest's info fails: [503]"}
        for later, waiting in ((30, 1), (40, 2), (50, 33), (60, 34)):
            self.state["waiting"] = waiting
            self.backups.look(NOON + later, True)
        self.assertEqual(self.said[1:], [
            "archive warn pgBackRest's info fails: [503]; 16 MB of WAL wait for the archive on the data disk; above 1024 MB all that waits is dropped",
            "archive warn pgBackRest's info fails: [503]; more than half of what may wait: 528 MB of WAL wait for the archive on the data disk;"
            " above 1024 MB all that waits is dropped"])
        report = self.reports[-1]
        assert report
        self.assertEqual((report["waiting"], len(report["backups"])), (34 << 24, 1), "with the backups that are known")

    def test_failing(self) -> None:
        """What can be read and not be written to: a full bucket."""
        self.state.update(failing=True, waiting=2)
        self.wrote[backup.PUSH] = "the bucket is full: raise its limit"
        self.backups.look(NOON, True)
        self.wrote.clear()
        self.backups.look(NOON + 30, True)
        self.state["waiting"] = 33
        self.backups.look(NOON + 60, True)
        self.assertIn("nobody says why; more than half of what may wait: 528 MB", self.said.pop())
        self.state.update(failing=False, waiting=0)
        self.backups.look(NOON + 90, True)
        self.assertEqual(self.said, [
            "archive warn WAL is not archived: the bucket is full: raise its limit; 32 MB of WAL wait for the archive on the data disk; above 1024 MB all that waits is dropped",
            "archive warn WAL is not archived: nobody says why; 32 MB of WAL wait for the archive on the data disk; above 1024 MB all that waits is dropped",
            "archive ok WAL is archived"])

    def test_founded(self) -> None:
        """PostgreSQL archives before there is a stanza to archive into: nothing is wrong."""
        self.info[0].update(status={"code": 1, "message": "missing stanza path"}, backup=[])
        self.state.update(failing=True, waiting=2)
        self.backups.look(NOON, True)
        self.assertEqual(self.said, ["archive wait WAL is archived from the first backup on", "backup wait a full backup is being made"])

    def test_problems(self) -> None:
        """Each in one sentence; the next look is soon."""
        rest = "; 0 MB of WAL wait for the archive on the data disk; above 1024 MB all that waits is dropped"
        for name, change, want in [
            ("no bucket", {"info": "pgBackRest's info fails: [404]"}, "pgBackRest's info fails: [404]" + rest),
            ("PostgreSQL", {"postgresql": "PostgreSQL does not say: x"}, "PostgreSQL does not say: x"),
        ]:
            with self.subTest(name):
                self.wrong = change
                self.backups.next_look = 0
                self.backups.look(NOON, True)
                self.assertEqual(self.said[-1], f"archive warn {want}")
                self.assertEqual(self.backups.next_look, NOON + 10)
        self.wrong = {}
        self.state["system"] = "8"
        self.backups.look(NOON + 10, True)
        self.assertIn("has the backups of another database: give backup.prefix", self.said[-1])
        self.info = []
        self.backups.look(NOON + 20, True)
        self.assertIn("pgBackRest's info is not in its form", self.said[-1])

    def test_restore(self) -> None:
        """What restore.sh or replica.py wrote is said by a node that does not lead; nothing else is."""
        for text in ("", "wait the cluster is restored", "wait the cluster is restored", "fail it is not", "warn it is a copy", "rm -rf /", "ok"):
            self.wrote[backup.RESTORE] = text
            self.backups.look(NOON, False)
        self.assertEqual(self.said, ["restore wait the cluster is restored", "restore fail it is not", "restore warn it is a copy", "restore ok "])


class TestFiles(unittest.TestCase):
    """What is read and written."""

    def test_metrics(self) -> None:
        """Of good backups."""
        def one(stop: int, damaged: bool = False, **proved: Any) -> dict[str, Any]:
            return {"stop": stop, "damaged": damaged, "proof": proved or None}

        rest = ["pgha_archive_waiting_bytes 3", "pgha_archive_gaps 0"]
        for backups, want in [
            ([one(5), one(9, True)], ["pgha_backup_last_timestamp_seconds 5", "pgha_backup_oldest_timestamp_seconds 5"]),
            ([one(5, status="ok", at=7), one(9, status="runs", at=12)], [
                "pgha_backup_last_timestamp_seconds 9", "pgha_backup_oldest_timestamp_seconds 5",
                "pgha_backup_proved_timestamp_seconds 7", "pgha_backup_proof_failed 0"]),
            ([one(5, status="ok", at=7), one(9, status="failed", at=12)], [
                "pgha_backup_last_timestamp_seconds 9", "pgha_backup_oldest_timestamp_seconds 5",
                "pgha_backup_proved_timestamp_seconds 7", "pgha_backup_proof_failed 1"]),
            ([], []),
        ]:
            report: dict[str, Any] = {"backups": backups, "last_archived": None, "waiting": 3, "gaps": []}
            got = [line for line in backup.metrics(report).splitlines() if not line.startswith("#")]
            self.assertEqual(got, want + rest)

    def test_write(self) -> None:
        """A node that leads no more leaves nothing."""
        with tempfile.TemporaryDirectory() as folder:
            backup.REPORTS = os.path.join(folder, "reports")
            backup.write({"backups": [], "last_archived": 1.0, "waiting": 0, "gaps": []})
            self.assertEqual(sorted(os.listdir(backup.REPORTS)), ["backup.json", "backup.prom"])
            backup.write(None)
            self.assertEqual(os.listdir(backup.REPORTS), [])

    def test_says(self) -> None:
        """Not what a link points to, nor what is root's."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "restore")
            self.assertEqual(backup.says(path), "")
            with open(path, "w", encoding="ascii") as file:
                file.write("ok restored\nmore\n")
            self.assertEqual(backup.says(path), "" if os.geteuid() == 0 else "ok restored")
            if os.geteuid() == 0:
                os.chown(path, 1, 1)
                self.assertEqual(backup.says(path), "ok restored")
                with open(path, "w", encoding="ascii") as file:
                    file.write("x" * 5000)
                self.assertEqual(len(backup.says(path)), backup.LINE)
                os.mkfifo(path + ".pipe")
                os.chown(path + ".pipe", 1, 1)
                self.assertEqual(backup.says(path + ".pipe"), "")
            os.symlink(path, path + ".link")
            self.assertEqual(backup.says(path + ".link"), "")

    def test_run(self) -> None:
        """A program that fails, and one that hangs."""
        before = backup.command, backup.LONGEST
        self.addCleanup(lambda: (setattr(backup, "command", before[0]), setattr(backup, "LONGEST", before[1])))
        backup.command = lambda *arguments: ["sh", "-c", arguments[-1]]  # type: ignore[assignment]
        self.assertEqual(backup.run("info", "echo 1"), "1\n")
        backup.command = lambda *arguments: ["echo", *arguments]  # type: ignore[assignment]
        self.assertEqual(backup.run("info"), "--log-level-console=error --io-timeout=15 info\n", "it ends long before it is ended")
        backup.command = lambda *arguments: ["sh", "-c", arguments[-1]]  # type: ignore[assignment]
        with self.assertRaisesRegex(backup.Failed, "^pgBackRest's info fails: gone$"):
            backup.run("info", "echo 'ERROR: [1]: gone' >&2; exit 3")
        backup.LONGEST = 1
        with self.assertRaisesRegex(backup.Failed, "^pgBackRest's info takes more than 1 s$"):
            backup.run("info", "sleep 9")

    def test_take(self) -> None:
        """A segment that is there, one that is not, and why one does not come."""
        before = backup.as_postgres
        self.addCleanup(lambda: setattr(backup, "as_postgres", before))
        for script, want in [("exit 0", True), ("exit 1", False), ("echo mv: no >&2; exit 1", "mv: no"), ("echo 'P00  ERROR: [039]: reset'; exit 39", "reset")]:
            backup.as_postgres = lambda *arguments, script=script: ["sh", "-c", script]  # type: ignore[assignment,misc]
            with self.subTest(script):
                if isinstance(want, bool):
                    self.assertEqual(backup.take("/data", "000000030000000000000004"), want)
                    continue
                with self.assertRaisesRegex(backup.Failed, want):
                    backup.take("/data", "000000030000000000000004")

    def test_encrypted(self) -> None:
        """What is not said to be encrypted is not."""
        before = backup.CONFIG
        self.addCleanup(lambda: setattr(backup, "CONFIG", before))
        with tempfile.TemporaryDirectory() as folder:
            backup.CONFIG = os.path.join(folder, "pgbackrest.conf")
            for text, want in [("[global]\nrepo1-cipher-type=aes-256-cbc\n", True), ("[global]\nrepo1-cipher-type=none\n", False), ("[global]\nrepo1-type=s3\n", False)]:
                with open(backup.CONFIG, "w", encoding="utf-8") as file:
                    file.write(text)
                self.assertEqual(backup.encrypted(), want, text)


if __name__ == "__main__":
    unittest.main()
