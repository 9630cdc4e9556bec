"""When the newest backup is to be proved, on which replica, and what came of it.

What came of it is an annotation of the backup, in the repository: it outlives this
node, and whoever leads sees it.
"""

import json
from collections.abc import Callable
from typing import Any

import archive
from beside import Beside

ANNOTATION = "pgha-proof"

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LOOK = 30  # seconds between two looks at the repository
TURN = 10 * MINUTE  # so long a replica waits for the one before it, in the order of their names
AGAIN = 5 * MINUTE  # until what could not be found out is tried again
LONGEST = DAY  # a proof that runs longer was lost with its node

OK, FAILED, RUNS, LATER = "ok", "failed", "runs", "later"  # what a proof's status is; LATER: nothing was found out

# What is known of a proof, and what of it there must be. Who may write to the bucket
# may write anything.
WORDS, NUMBERS = ("status", "node", "why"), ("at", "restored", "checked", "instant", "rows", "tables", "of")
NEEDS = {OK: ("node", *NUMBERS), FAILED: ("at", "node", "why"), RUNS: ("at", "node"), LATER: ("why",)}

Say = Callable[[str, str, str], None]
Found = dict[str, Any]


def of(backup: Found) -> Found | None:
    """What is known of a backup's proof."""
    found = formed((backup.get("annotation") or {}).get(ANNOTATION, ""))
    return found if found and found["status"] != LATER else None


def formed(text: str, **more: Any) -> Found | None:
    """A finding: what the text says, and more. None: something of it is not in its form."""
    try:
        found = {**json.loads(text), **more}
    except (TypeError, ValueError):
        return None
    words = all(isinstance(found.get(key, ""), str) for key in WORDS)
    numbers = all(type(value := found.get(key, 0)) in (int, float) and 0 <= value < 1 << 53 for key in NUMBERS)
    needs = NEEDS.get(found.get("status", "")) if words and numbers else None
    return {key: found[key] for key in WORDS + NUMBERS if key in found} if needs and all(key in found for key in needs) else None


def failed(backup: Found) -> bool:
    """Was it tried, and cannot be relied on?"""
    found = of(backup)
    return found is not None and found["status"] == FAILED


def due(backups: list[Found], days: int, now: float, others: list[str]) -> Found | None:
    """The backup that is to be proved: the newest one, once that many days have passed since the last proof.

    others are the nodes that may be at it already. A mark of a node that is none of
    them, or of this one, was left by a proof that was lost.
    """
    good = [b for b in backups if not b.get("error")]
    if not good or days == 0:
        return None
    newest = max(good, key=stopped)
    known = of(newest)
    if known and (known["status"] != RUNS or known.get("node") in others and now - known["at"] < LONGEST):
        return None
    done = last(backups)
    # The backup of that day is the one, not that of the day after.
    return newest if done is None or done["status"] == FAILED or stopped(newest) >= done["at"] + days * DAY - DAY / 2 else None


def last(backups: list[Found]) -> Found | None:
    """The last proof that found something out."""
    return max((found for b in backups if (found := of(b)) and found["status"] != RUNS), key=lambda found: int(found["at"]), default=None)


def stopped(backup: Found) -> float:
    """When it ended."""
    return float(backup["timestamp"]["stop"])


def fit(members: list[Found]) -> list[str]:
    """The nodes that can prove."""
    return sorted(str(m["name"]) for m in members if m.get("role") not in ("leader", "standby_leader") and m.get("state") == "streaming")


def order(nodes: list[str], done: Found | None) -> list[str]:
    """Their turns. After a proof that failed another node's comes first: it may be that machine that is wrong."""
    doubtful = done.get("node") if done and done["status"] == FAILED else ""
    return sorted(nodes, key=lambda node: (node == doubtful, node))


class Proofs:
    """A replica's work."""

    def __init__(
            self, node: str, run: Callable[..., str], start: Callable[[str, int], Beside],
            members: Callable[[], list[Found]], days: Callable[[], int], say: Say) -> None:
        self.node, self.run, self.start = node, run, start
        self.members, self.days, self.say = members, days, say
        self.process: Beside | None = None
        self.label, self.began = "", 0.0
        self.next_look = 0.0
        self.said = self.status = ""

    def look(self, now: float, leads: bool | None) -> None:
        """Once a second."""
        if leads:
            self.stop("this node leads")
            self.settle("replicas prove backups, and this node leads")
            return
        if self.process:
            self.wait(now)
        if now < self.next_look or self.process or leads is None:
            return
        self.next_look = now + LOOK
        try:
            self.work(now)
        except ValueError as error:
            self.tell("warn", f"not proved: {error}")

    def work(self, now: float) -> None:
        """Begins if one is due, and it is this node's turn."""
        days = self.days()
        nodes = fit(self.members()) if days else []
        if self.node not in nodes:
            return
        try:
            stanza = archive.summary(self.run("info", "--output=json"))
        except ValueError:
            return  # the leader says so
        if stanza is None:
            return
        done = last(stanza["backup"])
        if done and done["status"] == OK:
            self.settle(f"a backup was proved by {done.get('node')}")
        backup = due(stanza["backup"], days, now, [node for node in nodes if node != self.node])
        if backup is None or now < stopped(backup) + order(nodes, done).index(self.node) * TURN:
            return
        self.label, self.began = str(backup["label"]), now
        self.note({"status": RUNS, "at": int(now), "node": self.node})
        self.process = self.start(self.label, int(backup["info"]["size"]))
        # As in each week, if the last one was good.
        self.tell("ok" if done and done["status"] == OK else "wait", f"backup {self.label} is restored beside and checked")

    def note(self, found: Found) -> None:
        """Writes it at the backup; nothing, if nothing is known."""
        self.run("annotate", f"--set={self.label}", f"--annotation={ANNOTATION}={json.dumps(found) if found else ''}")

    def wait(self, now: float) -> None:
        """Ends a proof that has ended."""
        assert self.process
        ended = self.process.ended()
        if ended is None:
            if now - self.began > LONGEST:
                self.stop("it takes longer than a day")
                self.next_look = now + AGAIN
            return
        said = ended[1]
        self.process, self.next_look = None, now + AGAIN
        found = formed(said.rstrip("\n").rpartition("\n")[2], at=int(now), node=self.node)
        if found is None or found["status"] == RUNS:
            found = {"status": LATER, "why": f"prove.py ends with: {said.strip()[-200:] or 'nothing'}"}
        known = found["status"] != LATER
        try:
            self.note(found if known else {})
            self.next_look = now + (LOOK if known else AGAIN)
        except ValueError as error:
            found = {"status": LATER, "why": str(error)}
        status = found["status"]
        if status == OK:
            self.tell("ok", f"backup {self.label} was restored in {found['restored']:.0f} s and checked in {found['checked']:.0f} s: {compared(found)}")
        elif status == FAILED:
            self.tell("fail", f"backup {self.label} cannot be relied on: {found['why']}; a new one is made")
        else:
            self.tell("warn", f"backup {self.label} is not proved: {found['why']}; it is tried again")

    def stop(self, why: str) -> None:
        """Ends a proof before its end. What it left, the next one removes."""
        if self.process is None:
            return
        self.process.end()
        self.process = None
        try:
            self.note({})
        except ValueError:
            pass  # its mark counts for a day
        self.tell("warn", f"backup {self.label} is not proved: {why}")

    def settle(self, detail: str) -> None:
        """Takes back what this node said was wrong."""
        if self.status in ("warn", "fail"):
            self.tell("ok", detail)

    def tell(self, status: str, detail: str) -> None:
        """What is as before is not said again."""
        if detail != self.said:
            self.said, self.status = detail, status
            self.say("proof", status, detail)


def compared(found: Found) -> str:
    """What was counted."""
    tables = f"{found['tables']} tables" if found["tables"] == found["of"] else f"{found['tables']} of {found['of']} tables"
    return f"{found['rows']} rows in {tables} as the replica had them"
