#!/usr/bin/python3 -sES
"""Runs as long as the data disk is full: this node shall not lead."""

import os
import time

import step
from patroni_api import this_node
from stand_aside import CONFIG, Node, Reason

MARKER = os.path.join(step.RUN, "disk-full")
LINK = os.path.join(CONFIG, "40-disk-full.yml")
REASON = Reason("disk", "the disk is full", "; delete data, or make the data disk larger")


def main() -> None:
    """Works until the disk has room again."""
    patroni = this_node()
    node = Node(patroni, LINK, REASON, step.Console(patroni.name).say)
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
