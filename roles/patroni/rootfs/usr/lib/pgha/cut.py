#!/usr/bin/python3 -sES
"""A node that hears nothing of a leader, and says nothing to it: from before it says so in etcd until another leads.

It is in a file of root's and in a firewall table of its own. Run as a program, before the
network is up, it loads the table that the file asks for: a node that was cut off starts so.
"""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import step

FILE = os.path.join(step.STATE, "agreement.json")
TABLE = "pgha_cut"


class Cut(NamedTuple):
    """From whom, and what there was to know of it."""

    owner: str  # the node that led
    address: str
    term: int  # the revision that wrote its leader key
    timeline: int  # this node's when it was cut off: a later one is of a later leader
    since: int  # seconds of the clock, for people
    leases: tuple[int, ...] = ()  # of the marks that this node has made


class Failed(Exception):
    """The cut-off is not what it should be, and why."""


def load(path: str) -> Cut | None:
    """What the file says; None: there is no file. Failed: it is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        cut = Cut(str(found["owner"]), str(found["address"]), int(found["term"]), int(found["timeline"]),
                  int(found["since"]), tuple(int(lease) for lease in found["leases"]))
        table(cut.address)
        return cut
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"{path} does not say from whom this node is cut off: {type(error).__name__} {error}") from None


def save(path: str, cut: Cut) -> None:
    """On the disk when it returns."""
    new = path + ".new"
    with open(new, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(cut._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)
    sync(os.path.dirname(path))


def forget(path: str) -> None:
    """There is no cut-off on the disk any more."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync(os.path.dirname(path))


def sync(folder: str) -> None:
    """The names in a folder, onto the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def table(address: str) -> str:
    """The rules, for nft. What goes to the leader is refused, not dropped: nobody here waits for its answer.

    The refusal comes from the leader's address, too, by the loopback interface.
    """
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        raise ValueError(f"{address!r} is no IPv4 address")
    return f"""table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
	chain input {{
		type filter hook input priority filter - 10; policy accept;
		iif lo accept
		ip saddr {address} counter drop
	}}
	chain output {{
		type filter hook output priority filter - 10; policy accept;
		ip daddr {address} meta l4proto tcp counter reject with tcp reset
		ip daddr {address} counter reject
	}}
}}
"""


def close(address: str) -> None:
    """Cuts this node off from an address."""
    nft(table(address))


def open_again() -> None:
    """Ends that."""
    nft(f"table inet {TABLE}\ndelete table inet {TABLE}\n")


def nft(rules: str) -> None:
    """All of it, or nothing. Failed: nft does not take it."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"nft does not run: {error}") from None
    if done.returncode != 0:
        raise Failed(f"nft does not take the rules: {done.stderr.strip()[:200]}")


def main() -> int:
    """Before the network is up. 1: then Patroni does not start."""
    try:
        cut = load(FILE)
        if cut:
            close(cut.address)
    except Failed as error:
        step.Console("-").say("agreement", "fail", f"{error}: PostgreSQL is not started, since it might hear a leader that was given up; replace this machine")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
