#!/usr/bin/python3 -sES
"""While this node leads: the archive is complete, and there is a backup as the spec says.

Who leads, Patroni's lock in etcd says, so there is one at a time. A backup ends when the
node loses the lead; the next leader finds that one is due, and begins. A replica proves
backups (proof.py), and takes WAL from the archive that the leader cannot send (catch_up.py).
"""

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import archive
import catch_up
import databases
import proof
import step
from beside import Beside, as_postgres
from complaint import complaint
from patroni_api import Patroni, this_node

REPORTS = os.path.join(step.RUN, "reports")
GAP = "/run/postgresql/archive-gap"  # a reboot forgets it, and then the hole is found
PUSH = "/run/postgresql/archive-says"
RESTORE = "/run/postgresql/restore"
SOCKETS = "/var/run/postgresql"
CONFIG = os.path.join(os.environ.get("PGHA_PGBACKREST_ETC", "/etc/pgbackrest"), "pgbackrest.conf")

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LOOK = 30  # seconds between two looks at the repository
AGAIN = 5 * MINUTE  # between two backups, if the first one failed
SETTLE = 2 * MINUTE  # so long may a segment be missing that others overtook
TRYING = 15  # seconds that pgBackRest tries again when object storage does not answer well
LONGEST = 60  # seconds: of a command that is no backup; so long the loss of the lead may go unseen
LINE = 500  # characters

STATE = """SELECT json_build_object(
	'segment', pg_size_bytes(current_setting('wal_segment_size')),
	'timeline', substring(pg_walfile_name(pg_current_wal_lsn()) FOR 8),
	'folder', current_setting('data_directory'),
	'system', (SELECT system_identifier::text FROM pg_control_system()),
	'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
	'last', (SELECT extract(epoch FROM last_archived_time) FROM pg_stat_archiver),
	'failing', (SELECT last_failed_time > coalesce(last_archived_time, '-infinity') IS TRUE FROM pg_stat_archiver))"""
WAL = "SELECT json_agg(name) FROM pg_ls_waldir()"

Say = Callable[[str, str, str], None]


class Failed(ValueError):
    """pgBackRest or PostgreSQL does not do it, and why."""


class Rules:
    """What the spec says of backups."""

    def __init__(self, at: str, full: int, queue: int, proof_days: int = 0) -> None:
        self.at = int(at[:2]) * HOUR + int(at[3:]) * MINUTE
        self.full = full * DAY
        self.proof_days = proof_days  # 0: none is proved
        self.queue = queue  # bytes

    def due(self, backups: list[dict[str, Any]], now: float) -> str:
        """The kind of backup that is due now; empty: none is."""
        if not backups:
            return "full"
        begins = now - (now - self.at) % DAY  # the last time that one was to begin
        *before, newest = sorted(backups, key=lambda b: int(b["timestamp"]["start"]))
        # If the next one is bad as well, it is not the backup: it need not be made again and again.
        if proof.failed(newest) and not (before and proof.failed(before[-1])):
            return "full"
        if newest["timestamp"]["start"] >= begins:
            return ""
        if proof.failed(newest):
            return "full"
        fulls = [b["timestamp"]["start"] for b in backups if b["type"] == "full"]
        # One that began late must not move all that follow.
        return "full" if not fulls or max(fulls) < begins - self.full + HOUR else "incr"


class Backups:
    """The leader's work."""

    def __init__(
            self, run: Callable[..., str], start: Callable[[str], Beside], ask: Callable[[str], Any],
            rules: Callable[[], Rules], say: Say, report: Callable[[dict[str, Any] | None], None],
            says: Callable[[str], str], forget: Callable[[str], None], gap: str = GAP) -> None:
        self.run, self.start, self.ask = run, start, ask
        self.rules, self.say, self.report, self.says, self.forget, self.gap = rules, say, report, says, forget, gap
        self.part = ""  # of the archive, once there is one: that of this database
        self.complete = False  # former timelines are archived as far as this node can
        self.missing: dict[tuple[int, int], float] = {}  # holes, and since when
        self.next_look = self.next_backup = self.next_holes = 0.0
        self.process: Beside | None = None
        self.kind, self.began, self.failed = "", 0.0, False
        self.said: dict[str, str] = {}
        self.known: dict[str, Any] = {"backups": [], "gaps": []}  # what the repository had at the last look

    def look(self, now: float, leads: bool | None) -> None:
        """Once a second."""
        if leads is None:
            return  # Patroni is away for a moment: what runs goes on
        if not leads:
            self.stop("another node leads")
            self.report(None)
            self.restored()
            self.part, self.complete, self.missing, self.known = "", False, {}, {"backups": [], "gaps": []}
            self.next_look = self.next_backup = self.next_holes = 0
            return
        if self.process:
            self.wait(now)
        if now >= self.next_look:
            self.next_look = now + LOOK
            try:
                self.work(now)
            except ValueError as error:
                self.tell("archive", "warn", str(error))
                self.next_look = now + LOOK / 3

    def work(self, now: float) -> None:
        """Looks at all of it, and begins a backup if one is due."""
        state, rules = self.ask(STATE), self.rules()
        waiting = state["waiting"] * state["segment"]
        try:
            kind = self.compare(state, rules, now)
        except ValueError as error:
            # The archive is away, so what matters most is how long the disk lasts.
            self.tell_report(state, waiting, now)
            raise Failed(f"{error}; {waits(waiting, rules)}") from None
        self.tell_report(state, waiting, now)
        if state["failing"] and not self.known["backups"]:
            # PostgreSQL began before there was a stanza; if it is more, the first backup says so.
            self.tell("archive", "wait", "WAL is archived from the first backup on")
        elif state["failing"]:
            # Reading may go on where nothing can be written: a full bucket, say.
            self.tell("archive", "warn", f"WAL is not archived: {self.says(PUSH) or 'nobody says why'}; {waits(waiting, rules)}")
        elif 2 * waiting > rules.queue:
            self.tell("archive", "warn", waits(waiting, rules))
        elif os.path.exists(self.gap):
            self.tell("archive", "warn", "WAL is archived, but more waited than may, and was dropped: nobody can go back to an instant between that and the backup that follows")
        elif self.known["gaps"]:
            first, last = self.known["gaps"][0]
            self.tell("archive", "warn", f"WAL is archived, but is missing from {first} to {last}: nobody can go back to an instant in it")
        else:
            self.tell("archive", "ok", "WAL is archived")
        if kind and not self.process and now >= self.next_backup:
            self.begin(kind, now)
            self.tell_report(state, waiting, now)

    def tell_report(self, state: dict[str, Any], waiting: int, now: float) -> None:
        """What is known, for whoever asks this machine."""
        self.report({
            "at": int(now), "last_archived": state["last"], "waiting": waiting, "running": self.kind if self.process else "", **self.known})

    def compare(self, state: dict[str, Any], rules: Rules, now: float) -> str:
        """What the repository has, and what it should have: the kind of backup that is due; empty: none is."""
        stanza = archive.summary(self.run("info", "--output=json"))
        if stanza is None:
            self.run("stanza-create")
            stanza = archive.summary(self.run("info", "--output=json"))
        if stanza is None:
            raise Failed("pgBackRest made a stanza, and does not find it")
        if str(stanza["db"][-1]["system-id"]) != state["system"]:
            raise Failed("the folder in the bucket has the backups of another database: give backup.prefix one that is this cluster's alone")
        self.part = archive.part(stanza)
        backups = stanza["backup"]
        if not self.complete:
            self.finish(state)
            self.complete = True
        if backups and now >= self.next_holes:
            self.next_holes = now + (SETTLE if self.missing else HOUR)
            self.find_holes(state, backups, now)
        lost = [hole for hole, since in self.missing.items() if now - since >= SETTLE]
        kind = rules.due(backups, now)
        if not kind and (os.path.exists(self.gap) or any(last >= covered(backups, state["segment"]) for _, last in lost)):
            kind = "incr"
        self.known = {
            "backups": [short(b) for b in backups],
            "gaps": [[archive.text(n, state["segment"]) for n in hole] for hole in lost],
        }
        return kind

    def finish(self, state: dict[str, Any]) -> None:
        """Archives what a lost leader had not."""
        timeline = int(state["timeline"], 16)
        if timeline == 1:
            return
        history = self.ask(f"SELECT coalesce(to_json(pg_read_file('pg_wal/{timeline:08X}.history', 0, 1048576, true)), '\"\"')")
        if not history:
            return  # without it nobody knows where the timeline began
        size = state["segment"]
        switched = archive.switch(history, size)
        there = archive.Archive(self.run, size).segments(self.part, 0)
        for name in archive.unfinished(self.ask(WAL), timeline, switched, there, size):
            self.run("archive-push", "--no-archive-async", f"{state['folder']}/pg_wal/{name}")

    def find_holes(self, state: dict[str, Any], backups: list[dict[str, Any]], now: float) -> None:
        """What the archive lacks since the oldest backup."""
        size = state["segment"]
        first = archive.segment(backups[0]["archive"]["start"] or "", size)
        if first is None:
            return
        there = archive.Archive(self.run, size).segments(self.part, first.number)
        found = archive.holes(there, first.number)
        self.missing = {hole: self.missing.get(hole, now) for hole in found}
        if self.missing:
            self.next_holes = now + SETTLE

    def restored(self) -> None:
        """How this node founds the cluster from a backup, or gets its replica: restore.sh and replica.py may not say it."""
        status, _, detail = self.says(RESTORE).partition(" ")
        if status in ("ok", "wait", "warn", "fail"):
            self.tell("restore", status, detail)

    def begin(self, kind: str, now: float) -> None:
        """Starts a backup, beside all else."""
        self.process, self.kind, self.began = self.start(kind), kind, now
        self.next_backup = now + AGAIN  # whatever is wrong, they do not follow each other at once
        # What was dropped before is not in the way of this one.
        self.forget(self.gap)
        # As on each day, if there is a good one.
        self.tell("backup", "ok" if self.known["backups"] and not self.failed else "wait", f"{words(kind)} is being made")

    def wait(self, now: float) -> None:
        """Ends a backup that has ended."""
        assert self.process
        ended = self.process.ended()
        if ended is None:
            return
        status, said = ended
        self.process, took = None, now - self.began
        self.next_look = now
        self.failed = status != 0
        if not self.failed:
            self.next_holes = now  # the WAL around it is archived: what was dropped before shows
            self.tell("backup", "ok", f"{words(self.kind)} is made, in {took:.0f} s")
            return
        self.next_backup = now + AGAIN
        self.tell("backup", "warn", f"{words(self.kind)} failed after {took:.0f} s: {complaint(said)}; it is tried again")

    def stop(self, why: str) -> None:
        """Ends a backup before its end."""
        if self.process is None:
            return
        self.process.end()
        self.process = None
        self.say("backup", "warn", f"{words(self.kind)} was ended: {why}")

    def tell(self, name: str, status: str, detail: str) -> None:
        """What is as before is not said again, but for figures."""
        if re.sub(r"\d+", "", detail) != self.said.get(name):
            self.said[name] = re.sub(r"\d+", "", detail)
            self.say(name, status, detail)


def waits(waiting: int, rules: Rules) -> str:
    """What pgBackRest does at the limit: it drops not the oldest, but all (archive-push-queue-max)."""
    much = "more than half of what may wait: " if 2 * waiting > rules.queue else ""
    return f"{much}{step.size(waiting)} of WAL wait for the archive on the data disk; above {step.size(rules.queue)} all that waits is dropped"


def covered(backups: list[dict[str, Any]], size: int) -> int:
    """The first segment that the newest backup needs: what is missing before it, no restore of it misses."""
    starts = (archive.segment(b["archive"]["start"] or "", size) for b in backups)
    return max((s.number for s in starts if s), default=0)


def short(backup: dict[str, Any]) -> dict[str, Any]:
    """What a person wants to know of one."""
    return {
        "label": backup["label"], "type": backup["type"], "start": backup["timestamp"]["start"], "stop": backup["timestamp"]["stop"],
        "size": backup["info"]["size"], "stored": backup["info"]["repository"].get("delta", 0), "damaged": bool(backup.get("error")),
        "proof": proof.of(backup),
    }


def words(kind: str) -> str:
    """A kind of backup, for people."""
    return {"full": "a full backup", "incr": "an incremental backup"}[kind]


def command(*arguments: str) -> list[str]:
    """pgBackRest with the cluster's own backups."""
    return as_postgres(os.path.join(step.LIB, "pgbackrest.sh"), "own", *arguments)


def forget(path: str) -> None:
    """Removes a file of postgres'."""
    subprocess.run(as_postgres("rm", "-f", "--", path), check=False, cwd="/")


def run(*arguments: str) -> str:
    """What pgBackRest answers."""
    try:
        # Its own minute of trying again would end with nothing said.
        asked = command("--log-level-console=error", f"--io-timeout={TRYING}", *arguments)
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=LONGEST, cwd="/")
    except subprocess.TimeoutExpired:
        raise Failed(f"pgBackRest's {arguments[0]} takes more than {LONGEST} s") from None
    if done.returncode != 0:
        raise Failed(f"pgBackRest's {arguments[0]} fails: {complaint(done.stderr + done.stdout)}")
    return done.stdout


def back_up(kind: str) -> Beside:
    """A backup, and what is too old by then is removed."""
    return Beside(command("--log-level-console=warn", f"--type={kind}", "backup"))


def take(folder: str, segment: str) -> bool:
    """Has PostgreSQL, which runs, find a segment of the archive. False: the archive does not have it."""
    try:
        done = subprocess.run(as_postgres(os.path.join(step.LIB, "take-wal.sh"), folder, segment), capture_output=True, text=True, check=False, timeout=LONGEST, cwd="/")
    except subprocess.TimeoutExpired:
        raise Failed(f"to take {segment} lasts more than {LONGEST} s") from None
    if done.returncode == 1 and not done.stderr:
        return False
    if done.returncode != 0:
        raise Failed(complaint(done.stderr + done.stdout))
    return True


def encrypted() -> bool:
    """Are the backups? pgBackRest takes nothing then that was written without the pass phrase."""
    with open(CONFIG, encoding="utf-8") as file:
        kinds = [value.strip() for key, _, value in (line.partition("=") for line in file) if key.strip() == "repo1-cipher-type"]
    return bool(kinds) and kinds[-1] != "none"


def prove(label: str, size: int) -> Beside:
    """A backup is restored beside, and checked."""
    return Beside(as_postgres(os.path.join(step.LIB, "prove.py"), label, str(size)))


def asker(server: databases.Server) -> Callable[[str], Any]:
    """Asks PostgreSQL for JSON."""
    def ask(question: str) -> Any:
        try:
            done = server.psql(databases.SUPERUSER, question)
        except databases.Refused as error:
            raise Failed(str(error)) from None
        if done.returncode != 0:
            raise Failed(f"PostgreSQL does not say: {databases.complaint(done.stderr)}")
        return json.loads(done.stdout)

    return ask


def write(report: dict[str, Any] | None) -> None:
    """For whoever asks this machine (watch.py). None: another one knows."""
    files = {"backup.json": json.dumps(report) + "\n", "backup.prom": metrics(report)} if report else {}
    os.makedirs(REPORTS, exist_ok=True)
    for name in ("backup.json", "backup.prom"):
        path = os.path.join(REPORTS, name)
        if name in files:
            step.write(path, files[name])
        elif os.path.exists(path):
            os.unlink(path)


def metrics(report: dict[str, Any]) -> str:
    """What of it Prometheus should have."""
    good = [b for b in report["backups"] if not b["damaged"]]
    proofs = [b["proof"] for b in good if b["proof"] and b["proof"]["status"] != proof.RUNS]
    last = max(proofs, key=lambda found: int(found["at"]), default=None)
    lines = []
    for name, text, value in (
        ("pgha_backup_last_timestamp_seconds", "When the newest backup ended.", max((b["stop"] for b in good), default=None)),
        ("pgha_backup_oldest_timestamp_seconds", "When the oldest backup ended: one can go back that far.", min((b["stop"] for b in good), default=None)),
        ("pgha_backup_proved_timestamp_seconds", "When a backup was last restored, and was whole.",
            max((found["at"] for found in proofs if found["status"] == proof.OK), default=None)),
        ("pgha_backup_proof_failed", "1: the last backup that was restored was not whole.", last and int(last["status"] == proof.FAILED)),
        ("pgha_archive_last_timestamp_seconds", "When a segment of WAL was last archived.", report["last_archived"]),
        ("pgha_archive_waiting_bytes", "WAL that waits for the archive.", report["waiting"]),
        ("pgha_archive_gaps", "Holes in the archive since the oldest backup.", len(report["gaps"])),
    ):
        if value is not None:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value:.0f}"]
    return "\n".join(lines) + "\n"


def says(path: str) -> str:
    """What a program wrote as postgres, and nothing that postgres could not read itself."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        found = os.fstat(descriptor)
        if found.st_uid == 0 or not stat.S_ISREG(found.st_mode):
            return ""  # a link of another kind to a file of root's, or no file
        return file.readline(LINE).strip()


def members(patroni: Patroni) -> list[dict[str, Any]]:
    """Of Patroni's cluster; none while Patroni is silent."""
    try:
        return list(patroni.get("/cluster")["members"])
    except ValueError:
        return []


def rules_of(file: str) -> Rules:
    """As the spec has them now."""
    cluster = step.read_values(file, "PGHA_BACKUP_")
    full, queue, proof_days = (int(cluster[f"PGHA_BACKUP_{name}"]) for name in ("FULL", "QUEUE", "PROOF"))
    return Rules(cluster["PGHA_BACKUP_AT"], full, queue, proof_days)


def main() -> int:
    """Works until it is stopped."""
    file = os.path.join(step.ETC, "cluster.env")
    patroni = this_node()
    server = databases.Server(f"host={SOCKETS} port={step.read_values(file, 'PGHA_')['PGHA_POSTGRESQL_PORT']} user={databases.SUPERUSER}")
    say = step.Console(patroni.name).say
    backups = Backups(run, back_up, asker(server), lambda: rules_of(file), say, write, says, forget)
    proofs = proof.Proofs(patroni.name, run, prove, lambda: members(patroni), lambda: rules_of(file).proof_days, say)
    missing = catch_up.CatchUp(patroni.name, lambda: patroni.get("/patroni").get("replication_state") == "streaming", asker(server), encrypted, take, say)
    while True:
        leads, now = patroni.leads(), time.time()
        backups.look(now, leads and server.promoted())
        proofs.look(now, leads)
        missing.look(now, leads)
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
