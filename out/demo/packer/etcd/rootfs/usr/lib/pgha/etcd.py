"""What the programs of an etcd machine share: the cluster's members, asked through etcdctl."""

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import step

ENV = os.environ.get("PGHA_ETCD_ENV", "/etc/etcd/etcd.env")
SECRETS = os.path.join(step.RUN, "secrets")
UNIT = "etcd.service"
LOCK = "/pgha/roll"
LEASE = 90  # seconds: longer than what is done under the lock takes


class Unavailable(Exception):
    """etcd does not do what it was asked to; says why."""


class Locked(Exception):
    """Another machine holds the lock; says which."""


class Member(NamedTuple):
    """A row of the list of members."""

    id: int
    name: str  # empty: it was added, and has never started
    peer: str
    client: str  # empty: it has never started

    def __str__(self) -> str:
        return self.name or f"{self.id:x} at {self.peer}"


def initial_cluster(path: str = ENV) -> dict[str, str]:
    """The members that user-data wants: name to peer URL."""
    text = step.read_values(path, "ETCD_INITIAL_CLUSTER")["ETCD_INITIAL_CLUSTER"]
    return {name: url for name, _, url in (pair.partition("=") for pair in text.split(","))}


def cluster() -> "Etcd":
    """The cluster of the members that user-data wants."""
    return Etcd([client_url(url) for url in initial_cluster().values()])


def client_url(peer: str) -> str:
    """Where a member with this peer URL answers its clients."""
    return re.sub(r":[0-9]+$", ":2379", peer)


class Etcd:
    """The cluster, through those of its members that answer."""

    def __init__(self, clients: list[str]) -> None:
        self.clients = clients

    def run(self, *args: str, clients: list[str] | None = None, text: str = "", accept: tuple[int, ...] = (0,)) -> Any:
        """What etcdctl prints, from JSON. Unavailable: it fails, or takes longer than 10 s."""
        command = ["etcdctl", "--endpoints", ",".join(clients or self.clients), "--dial-timeout", "2s", "--command-timeout", "5s",
                   "--cacert", SECRETS + "/ca.crt", "--cert", SECRETS + "/server.crt", "--key", SECRETS + "/server.key",
                   "--write-out", "json", *args]
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=10, check=False,
                                  env=os.environ | {"no_proxy": "*"})
        except subprocess.TimeoutExpired:
            raise Unavailable("it does not answer within 10 s") from None
        if done.returncode not in accept:
            said = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
            raise Unavailable(said[-1] if said else f"etcdctl ends with status {done.returncode}")
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Unavailable("etcdctl prints something else than JSON") from None

    def members(self) -> list[Member]:
        """The list that the quorum agrees on."""
        return [Member(m["ID"], m.get("name", ""), (m.get("peerURLs") or [""])[0], (m.get("clientURLs") or [""])[0])
                for m in self.run("member", "list")["members"]]

    def unhealthy(self, members: list[Member]) -> list[str]:
        """Those that have not started, or through which nothing can be read; each with the reason."""
        found = [f"{m} has never started" for m in members if not m.client]
        by_url = {m.client: m for m in members if m.client}
        if by_url:
            for row in self.run("endpoint", "health", clients=list(by_url), accept=(0, 1)):
                if not row["health"] and row["endpoint"] in by_url:
                    found.append(f"{by_url[row['endpoint']]} is not healthy ({row.get('error') or 'no reason given'})")
        return found

    def values(self, prefix: str, *options: str) -> dict[str, str]:
        """All keys that begin so, and their values."""
        rows = self.run("get", "--prefix", *options, prefix).get("kvs", [])
        return {_text(row["key"]): _text(row.get("value", "")) for row in rows}

    @contextmanager
    def lock(self, holder: str) -> Iterator[None]:
        """One machine at a time. The lock ends by itself when the machine that holds it dies. Locked: not now."""
        lease = f"{self.run('lease', 'grant', str(LEASE))['ID']:x}"
        try:
            answer = self.run("txn", text=f'create("{LOCK}") = "0"\n\nput --lease={lease} {LOCK} {holder}\n\nget {LOCK}\n\n')
            if not answer.get("succeeded"):
                raise Locked(_text(answer["responses"][0]["Response"]["response_range"]["kvs"][0]["value"]))
            yield
        finally:
            self._release(lease)

    def _release(self, lease: str) -> None:
        """Ends a lock, which else ends by itself. What was done under it may have cost etcd its leader for a moment."""
        for _ in range(3):
            try:
                self.run("lease", "revoke", lease)
                return
            except Unavailable:
                time.sleep(1)


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode("utf-8", "replace")
