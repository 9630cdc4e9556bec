#!/usr/bin/python3 -sE
"""Lets Patroni start only if it cannot lead with less than others have.

    adopt.py data    this node has data: waits, where etcd knows nothing of the cluster any
                     more, until every node of the spec has said how far its data go, and
                     lets the one that goes furthest be the first
    adopt.py empty   this node has none: says so to those that wait

Patroni itself would let the first node lead that finds etcd empty. It does nothing
before etcd answers, so that waiting for that here costs nothing. Metadata's pgha-adopt,
TOKEN:NODE, names the node that goes first, where another one will never answer.
"""

import http.client
import json
import os
import pwd
import re
import subprocess
import sys
import time
import urllib.parse
from typing import Any, NamedTuple

import yaml

import step
from dcs import Gateway, encoded

CONFIG = os.path.join(os.environ.get("PGHA_PATRONI_ETC", "/etc/patroni"), "config.yml")
METADATA = os.environ.get("PGHA_METADATA", "http://169.254.169.254")
PREFIX = "/pgha/adopt/"
LEASE = 20  # seconds that what a node has said counts
LONG_LEASE = 3600


class Position(NamedTuple):
    """How far data go. A timeline begins when a node is promoted with all that was acknowledged."""

    timeline: int
    lsn: int

    def __str__(self) -> str:
        return f"timeline {self.timeline}, {self.lsn >> 32:X}/{self.lsn & 0xffffffff:X}"


NOTHING = Position(0, 0)


def lsn(text: str) -> int:
    """From 0/3000148."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


class Data:
    """The data directory of a server, whether it runs or not."""

    def __init__(self, directory: str, binaries: str, user: str) -> None:
        self.directory, self.binaries, self.user = directory, binaries, user

    def run(self, program: str, *args: str) -> tuple[str, str]:
        """What a program of PostgreSQL prints, as the server's user; and what it complains of."""
        entry = pwd.getpwnam(self.user)
        done = subprocess.run(
            [os.path.join(self.binaries, program), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])
        return done.stdout, done.stderr

    def position(self) -> Position:
        """The end of its WAL. ValueError: nobody can tell."""
        control, complaint = self.run("pg_controldata", "--pgdata", self.directory)
        values = dict(line.partition(":")[::2] for line in control.splitlines())
        try:
            redo, timeline = values["Latest checkpoint's REDO location"].strip(), int(values["Latest checkpoint's TimeLineID"])
            segment = int(values["Bytes per WAL segment"])
        except (KeyError, ValueError):
            raise ValueError(f"pg_controldata reads nothing from {self.directory}: {complaint.strip()[:200]}") from None
        wal = os.path.join(self.directory, "pg_wal")
        segments = sorted(name for name in os.listdir(wal) if re.fullmatch("[0-9A-F]{24}", name))
        newest = max([timeline, *(int(name[:8], 16) for name in segments)])
        if newest == timeline:
            args = ["--start", redo]
        else:
            args = [next(name for name in segments if int(name[:8], 16) == newest)]
        # It reads until there is no record, and complains of the place, or that there
        # is no further segment.
        _, complaint = self.run("pg_waldump", "--stats", "--path", wal, "--timeline", str(newest), *args)
        ends = [lsn(found) for found in re.findall(r"(?:at|LSN) ([0-9A-F]+/[0-9A-F]+)", complaint)]
        missing = re.findall(r'"[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})"', complaint)
        ends += [(int(high, 16) << 32) + int(low, 16) * segment for high, low in missing]
        return Position(newest, max([lsn(redo), *ends]))


class Known(NamedTuple):
    """What etcd says of the cluster."""

    whole: bool  # somebody leads, or has led
    positions: dict[str, Position]  # of nodes that wait, or are empty
    running: dict[str, str]  # of nodes whose Patroni runs: the role


class Etcd(Gateway):
    """What nodes say to each other there before Patroni starts."""

    def known(self) -> Known:
        """What it knows of the cluster."""
        keys = self.values(f"{self.namespace}/{self.scope}/")
        if "leader" in keys or "config" in keys:
            return Known(True, {}, {})
        running = {}
        for key, value in keys.items():
            if key.startswith("members/"):
                try:
                    running[key[len("members/"):]] = str(json.loads(value).get("role", ""))
                except (ValueError, AttributeError):
                    pass
        positions = {}
        for node, value in self.values(f"{PREFIX}{self.scope}/").items():
            try:
                positions[node] = Position(*map(int, value.split()))
            except (ValueError, TypeError):
                pass
        return Known(False, positions, running)

    def tell(self, node: str, position: Position, lease: int) -> None:
        """Says how far a node's data go."""
        granted = self.ask("lease/grant", {"TTL": lease})["ID"]
        value = encoded(f"{position.timeline} {position.lsn}")
        self.ask("kv/put", {"key": encoded(f"{PREFIX}{self.scope}/{node}"), "value": value, "lease": granted})


def first(node: str, nodes: list[str], own: Position, known: Known, chosen: str) -> str:
    """Why this node has to wait; empty: it may start."""
    if known.whole or chosen == node:
        return ""
    if chosen:
        return f"etcd knows nothing of the cluster, and {chosen} goes first: pgha-adopt says so"
    for other, role in sorted(known.running.items()):
        if role in ("primary", "master"):
            return f"etcd knows nothing of the cluster, and {other}, which runs as primary, goes first"
    empty = {other: NOTHING for other, role in known.running.items() if role == "uninitialized"}
    positions = empty | known.positions | {node: own}
    silent = [other for other in nodes if other not in positions]
    if silent:
        return (f"etcd knows nothing of the cluster, and this node has {own}: waiting for what {' and '.join(silent)} may have "
                "(pgha-adopt=TOKEN:NODE names the node that goes first without it)")
    best = max(nodes, key=lambda other: (positions[other], [-ord(c) for c in other]))
    if best != node:
        return f"etcd knows nothing of the cluster, and {best} goes first: it has {positions[best]}, and this node {own}"
    return ""


def chosen(token: str) -> str:
    """Which node metadata names; empty: none."""
    url = urllib.parse.urlsplit(METADATA)
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=5)
    try:
        connection.request("GET", "/computeMetadata/v1/instance/attributes/pgha-adopt", headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        owner, _, node = answer.read(500).decode("utf-8", "replace").strip().partition(":")
        return node if answer.status == 200 and owner == token else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def main() -> None:
    """Returns when Patroni may start."""
    cluster = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_")
    node = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"]
    say = step.Console(node).say
    with open(CONFIG, encoding="utf-8") as file:
        config = yaml.safe_load(file)
    etcd = Etcd(config)
    if sys.argv[1:] == ["empty"]:
        try:
            etcd.tell(node, NOTHING, LONG_LEASE)
        except ConnectionError:
            pass  # Patroni waits for etcd, and then for a leader
        return
    data = Data(cluster["PGHA_PGDATA"], config["postgresql"]["bin_dir"], cluster["PGHA_SERVICE_USER"])
    nodes = [name.partition("=")[0] for name in cluster["PGHA_NODES"].split()]
    said, said_at, waited = "", 0.0, False
    own: Position | None = None
    while True:
        try:
            known = etcd.known()
            if not known.whole:
                own = own or data.position()
                etcd.tell(node, own, LEASE)
            why = first(node, nodes, own or NOTHING, known, "" if known.whole else chosen(cluster["PGHA_TOKEN"]))
        except (ConnectionError, ValueError) as error:
            why = f"etcd does not answer: {error}" if isinstance(error, ConnectionError) else str(error)
        if not why:
            break
        waited = True
        if why != said or time.monotonic() - said_at >= 15:
            said, said_at = why, time.monotonic()
            say("adopt", "wait", why)
        time.sleep(1)
    if own:
        say("adopt", "ok", f"this node goes first, with {own}" if not known.whole else "another node leads")
    elif waited:
        say("adopt", "ok", "etcd knows the cluster")


if __name__ == "__main__":
    main()
