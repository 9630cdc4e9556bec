#!/usr/bin/python3 -sES
"""replica.py --connstring=NODE --datadir=FOLDER ...: Patroni's way to make this node's replica from the newest backup.

All WAL since then that the leader no longer has is fetched before PostgreSQL starts: so
PostgreSQL needs no restore_command, and if something is not there, Patroni copies from the
leader instead. How it goes is in /run/postgresql/restore, which backup.py says on the console.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import archive
import proof
import step
from complaint import complaint

SAID = os.path.join(os.environ.get("PGHA_POSTGRESQL_RUN", "/run/postgresql"), "restore")
KEY = os.path.join(step.RUN, "storage-key", "key.json")

PATIENCE = 15  # seconds: for the key of object storage, and for the leader's slot
ARCHIVED = 90  # seconds: within archive_timeout a segment is archived
LONGEST = 60  # seconds: of a look at the repository
LITTLE = step.GIB  # of WAL: so much is replayed in no time
FULL = 85  # percent of the data disk: pgha-watch warns from there on
PARALLEL = max(1, (os.cpu_count() or 1) // 2)

_LSN = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})")


class Unfit(Exception):
    """The replica is not made from a backup, and why; usual says that nobody has to act."""

    def __init__(self, why: str, usual: bool = False) -> None:
        super().__init__(why)
        self.usual = usual


class Line(NamedTuple):
    """A timeline, as far as it is part of the leader's history: from begin on, and up to end."""

    timeline: int
    begin: int
    end: int


class Room(NamedTuple):
    """Of the data disk, in bytes."""

    size: int
    free: int


class Replica:
    """One replica that is made."""

    def __init__(
            self, folder: str, node: str, ask: Callable[[str], list[str]], run: Callable[..., str], fetch: Callable[[str, str], bool],
            room: Callable[[], Room], key: Callable[[], bool], tell: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic,
            sleep: Callable[[float], None] = time.sleep) -> None:
        self.folder, self.node, self.ask, self.run, self.fetch = folder, node, ask, run, fetch
        self.room, self.key, self.tell, self.clock, self.sleep = room, key, tell, clock, sleep

    def make(self) -> str:
        """Says what was made."""
        began = self.clock()
        if not self.within(PATIENCE, self.key):
            raise Unfit("this machine has no key of object storage")
        system, timeline, position, *_ = self.ask("IDENTIFY_SYSTEM")
        size = size_of(self.ask("SHOW wal_segment_size")[0])
        stanza = archive.summary(self.run("info", "--output=json"))
        if stanza is None or not stanza["backup"]:
            raise Unfit("there is no backup yet", usual=True)
        database = stanza["db"][-1]
        if str(database["system-id"]) != system:
            raise Unfit("the folder in the bucket has the backups of another database")
        own = int(timeline)
        lines = history(self.ask(f"TIMELINE_HISTORY {own}") if own > 1 else [], own)
        backup = newest([b for b in stanza["backup"] if b["database"]["id"] == database["id"]], lines, lsn(position))
        if backup is None:
            raise Unfit("no backup belongs to the leader's timeline", usual=True)
        first = archive.segment(backup["archive"]["start"], size)
        assert first
        self.weigh(backup["info"]["size"], (lsn(position) // size - first.number + 1) * size)
        kept = self.kept(size)
        self.tell("wait", f"this node's replica is made from the backup {backup['label']}, of {step.size(backup['info']['size'])}")
        self.run(f"--set={backup['label']}", "--type=none", "restore", timeout=None)
        self.histories(first.timeline, own)
        count = self.wal(archive.part(stanza), lines, first.number, kept, size)
        return (f"this node's replica is made from the backup {backup['label']}, of {step.size(backup['info']['size'])}, "
                f"and {count} segments of the archive, in {self.clock() - began:.0f} s; the rest comes from the leader")

    def weigh(self, data: int, wal: int) -> None:
        """Whether a backup is worth it: what is replayed costs at least what is copied."""
        if wal > max(data, LITTLE):
            raise Unfit(f"{step.size(wal)} of WAL since the backup are more than the {step.size(data)} that it has", usual=True)
        room = self.room()
        if room.size - room.free + data + wal > room.size * FULL // 100:
            raise Unfit(f"the data disk has no room for {step.size(data)} and {step.size(wal)} of WAL since the backup", usual=True)

    def kept(self, size: int) -> int:
        """The first segment that the leader keeps for this node: Patroni has it make a slot for each member."""
        slot = re.sub("[-.]", "_", self.node.lower())  # Patroni's slot_name_from_member_name
        position = ""

        def there() -> bool:
            nonlocal position
            position = (self.ask(f"READ_REPLICATION_SLOT {slot}") + ["", ""])[1]
            return position != ""

        if not self.within(PATIENCE, there):
            raise Unfit("the leader keeps no WAL for this node")
        return lsn(position) // size

    def histories(self, first: int, last: int) -> None:
        """PostgreSQL looks for the newest timeline one by one."""
        for timeline in range(first + 1, last + 1):
            name = f"{timeline:08X}.history"
            text = "\n".join(self.ask(f"TIMELINE_HISTORY {timeline}"))
            with open(self.local(name), "w", encoding="utf-8") as file:
                file.write(text.partition("|")[2].rstrip("\n") + "\n")
                os.fsync(file.fileno())
            self.done(name)

    def wal(self, part: str, lines: list[Line], first: int, kept: int, size: int) -> int:
        """Fetches WAL from the first segment on up to what the leader has, and further as far as it is archived."""
        at, moved, wanted = first, self.clock(), max({kept} | {n + 1 for n in unsent(lines, size)})
        while True:
            there = {s.name for s in archive.Archive(self.run, size).segments(part, at)}
            names = []
            while (name := file_of(lines, at + len(names), size)) in there:
                names.append(name)
            with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
                if not all(pool.map(self.segment, names)):
                    raise Unfit("the archive has lost WAL meanwhile")
            at += len(names)
            if at >= wanted:
                return at - first
            if names:
                moved = self.clock()
            if self.clock() - moved > ARCHIVED:
                raise Unfit(f"WAL is missing: neither the archive nor the leader has {file_of(lines, at, size)}")
            self.sleep(1)

    def segment(self, name: str) -> bool:
        """Fetches one. A file that a power cut has emptied would not be fetched again."""
        if not self.fetch(name, self.local(name)):
            return False
        with open(self.local(name), "rb") as file:
            os.fsync(file.fileno())
        self.done(name)
        return True

    def done(self, name: str) -> None:
        """Once this node leads, it need not archive that again."""
        with open(self.local(os.path.join("archive_status", name + ".done")), "w", encoding="ascii"):
            pass

    def local(self, name: str) -> str:
        """The place of a file of WAL."""
        path = os.path.join(self.folder, "pg_wal", name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return path

    def within(self, seconds: float, ready: Callable[[], bool]) -> bool:
        """Waits for something, not for ever."""
        end = self.clock() + seconds
        while not ready():
            if self.clock() >= end:
                return False
            self.sleep(1)
        return True


def lsn(text: str) -> int:
    """A position in WAL."""
    found = _LSN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no position in WAL")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def size_of(text: str) -> int:
    """PostgreSQL's word for a segment's size."""
    found = re.fullmatch(r"(\d+)(MB|GB)", text)
    if found is None:
        raise ValueError(f"{text!r} is no size of a segment")
    return int(found[1]) * (step.MIB if found[2] == "MB" else step.GIB)


def history(answer: list[str], own: int) -> list[Line]:
    """The leader's timelines, the oldest first. answer is that to TIMELINE_HISTORY: a file's name, and its text."""
    lines, begin = [], 0
    for text in "\n".join(answer).partition("|")[2].splitlines():
        words = text.split()
        if words and not words[0].startswith("#"):
            if len(words) < 2:
                raise ValueError(f"{text!r} is no line of a timeline's history")
            lines.append(Line(int(words[0]), begin, lsn(words[1])))
            begin = lines[-1].end
    return lines + [Line(own, begin, 1 << 64)]


def newest(backups: list[dict[str, Any]], lines: list[Line], position: int) -> dict[str, Any] | None:
    """The newest backup that the leader's history leads on from. A database that was founded from
    the same backups has the same identifier, and a lost leader may have written what nobody else has."""
    good = [
        b for b in backups if not b.get("error") and not proof.failed(b) and b["archive"]["start"] and b.get("lsn") and any(
            line.timeline == int(b["archive"]["start"][:8], 16) == int(b["archive"]["stop"][:8], 16) and lsn(b["lsn"]["stop"]) <= min(line.end, position)
            for line in lines)]
    return max(good, key=lambda b: b["timestamp"]["stop"], default=None)


def file_of(lines: list[Line], number: int, size: int) -> str:
    """The file of a segment. One in which a timeline began is whole on that one alone."""
    timeline = max(line.timeline for line in lines if line.begin // size <= number)
    return f"{timeline:08X}" + archive.text(number, size)


def unsent(lines: list[Line], size: int) -> set[int]:
    """The segments that the leader cannot send to a node that has not seen its newest timelines: more than one begins
    there. Where a timeline ends, PostgreSQL looks for the segment's file of the next one; and if that ends in this
    segment too, its file was renamed to end in .partial (CleanupAfterArchiveRecovery)."""
    begins = [line.begin // size for line in lines[1:]]
    return {b for a, b in zip(begins, begins[1:]) if a == b}


def tell(status: str, detail: str) -> None:
    """This runs as postgres, and may not say it itself."""
    print(f"{status} {detail}", flush=True)
    step.write(SAID, f"{status} {detail}\n")


def asker(node: str) -> Callable[[str], list[str]]:
    """Asks the node that Patroni copies from, by its protocol of replication: the fields of its one row, or a file's lines."""
    def ask(question: str) -> list[str]:
        # It must prove to know the password, as for pg_basebackup.
        done = subprocess.run(
            ["psql", "--no-psqlrc", "--no-password", "--no-align", "--tuples-only", f"--dbname={node} replication=true", f"--command={question}"],
            capture_output=True, text=True, check=False, timeout=LONGEST, env=os.environ | {"PGREQUIREAUTH": "scram-sha-256"})
        if done.returncode != 0:
            raise Unfit(f"the leader does not answer {question.split()[0]}: {' '.join(done.stderr.split())}")
        text = done.stdout.rstrip("\n")
        return text.split("\n") if question.startswith("TIMELINE_HISTORY") else text.split("|")

    return ask


def command(*arguments: str) -> list[str]:
    """pgBackRest with the cluster's own backups. It gives up on object storage before its usual minute is over."""
    return [os.path.join(step.LIB, "pgbackrest.sh"), "own", "--log-level-console=warn", "--io-timeout=15", *arguments]


def run(*arguments: str, timeout: float | None = LONGEST) -> str:
    """What pgBackRest answers."""
    try:
        # clone.sh's lock is pgBackRest's, too.
        done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=timeout, close_fds=False)
    except subprocess.TimeoutExpired:
        raise Unfit("object storage does not answer") from None
    if done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr, flush=True)
        raise Unfit(complaint(done.stdout + done.stderr))
    return done.stdout


def fetch(name: str, path: str) -> bool:
    """A segment of the archive."""
    done = subprocess.run(command("archive-get", name, path), stdout=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Makes it, or says why not: then Patroni goes on with its next method."""
    given = dict(a[2:].split("=", 1) for a in arguments)
    folder = given["datadir"]

    def room() -> Room:
        disk = os.statvfs(folder)
        return Room(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)

    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        node = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"]
        tell("ok", Replica(folder, node, asker(given["connstring"]), run, fetch, room, lambda: os.path.exists(KEY), tell).make())
        return 0
    except Unfit as error:
        tell("ok" if error.usual else "warn", f"this node's replica is copied from the leader: {error}")
    except (ValueError, LookupError, OSError, subprocess.SubprocessError) as error:
        tell("warn", f"this node's replica is copied from the leader: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
