#!/usr/bin/python3 -sES
"""Ends sessions of a lost leader that HAProxy processes from before a reload have.

A reload leaves each session with the process that has it. Such a process checks no
server any more, so it would never see that one is gone, and a client would wait for
it for minutes. The process that came after does see it.
"""

import os
import time

import servers_state
from servers_state import RUN

MASTER = os.path.join(RUN, "master.sock")
ADMIN = os.path.join(RUN, "admin.sock")
PAUSE = 0.5  # seconds

DOWN = "0"  # SRV_ST_STOPPED (include/haproxy/server-t.h)


def old(processes: str) -> list[str]:
    """The process ids of old workers, as the master's "show proc" lists them."""
    _, _, rest = processes.partition("# old workers\n")
    rows = [line.split() for line in rest.partition("\n#")[0].splitlines()]
    return [row[0] for row in rows if len(row) > 1 and row[1] == "worker"]


def down(state: str) -> list[str]:
    """The nodes to which no session of a writer may lead."""
    rows = [line.split() for line in state.splitlines()[2:]]
    return [row[3] for row in rows if len(row) > 5 and row[1] == "primary" and row[5] == DOWN]


def sessions(listed: str, nodes: list[str]) -> list[str]:
    """The writers' sessions with these nodes, by what "show sess" calls them."""
    rows = [line.split() for line in listed.splitlines()]
    ends = [f"srv={node}" for node in nodes]
    return [row[0].rstrip(":") for row in rows if "be=primary" in row and any(end in row for end in ends)]


def look() -> None:
    """Once."""
    workers = old(servers_state.ask(MASTER, "show proc"))
    state = servers_state.ask(ADMIN, "show servers state") if workers else ""
    nodes = down(state) + servers_state.silent(state)
    if not nodes:
        return
    for worker in workers:
        # Not all of a server at once: the backend of an old worker is disabled.
        for session in sessions(servers_state.ask(MASTER, f"@!{worker} show sess"), nodes):
            servers_state.ask(MASTER, f"@!{worker} shutdown session {session}")


def main() -> None:
    """Looks until it is stopped."""
    while True:
        try:
            look()
        except OSError:
            pass  # HAProxy is just starting
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
