#!/usr/bin/python3 -sE
"""Runs as long as the data disk is full: this node shall not lead.

A node that leads asks Patroni to let another one lead, until one does. A node that
does not lead gets the tag nofailover, so that it does not take over. A leader does
not get it: Patroni takes away the replication slots of a leader that has it, and if
all disks are full, somebody must still lead.
"""

import base64
import http.client
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple

import step

MARKER = os.path.join(step.RUN, "disk-full")
LINK = os.path.join(step.RUN, "patroni", "config", "40-disk-full.yml")
TAG = os.path.join(step.LIB, "disk-full.yml")
SECRETS = os.path.join(step.RUN, "secrets")
PROCESSES = "/sys/fs/cgroup/system.slice/patroni.service/cgroup.procs"
USER = "patroni"  # of the REST API's unsafe verbs

AGAIN = 5  # seconds between two requests to hand over
MINUTE = 60

Say = Callable[[str, str, str], None]


class Answer(NamedTuple):
    """What Patroni says."""

    status: int
    text: str


class Patroni:
    """This node's Patroni: its REST API and its process."""

    def __init__(self, name: str, fqdn: str, address: str, port: int) -> None:
        self.name, self.fqdn, self.address, self.port = name, fqdn, address, port

    def ask(self, method: str, path: str, body: dict[str, str] | None = None, patience: float = 3) -> Answer | None:
        """None: it does not answer."""
        try:
            context = ssl.create_default_context(cafile=os.path.join(SECRETS, "ca.crt"))
            headers = {"Content-Type": "application/json"}
            if body is not None:
                context.load_cert_chain(os.path.join(SECRETS, "node.crt"), os.path.join(SECRETS, "node.key"))
                password = step.read_values(os.path.join(SECRETS, "patroni.env"), "PATRONI_RESTAPI_PASSWORD")["PATRONI_RESTAPI_PASSWORD"]
                headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()
            connection = http.client.HTTPSConnection(self.fqdn, self.port, timeout=patience)
            # By its name, which is in its certificate; its address need not be.
            connection.sock = context.wrap_socket(
                socket.create_connection((self.address, self.port), patience), server_hostname=self.fqdn)
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                return Answer(answer.status, answer.read(4096).decode("utf-8", "replace"))
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return None

    def leads(self) -> bool | None:
        """Does this node hold the leader's lock? None: Patroni does not say."""
        answer = self.ask("GET", "/leader")
        return answer.status == 200 if answer else None

    def hand_over(self) -> Answer | None:
        """Asks it to let another node lead. It answers when one does, or none can."""
        return self.ask("POST", "/switchover", {"leader": self.name}, 30)

    def reload(self) -> bool:
        """Makes Patroni read its configuration again. False: it is not running yet."""
        for pid in processes(PROCESSES):
            try:
                os.kill(pid, signal.SIGHUP)
                return True
            except ProcessLookupError:
                pass
        return False


def processes(cgroup: str) -> list[int]:
    """Patroni's own process, once it handles SIGHUP: before that, it would end."""
    try:
        with open(cgroup, encoding="ascii") as file:
            pids = file.read().split()
    except OSError:
        return []
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                status = dict(line.partition(":")[::2] for line in file)
        except OSError:
            continue
        catches = int(status.get("SigCgt", "0"), 16) & 1 << signal.SIGHUP - 1
        if status.get("Name", "").strip() == "patroni" and status.get("PPid", "").strip() == "1" and catches:
            found.append(int(pid))
    return found


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
    cluster = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_")
    identity = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")
    console = step.Console(identity["NODE_NAME"])
    node = Node(
        Patroni(identity["NODE_NAME"], identity["NODE_FQDN"], identity["NODE_ADDRESS"], int(cluster["PGHA_REST_PORT"])),
        LINK, TAG, console.say)
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
