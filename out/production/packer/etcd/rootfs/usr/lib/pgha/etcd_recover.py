#!/usr/bin/python3 -sES
"""Mends a cluster whose quorum is lost for good, as metadata's pgha-recover orders it.

    etcd_recover.py decide   what that means to this machine, before etcd starts: one word,
                             and what goes with it
    etcd_recover.py follow   while the machine runs: makes etcd start anew once the order
                             means something to it

The order is TOKEN:EPOCH:SURVIVOR, and may be given to all machines: the survivor starts
once with its own log as the only member; all others set the logs aside that they have
from before, which might still form the old quorum, and join it as new members. EPOCH
is any word that was not used before. Each order is carried out once: the survivor
remembers it on both of its disks, the others on their data disk, where the log is.
"""

import http.client
import json
import os
import re
import ssl
import struct
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple, Protocol

import etcd
import etcd_refresh
import step

METADATA = os.environ.get("PGHA_METADATA", "http://169.254.169.254")
ATTRIBUTE = "instance/attributes/pgha-recover"
KEY = "/pgha/recovered"  # the last order that was carried out, in etcd itself
PATIENCE = 5  # seconds without a quorum before the survivor goes ahead; who looks waits for as long
REST = 15  # seconds between two starts of etcd for the same reason


class Order(NamedTuple):
    """What metadata orders."""

    epoch: str
    survivor: str


class Answer(NamedTuple):
    """What this machine has to do: none, force, aside, wait or refuse; and why."""

    do: str
    why: str


class World(Protocol):
    """What a decision depends on, outside of this machine."""

    def quorum(self) -> bool:
        """Whether the members that run have one."""

    def recovered(self, peer: str) -> str | None:
        """The last epoch that this member knows of. None: it does not answer."""

    def ids(self, peer: str) -> set[int] | None:
        """The members that this one knows. None: it does not answer."""


def parse(text: str, token: str, members: dict[str, str]) -> Order:
    """Refuses, as a ValueError, what is no order for this cluster."""
    found = re.fullmatch(r"([^:]*):([A-Za-z0-9_.-]{1,32}):([a-z0-9-]+)", text.strip())
    if not found:
        raise ValueError(f"pgha-recover is \"{text.strip()[:80]}\" (want {token}:EPOCH:SURVIVOR)")
    if found[1] != token:
        raise ValueError(f"pgha-recover is for cluster {found[1]}, not {token}")
    if found[3] not in members:
        raise ValueError(f"pgha-recover names {found[3]} as the survivor, which is no etcd member of the spec")
    return Order(found[2], found[3])


def node_id(wal: str) -> int | None:
    """The member whose log this is, from the first of its files: frames of a length and a record
    (server/storage/wal/encoder.go), the second of which is the metadata. None: there is no log."""
    try:
        first = min(name for name in os.listdir(wal) if name.endswith(".wal"))
        with open(os.path.join(wal, first), "rb") as file:
            for _ in range(2):
                (length,) = struct.unpack("<q", file.read(8))
                size = length & (1 << 56) - 1
                if size > 4096:
                    return None
                record = _fields(file.read(size))
                file.read(length >> 56 & 7)
        return int(_fields(bytes(record[3]))[1]) if record[1] == 1 else None  # type: ignore[arg-type]
    except (OSError, ValueError, LookupError, TypeError, struct.error):
        return None


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a message of protocol buffers: numbers and byte strings."""
    found: dict[int, int | bytes] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            found[key >> 3] = number()
        elif key & 7 == 2:
            length = number()
            found[key >> 3] = message[at:at + length]
            at += length
        else:
            break
    return found


class Machine:
    """This member: its name, its disks."""

    def __init__(self, name: str, token: str, members: dict[str, str], data: str) -> None:
        self.name, self.token, self.members = name, token, members
        self.wal = os.path.join(data, "member", "wal")
        # Not seen by disk.sh, which gives the rest of the data disk to etcd's user.
        self.on_data = os.path.join(os.path.dirname(data), ".recovered")
        self.on_boot = os.path.join(step.STATE, "recovered")

    def has_log(self) -> bool:
        """Whether it has been a member, with this data disk."""
        try:
            return any(name.endswith(".wal") for name in os.listdir(self.wal))
        except FileNotFoundError:
            return False

    def remembers(self, epoch: str, *places: str) -> bool:
        """Whether one of these files has it."""
        for place in places:
            try:
                with open(place, encoding="utf-8") as file:
                    if epoch in file.read().split():
                        return True
            except FileNotFoundError:
                pass
        return False

    def remember(self, epoch: str, *places: str) -> None:
        """For ever, and on the disk before anything follows from it."""
        for place in places:
            if not self.remembers(epoch, place):
                os.makedirs(os.path.dirname(place), exist_ok=True)
                with open(place, "a", encoding="utf-8") as file:
                    file.write(epoch + "\n")
                    file.flush()
                    os.fsync(file.fileno())


def decide(order: Order, here: Machine, world: World) -> Answer:
    """What an order means to this machine, whose etcd does not run, or has no say."""
    epoch, survivor = order
    others = " and ".join(name for name in here.members if name != survivor)
    if here.name == survivor:
        if here.remembers(epoch, here.on_data, here.on_boot):
            return Answer("none", "")
        if not here.has_log():
            return Answer("refuse", f"pgha-recover {epoch}: {survivor} has no log of the cluster; name a member that has")
        if world.quorum():
            return Answer("refuse", f"pgha-recover {epoch}: the members that run have a quorum, so there is nothing to recover")
        return Answer("force", f"{epoch}: this member goes on alone; {others or 'nobody'} must join it as new: "
                               "with pgha-recover, or with empty disks")
    if here.remembers(epoch, here.on_data):
        return Answer("none", "")
    if not here.has_log():
        return Answer("new", "")
    peer = here.members[survivor]
    known = world.ids(peer)
    if known is None or world.recovered(peer) != epoch:
        return Answer("wait", f"pgha-recover {epoch}: {survivor} has not recovered the cluster yet, and the log here is older")
    if node_id(here.wal) in known:
        return Answer("new", "")
    return Answer("aside", f"{epoch}: the log here is older than the recovery by {survivor}: set it aside as member.before-{epoch}")


class Cluster:
    """The World as it is."""

    def quorum(self) -> bool:
        """Whether the members that run have one."""
        try:
            return bool(etcd.cluster().members())
        except etcd.Unavailable:
            return False

    def recovered(self, peer: str) -> str | None:
        """The last epoch that this member knows of, whether it has a quorum or not."""
        try:
            rows = etcd.Etcd([etcd.client_url(peer)]).values(KEY, "--consistency", "s")
        except etcd.Unavailable:
            return None
        return rows.get(KEY, "")

    def ids(self, peer: str) -> set[int] | None:
        """The members that this one knows, whether it has a quorum or not."""
        url = urllib.parse.urlsplit(peer)
        try:
            context = ssl.create_default_context(cafile=etcd.SECRETS + "/ca.crt")
            context.load_cert_chain(etcd.SECRETS + "/peer.crt", etcd.SECRETS + "/peer.key")
            connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=4, context=context)
            try:
                connection.request("GET", "/members")
                return {member["id"] for member in json.loads(connection.getresponse().read())}
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return None


def attribute() -> str:
    """What metadata has; empty: nothing, or it does not answer."""
    url = urllib.parse.urlsplit(METADATA)
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=5)
    try:
        connection.request("GET", "/computeMetadata/v1/" + ATTRIBUTE, headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        text = answer.read(500).decode("utf-8", "replace")
        return text if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def machine() -> Machine:
    """This one."""
    return Machine(
        step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"],
        step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_TOKEN")["PGHA_TOKEN"],
        etcd.initial_cluster(), step.read_values(etcd.ENV, "ETCD_DATA_DIR")["ETCD_DATA_DIR"])


def before_start() -> Answer:
    """What etcd-join.sh has to do, which is remembered before it is done, since it must not be done twice."""
    text = attribute()
    if not text:
        return Answer("none", "")
    here = machine()
    try:
        order = parse(text, here.token, here.members)
    except ValueError as error:
        return Answer("refuse", str(error))
    answer = decide(order, here, Cluster())
    if answer.do == "force":
        here.remember(order.epoch, here.on_data, here.on_boot)
    elif answer.do == "new":
        here.remember(order.epoch, here.on_data)
        return Answer("none", "")
    elif answer.do == "aside":
        os.rename(os.path.dirname(here.wal), f"{os.path.dirname(here.wal)}.before-{order.epoch}")
        here.remember(order.epoch, here.on_data)
    return answer


class Follower:
    """Makes etcd start anew when an order means something to it."""

    def __init__(self, here: Machine, world: World, say: Callable[[str, str, str], None], systemctl: Callable[..., str]) -> None:
        self.here, self.world, self.say, self.systemctl = here, world, say, systemctl
        self.said = ""
        self.since: float | None = None  # there is no quorum
        self.acted = -1e9
        self.announced: set[str] = set()

    def tell(self, why: str) -> None:
        """Once."""
        if why != self.said:
            self.said = why
            self.say("recover", "warn", why)

    def look(self, text: str, now: float) -> None:
        """Every few seconds."""
        if not text:
            self.since = None
            return
        try:
            order = parse(text, self.here.token, self.here.members)
        except ValueError as error:
            self.tell(str(error))
            return
        answer = decide(order, self.here, self.world)
        if answer.do == "refuse":
            self.tell(answer.why)
        if answer.do == "none" and order.survivor == self.here.name:
            self.announce(order.epoch)
        if answer.do == "new" and self.here.has_log():
            self.here.remember(order.epoch, self.here.on_data)
        lost = answer.do == "force" or answer.do == "wait" and not self.world.quorum()
        self.since = (self.since or now) if lost else None
        if answer.do == "aside" or self.since is not None and now - self.since >= PATIENCE:
            self.start(now)

    def start(self, now: float) -> None:
        """Starts etcd anew. etcd-join.sh decides again; while it waits, it looks by itself."""
        state = self.systemctl("show", "--property", "SubState", "--value", etcd.UNIT).strip()
        if now - self.acted < REST or state == "start-pre":
            return
        self.acted = now
        if state in ("start", "running"):
            # Not stopped: it would answer what Patroni's leader still asks for with an
            # error that makes that demote itself. A connection that ends does not.
            self.systemctl("kill", "--signal=KILL", etcd.UNIT)
        else:
            self.systemctl("restart", "--no-block", etcd.UNIT)

    def announce(self, epoch: str) -> None:
        """Says in etcd that it was done: the others wait for that."""
        if epoch in self.announced:
            return
        try:
            cluster = etcd.Etcd([etcd.client_url(self.here.members[self.here.name])])
            if cluster.values(KEY).get(KEY) != epoch:
                cluster.run("put", KEY, epoch)
                self.say("recover", "ok", f"{epoch}: the cluster goes on with {self.here.name} alone, until others join it")
            self.announced.add(epoch)
        except etcd.Unavailable:
            pass  # next time


def systemctl(*args: str) -> str:
    """What it prints."""
    return subprocess.run(["systemctl", *args], capture_output=True, text=True, check=False).stdout


def follow() -> None:
    """For ever."""
    here = machine()
    say = step.Console(here.name).say
    follower = Follower(here, Cluster(), say, systemctl)
    released = False
    while True:
        time.sleep(2)
        here.members = etcd.initial_cluster()
        follower.look(attribute(), time.monotonic())
        # Members that left the spec while this machine was off: a refresh at boot
        # only writes files.
        if not released and etcd_refresh.recorded():
            try:
                etcd_refresh.release(here.name)
                released = True
            except etcd_refresh.NotYet:
                pass


def main() -> None:
    """Decides, or follows until it is stopped."""
    if sys.argv[1:] == ["follow"]:
        follow()
    answer = before_start()
    print(answer.do, answer.why)


if __name__ == "__main__":
    main()
