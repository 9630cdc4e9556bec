#!/usr/bin/python3 -sES
"""prove.py LABEL: restores a backup beside this replica, and checks it.

The restored server replays the archive up to a position that the replica was at,
and there both have to have the same rows. It runs as postgres. Its last line is
a finding, as JSON.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import archive
import databases
import step
from complaint import complaint

SOCKETS = os.environ.get("PGHA_SOCKETS", "/var/run/postgresql")

SPARE = 0.15  # of the disk stays free: pgha-watch warns from there on
PAUSED = 5  # seconds that replay stands still at most, while all databases are looked at
LOOKS = 5  # as often, if replay goes on meanwhile
COUNTED = 15 * 60  # seconds for counting on the replica: what it holds up there is limited
ARCHIVED = 5 * 60  # seconds until the replica's position is in the archive
END = "prove.py: end of an answer"

# What is said where this machine lacks something, or the kernel has killed the server
# for its memory; no library is preloaded, since it may do more than to read WAL of its own.
MACHINE = (
    "resource manager with ID", "server closed the connection", "terminating connection", "connection to server", "lost connection", "out of memory",
    "No space left on device", "Cannot allocate memory", "Permission denied", "Too many open files", "Resource temporarily unavailable",
)

# The server lets replay go on by itself, whatever becomes of this program.
PAUSE = f"""DO $$ BEGIN
	PERFORM pg_wal_replay_pause();
	PERFORM pg_sleep({PAUSED});
	PERFORM pg_wal_replay_resume();
EXCEPTION WHEN OTHERS OR query_canceled THEN
	PERFORM pg_wal_replay_resume();
END $$"""
POSITION = """SELECT json_build_object(
	'paused', pg_get_wal_replay_pause_state() = 'paused',
	'lsn', pg_last_wal_replay_lsn() - '0/0',
	'timeline', (SELECT received_tli FROM pg_stat_wal_receiver),
	'instant', (SELECT extract(epoch FROM pg_last_xact_replay_timestamp())),
	'segment', pg_size_bytes(current_setting('wal_segment_size')),
	'prepared', current_setting('max_prepared_transactions'))"""
DATABASES = "SELECT json_agg(datname ORDER BY datname) FROM pg_database WHERE datallowconn"
# The smallest first: if it takes too long, those are counted.
TABLES = """SELECT coalesce(json_agg(format('%I.%I', nspname, relname) ORDER BY pg_relation_size(c.oid), nspname, relname), '[]')
	FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
	WHERE relkind IN ('r', 'm') AND relpersistence = 'p' AND relispopulated AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"""

Counts = dict[tuple[str, str], int]  # the rows, by database and table


class Later(Exception):
    """Nothing is found out yet, and why."""


class Moved(Later):
    """Replay went on: Patroni, which looks each loop_wait, lets one go on that stands still."""


class Bad(Exception):
    """The backup cannot be relied on, and why."""


class Session:
    """A session of psql, which is asked one thing after the other."""

    def __init__(self, connection: str) -> None:
        self.process = subprocess.Popen(
            [databases.program("psql"), "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", connection],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
            # A database's owner sets nothing of it; and one waits while another is counted.
            env=databases.environment(client_min_messages="error", statement_timeout="0", idle_in_transaction_session_timeout="0"))

    def begin(self, statement: str) -> None:
        """Asks, and does not wait."""
        assert self.process.stdin
        try:
            self.process.stdin.write(f"{statement};\n\\echo '{END}'\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # why, the answer says

    def answer(self) -> str:
        """What the last question gave. Later: an error."""
        assert self.process.stdout
        lines: list[str] = []
        for line in self.process.stdout:
            if line.rstrip("\n") == END:
                return "".join(lines).strip()
            lines.append(line)
        raise Later(f"PostgreSQL does not say: {databases.complaint(''.join(lines))}")

    def ask(self, statement: str) -> str:
        """The answer to one."""
        self.begin(statement)
        return self.answer()

    def close(self) -> None:
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.communicate()


Connect = Callable[[str], Session]


class Instant(NamedTuple):
    """A position of the replica's, and what it had there."""

    lsn: int
    timeline: int
    time: float  # of the last commit before it, in seconds since 1970; 0: there is none
    segment: int  # the size of one, in bytes
    prepared: int  # max_prepared_transactions
    counts: Counts
    tables: int  # that there are

    def between(self) -> bool:
        """Does it lie between two segments? Then nothing after it is in the archive while nobody writes."""
        return self.lsn % self.segment == 0

    def needs(self) -> str:
        """The last segment that it needs."""
        return f"{self.timeline:08X}{archive.text((self.lsn - 1) // self.segment, self.segment)}"

    def text(self) -> str:
        """As PostgreSQL has positions."""
        return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"


def look(connect: Connect) -> Instant:
    """What the replica has at one position, to the row."""
    for _ in range(LOOKS - 1):
        try:
            return look_once(connect)
        except Moved:
            time.sleep(PAUSED)  # the session that let it stand still has ended by then
    return look_once(connect)


def look_once(connect: Connect) -> Instant:
    """Moved: not at one position."""
    sessions: list[Session] = []

    def session(database: str) -> Session:
        sessions.append(connect(database))
        return sessions[-1]

    try:
        guide, pause = session(databases.SUPERUSER), session(databases.SUPERUSER)
        each = {name: session(name) for name in json.loads(guide.ask(DATABASES))}
        for one in each.values():
            one.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        pause.begin(PAUSE)
        try:
            before = stopped(guide)
            for one in each.values():
                one.ask("SELECT FROM pg_class LIMIT 1")  # from here on it sees the database as it is now
            after = json.loads(guide.ask(POSITION))
        finally:
            guide.ask("SELECT pg_wal_replay_resume()")
        if not after["paused"] or after["lsn"] != before["lsn"]:
            raise Moved("replay went on while the databases were looked at")
        if after["timeline"] is None:
            raise Later("this node does not stream from the leader")
        counts, tables = count(each, time.monotonic() + COUNTED)
    finally:
        for one in sessions:
            one.close()
    return Instant(int(after["lsn"]), after["timeline"], after["instant"] or 0, after["segment"], int(after["prepared"]), counts, tables)


def stopped(guide: Session) -> dict[str, Any]:
    """Where replay stands still."""
    for _ in range(100):
        position: dict[str, Any] = json.loads(guide.ask(POSITION))
        if position["paused"]:
            return position
        time.sleep(0.02)
    raise Moved("replay does not stand still")


def count(each: dict[str, Session], end: float) -> tuple[Counts, int]:
    """The rows of all tables, until the end; and how many tables there are."""
    counts: Counts = {}
    total = 0
    for database, session in each.items():
        tables = json.loads(session.ask(TABLES))
        total += len(tables)
        try:
            for table in tables:
                left = end - time.monotonic()
                if left <= 0:
                    break
                session.ask(f"SET LOCAL statement_timeout = {int(left * 1000) + 1}")
                counts[database, table] = int(session.ask(f"SELECT count(*) FROM ONLY {table}"))
        except Later:
            continue  # it took too long, or what it read is cleaned up (a recovery conflict): the next database
    return counts, total


def compare(want: Counts, got: Counts) -> None:
    """Bad: a table that is not as the replica has it."""
    for (database, table), rows in want.items():
        if (database, table) not in got:
            raise Bad(f"table {table} of database {database} is not in it")
        if got[database, table] != rows:
            raise Bad(f"table {table} of database {database} has {got[database, table]} rows, and the replica has {rows} at the same position")


class Proof:
    """One backup, restored and checked."""

    def __init__(self, label: str, size: int, connection: str, folder: str) -> None:
        self.label, self.size, self.connection, self.folder = label, size, connection, folder
        self.data = os.path.join(folder, "data")
        self.log = os.path.join(folder, "log")
        self.server: subprocess.Popen[bytes] | None = None

    def prove(self) -> dict[str, Any]:
        """What was found. Later and Bad, as they say."""
        self.room(self.size)
        instant = look(lambda database: Session(f"{self.connection} dbname={databases.quoted(database)}"))
        began = time.monotonic()
        self.restore(instant)
        restored = time.monotonic() - began
        self.wait_for_archive(instant)
        began = time.monotonic()
        self.start(instant)
        restored += time.monotonic() - began
        began = time.monotonic()
        self.check(instant)
        return {
            "restored": round(restored, 1), "checked": round(time.monotonic() - began, 1), "instant": int(instant.time),
            "rows": sum(instant.counts.values()), "tables": len(instant.counts), "of": instant.tables}

    def room(self, need: int) -> None:
        """Later: the disk would be too full."""
        disk = os.statvfs(os.path.dirname(self.folder))
        free = disk.f_bavail * disk.f_frsize
        if free - need < SPARE * disk.f_blocks * disk.f_frsize:
            raise Later(f"{step.size(need)} do not fit beside the data on a disk with {step.size(free)} free")

    def run(self, *command: str) -> tuple[int, str]:
        """A program's status and what it said; ended when the disk gets full."""
        path = os.path.join(self.folder, "said")
        with open(path, "wb") as said, subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd="/") as process:
            try:
                while process.poll() is None:
                    self.room(0)
                    time.sleep(0.1)
            except BaseException:
                process.kill()
                raise
            status = process.returncode
        with open(path, encoding="utf-8", errors="replace") as answer:
            return status, answer.read()

    def pgbackrest(self, *arguments: str) -> list[str]:
        """pgBackRest, for the restored server."""
        return [os.path.join(step.LIB, "pgbackrest.sh"), "own", "--log-level-console=warn", f"--pg1-path={self.data}", *arguments]

    def restore(self, instant: Instant) -> None:
        """Fetches the backup."""
        os.mkdir(self.data, 0o700)
        target = ["--type=default"] if instant.between() else ["--type=lsn", f"--target={instant.text()}", "--target-exclusive", "--target-action=promote"]
        status, said = self.run(*self.pgbackrest(
            f"--set={self.label}", *target, f"--lock-path={self.folder}/lock", f"--tablespace-map-all={self.folder}/tablespaces", "restore"))
        if status != 0:
            raise (Bad if archive.damaged(said) else Later)(f"it cannot be restored: {complaint(said)}")

    def wait_for_archive(self, instant: Instant) -> None:
        """Until all that the replica has replayed can be fetched."""
        end = time.monotonic() + ARCHIVED
        while True:
            status, said = self.run(*self.pgbackrest("archive-get", instant.needs(), os.path.join(self.folder, "segment")))
            if status == 0:
                return
            if archive.damaged(said):
                raise Bad(f"WAL {instant.needs()} cannot be fetched: {complaint(said)}")
            if time.monotonic() > end:
                raise Later(f"WAL {instant.needs()} is not in the archive: {complaint(said)}")
            time.sleep(2)

    def start(self, instant: Instant) -> None:
        """Has the server replay the archive, until it may be written to."""
        for name, text in (("postgresql.conf", ""), ("ident.conf", ""), ("hba.conf", "local all all peer\n")):
            with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
                file.write(text)
        settings = {
            "config_file": f"{self.folder}/postgresql.conf", "hba_file": f"{self.folder}/hba.conf", "ident_file": f"{self.folder}/ident.conf",
            "listen_addresses": "", "unix_socket_directories": self.folder, "port": "5432", "ssl": "off", "external_pid_file": "",
            "shared_buffers": "128MB", "huge_pages": "off", "max_connections": "20", "jit": "off", "autovacuum": "off",
            "max_prepared_transactions": str(instant.prepared), "hot_standby": "off", "archive_mode": "off", "max_wal_size": "256MB",
            # It is thrown away.
            "fsync": "off", "full_page_writes": "off", "synchronous_standby_names": "",
            "shared_preload_libraries": "", "session_preload_libraries": "", "local_preload_libraries": "", "logging_collector": "off",
            "log_destination": "stderr", "restore_command": " ".join(self.pgbackrest("archive-get", "%f", "%p")),
            "archive_cleanup_command": "", "recovery_end_command": "",
        }
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen(  # pylint: disable=consider-using-with
                [databases.program("postgres"), "-D", self.data, *(f"--{name}={value}" for name, value in settings.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        while True:
            self.room(0)
            if self.server.poll() is not None:
                raise self.reason()
            asked = subprocess.run(
                [databases.program("psql"), "--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--command=SELECT pg_is_in_recovery()", f"host={self.folder} dbname=postgres"],
                capture_output=True, text=True, check=False)
            if asked.stdout.strip() == "f":
                return
            time.sleep(0.2)

    def reason(self) -> Exception:
        """Why the server ended."""
        fatal = re.findall(r"(?:FATAL|PANIC): *(.*)", self.logged())
        why = fatal[-1] if fatal else "it says nothing"
        if "recovery ended before configured recovery target was reached" in why:
            return self.incomplete()
        # Killed, it says nothing.
        return verdict(f"PostgreSQL does not start with what was restored: {why}") if fatal else Later(f"PostgreSQL ends while it starts: {why}")

    def incomplete(self) -> Exception:
        """Why the archive did not lead up to the replica's position."""
        # PostgreSQL takes WAL that cannot be read for the end of the archive.
        said = self.logged()
        if archive.damaged(said):
            return Bad(f"its WAL cannot be fetched: {complaint(said)}")
        return Later("WAL is missing in the archive since the backup")

    def logged(self) -> str:
        """What the server and its restore_command said."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def check(self, instant: Instant) -> None:
        """Bad: what was restored is not what the replica had."""
        assert self.server

        def connect(database: str) -> Session:
            return Session(f"host={self.folder} dbname={databases.quoted(database)}")

        guide = connect(databases.SUPERUSER)
        try:
            # It stays at the last position of the replay.
            reached = int(guide.ask("SELECT pg_last_wal_replay_lsn() - '0/0'"))
        finally:
            guide.close()
        if reached < instant.lsn:
            raise self.incomplete()
        if reached > instant.lsn:
            raise Later("the leader wrote between two looks, and so the rows cannot be compared")
        self.count_again(connect, instant.counts)
        status, said = self.run(databases.program("pg_amcheck"), f"--host={self.folder}", "--all", "--install-missing", "--heapallindexed", "--no-password")
        if status != 0:
            # 2: it found something. Else it could not look.
            raise verdict(f"pg_amcheck finds: {first(said)}") if status == 2 else Later(f"it cannot be checked: {first(said)}")
        self.server.send_signal(signal.SIGINT)
        self.server.wait(600)
        status, said = self.run(databases.program("pg_checksums"), "--check", f"--pgdata={self.data}")
        bad = [line for line in said.splitlines() if "checksum verification failed" in line]
        if bad:
            raise Bad(bad[0].strip())
        if status != 0 and "data checksums are not enabled" not in said:
            raise Later(f"it cannot be checked: {first(said)}")

    def count_again(self, connect: Connect, want: Counts) -> None:
        """Counts what the replica could count."""
        sessions = {}
        got: Counts = {}
        try:
            for database, table in want:
                if database not in sessions:
                    sessions[database] = connect(database)
                try:
                    got[database, table] = int(sessions[database].ask(f"SELECT count(*) FROM ONLY {table}"))
                except Later as error:
                    raise verdict(f"table {table} of database {database} cannot be read: {error}") from None
        finally:
            for session in sessions.values():
                session.close()
        compare(want, got)

    def clear(self) -> None:
        """Ends the server, and removes all of it."""
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def verdict(why: str) -> Exception:
    """Bad, unless it is the machine's fault."""
    return (Later if any(text in why for text in MACHINE) else Bad)(why)


def first(said: str) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[0] if lines else "it says nothing"


def main() -> int:
    """Proves one."""
    label, size = sys.argv[1], int(sys.argv[2])
    cluster = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = os.path.join(os.path.dirname(cluster["PGHA_PGDATA"]), "proof")
    shutil.rmtree(folder, ignore_errors=True)  # of one that was lost
    proof = Proof(label, size, f"host={SOCKETS} port={cluster['PGHA_POSTGRESQL_PORT']} user={databases.SUPERUSER}", folder)
    found: dict[str, Any]
    try:
        os.mkdir(folder, 0o700)
        found = {"status": "ok", **proof.prove()}
    except Later as error:
        found = {"status": "later", "why": str(error)}
    except Bad as error:
        found = {"status": "failed", "why": str(error)}
    finally:
        proof.clear()
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
