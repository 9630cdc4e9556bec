"""replica.py, with a leader and a bucket that answer as the test says."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from typing import Any

import replica
import step

SIZE = 16 << 20
MADE = "this node's replica is made from the backup B1, of 300 MB, and {} segments of the archive, in 0 s; the rest comes from the leader"


def made(label: str, **more: Any) -> dict[str, Any]:
    """A backup as pgBackRest's info has it."""
    return {
        "label": label, "database": {"id": 1}, "timestamp": {"start": 100, "stop": 160},
        "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000002"},
        "lsn": {"start": "0/2000028", "stop": "0/2000158"}, "info": {"size": 300 << 20}, "error": False, **more,
    }


class TestReplica(unittest.TestCase):
    """A replica is made from a backup, or it is said why not."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(self.folder.cleanup)
        self.now = 0.0
        self.ready = True
        self.said: list[str] = []
        self.ran: list[str] = []
        self.leader = {
            "IDENTIFY_SYSTEM": ["7", "1", "0/5000100", ""], "SHOW wal_segment_size": ["16MB"],
            "READ_REPLICATION_SLOT demo_pg_1": ["physical", "0/4000028", "1"],
        }
        self.info: Any = [{"status": {"code": 0, "message": "ok"}, "db": [{"id": 1, "version": "18", "system-id": 7}], "backup": [made("B1")]}]
        self.archived = ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003", "000000010000000000000004"]
        self.lost: set[str] = set()
        self.disk = replica.Room(100 << 30, 90 << 30)
        self.arrives: dict[float, str] = {}

    def ask(self, question: str) -> list[str]:
        """The leader."""
        if question not in self.leader:
            raise replica.Unfit(f"the leader does not answer {question}")
        return self.leader[question]

    def run_tool(self, *arguments: str, timeout: float | None = 1) -> str:  # pylint: disable=unused-argument
        """The bucket."""
        if arguments[0] == "info":
            return json.dumps(self.info)
        if arguments[0] == "repo-ls" and arguments[-1].endswith("/18-1"):
            return json.dumps({name[:16]: {} for name in self.archived + list(self.arrives.values())})
        if arguments[0] == "repo-ls":
            late = [name for at, name in self.arrives.items() if self.now >= at]
            return json.dumps({f"{name}-0a.zst": {} for name in self.archived + late if name.startswith(arguments[-1][-16:])})
        self.ran.append(" ".join(arguments))
        return ""

    def fetch(self, name: str, path: str) -> bool:
        """A segment from it."""
        if name in self.lost:
            return False
        with open(path, "w", encoding="ascii") as file:
            file.write(name)
        return True

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    def make(self) -> str:
        """What is said at the end."""
        one = replica.Replica(
            self.folder.name, "demo-pg-1", self.ask, self.run_tool, self.fetch, lambda: self.disk, lambda: self.ready,
            lambda status, detail: self.said.append(f"{status} {detail}"), lambda: self.now, self.sleep)
        try:
            return one.make()
        except replica.Unfit as error:
            return ("usual: " if error.usual else "warn: ") + str(error)

    def wal(self) -> list[str]:
        """What is in pg_wal; a star: it need not be archived."""
        folder = os.path.join(self.folder.name, "pg_wal")
        done = os.path.join(folder, "archive_status")
        return sorted(name + ("*" if os.path.exists(os.path.join(done, name + ".done")) else "") for name in os.listdir(folder) if name != "archive_status")

    def test_good(self) -> None:
        """The backup is restored, without recovery's settings, and all WAL of the archive is there before PostgreSQL starts."""
        self.assertEqual(self.make(), MADE.format(3))
        self.assertEqual(self.ran, ["--set=B1 --type=none restore"])
        self.assertEqual(self.wal(), ["000000010000000000000002*", "000000010000000000000003*", "000000010000000000000004*"])
        self.assertEqual(self.said, ["wait this node's replica is made from the backup B1, of 300 MB"])

    def test_failover_since(self) -> None:
        """WAL is taken of the leader's history alone: its timeline's file of the segment in which it began, and nobody else's."""
        self.leader["IDENTIFY_SYSTEM"] = ["7", "3", "0/6000100", ""]
        self.leader["READ_REPLICATION_SLOT demo_pg_1"] = ["physical", "0/6000028", "3"]
        self.leader["TIMELINE_HISTORY 2"] = ["00000002.history|1\t0/3500000\tno recovery target specified"]
        self.leader["TIMELINE_HISTORY 3"] = ["00000003.history|1\t0/3500000\tno recovery target specified", "2\t0/4000800\tno recovery target specified", ""]
        self.archived += ["000000010000000000000005", "000000020000000000000003", "000000020000000000000004", "000000030000000000000004", "000000030000000000000005"]
        self.assertEqual(self.make(), MADE.format(4))
        self.assertEqual(self.wal(), [
            "000000010000000000000002*", "00000002.history*", "000000020000000000000003*", "00000003.history*", "000000030000000000000004*", "000000030000000000000005*"])
        with open(os.path.join(self.folder.name, "pg_wal", "00000003.history"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "1\t0/3500000\tno recovery target specified\n2\t0/4000800\tno recovery target specified\n")

    def test_newest(self) -> None:
        """One that the leader's history does not lead on from is another database's, or was lost with its leader."""
        history = ["00000002.history|1\t0/3500000\tno recovery target specified"]
        for name, own, answer, position, backups, want in [
            ("the newest", 1, [], "0/9000000", [made("A"), made("B", timestamp={"stop": 200})], "B"),
            ("with damaged pages", 1, [], "0/9000000", [made("A"), made("B", timestamp={"stop": 200}, error=True)], "A"),
            ("proved to be bad", 1, [], "0/9000000",
             [made("A"), made("B", timestamp={"stop": 200}, annotation={"pgha-proof": '{"status": "failed", "at": 5, "node": "b", "why": "checksum"}'})], "A"),
            ("made offline", 1, [], "0/9000000", [made("A", archive={"start": None, "stop": None})], None),
            ("of before the failover", 2, history, "0/9000000", [made("A")], "A"),
            ("a lost leader's last words", 2, history, "0/9000000", [made("A", lsn={"stop": "0/3500001"})], None),
            ("ahead of the leader", 1, [], "0/2000100", [made("A")], None),
            ("of a timeline that others went", 3, ["00000003.history|1\t0/3500000\tx"], "0/9000000",
             [made("A", archive={"start": "000000020000000000000004", "stop": "000000020000000000000004"}, lsn={"stop": "0/4000000"})], None),
        ]:
            with self.subTest(name):
                found = replica.newest(backups, replica.history(answer, own), replica.lsn(position))
                self.assertEqual(found and found["label"], want)

    def test_not_made(self) -> None:
        """Then Patroni copies from the leader; nothing was restored."""
        def change(**changes: Any) -> None:
            for name, value in changes.items():
                setattr(self, name, value)

        no_backup = [{**self.info[0], "status": {"code": 2, "message": "no valid backups"}, "backup": []}]
        no_stanza = [{"status": {"code": 1, "message": "missing stanza path"}, "db": [], "backup": []}]
        foreign = [{**self.info[0], "db": [{"id": 1, "version": "18", "system-id": 8}]}]
        upgraded = [{**self.info[0], "db": [{"id": 1, "version": "17", "system-id": 6}, {"id": 2, "version": "18", "system-id": 7}]}]
        lost = [{**self.info[0], "backup": [made("B1", lsn={"stop": "0/6000000"})]}]
        for name, changes, want in [
            ("no key", {"ready": False}, "warn: this machine has no key of object storage"),
            ("no stanza", {"info": no_stanza}, "usual: there is no backup yet"),
            ("no backup", {"info": no_backup}, "usual: there is no backup yet"),
            ("another database's", {"info": foreign}, "warn: the folder in the bucket has the backups of another database"),
            ("not the leader's", {"info": lost}, "usual: no backup belongs to the leader's timeline"),
            ("an upgrade's", {"info": upgraded}, "usual: no backup belongs to the leader's timeline"),
            ("old", {"leader": self.leader | {"IDENTIFY_SYSTEM": ["7", "1", "0/50000000", ""]}},
             "usual: 1264 MB of WAL since the backup are more than the 300 MB that it has"),
            ("a full disk", {"disk": replica.Room(1 << 30, 400 << 20)}, "usual: the data disk has no room for 300 MB and 64 MB of WAL since the backup"),
            ("no slot", {"leader": self.leader | {"READ_REPLICATION_SLOT demo_pg_1": ["", "", ""]}}, "warn: the leader keeps no WAL for this node"),
            ("a leader that is away", {"leader": {}}, "warn: the leader does not answer IDENTIFY_SYSTEM"),
        ]:
            with self.subTest(name):
                before = {key: getattr(self, key) for key in changes}
                change(**changes)
                self.assertEqual(self.make(), want)
                self.assertEqual(self.ran, [])
                change(**before)

    def test_two_timelines_in_one_segment(self) -> None:
        """The leader keeps that segment, and cannot send it to who has not seen the first of the two: it is waited for."""
        self.leader["IDENTIFY_SYSTEM"] = ["7", "3", "0/6000100", ""]
        self.leader["READ_REPLICATION_SLOT demo_pg_1"] = ["physical", "0/4000028", "1"]
        self.leader["TIMELINE_HISTORY 2"] = ["00000002.history|1\t0/4000500\tno recovery target specified"]
        self.leader["TIMELINE_HISTORY 3"] = ["00000003.history|1\t0/4000500\tno recovery target specified", "2\t0/4000800\tno recovery target specified", ""]
        self.arrives = {50: "000000030000000000000004"}
        self.assertEqual(self.make(), MADE.format(3).replace("in 0 s", "in 50 s"))
        self.assertEqual(self.wal(), [
            "000000010000000000000002*", "000000010000000000000003*", "00000002.history*", "00000003.history*", "000000030000000000000004*"])

    def test_missing_wal(self) -> None:
        """What neither the archive nor the leader has, PostgreSQL would wait for in vain."""
        self.archived.remove("000000010000000000000003")
        self.assertEqual(self.make(), "warn: WAL is missing: neither the archive nor the leader has 000000010000000000000003")
        self.assertLess(self.now, 100)

    def test_late_wal(self) -> None:
        """The archive may be a little behind the leader."""
        self.archived.remove("000000010000000000000003")
        self.arrives = {50: "000000010000000000000003"}
        self.assertEqual(self.make(), MADE.format(3).replace("in 0 s", "in 50 s"))

    def test_lost_wal(self) -> None:
        """A segment that cannot be read."""
        self.lost = {"000000010000000000000003"}
        self.assertEqual(self.make(), "warn: the archive has lost WAL meanwhile")

    def test_no_archive(self) -> None:
        """A slot from before the machine was lost: the leader has all of it."""
        self.leader["READ_REPLICATION_SLOT demo_pg_1"] = ["physical", "0/2000000", "1"]
        self.archived = ["000000010000000000000001"]
        self.assertEqual(self.make(), MADE.format(0))

    def test_slot_comes(self) -> None:
        """Patroni makes it in its next loop."""
        slot = self.leader.pop("READ_REPLICATION_SLOT demo_pg_1")

        def ask(question: str) -> list[str]:
            if question.startswith("READ"):
                return slot if self.now >= 4 else ["", "", ""]
            return self.leader[question]

        self.ask = ask  # type: ignore[method-assign]
        self.assertEqual(self.make(), MADE.format(3).replace("in 0 s", "in 4 s"))


PSQL = """#!/bin/sh
[ "$PGREQUIREAUTH" = scram-sha-256 ] || exit 9
case "$*" in
*"--dbname=host=p1 user=u replication=true --command=IDENTIFY_SYSTEM") echo "$LEADER" ;;
*"--command=SHOW wal_segment_size") echo 16MB ;;
*"--command=READ_REPLICATION_SLOT demo_pg_1") echo 'physical|0/4000028|1' ;;
*) exit 9 ;;
esac
"""
PGBACKREST = """#!/bin/sh
case "$*" in
"own "*" info --output=json") echo "$INFO" ;;
*" archive/main/18-1") echo '{"0000000100000000": {}}' ;;
*" archive/main/18-1/0000000100000000") echo '{"000000010000000000000002-1.zst": {}, "000000010000000000000003-1.zst": {}}' ;;
*" archive-get 000000010000000000000002 "* | *" archive-get 000000010000000000000003 "*) for last; do :; done; echo wal >"$last" ;;
"own "*" --set=B1 --type=none restore") eval "$RESTORE" ;;
*) exit 9 ;;
esac
"""


class TestProgram(unittest.TestCase):
    """As Patroni calls it."""

    def test_program(self) -> None:
        """The leader is asked by the connection that Patroni would copy over, and must ask for the password."""
        info = json.dumps([{"status": {"code": 0, "message": "ok"}, "db": [{"id": 1, "version": "18", "system-id": 7}], "backup": [made("B1")]}])
        copied = "this node's replica is copied from the leader: "
        for name, leader, restore, status, want in [
            ("good", "7|1|0/4000100|", "", 0, "ok this node's replica is made from the backup B1, of 300 MB, and 2 segments of the archive, in [0-9] s; .*"),
            ("refused", "7|1|0/4000100|", "echo 'P00  ERROR: [039]: HTTP failed with 503'; exit 39", 1, f"warn {copied}HTTP failed with 503"),
            ("silent", "7|1|0/4000100|", "exit 9", 1, f"warn {copied}it says nothing"),
            ("too new", "7|1|0/1000100|", "", 1, f"ok {copied}no backup belongs to the leader's timeline"),
            ("a leader that says nothing", "", "", 1, f"warn {copied}not enough values .*"),
        ]:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                for file, text in [("psql", PSQL), ("pgbackrest.sh", PGBACKREST), ("identity.env", "NODE_NAME=demo-pg-1\n"), ("storage-key/key.json", "{}")]:
                    path = os.path.join(folder, file)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "w", encoding="ascii") as out:
                        out.write(text)
                    os.chmod(path, 0o755)
                environment = os.environ | {
                    "PATH": folder + ":" + os.environ["PATH"], "PGHA_LIB": folder, "PGHA_RUN": folder, "PGHA_POSTGRESQL_RUN": folder,
                    "PGREQUIREAUTH": "none", "LEADER": leader, "INFO": info, "RESTORE": restore}
                # The test's disk may be full.
                program = [sys.executable, "-c", "import replica, sys; replica.FULL = 1000; sys.exit(replica.main(sys.argv[1:]))"]
                done = subprocess.run(
                    [*program, "--scope=demo", "--role=replica", f"--datadir={folder}/data", "--connstring=host=p1 user=u"],
                    env=environment, capture_output=True, text=True, check=False)
                with open(os.path.join(folder, "restore"), encoding="utf-8") as said:
                    self.assertRegex(said.read(), f"^{want}\n$")
                self.assertEqual(done.returncode, status, done.stderr)


class TestWords(unittest.TestCase):
    """What PostgreSQL says."""

    def test_words(self) -> None:
        """Positions and sizes."""
        self.assertEqual(replica.lsn("1/2A"), (1 << 32) + 42)
        self.assertEqual([replica.size_of("16MB"), replica.size_of("1GB")], [SIZE, step.GIB])
        for call, word in [(replica.lsn, "1/"), (replica.size_of, "16 MB")]:
            with self.assertRaises(ValueError):
                call(word)


if __name__ == "__main__":
    unittest.main()
