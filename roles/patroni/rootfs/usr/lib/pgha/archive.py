"""What the archive of WAL has, and what it lacks."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from complaint import complaint

# How pgBackRest's info says what a stanza is like (src/command/info/info.c).
GOOD, MISSING_PATH, NO_BACKUP, MISSING_DATA = 0, 1, 2, 3

# And the errors that it ends with (src/build/error/error.yaml) if what it read is not
# what it wrote. archive-get has them by name, in its own.
DAMAGE = {26: "Checksum", 28: "FileInvalid", 29: "Format", 55: "FileMissing", 95: "Crypto", 99: "JsonFormat"}

SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{16})")


class Segment(NamedTuple):
    """A file of WAL, by its name."""

    timeline: int
    number: int  # in the order of WAL
    name: str


def segment(name: str, size: int) -> Segment | None:
    """None: it is no whole segment. size is that of one, in bytes."""
    found = SEGMENT.match(name)
    if found is None or name[24:25] == ".":
        return None
    high, low = int(found[2][:8], 16), int(found[2][8:], 16)
    return Segment(int(found[1], 16), high * ((1 << 32) // size) + low, name[:24])


class Archive:
    """The archive, as pgBackRest shows it."""

    def __init__(self, run: Callable[..., str], size: int) -> None:
        self.run, self.size = run, size

    def segments(self, part: str, first: int) -> set[Segment]:
        """Those from the first one on, and a few before it. part is of one database, such as 18-1."""
        found = set()
        least = first * self.size >> 32
        for folder in json.loads(self.run("repo-ls", "--output=json", f"archive/main/{part}")):
            if re.fullmatch(r"[0-9A-F]{16}", folder) and int(folder[8:], 16) >= least:
                names = json.loads(self.run("repo-ls", "--output=json", f"archive/main/{part}/{folder}"))
                found |= {s for name in names if (s := segment(name, self.size))}
        return found


def unfinished(local: Iterable[str], timeline: int, switched: int, there: set[Segment], size: int) -> list[str]:
    """Those of former timelines that this node has and the archive lacks.

    A leader that is lost may not have archived all that it wrote, and PostgreSQL
    archives only what it wrote as leader itself. switched is the first segment of the
    timeline: that one is archived with it.
    """
    names = {s.name for s in there}
    mine = (segment(name, size) for name in local)
    return sorted(s.name for s in mine if s and s.timeline < timeline and s.number < switched and s.name not in names)


def holes(there: set[Segment], first: int) -> list[tuple[int, int]]:
    """What is missing between first and the newest: the numbers of the first and last of each hole."""
    numbers = sorted({s.number for s in there if s.number >= first} | {first - 1})
    return [(before + 1, after - 1) for before, after in zip(numbers, numbers[1:]) if after > before + 1]


def switch(history: str, size: int) -> int:
    """The segment in which a timeline began, by its history file."""
    lines = [line.split() for line in history.splitlines() if line.strip() and not line.startswith("#")]
    high, _, low = lines[-1][1].partition("/")
    return ((int(high, 16) << 32) + int(low, 16)) // size


def text(number: int, size: int) -> str:
    """A segment's place, as people read it in names of files."""
    per = (1 << 32) // size
    return f"{number // per:08X}{number % per:08X}"


def damaged(said: str) -> bool:
    """Does it complain that what it read is not what it wrote?"""
    codes = (int(code) for code in re.findall(r"ERROR: \[(\d+)\]:", said))
    return any(code in DAMAGE for code in codes) or any(f"[{name}Error]" in said for name in DAMAGE.values())


def summary(info: str) -> dict[str, Any] | None:
    """The one stanza of pgBackRest's info. None: there is none yet. ValueError: it has a problem, and which."""
    try:
        stanza = json.loads(info)[0]
        code, message = stanza["status"]["code"], stanza["status"]["message"]
    except (LookupError, TypeError, ValueError):
        raise ValueError("pgBackRest's info is not in its form") from None
    if code in (MISSING_PATH, MISSING_DATA):
        return None
    if code not in (GOOD, NO_BACKUP):
        # Of several repositories there is one, whose message says more than "other".
        raise ValueError(complaint(stanza.get("repo", [{"status": {"message": message}}])[0]["status"]["message"]))
    return dict(stanza)


def part(stanza: dict[str, Any]) -> str:
    """The part of the archive that belongs to the database as it is now, such as 18-1."""
    db = stanza["db"][-1]
    return f"{db['version']}-{db['id']}"
