#!/usr/bin/python3 -sES
"""Asks the nodes more often than HAProxy does, when the one that led does not answer any more, or that it leads.

HAProxy's checks cost a node as much when nothing happens. This asks what they ask,
and believes it on the same terms. It orders only that HAProxy uses a node that says
that it leads; what HAProxy's own check says next, counts. After a while, and while
the machines boot, HAProxy's checks are enough.

Once another node leads, it ends the sessions of one that is silent: nobody will answer
in them, and HAProxy would wait for some checks more.
"""

import concurrent.futures
import http.client
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import servers_state
from servers_state import RUN

ADMIN = os.path.join(RUN, "admin.sock")
CONFIG = os.environ.get("PGHA_HAPROXY_CONFIG", "/etc/haproxy/haproxy.cfg")
CA = os.environ.get("PGHA_HAPROXY_CA", "/etc/haproxy/ca.crt")
PAUSE = 0.1  # seconds between two looks
WHILE = float(os.environ.get("PGHA_FOLLOW_WHILE", "60"))  # seconds after the last leader in which this asks: longer than a lease
PATIENCE = 1.0  # seconds that a node has to answer
LARGEST = 1 << 20  # bytes of an answer

# haproxy.cfg names the servers in both backends, with the name in the node's certificate.
SERVER = re.compile(r"^\s+server (\S+) \S+ check verifyhost (\S+)", re.MULTILINE)


class Node(NamedTuple):
    """Where a node's Patroni answers."""

    name: str
    address: str
    port: int
    fqdn: str


def nodes(state: str, config: str) -> list[Node]:
    """The servers of writers that HAProxy has, by its "show servers state"."""
    fqdns = dict(SERVER.findall(config))
    lines = state.splitlines()
    columns = lines[1].lstrip("# ").split() if len(lines) > 1 else []
    found = []
    for line in lines[2:]:
        row = dict(zip(columns, line.split()))
        if len(row) == len(columns) and row["be_name"] == "primary" and row["srv_addr"] != "-" and row["srv_name"] in fqdns:
            found.append(Node(row["srv_name"], row["srv_addr"], int(row["srv_check_port"]), fqdns[row["srv_name"]]))
    return found


def leads(node: Node, ca: str) -> bool:
    """Does it say that it leads, and can write? As HAProxy's check has it."""
    try:
        with socket.create_connection((node.address, node.port), PATIENCE) as plain:
            context = ssl.create_default_context(cafile=ca)  # it can have changed
            with context.wrap_socket(plain, server_hostname=node.fqdn) as verified:
                connection = http.client.HTTPConnection(node.fqdn, node.port, timeout=PATIENCE)
                connection.sock = verified
                connection.request("GET", "/primary")
                answer = connection.getresponse()
                text = answer.read(LARGEST).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return False
    return answer.status == 200 and '"state": "stop' not in text and '"role": "primary"' in text


class Watch:
    """Who is being asked."""

    def __init__(self, ask: Callable[[str, str], str], leads: Callable[[Node], bool]) -> None:
        self.ask, self.leads = ask, leads
        self.pool = concurrent.futures.ThreadPoolExecutor()
        self.asked: dict[str, concurrent.futures.Future[None]] = {}
        self.finding = threading.Lock()
        self.last: float | None = None

    def state(self) -> str:
        """What HAProxy knows of the servers of writers."""
        return self.ask(ADMIN, "show servers state primary")

    def look(self, config: Callable[[], str], now: float) -> None:
        """Once. A node that is silent is asked again when it has had its time."""
        state = self.state()
        for node in servers_state.silent(state):
            self.ask(ADMIN, f"shutdown sessions server primary/{node}")
        if servers_state.leaders(state):
            self.last = now
        if self.last is None or now - self.last >= WHILE or servers_state.leaders(state, answering=True):
            return
        for node in nodes(state, config()):
            if node.name not in self.asked or self.asked[node.name].done():
                self.asked[node.name] = self.pool.submit(self.find, node)

    def find(self, node: Node) -> None:
        """Asks a node, and has HAProxy use it if it leads. A late answer changes nothing."""
        if not self.leads(node):
            return
        with self.finding:
            if servers_state.leaders(self.state(), answering=True):
                return
            # First the name, without which a writer would go where the last one went. To
            # HAProxy 3.2 this is an experiment: where it is refused, the checks find the leader.
            refused = self.ask(ADMIN, f"experimental-mode on; set var proc.leader str({node.name})").strip()
            refused = refused or self.ask(ADMIN, f"set server primary/{node.name} health up").strip()
        print(f"HAProxy does not take {node.name}: {refused}" if refused else f"{node.name} leads", flush=True)


def main() -> None:
    """Looks until it is stopped."""

    def config() -> str:
        with open(CONFIG, encoding="utf-8") as file:
            return file.read()

    watch = Watch(servers_state.ask, lambda node: leads(node, CA))
    while True:
        try:
            watch.look(config, time.monotonic())
        except OSError:
            pass  # HAProxy is just starting
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
