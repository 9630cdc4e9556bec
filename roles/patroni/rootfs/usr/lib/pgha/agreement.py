#!/usr/bin/python3 -sE
"""Failover by agreement: standbys that no longer hear their leader remove its lease together.

Each cuts itself off from the leader, and then marks that in etcd. When all who can
acknowledge a commit have, nothing new can be acknowledged: the leader key is deleted, and
Patroni elects by its own rules. docs/failover-by-agreement.md has the protocol and why each
rule is there; internal/agreement tries it without each of them.
"""

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import yaml

import cut
import databases
import step
from cut import Cut
from dcs import Gateway, decoded, encoded
from patroni_api import SECRETS

CONFIG = os.path.join(os.environ.get("PGHA_PATRONI_ETC", "/etc/patroni"), "config.yml")
CLUSTER = os.path.join(step.ETC, "cluster.env")
REPORTS = os.path.join(step.RUN, "reports")
SOCKETS = "/var/run/postgresql"

LOOK = 5  # seconds between two looks into etcd while the leader answers
TICK = 1  # seconds between two questions to a leader that answers
PATIENCE = 1  # seconds that it may take to answer
MARK = 5  # seconds that a mark lives
WAIT = 4  # seconds that the other marks are waited for
RETRY = 0.2  # seconds until one that does not answer is asked again
POLL = 0.1  # seconds between two looks at the marks
AGAIN = 0.5  # seconds between two looks at whether a cut-off may end
GONE = 2  # seconds that the walreceiver may take to end

DAMAGED = 78  # the status with which systemd does not start it again

Say = Callable[[str, str, str], None]


class View(NamedTuple):
    """What etcd says of the cluster, all of one moment."""

    leader: str = ""  # empty: nobody
    term: int = 0  # the revision that wrote the leader key: renewals of the lease write nothing
    sync: str = ""
    sync_revision: int = 0
    history: str = ""
    history_revision: int = 0
    config: str = ""
    config_revision: int = 0
    failover: str = ""
    failover_revision: int = 0
    marks: dict[str, str] = {}

    def key(self, text: str) -> Any:
        """A key's value, from JSON; None: it is not there, or no JSON."""
        try:
            return json.loads(text)
        except ValueError:
            return None

    @property
    def asked(self) -> bool:
        """Whether a switchover or failover is asked for. Of one that is over Patroni leaves {} (manual_failover)."""
        return bool(self.failover) and self.key(self.failover) != {}

    @property
    def voters(self) -> list[str]:
        """Who can acknowledge a commit beside the leader; nobody, if that is of another leader."""
        sync = self.key(self.sync)
        if not isinstance(sync, dict) or sync.get("leader") != self.leader:
            return []
        return [name for name in str(sync.get("sync_standby") or "").split(",") if name]

    @property
    def timeline(self) -> tuple[int, int]:
        """The last one in /history, and where it begins."""
        history = self.key(self.history)
        if not history:
            return 1, 0
        try:
            return int(history[-1][0]) + 1, int(history[-1][1])
        except (TypeError, ValueError, LookupError):
            return 0, 0

    @property
    def settings(self) -> dict[str, Any]:
        """Patroni's dynamic configuration."""
        config = self.key(self.config)
        return config if isinstance(config, dict) else {}

    @property
    def mark(self) -> str:
        """What a mark says: against which term, and which /history who marks was found to be of."""
        return f"{self.term} {self.history_revision}"


class Etcd(Gateway):
    """etcd, with what the agreement asks of it."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config, 2)
        self.cluster = f"{self.namespace}/{self.scope}/"
        self.marks = f"/pgha/cut/{self.scope}/"

    def ask_one(self, host: str, path: str, body: dict[str, Any]) -> dict[str, Any] | str:
        """As Gateway's; to end a lease that has ended is no failure."""
        answer = super().ask_one(host, path, body)
        if path == "lease/revoke" and isinstance(answer, str) and "requested lease not found" in answer:
            return {}
        return answer

    def read(self) -> View:
        """All keys at one revision. ConnectionError: etcd does not answer."""
        names = ["leader", "sync", "history", "config", "failover"]
        asked = [{"requestRange": {"key": encoded(self.cluster + name)}} for name in names]
        asked.append({"requestRange": {"key": encoded(self.marks), "range_end": encoded(self.marks[:-1] + "0")}})
        answers = self.ask("kv/txn", {"compare": [], "success": asked})["responses"]
        rows = [answer.get("response_range", {}).get("kvs", []) for answer in answers]
        found = {name: row[0] for name, row in zip(names, rows) if row}

        def value(name: str) -> str:
            return decoded(found[name].get("value", "")) if name in found else ""

        def revision(name: str) -> int:
            return int(found[name]["mod_revision"]) if name in found else 0

        return View(
            value("leader"), revision("leader"), value("sync"), revision("sync"), value("history"), revision("history"),
            value("config"), revision("config"), value("failover"), revision("failover"),
            {decoded(row["key"])[len(self.marks):]: decoded(row.get("value", "")) for row in rows[-1]})

    def lease(self) -> int:
        """A new one, for one mark. Each try has a number of its own, so that it is never granted anew."""
        return int(self.ask("lease/grant", {"TTL": MARK})["ID"])

    def mark(self, node: str, text: str, lease: int) -> None:
        """Makes a node's mark, which ends with its lease."""
        self.ask("kv/put", {"key": encoded(self.marks + node), "value": encoded(text), "lease": str(lease)})

    def unmark(self, lease: int) -> None:
        """Ends a mark for good: a request to make it that is still under way fails."""
        self.ask("lease/revoke", {"ID": str(lease)})

    def remove(self, view: View) -> None:
        """Deletes the leader key, if all is as in the view. Who asks twice may be told of the second time alone."""
        def unchanged(name: str, revision: int) -> dict[str, str]:
            return {"key": encoded(self.cluster + name), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}

        self.ask("kv/txn", {
            "compare": [
                unchanged("leader", view.term), unchanged("sync", view.sync_revision), unchanged("history", view.history_revision),
                unchanged("config", view.config_revision), unchanged("failover", view.failover_revision),
                *({"key": encoded(self.marks + voter), "target": "VALUE", "result": "EQUAL", "value": encoded(view.mark)}
                  for voter in view.voters)],
            "success": [
                {"requestDeleteRange": {"key": encoded(self.cluster + "leader")}},
                # As it is, in a new version: a leader that lives changes it by the old one no more.
                {"requestPut": {"key": encoded(self.cluster + "sync"), "value": encoded(view.sync)}}]})


class Database(NamedTuple):
    """What this node's PostgreSQL says."""

    standby: bool
    receiver: int  # the process of the walreceiver; 0: there is none
    silence: float  # seconds since the walreceiver had a message; infinite: there is none
    timeline: int  # on its disk
    begins: int  # where that begins


QUESTION = """
SELECT json_build_object(
    'standby', pg_is_in_recovery(), 'receiver', r.pid, 'received', r.received_tli, 'flushed', r.flushed_lsn - '0/0'::pg_lsn,
    'silence', extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time), 'checkpoint', c.timeline_id,
    'histories', (SELECT json_object_agg(tli, pg_read_file(format('pg_wal/%s.history', lpad(upper(to_hex(tli)), 8, '0')), 0, 1000000, true))
        FROM (SELECT r.received_tli AS tli UNION SELECT c.timeline_id) AS t WHERE tli > 1))
FROM pg_control_checkpoint() AS c LEFT JOIN pg_stat_wal_receiver AS r ON true;
"""


def database(found: dict[str, Any]) -> Database:
    """From the answer to QUESTION.

    A timeline is on the disk when something of it is: the walreceiver names the one that it asks for.
    """
    histories = found.get("histories") or {}

    def begins(timeline: int) -> int:
        lines = [line.split() for line in (histories.get(str(timeline)) or "").splitlines() if line[:1].isdigit()]
        return lsn(lines[-1][1]) if lines else 0

    timeline = int(found["checkpoint"])
    received = int(found.get("received") or 0)
    if received > timeline and int(found.get("flushed") or 0) > begins(received) > 0:
        timeline = received
    silence = found.get("silence")
    return Database(bool(found["standby"]), int(found.get("receiver") or 0),
                    float("inf") if silence is None else float(silence), timeline, begins(timeline))


def lsn(text: str) -> int:
    """From 0/3000148."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


class Rules(NamedTuple):
    """What the spec says."""

    after: float  # seconds without a sign of the leader; 0: there is no agreement
    addresses: dict[str, str]  # of the nodes


class Here(Protocol):
    """This machine, and what it can tell of another one. A test has its own."""

    def database(self) -> Database:
        """ConnectionError: PostgreSQL does not answer."""

    def answers(self, address: str, patience: float) -> bool:
        """Does Patroni's REST API there?"""

    def connects(self, address: str, patience: float) -> bool:
        """Does PostgreSQL there take connections?"""

    def listens(self, address: str) -> bool:
        """Is a process of this machine connected to PostgreSQL there?"""

    def end(self, process: int) -> None:
        """Ends the walreceiver, which PostgreSQL takes as any lost connection."""

    def save(self, cut: Cut | None) -> None:
        """Writes it to the disk; None: there is none."""

    def close(self, address: str) -> None:
        """Nothing from there comes in, and nothing to there gets out."""

    def open(self) -> None:
        """Ends that."""


class Agreement:
    """What this node does about a leader that it does not hear."""

    def __init__(self, node: str, etcd: Etcd, here: Here, rules: Callable[[], Rules], say: Say,
                 report: Callable[[Cut | None, str, float], None], found: Cut | None,
                 clock: Callable[[], float] = time.monotonic, wait: Callable[[float], None] = time.sleep) -> None:
        self.node, self.etcd, self.here = node, etcd, here
        self.rules, self.say, self.report, self.clock, self.wait = rules, say, report, clock, wait
        self.cut = found  # None: it hears the leader
        self.marked: View | None = None  # as etcd was; None: this node waits until its cut-off may end
        self.marked_until = 0.0
        self.unmarked: set[int] = set()  # the leases of marks that have ended
        self.view: View | None = None  # as it was when etcd last answered
        self.since = 0.0  # when the leader key was first seen: it was written before
        self.looked: float | None = None
        self.alive = clock()  # when there was a sign of the leader
        self.silent = False
        self.known: tuple[int, Database] | None = None  # the term in which the disk was so
        self.said, self.warned = "", found is not None
        self.reported = -1.0

    def turn(self) -> float:
        """Does what is to be done now. The seconds until the next turn."""
        if self.cut is None:
            return self.follow()
        if self.marked is not None:
            return self.gather(self.cut, self.marked)
        return self.finish(self.cut)

    def wanted(self) -> bool:
        """Is there something to do? Not without an agreement in the spec, once no cut-off is left."""
        return self.cut is not None or self.reported > 0

    # 0. Is the leader there?

    def follow(self) -> float:
        """Looks for signs of the leader. Without any for long enough, the agreement begins."""
        after, addresses = self.rules()
        if after != self.reported:
            self.reported = after
            self.report(None, "", after)
        if after <= 0:
            self.view, self.looked, self.alive = None, None, self.clock()
            return LOOK
        if self.looked is None or self.clock() - self.looked >= LOOK:
            self.look()
        leader = self.view.leader if self.view else ""
        if not leader or leader == self.node or leader not in addresses:
            self.alive, self.silent = self.clock(), False
            if leader == self.node:
                self.calm("this node leads")
            return TICK
        patience = min(PATIENCE, max(0.2, self.alive + after - self.clock()))
        self.hear(addresses[leader], patience)
        if not self.silent:
            self.calm(f"{leader} is heard")
            return TICK
        rest = self.alive + after - self.clock()
        if rest > 0:
            return min(rest, RETRY)
        return self.agree(leader, addresses[leader])

    def look(self) -> None:
        """Reads etcd, and what is on this node's disk."""
        self.looked = self.clock()
        try:
            view = self.read()
            if view.leader not in ("", self.node) and self.timeline(view) != view.timeline:
                self.known = view.term, self.here.database()
        except ConnectionError:
            pass  # etcd is away: then nothing can be agreed. Or PostgreSQL is: what is known holds for its term

    def read(self) -> View:
        """As etcd is."""
        view = self.etcd.read()
        if self.view is None or view.term != self.view.term:
            self.since = self.clock()
        self.view = view
        return view

    def timeline(self, view: View) -> tuple[int, int]:
        """The one that this node's disk was seen to be on in this term, and where it begins."""
        if self.known is None or self.known[0] != view.term:
            return 0, 0
        return self.known[1].timeline, self.known[1].begins

    def hear(self, address: str, patience: float) -> None:
        """Looks for one sign of the leader: while it answers, for its REST API's; then for all three."""
        def message() -> None:
            self.alive = max(self.alive, self.clock() - self.here.database().silence)

        if not self.silent:
            self.silent = not self.here.answers(address, PATIENCE)
            if not self.silent:
                self.alive = self.clock()
            return
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            signs = [pool.submit(self.here.answers, address, patience), pool.submit(self.here.connects, address, patience)]
            received = pool.submit(message)
            try:
                received.result()
            except ConnectionError:
                pass
            if any(sign.result() for sign in signs):
                self.alive = self.clock()
        self.silent = self.clock() - self.alive >= PATIENCE

    # 1. May this node say anything about it?

    def agree(self, leader: str, address: str) -> float:
        """Steps 1 to 3."""
        try:
            view = self.read()
            if view.leader != leader:
                self.alive, self.silent = self.clock(), False
                return TICK
            why = self.refuse(view, leader)
        except ConnectionError as error:
            why = f"etcd does not answer: {error}"
        if why:
            self.tell("warn", f"{leader} is not heard any more, and this node waits for the end of its lease: {why}")
            return TICK
        self.begin(view, address)
        return 0

    def refuse(self, view: View, leader: str) -> str:
        """Why this node does not mark; empty: it may."""
        settings = view.settings
        age, ttl = self.clock() - self.since, float(settings.get("ttl", 30))
        if view.leader != leader:
            return f"{view.leader or 'nobody'} leads"
        if self.node not in view.voters:
            return "it is not among those that can acknowledge a commit (/sync)"
        if age < ttl:
            return f"the leader key has been there for less than {ttl:.0f} s"
        if self.timeline(view) != view.timeline:
            return f"its timeline {self.timeline(view)[0] or ''} is not known to be the last one of /history"
        if view.asked:
            return "a switchover or failover is asked for (/failover)"
        if settings.get("pause"):
            return "the cluster is paused"
        if settings.get("synchronous_mode") != "quorum" and not (settings.get("synchronous_mode") and settings.get("synchronous_mode_strict")):
            return "it is for durability quorum and strict alone"
        if settings.get("synchronous_node_count", 1) != 1:
            return "synchronous_node_count is not 1"
        return ""

    # 2. It is cut off before anybody can count on that.

    def begin(self, view: View, address: str) -> None:
        """Cuts this node off, on the disk first; then it marks."""
        found = Cut(view.leader, address, view.term, self.timeline(view)[0], int(time.time()))
        self.here.save(found)
        self.cut = found
        self.here.close(address)
        if self.deaf(address):
            try:
                self.mark(found, view)
                return
            except ConnectionError as error:
                self.tell("warn", f"cut off from {view.leader}, and etcd does not take the mark: {error}")
        else:
            self.tell("warn", f"cut off from {view.leader}, and the walreceiver does not end: no mark is made")

    def deaf(self, address: str) -> bool:
        """Ends the walreceiver. Is there none any more, and nothing that hears the leader's PostgreSQL?"""
        end = self.clock() + GONE
        while True:
            try:
                receiver = self.here.database().receiver
            except ConnectionError:
                return False
            if not receiver and not self.here.listens(address):
                return True
            if receiver:
                self.here.end(receiver)
            if self.clock() >= end:
                return False
            self.wait(0.02)

    # 3. The mark: this node hears nothing of that leader, and tells it nothing.

    def mark(self, found: Cut, view: View) -> None:
        """The lease is on the disk before the mark is made, so that a restart can end it."""
        lease = self.etcd.lease()
        self.cut = found._replace(leases=(*found.leases, lease))
        self.here.save(self.cut)
        self.marked_until = self.clock() + WAIT
        self.marked = view
        self.etcd.mark(self.node, view.mark, lease)
        self.tell("warn", f"{view.leader} is not heard any more: this node is cut off from it, and says so in etcd")

    # 4. All marks there are, one transaction.

    def gather(self, found: Cut, marked: View) -> float:
        """Waits for all marks, and removes the leader key when they are there."""
        if self.clock() >= self.marked_until:
            self.marked = None
            return 0
        try:
            view = self.read()
            if view.term != found.term:
                self.marked = None
                return 0
            if view.mark == marked.mark and not self.refuse(view, found.owner) and all(view.marks.get(voter) == view.mark for voter in view.voters):
                self.etcd.remove(view)
                self.tell("warn", f"{' and '.join(view.voters)} hear {found.owner} no more: its lease is taken away, and another node leads")
        except ConnectionError:
            pass
        return POLL

    # 6. Its mark has ended first; then it looks who leads.

    def finish(self, found: Cut) -> float:
        """Ends the cut-off once it may end."""
        why = self.stays(found)
        if why:
            self.report(found, why, self.rules().after)
            return AGAIN
        self.here.open()
        self.here.save(None)
        self.cut, self.alive, self.silent = None, self.clock(), False
        self.unmarked.clear()
        self.looked = None
        self.report(None, "", self.rules().after)
        return 0

    def stays(self, found: Cut) -> str:
        """Why the cut-off goes on; empty: it may end."""
        try:
            for lease in found.leases:
                if lease not in self.unmarked:
                    self.etcd.unmark(lease)
                    self.unmarked.add(lease)
            view = self.read()
        except ConnectionError as error:
            return f"etcd does not answer: {error}"
        if self.node in view.marks:
            return "its mark in etcd has not ended"
        if view.term == found.term:
            self.tell("ok", f"{found.owner} still leads: this node is cut off from it no more")
            return ""
        if view.leader == found.owner and view.term > found.term:
            self.tell("ok", f"{found.owner} leads again: this node is cut off from it no more")
            return ""
        try:
            here = self.here.database()
        except ConnectionError as error:
            return str(error)
        if not here.standby or here.timeline > found.timeline:
            self.tell("ok", f"{view.leader or 'another node'} leads since then: this node is cut off from {found.owner} no more")
            return ""
        if not view.leader:
            return "nobody leads yet"
        return f"this node has nothing yet of what {view.leader} writes as the leader"

    def calm(self, detail: str) -> None:
        """There is nothing to say any more, but that."""
        if self.warned:
            self.tell("ok", detail)
        self.said = ""

    def tell(self, status: str, detail: str) -> None:
        """Says it once, and reports it."""
        if detail != self.said:
            self.said, self.warned = detail, status == "warn"
            self.say("agreement", status, detail)
        self.report(self.cut, detail, self.rules().after)


class Machine:
    """This machine."""

    def __init__(self, server: databases.Server, port: int, rest_port: int) -> None:
        self.server, self.port, self.rest_port = server, port, rest_port

    def database(self) -> Database:
        """As Here."""
        try:
            done = self.server.psql(databases.SUPERUSER, QUESTION, 2)
            return database(json.loads(done.stdout))
        except (databases.Refused, ValueError, KeyError, TypeError):
            raise ConnectionError("PostgreSQL does not answer") from None

    def answers(self, address: str, patience: float) -> bool:
        """As Here. Who says anything that is right by the cluster's CA, lives."""
        try:
            context = ssl.create_default_context(cafile=os.path.join(SECRETS, "ca.crt"))
            context.check_hostname = False  # the address need not be in the certificate
            connection = http.client.HTTPSConnection(address, self.rest_port, timeout=patience, context=context)
            try:
                connection.request("GET", "/liveness")
                connection.getresponse().read()
                return True
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return False

    def connects(self, address: str, patience: float) -> bool:
        """As Here."""
        try:
            socket.create_connection((address, self.port), patience).close()
            return True
        except OSError:
            return False

    def listens(self, address: str) -> bool:
        """As Here."""
        return connected("/proc/net/tcp", address, self.port) or connected("/proc/net/tcp6", address, self.port)

    def end(self, process: int) -> None:
        """As Here."""
        try:
            handle = os.pidfd_open(process)
        except OSError:
            return
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                if b"walreceiver" in file.read():
                    signal.pidfd_send_signal(handle, signal.SIGTERM)
        except OSError:
            pass  # it has ended
        finally:
            os.close(handle)

    def save(self, cut_off: Cut | None) -> None:
        """As Here."""
        if cut_off:
            cut.save(cut.FILE, cut_off)
        else:
            cut.forget(cut.FILE)

    def close(self, address: str) -> None:
        """As Here."""
        cut.close(address)

    def open(self) -> None:
        """As Here."""
        cut.open_again()


def connected(path: str, address: str, port: int) -> bool:
    """Does a process have a connection to there? One that is still asked for (SYN_SENT) is never made
    once the node is cut off, and one that nobody has any more takes nothing in.
    """
    number: int = struct.unpack("=I", socket.inet_aton(address))[0]
    ends = {f"{number:08X}:{port:04X}", f"0000000000000000{struct.unpack('=I', bytes((0, 0, 255, 255)))[0]:08X}{number:08X}:{port:04X}"}
    try:
        with open(path, encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except FileNotFoundError:
        return False
    return any(row[2] in ends and row[3] != "02" and row[9] != "0" for row in rows if len(row) > 9)


def report(found: Cut | None, why: str, after: float) -> None:
    """For /status and the metrics of this machine."""
    os.makedirs(REPORTS, exist_ok=True)
    said = {"after": after, "cut_off_from": found.owner, "since": found.since, "why": why} if found else {"after": after}
    files = {"agreement.json": json.dumps(said) + "\n", "agreement.prom": "".join(line + "\n" for line in (
        "# HELP pgha_agreement_cut_off_since_timestamp_seconds Since when this node hears nothing of a leader that it gave up; 0: it does.",
        "# TYPE pgha_agreement_cut_off_since_timestamp_seconds gauge",
        f"pgha_agreement_cut_off_since_timestamp_seconds {found.since if found else 0}"))}
    for name, text in files.items():
        path = os.path.join(REPORTS, name)
        if after > 0 or found:
            step.write(path, text)
        elif os.path.exists(path):
            os.unlink(path)


def rules_of(path: str) -> Rules:
    """From cluster.env."""
    cluster = step.read_values(path, "PGHA_")
    return Rules(int(cluster.get("PGHA_AGREEMENT", "0")) / 1000, dict(pair.split("=", 1) for pair in cluster["PGHA_NODES"].split() if "=" in pair))


def main() -> None:
    """Works until it is stopped, or the spec has no agreement any more."""
    try:
        found = cut.load(cut.FILE)
    except cut.Failed as error:
        # Patroni does not start on such a node: it is to be replaced.
        print(error, file=sys.stderr)
        sys.exit(DAMAGED)
    cluster = step.read_values(CLUSTER, "PGHA_")
    node = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"]
    with open(CONFIG, encoding="utf-8") as file:
        etcd = Etcd(yaml.safe_load(file))
    server = databases.Server(f"host={SOCKETS} port={cluster['PGHA_POSTGRESQL_PORT']} user={databases.SUPERUSER}")
    here = Machine(server, int(cluster["PGHA_POSTGRESQL_PORT"]), int(cluster["PGHA_REST_PORT"]))
    if found:
        here.close(found.address)
    agreement = Agreement(node, etcd, here, lambda: rules_of(CLUSTER), step.Console(node).say, report, found)
    while True:
        pause = agreement.turn()
        if not agreement.wanted():
            return
        time.sleep(pause)


if __name__ == "__main__":
    main()
