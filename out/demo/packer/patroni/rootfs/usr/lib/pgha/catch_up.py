"""WAL that the leader cannot send to this replica any more is taken from the archive.

PostgreSQL sends the segment in which a timeline ends from the file of the next timeline.
If that one ends in this segment too, its file is there no more: it was renamed to end in
.partial (CleanupAfterArchiveRecovery). A replica that has seen neither of the two would ask
for it for ever. Who leads has archived the segment on its own timeline, and PostgreSQL reads
what it finds in pg_wal before it asks the leader again.
"""

from collections.abc import Callable
from typing import Any

import replica

LOOK = 10  # seconds between two looks at whether this node streams
PATIENCE = 20  # seconds: a replica that does not stream may just have started

# Of two positions the one that PostgreSQL does not have yet is null.
STATE = r"""SELECT json_build_object(
	'segment', pg_size_bytes(current_setting('wal_segment_size')),
	'position', greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text,
	'folder', current_setting('data_directory'),
	'history', (SELECT json_build_array(name, pg_read_file('pg_wal/' || name, 0, 1048576, true))
		FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{8}\.history$' ORDER BY name DESC LIMIT 1))"""

Say = Callable[[str, str, str], None]


class CatchUp:
    """A replica's work."""

    def __init__(
            self, node: str, streams: Callable[[], bool], ask: Callable[[str], Any], encrypted: Callable[[], bool],
            take: Callable[[str, str], bool], say: Say) -> None:
        self.node, self.streams, self.ask, self.encrypted, self.take, self.say = node, streams, ask, encrypted, take, say
        self.next, self.since, self.said = 0.0, 0.0, ""

    def look(self, now: float, leads: bool | None) -> None:
        """Once a second."""
        if leads is None or now < self.next:
            return
        self.next = now + LOOK
        if leads:
            self.end("this node leads")
            return
        try:
            streams = self.streams()
        except ValueError:
            return  # Patroni is away for a moment
        if streams:
            self.end("this node streams from the leader again")
            return
        self.since = self.since or now
        if now - self.since < PATIENCE:
            return
        try:
            self.fetch()
        except (OSError, ValueError) as error:
            self.tell("warn", f"this node does not stream from the leader, and gets nothing from the archive: {error}")

    def fetch(self) -> None:
        """Takes the segment that this node waits for, if it is one that nobody can send."""
        state = self.ask(STATE)
        if not state["history"] or not state["position"]:
            return
        name, text = state["history"]
        size = state["segment"]
        lines = replica.history(["|" + text], int(name[:8], 16))
        number = replica.lsn(state["position"]) // size
        if number not in replica.unsent(lines, size):
            return
        wanted = replica.file_of(lines, number, size)
        if not self.encrypted():
            # Whoever may write to the bucket would say what this node runs.
            self.tell("warn", f"the leader cannot send {wanted} to this node, and the archive is not encrypted: copy it anew (pgha-gen cluster reinit {self.node} --yes)")
        elif self.take(state["folder"], wanted):
            self.tell("ok", f"the leader cannot send {wanted} to this node: it is taken from the archive")
        else:
            self.tell("wait", f"the leader cannot send {wanted} to this node, and the archive does not have it yet")

    def end(self, why: str) -> None:
        """There is nothing to catch up with: what was said must not be the last word."""
        if self.said:
            self.tell("ok", why)
        self.since, self.said = 0, ""

    def tell(self, status: str, detail: str) -> None:
        """What is as before is not said again."""
        if detail != self.said:
            self.said = detail
            self.say("catch-up", status, detail)
