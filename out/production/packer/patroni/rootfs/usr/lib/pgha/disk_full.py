#!/usr/bin/python3 -sES
"""Runs as long as the data disk is full: this node shall not lead.

A node that leads asks Patroni to let another one lead, until one does. A node that
does not lead gets the tag nofailover, so that it does not take over. A leader does
not get it: Patroni takes away the replication slots of a leader that has it, and if
all disks are full, somebody must still lead.
"""

import os
import time
from collections.abc import Callable

import step
from patroni_api import Patroni, this_node

MARKER = os.path.join(step.RUN, "disk-full")
LINK = os.path.join(step.RUN, "patroni", "config", "40-disk-full.yml")
TAG = os.path.join(step.LIB, "disk-full.yml")

AGAIN = 5  # seconds between two requests to hand over
MINUTE = 60

Say = Callable[[str, str, str], None]


class Node:
    """What there is to do while the disk is full."""

    def __init__(self, patroni: Patroni, link: str, tag: str, say: Say) -> None:
        self.patroni, self.link, self.file, self.say = patroni, link, tag, say
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
                    os.symlink(self.file, self.link)
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
            self.say("disk", "warn", f"the disk is full, so another node leads: {answer.text}")
        else:
            self.tell(f"no other node can lead ({answer.status}: {answer.text})", now)

    def tell(self, why: str, now: float) -> None:
        """Says why this node still leads: once a minute, if nothing else is to be said."""
        if why != self.said or now - self.said_at >= MINUTE:
            self.said, self.said_at = why, now
            self.say("disk", "warn", f"the disk is full, and this node leads: {why}; delete data, or make the data disk larger")


def main() -> None:
    """Works until the disk has room again."""
    patroni = this_node()
    node = Node(patroni, LINK, TAG, step.Console(patroni.name).say)
    while os.path.exists(MARKER):
        node.look(time.monotonic())
        time.sleep(1)
    node.tag(False)
    # A Patroni that is just starting has read the tag.
    for _ in range(10):
        if not node.changed:
            break
        time.sleep(1)
        node.tag(False)


if __name__ == "__main__":
    main()
