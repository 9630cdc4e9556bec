#!/usr/bin/python3 -sES
"""Restarts this member: under a lock in etcd, and only while all members are healthy.

The last line of stdout says how it ended. Status 0: done; 75: not yet; any other: failed.
"""

import fcntl
import os
import subprocess
import sys
import time

import etcd
import step

NOT_YET = 75
PATIENCE = 60  # seconds that a restart may take; less than the lock's lease


class NotYet(Exception):
    """It must not be restarted now; says why."""


def restart() -> str:
    """Restarts etcd, and waits until it is in the quorum again. RuntimeError: it does not come back."""
    start = time.monotonic()
    try:
        done = subprocess.run(["systemctl", "restart", etcd.UNIT], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"etcd was restarted, and is in no quorum after {PATIENCE} s") from None
    if done.returncode != 0:
        raise RuntimeError(f"etcd does not start: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return f"etcd restarted in {time.monotonic() - start:.1f} s"


def roll(node: str) -> str:
    """Restarts etcd if that interrupts nobody, and gives what was done. NotYet: not now."""
    if subprocess.run(["systemctl", "is-active", "--quiet", etcd.UNIT], check=False).returncode != 0:
        # It serves nobody, and may have to wait for the others.
        subprocess.run(["systemctl", "restart", "--no-block", etcd.UNIT], check=True)
        return "etcd, which served nobody, starts anew"
    cluster = etcd.cluster()
    try:
        with cluster.lock(node):
            bad = cluster.unhealthy(cluster.members())
            if bad:
                raise NotYet(f"etcd is restarted when all members are healthy: {'; '.join(bad)}")
            return restart()
    except etcd.Locked as other:
        raise NotYet(f"etcd is restarted when {other} is done with its own") from None
    except etcd.Unavailable as why:
        raise NotYet(f"etcd is restarted when its cluster answers: {why}") from None


def once(node: str) -> str:
    """The same, for programs of one machine that both want it."""
    with open(os.path.join(step.RUN, "etcd-roll.lock"), "w", encoding="ascii") as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotYet("etcd is just being restarted") from None
        return roll(node)


def main() -> int:
    """Gives the exit status."""
    try:
        print(once(step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"]))
        return 0
    except NotYet as why:
        print(why)
        return NOT_YET
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
