#!/usr/bin/python3 -sES
"""Has another node lead before the cloud moves this machine, or restarts it.

Metadata announces that the machine's host is to be maintained, for as long before as
the machine's grace period says (instance/maintenance-event). Until that is over this
node shall not lead.
"""

import os
import time

import step
from metadata import LONG_POLL, METADATA, Metadata
from patroni_api import this_node
from stand_aside import CONFIG, Node, Reason, Say

EVENT = "instance/maintenance-event"
NOTHING = "NONE"
LINK = os.path.join(CONFIG, "41-maintenance.yml")
REASON = Reason("maintenance", "the machine's host is to be maintained", "")

FORGET = 600  # seconds that what metadata said holds while it does not answer


class Watch:
    """The event that metadata announces, and what this node does about it."""

    def __init__(self, node: Node, metadata: Metadata, say: Say) -> None:
        self.node, self.metadata, self.say = node, metadata, say
        self.event = NOTHING
        self.heard = 0.0

    def turn(self, now: float) -> float:
        """Asks once, and does what there is to do. The seconds until the next turn."""
        busy = self.event != NOTHING or self.node.changed
        answers = True
        try:
            event = self.metadata.value(EVENT, 0 if busy else LONG_POLL).decode("ascii", "replace").strip() or NOTHING
            self.heard = now
        except ConnectionError:
            answers = False
            event = self.event if now - self.heard < FORGET else NOTHING
        if event != self.event:
            self.event = event
            if event == NOTHING:
                self.say(REASON.step, "ok", "it is over: this node may lead again")
            else:
                self.say(REASON.step, "warn", f"metadata announces {event}: until it is over this node shall not lead")
        if event != NOTHING:
            self.node.look(now)
        else:
            self.node.tag(False)
        if event != NOTHING or self.node.changed or not answers:
            return 1
        return 0  # metadata holds the next question


def main() -> None:
    """Watches until it is stopped."""
    patroni = this_node()
    say = step.Console(patroni.name).say
    watch = Watch(Node(patroni, LINK, REASON, say), Metadata(METADATA), say)
    while True:
        time.sleep(watch.turn(time.monotonic()))


if __name__ == "__main__":
    main()
