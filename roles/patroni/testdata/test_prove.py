"""prove.py, with programs that answer as the test says. TestBackup has it prove a real backup."""

import json
import os
import stat
import tempfile
import unittest
from typing import Any
from unittest import mock

import databases
import prove

SEGMENT = 16 << 20


def instant(lsn: int, counts: prove.Counts | None = None) -> prove.Instant:
    """A replica's position on timeline 2."""
    return prove.Instant(lsn, 2, 7.0, SEGMENT, 0, counts or {}, 0)


class Session:
    """PostgreSQL, as a function answers."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked, self.closed = answers, [], False  # type: dict[str, Any], list[str], bool

    def begin(self, statement: str) -> None:
        """As prove.Session's."""
        self.asked.append(statement)

    def ask(self, statement: str) -> str:
        """The first answer whose key is in the statement."""
        self.asked.append(statement)
        for key, answer in self.answers.items():
            if key in statement:
                if isinstance(answer, Exception):
                    raise answer
                if isinstance(answer, list):
                    return str(answer.pop(0) if len(answer) > 1 else answer[0])
                return str(answer)
        return ""

    def close(self) -> None:
        """As prove.Session's."""
        self.closed = True


class TestLook(unittest.TestCase):
    """What the replica has at one position."""

    def setUp(self) -> None:
        self.position = {"paused": True, "lsn": 0x5000028, "timeline": 2, "instant": 7.5, "segment": SEGMENT, "prepared": "10"}
        self.positions: list[dict[str, Any]] = [self.position]
        self.tables = {"postgres": ["public.a"], "app": ["public.b", '"x y".c']}
        self.rows: Any = 3
        self.sessions: list[Session] = []
        self.slept: list[float] = []
        quick = mock.patch("time.sleep", self.slept.append)
        quick.start()
        self.addCleanup(quick.stop)

    def connect(self, database: str) -> Any:
        """A session with one."""
        self.sessions.append(Session({
            "json_build_object": [json.dumps(p) for p in self.positions], "datallowconn": json.dumps(sorted(self.tables)),
            "relkind": json.dumps(self.tables[database]), "count(*)": self.rows}))
        return self.sessions[-1]

    def test_look(self) -> None:
        """All tables of all databases; replay goes on before they are counted."""
        self.positions = [{**self.position, "paused": False}, self.position]
        found = prove.look(self.connect)
        self.assertEqual(found, prove.Instant(
            0x5000028, 2, 7.5, SEGMENT, 10, {("app", "public.b"): 3, ("app", '"x y".c'): 3, ("postgres", "public.a"): 3}, 3))
        guide, pause, app = self.sessions[:3]
        self.assertEqual(pause.asked, [prove.PAUSE])
        self.assertEqual(guide.asked[-1], "SELECT pg_wal_replay_resume()")
        self.assertEqual(app.asked[:2], ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SELECT FROM pg_class LIMIT 1"])
        self.assertTrue(all(s.closed for s in self.sessions))

    def test_later(self) -> None:
        """The databases were not looked at in one moment, or this node is no replica of the leader's."""
        for why, positions in [
            ("replay went on while the databases were looked at", [self.position, {**self.position, "lsn": 0x5000030}]),
            ("replay went on while the databases were looked at", [self.position, {**self.position, "paused": False}]),
            ("this node does not stream from the leader", [{**self.position, "timeline": None}]),
            ("replay does not stand still", [{**self.position, "paused": False}]),
        ]:
            with self.subTest(why):
                self.positions, self.sessions = positions, []
                with self.assertRaisesRegex(prove.Later, f"^{why}$"):
                    prove.look(self.connect)
                self.assertEqual(self.sessions[0].asked[-1], "SELECT pg_wal_replay_resume()")
                self.assertTrue(all(s.closed for s in self.sessions))

    def test_again(self) -> None:
        """Patroni lets replay go on in each of its loops: then once more."""
        def connect(database: str) -> Any:
            self.positions = [self.position] if len(self.sessions) >= 8 else [self.position, {**self.position, "paused": False}]
            return self.connect(database)

        found = prove.look(connect)
        self.assertEqual((found.lsn, len(self.sessions), self.slept), (0x5000028, 12, 2 * [prove.PAUSED]))
        self.assertTrue(all(s.closed for s in self.sessions))

    def test_conflict(self) -> None:
        """What is cleaned up under a query is not counted, and the other databases are."""
        session = Session({"relkind": '["public.b", "public.c", "public.d"]', "public.c": prove.Later("conflict with recovery"), "count(*)": 3})
        other = Session({"relkind": '["public.a"]', "count(*)": 4})
        each: Any = {"app": session, "postgres": other}
        self.assertEqual(prove.count(each, 1e12), ({("app", "public.b"): 3, ("postgres", "public.a"): 4}, 4))
        self.assertEqual(prove.count(each, 0), ({}, 4), "the time is over")


class TestInstant(unittest.TestCase):
    """A position, and what is needed up to it."""

    def test_needs(self) -> None:
        """The segment that it is in; at the border of two, the one before."""
        for lsn, text, needs, between in [
            (0x5000028, "0/5000028", "000000020000000000000005", False),
            (0x6000000, "0/6000000", "000000020000000000000005", True),
            (0x100000028, "1/28", "000000020000000100000000", False),
        ]:
            found = instant(lsn)
            self.assertEqual((found.text(), found.needs(), found.between()), (text, needs, between))

    def test_compare(self) -> None:
        """What differs is named."""
        want = {("app", "public.a"): 3}
        prove.compare(want, {("app", "public.a"): 3, ("app", "public.b"): 1})
        for got, why in [
            ({}, "table public.a of database app is not in it"),
            ({("app", "public.a"): 2}, "table public.a of database app has 2 rows, and the replica has 3 at the same position"),
        ]:
            with self.assertRaisesRegex(prove.Bad, f"^{why}$"):
                prove.compare(want, got)  # type: ignore[arg-type]


class TestProof(unittest.TestCase):
    """The steps, each with programs that fail as the test says."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(folder.cleanup)
        self.path = folder.name
        self.addCleanup(self.restore, databases.PROGRAMS, prove.step.LIB, prove.ARCHIVED, prove.SPARE, os.environ["PATH"])
        databases.PROGRAMS, prove.step.LIB = self.path + "/pg", self.path + "/lib"
        prove.SPARE = 0
        os.makedirs(self.path + "/proof")
        os.environ["PATH"] = self.path + "/pg/18/bin:" + os.environ["PATH"]
        self.proof = prove.Proof("A", 100, "host=/x", self.path + "/proof")
        self.program("lib/pgbackrest.sh", 'echo "$@" >>"$0.ran"')
        # It answers once the server is up.
        self.program("pg/18/bin/psql", f"test -e {self.path}/pg/18/bin/postgres.ran && echo f")
        self.program("pg/18/bin/postgres", 'printf "%s\\n" "$@" >"$0.new"; mv "$0.new" "$0.ran"; exec sleep 60')

    def restore(self, programs: str, lib: str, archived: int, spare: float, path: str) -> None:
        """All as it was."""
        self.proof.clear()
        databases.PROGRAMS, prove.step.LIB, prove.ARCHIVED, prove.SPARE, os.environ["PATH"] = programs, lib, archived, spare, path

    def program(self, name: str, script: str) -> None:
        """A program of the test's."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n" + script + "\n")
        os.chmod(path, stat.S_IRWXU)

    def ran(self, name: str) -> str:
        """What a program was called with."""
        with open(os.path.join(self.path, name + ".ran"), encoding="ascii") as file:
            return file.read()

    def test_room(self) -> None:
        """The data comes first."""
        prove.SPARE = 0.1
        gigabyte = 1 << 30
        disk = mock.Mock(f_frsize=4096, f_blocks=100 * gigabyte // 4096, f_bavail=30 * gigabyte // 4096)
        with mock.patch.object(os, "statvfs", return_value=disk):
            self.proof.room(20 * gigabyte)
            with self.assertRaisesRegex(prove.Later, "^21 GB do not fit beside the data on a disk with 30 GB free$"):
                self.proof.room(21 * gigabyte)

    def test_disk_gets_full(self) -> None:
        """What runs is ended."""
        prove.SPARE = 1.0
        with self.assertRaisesRegex(prove.Later, "do not fit"):
            self.proof.run("sleep", "60")

    def test_restore(self) -> None:
        """Up to the replica's position; between two segments, up to the end of the archive."""
        for lsn, want in [(0x5000028, "--type=lsn --target=0/5000028 --target-exclusive --target-action=promote"), (0x6000000, "--type=default")]:
            self.proof.restore(instant(lsn))
            self.assertIn(f"--pg1-path={self.proof.data} --set=A {want} --lock-path=", self.ran("lib/pgbackrest.sh"))
            os.rmdir(self.proof.data)

    def test_restore_fails(self) -> None:
        """A damaged backup is bad; one that cannot be reached may be good."""
        for said, kind in [("P00  ERROR: [026]: actual checksum", prove.Bad), ("P00  ERROR: [101]: HTTP request failed with 503", prove.Later)]:
            self.program("lib/pgbackrest.sh", f'echo "{said}"; exit 26')
            with self.assertRaisesRegex(kind, f"^it cannot be restored: {said.partition(']: ')[2]}$"):
                self.proof.restore(instant(0x5000028))
            os.rmdir(self.proof.data)

    def test_archive(self) -> None:
        """The position is waited for."""
        self.program("lib/pgbackrest.sh", 'test -e "$0.there" && exit 0; : >"$0.there"; exit 1')
        self.proof.wait_for_archive(instant(0x5000028))
        prove.ARCHIVED = -1
        for said, kind, why in [
            ("", prove.Later, "WAL 000000020000000000000005 is not in the archive: it says nothing"),
            ("ERROR: [042]: x [ChecksumError] y", prove.Bad, r"WAL 000000020000000000000005 cannot be fetched: x \[ChecksumError\] y"),
        ]:
            self.program("lib/pgbackrest.sh", f'echo "{said}"; exit 1')
            with self.assertRaisesRegex(kind, f"^{why}$"):
                self.proof.wait_for_archive(instant(0x5000028))

    def test_start(self) -> None:
        """It is reached by nobody, archives nothing, and runs no foreign command."""
        self.proof.start(instant(0x5000028))
        given = self.ran("pg/18/bin/postgres").splitlines()
        for setting in ("--listen_addresses=", "--archive_mode=off", f"--unix_socket_directories={self.proof.folder}", "--shared_preload_libraries=", "--archive_cleanup_command=",
                        f"--restore_command={prove.step.LIB}/pgbackrest.sh own --log-level-console=warn --pg1-path={self.proof.data} archive-get %f %p"):
            self.assertIn(setting, given)
        self.proof.clear()
        assert self.proof.server
        self.assertIsNotNone(self.proof.server.returncode)
        self.assertFalse(os.path.exists(self.proof.folder))

    def test_start_fails(self) -> None:
        """Why, the server's log says."""
        self.program("pg/18/bin/psql", "exit 2")
        for said, kind, why in [
            ("FATAL:  recovery ended before configured recovery target was reached", prove.Later, "WAL is missing in the archive since the backup"),
            ("ERROR: [042]: unable to get 07: [FormatError] zst\nFATAL:  recovery ended before configured recovery target was reached", prove.Bad,
             "its WAL cannot be fetched: unable to get 07: .FormatError. zst"),
            ("PANIC:  could not locate a valid checkpoint record at 0/6000028", prove.Bad,
             "PostgreSQL does not start with what was restored: could not locate a valid checkpoint record at 0/6000028"),
            ("FATAL:  could not open shared memory segment: Permission denied", prove.Later, "PostgreSQL does not start with what was restored: .*Permission denied"),
            ("FATAL:  resource manager with ID 128 not registered", prove.Later, "PostgreSQL does not start with what was restored: resource manager with ID 128 not registered"),
            ("", prove.Later, "PostgreSQL ends while it starts: it says nothing"),
        ]:
            self.program("pg/18/bin/postgres", f"echo '{said}'; exit 1")
            with self.assertRaisesRegex(kind, f"^{why}$"):
                self.proof.start(instant(0x5000028))

    def test_check(self) -> None:
        """What is wrong is named by the program that found it."""
        self.program("pg/18/bin/pg_amcheck", "exit 0")
        self.program("pg/18/bin/pg_checksums", "exit 0")
        for name, script, counts, kind, why in [
            ("", "", {}, None, ""),
            ("pg/18/bin/pg_checksums", 'echo "pg_checksums: error: data checksums are not enabled in cluster"; exit 1', {}, None, ""),
            ("pg/18/bin/pg_checksums", 'echo; echo "checksum verification failed in file x"; exit 1', {}, prove.Bad, "checksum verification failed in file x"),
            ("pg/18/bin/pg_checksums", 'echo "pg_checksums: error: could not open file"; exit 1', {}, prove.Later, "it cannot be checked: pg_checksums: error: could not open file"),
            ("pg/18/bin/pg_amcheck", 'echo "pg_amcheck: error: no databases"; exit 1', {}, prove.Later, "it cannot be checked: pg_amcheck: error: no databases"),
            ("pg/18/bin/pg_amcheck", 'echo "server closed the connection unexpectedly"; exit 2', {}, prove.Later, "pg_amcheck finds: server closed the connection unexpectedly"),
            ("pg/18/bin/pg_amcheck", 'echo "btree index x: high key invariant violated"; exit 2', {}, prove.Bad, "pg_amcheck finds: btree index x: high key invariant violated"),
            ("", "", {("app", "public.a"): 3}, prove.Bad, "table public.a of database app has 83886120 rows, and the replica has 3 at the same position"),
        ]:
            with self.subTest(why):
                self.setUp()
                self.program("pg/18/bin/pg_amcheck", "exit 0")
                self.program("pg/18/bin/pg_checksums", "exit 0")
                self.program("pg/18/bin/psql", f'case $* in *--command*) echo f ;; *) while read -r line; do case $line in *count*|*replay_lsn*) echo {0x5000028} ;; *echo*) echo "{prove.END}" ;; esac; done ;; esac')
                if name:
                    self.program(name, script)
                self.proof.start(instant(0x5000028))
                if kind is None:
                    self.proof.check(instant(0x5000028, counts))
                else:
                    with self.assertRaisesRegex(kind, f"^{why}$"):
                        self.proof.check(instant(0x5000028, counts))
                self.proof.clear()

    def test_verdict(self) -> None:
        """A table that cannot be read is bad; a server that was killed for its memory says nothing of the backup."""
        for text, kind in [("ERROR:  invalid page in block 3", prove.Bad), ("server closed the connection unexpectedly", prove.Later), ("FATAL:  out of memory", prove.Later)]:
            self.program("pg/18/bin/psql", f'read -r a; echo "{text}"; exit 3')
            with self.assertRaisesRegex(kind, "^table public.a of database app cannot be read: "):
                self.proof.count_again(lambda database: prove.Session("host=/x"), {("app", "public.a"): 3})

    def test_position(self) -> None:
        """The replay ended before the replica's position, or went beyond."""
        self.program("pg/18/bin/psql", f'case $* in *--command*) echo f ;; *) while read -r line; do case $line in *replay_lsn*) echo {0x5000028} ;; *echo*) echo "{prove.END}" ;; esac; done ;; esac')
        self.proof.start(instant(0x5000028))
        with self.assertRaisesRegex(prove.Later, "^WAL is missing in the archive since the backup$"):
            self.proof.check(instant(0x6000000))
        with self.assertRaisesRegex(prove.Later, "^the leader wrote between two looks"):
            self.proof.check(instant(0x5000000))

    def test_session(self) -> None:
        """Answers of more lines, and an error."""
        self.program("pg/18/bin/psql", f'read -r a; read -r b; printf "1\\n2\\n{prove.END}\\n"; read -r a; echo "ERROR:  no such table"; exit 3')
        session = prove.Session("host=/x dbname=a")
        self.assertEqual(session.ask("SELECT 1"), "1\n2")
        with self.assertRaisesRegex(prove.Later, "^PostgreSQL does not say: no such table"):
            session.ask("SELECT 2")
        session.close()
        self.program("pg/18/bin/psql", f'read -r a; read -r b; printf "%s\\n" "$PGOPTIONS" "{prove.END}"; read -r a')
        session = prove.Session("host=/x dbname=a")
        options = session.ask("SELECT 1")
        session.close()
        for option in ("search_path=pg_catalog,pg_temp", "role=none", "statement_timeout=0", "idle_in_transaction_session_timeout=0"):
            self.assertIn(f"-c {option}", options, "the owner of a database runs nothing here")


if __name__ == "__main__":
    unittest.main()
