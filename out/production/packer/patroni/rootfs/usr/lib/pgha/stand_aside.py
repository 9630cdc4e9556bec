"""A node that shall not lead for a while.

If it leads, it asks Patroni to let another one lead, until one does. If it does
not lead, it gets the tag nofailover, so that it does not take over. A leader does
not get it: Patroni takes away the replication slots of a leader that has it, and if
no other node may lead either, somebody still must.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import step
from patroni_api import Patroni

CONFIG = os.path.join(step.RUN, "patroni", "config")
TAG = os.path.join(step.LIB, "nofailover.yml")

AGAIN = 5  # seconds between two requests to hand over
MINUTE = 60

Say = Callable[[str, str, str], None]


class Reason(NamedTuple):
    """Why it shall not lead."""

    step: str  # of the boot protocol
    why: str
    remedy: str  # what ends it, behind a semicolon; empty: it ends by itself


class Node:
    """What there is to do meanwhile."""

    def __init__(self, patroni: Patroni, link: str, reason: Reason, say: Say) -> None:
        self.patroni, self.link, self.reason, self.say = patroni, link, reason, say
        self.leading = False
        self.changed = False
        self.asked: float | None = None
        self.said, self.said_at = "", 0.0

    def look(self, now: float) -> None:
        """Once a second."""
        leads = self.patroni.leads()
        if leads is not None:
            self.leading = leads
        self.tag(not self.leading)
        if self.leading and (self.asked is None or now - self.asked >= AGAIN):
            self.hand_over(now)
            self.asked = now

    def tag(self, wanted: bool) -> None:
        """Adds the tag or takes it away, and makes Patroni read it."""
        if wanted != os.path.lexists(self.link):
            try:
                if wanted:
                    os.symlink(TAG, self.link)
                else:
                    os.unlink(self.link)
                self.changed = True
            except (FileExistsError, FileNotFoundError):
                pass  # patroni-node.sh makes the folder anew: next time
        if self.changed and self.patroni.reload():
            self.changed = False

    def hand_over(self, now: float) -> None:
        """Lets another node lead."""
        answer = self.patroni.hand_over()
        if answer is None:
            self.tell("Patroni does not answer whether another node can lead", now)
        elif answer.status == 200:
            self.said = ""
            self.say(self.reason.step, "warn", f"{self.reason.why}, so another node leads: {answer.text}")
        else:
            self.tell(f"no other node can lead ({answer.status}: {answer.text})", now)

    def tell(self, why: str, now: float) -> None:
        """Says why this node still leads: once a minute, if nothing else is to be said."""
        if why != self.said or now - self.said_at >= MINUTE:
            self.said, self.said_at = why, now
            self.say(self.reason.step, "warn", f"{self.reason.why}, and this node leads: {why}{self.reason.remedy}")
