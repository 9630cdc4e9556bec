"""Tests of agreement.py: each rule of internal/agreement, and what a standby does step by step."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import unittest
from typing import Any

import agreement
import cut
from agreement import Agreement, Database, Rules
from cut import Cut

CONFIG = {"scope": "demo", "etcd3": {"hosts": ["127.0.0.1:1"], "cacert": "", "cert": "", "key": ""}}
PREFIX, MARKS = "/service/demo/", "/pgha/cut/demo/"
ADDRESSES = {"p1": "10.0.0.1", "p2": "10.0.0.2", "p3": "10.0.0.3"}


def key(text: str) -> str:
    """From the gateway's form."""
    return base64.b64decode(text).decode()


class Store(agreement.Etcd):
    """etcd, as its gateway answers."""

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.revision = 100
        self.keys: dict[str, tuple[str, int, int]] = {}  # value, revision, lease
        self.leases: set[int] = set()
        self.away = False
        self.log: list[str] = []
        self.set("config", json.dumps({"ttl": 20, "synchronous_mode": "quorum", "synchronous_node_count": 1}))
        self.set("leader", "p1")
        self.set("sync", json.dumps({"leader": "p1", "quorum": 1, "sync_standby": "p2,p3"}))

    def set(self, name: str, value: str | None) -> None:
        """Patroni does."""
        self.write(PREFIX + name, value)

    def write(self, name: str, value: str | None, lease: int = 0) -> None:
        """One revision."""
        self.revision += 1
        if value is None:
            self.keys.pop(name, None)
        else:
            self.keys[name] = (value, self.revision, lease)

    def at(self, name: str) -> str | None:
        """A value."""
        return self.keys[name][0] if name in self.keys else None

    def end(self, lease: int) -> None:
        """A lease ends."""
        self.leases.discard(lease)
        for name in [name for name, row in self.keys.items() if row[2] == lease]:
            self.write(name, None)

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As the gateway does."""
        if self.away:
            raise ConnectionError("etcd is away")
        if path == "lease/grant":
            self.revision += 1
            self.leases.add(self.revision)
            return {"ID": str(self.revision)}
        if path == "lease/revoke":
            self.end(int(body["ID"]))
            self.log.append("unmark")
            return {}
        if path == "kv/put":
            if int(body["lease"]) not in self.leases:
                raise ConnectionError("requested lease not found")
            self.write(key(body["key"]), key(body["value"]), int(body["lease"]))
            self.log.append(f"mark {key(body['key'])} {key(body['value'])}")
            return {}
        assert path == "kv/txn", path
        if body["compare"]:
            self.log.append("ask to remove")
        for compare in body["compare"]:
            value, revision, _ = self.keys.get(key(compare["key"]), ("", 0, 0))
            if compare["target"] == "MOD" and int(compare["mod_revision"]) != revision or compare["target"] == "VALUE" and key(compare["value"]) != value:
                return {"responses": []}
        responses: list[dict[str, Any]] = []
        for request in body["success"]:
            responses.append(self.one(request))
        return {"succeeded": True, "responses": responses}

    def one(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of a transaction."""
        if "requestRange" in request:
            asked = request["requestRange"]
            first, end = key(asked["key"]), key(asked["range_end"]) if "range_end" in asked else ""
            return {"response_range": {"kvs": [
                {"key": agreement.encoded(name), "value": agreement.encoded(value), "mod_revision": str(revision)}
                for name, (value, revision, _) in sorted(self.keys.items()) if (first <= name < end if end else name == first)]}}
        if "requestDeleteRange" in request:
            self.log.append("remove")
            self.write(key(request["requestDeleteRange"]["key"]), None)
        else:
            self.write(key(request["requestPut"]["key"]), key(request["requestPut"]["value"]))
        return {}


class Node:
    """A machine, as agreement.Here."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.state = Database(True, 7, 0.0, 1, 0)
        self.dead = self.stubborn = self.stopped = False
        self.rest = self.server = True
        self.disk: Cut | None = None
        self.table = ""

    def database(self) -> Database:
        """As the test says."""
        if self.stopped:
            raise ConnectionError("PostgreSQL does not answer")
        return self.state

    def answers(self, address: str, patience: float) -> bool:
        """As the test says."""
        return self.rest and address != self.table

    def connects(self, address: str, patience: float) -> bool:
        """As the test says."""
        return self.server and address != self.table

    def listens(self, address: str) -> bool:
        """While the walreceiver is there."""
        return self.state.receiver != 0

    def end(self, process: int) -> None:
        """Ends it, unless it does not end."""
        assert process == self.state.receiver
        if not self.stubborn:
            self.state = self.state._replace(receiver=0, silence=float("inf"))
        self.log.append("end walreceiver")

    def save(self, cut_off: Cut | None) -> None:
        """To the disk."""
        if cut_off is None or self.disk is None:
            self.log.append("save" if cut_off else "forget")
        self.disk = cut_off

    def close(self, address: str) -> None:
        """To the firewall."""
        self.table = address
        self.log.append("close " + address)

    def open(self) -> None:
        """The firewall lets all through."""
        self.table = ""
        self.log.append("open")

    def lose(self) -> None:
        """The leader is gone."""
        self.rest = self.server = False
        self.state = self.state._replace(silence=float("inf"))


class AgreementTest(unittest.TestCase):
    """A standby, p2. p1 leads, and p3 is the other standby."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.store = Store()
        self.here = Node(self.store.log)
        self.said: list[str] = []
        self.reported: tuple[Cut | None, str] = None, ""
        self.after = 3.0
        self.agent = self.start()

    def start(self) -> Agreement:
        """The program starts."""
        def wait(seconds: float) -> None:
            self.now += seconds

        def report(found: Cut | None, why: str, after: float) -> None:
            self.reported = found, why

        return Agreement("p2", self.store, self.here, lambda: Rules(self.after, ADDRESSES), lambda *words: self.said.append(" ".join(words)),
                         report, self.here.disk, lambda: self.now, wait)

    def run_for(self, seconds: float) -> None:
        """Turns, with the time between them. Each takes some time as well."""
        end = self.now + seconds
        while self.now < end:
            pause = max(self.agent.turn(), 0.05)  # it may wait, too
            self.now += pause

    def lost(self) -> None:
        """The leader is gone, and has been there for long."""
        self.run_for(30)
        self.store.log.clear()
        self.here.lose()

    def peer(self, text: str | None = None) -> None:
        """p3 marks."""
        view = self.store.read()
        lease = self.store.lease()
        self.store.mark("p3", text or view.mark, lease)
        self.store.log.pop()

    def cut_off(self) -> Cut:
        """It is."""
        self.assertIsNotNone(self.here.disk)
        assert self.here.disk is not None
        self.assertEqual(self.here.table, "10.0.0.1")
        return self.here.disk

    def assert_nothing(self) -> None:
        """Nothing was done to the cluster, and nothing to this node."""
        self.assertEqual((self.store.log, self.here.disk, self.here.table), ([], None, ""))

    # Signs of the leader.

    def test_all_is_well(self) -> None:
        self.run_for(60)
        self.assert_nothing()
        self.assertEqual(self.said, [])

    def test_one_sign_is_enough(self) -> None:
        self.run_for(30)
        for sign in ("rest", "server", "message"):
            self.here.lose()
            if sign == "message":
                self.here.state = self.here.state._replace(silence=0.3)
            else:
                setattr(self.here, sign, True)
            self.run_for(20)
            self.assert_nothing()

    def test_last_message(self) -> None:
        """It counts from then on, and costs no time."""
        self.run_for(30)
        self.here.rest = self.here.server = False
        last = self.now

        def database() -> Database:
            return self.here.state._replace(silence=self.now - last if self.here.state.receiver else float("inf"))

        def answers(address: str, patience: float) -> bool:
            self.now += patience  # it is waited for
            return False

        self.here.database, self.here.answers = database, answers  # type: ignore[method-assign]
        while not self.here.disk:
            self.run_for(0.1)
        self.assertTrue(3 <= self.now - last < 4, self.now - last)

    def test_heard_again(self) -> None:
        self.store.set("failover", json.dumps({"leader": "p1"}))
        self.lost()
        self.run_for(5)
        self.here.rest = True
        self.run_for(5)
        self.assertEqual([line.split()[1] for line in self.said], ["warn", "ok"])
        self.assertEqual(self.said[-1], "agreement ok p1 is heard")

    def test_leader_has_changed(self) -> None:
        self.lost()
        self.run_for(1.5)
        self.store.set("leader", "p3")
        self.run_for(3)
        self.assert_nothing()
        self.assertEqual(self.said, [])

    def test_silence_for_less(self) -> None:
        self.run_for(30)
        for _ in range(5):
            self.here.lose()
            self.run_for(1.5)
            self.here.rest = True
            self.run_for(1.5)
        self.assert_nothing()

    def test_off(self) -> None:
        self.after = 0
        self.store.away = True  # it does not even ask
        self.run_for(30)
        self.here.lose()
        self.run_for(30)
        self.assert_nothing()
        self.assertEqual(self.said, [])
        self.assertFalse(self.agent.wanted())

    def test_off_while_cut_off(self) -> None:
        """It works on until the node hears again."""
        self.lost()
        self.run_for(3.5)
        self.cut_off()
        self.after = 0
        self.assertTrue(self.agent.wanted())
        self.run_for(30)
        self.assertIsNone(self.here.disk)
        self.assertFalse(self.agent.wanted())

    def test_leader_itself(self) -> None:
        self.store.set("leader", "p2")
        self.lost()
        self.run_for(10)
        self.assert_nothing()

    # The whole way.

    def test_agreement(self) -> None:
        self.lost()
        sync = self.store.at(PREFIX + "sync")
        term, version = self.store.read().term, self.store.read().sync_revision
        self.run_for(3.3)
        found = self.cut_off()
        self.assertEqual((found.owner, found.term, found.timeline), ("p1", term, 1))
        self.assertEqual(self.store.log, ["save", "close 10.0.0.1", "end walreceiver", f"mark {MARKS}p2 {term} 0"])
        self.assertIsNotNone(self.store.at(PREFIX + "leader"))
        self.peer()
        self.run_for(0.3)
        self.assertIsNone(self.store.at(PREFIX + "leader"))
        self.assertEqual(self.store.at(PREFIX + "sync"), sync)
        self.assertGreater(self.store.read().sync_revision, version)  # SyncTouched
        # It is cut off until this node has what another leader wrote.
        self.run_for(1)
        self.assertIsNone(self.store.at(MARKS + "p2"))
        self.cut_off()
        self.assertEqual(self.reported, (self.here.disk, "nobody leads yet"))
        self.store.set("leader", "p3")
        self.run_for(2)
        self.cut_off()
        self.here.state = Database(True, 8, 0.0, 2, 5000)
        self.run_for(0.6)
        self.assertEqual((self.here.disk, self.here.table), (None, ""))
        self.assertEqual(self.store.log[-2:], ["open", "forget"])
        self.assertEqual([line.split()[1] for line in self.said], ["warn", "warn", "ok"])

    def test_this_node_leads_then(self) -> None:
        self.lost()
        self.run_for(3.3)
        self.peer()
        self.run_for(1)
        self.store.set("leader", "p2")
        self.run_for(1)
        self.cut_off()
        self.here.state = Database(False, 0, float("inf"), 1, 0)
        self.run_for(1)
        self.assertIsNone(self.here.disk)

    # TestEachRuleIsNeeded's rules, in its order.

    def test_cut_before_mark(self) -> None:
        """a standby cuts itself off before it marks"""
        self.lost()
        self.here.stubborn = True
        self.run_for(5.5)
        self.assertEqual([line for line in self.store.log if line != "end walreceiver"], ["save", "close 10.0.0.1", "open", "forget"])
        self.assertIn("p1 still leads", self.said[-1])

    def test_enough_marks(self) -> None:
        """no fewer than quorum+1 voters have marked"""
        self.lost()
        self.run_for(10)
        self.assertNotIn("ask to remove", self.store.log)

    def test_all_voters_mark(self) -> None:
        """all voters have marked, not only quorum+1 of them"""
        self.store.set("sync", json.dumps({"leader": "p1", "quorum": 1, "sync_standby": "p2,p3,p4"}))
        self.lost()
        self.run_for(3.3)
        self.peer()
        self.run_for(3)
        self.assertNotIn("ask to remove", self.store.log)

    def test_marks_of_the_term(self) -> None:
        """marks count for the leader's term alone"""
        self.lost()
        self.run_for(3.3)
        self.peer("99 0")
        self.run_for(2)
        self.assertNotIn("ask to remove", self.store.log)
        # And the transaction itself sees the mark of another term.
        view = self.store.read()
        self.store.remove(view)
        self.assertNotIn("remove", self.store.log)

    def test_mark_ends_before_the_cut_off(self) -> None:
        """a cut-off lasts longer than its mark"""
        self.lost()
        self.run_for(3.3)
        self.store.log.clear()
        self.run_for(4.5)  # the other one does not mark
        self.assertEqual(self.store.log[:3], ["unmark", "open", "forget"])
        self.assertIsNone(self.store.at(MARKS + "p2"))

    def test_mark_ends_once(self) -> None:
        """Each of etcd's members is asked for it, and all of them agree on the answer."""
        self.lost()
        self.run_for(3.3)
        self.peer()
        self.run_for(10)  # nobody leads
        self.assertIn("remove", self.store.log)
        self.assertEqual(self.store.log.count("unmark"), len(self.cut_off().leases))
        self.assertIsNone(self.store.at(MARKS + "p2"))

    def test_mark_that_cannot_be_ended(self) -> None:
        """a cut-off lasts longer than its mark"""
        self.lost()
        self.run_for(3.3)
        self.store.away = True
        self.run_for(30)
        self.cut_off()
        self.assertEqual(self.reported[1], "etcd does not answer: etcd is away")
        self.store.away = False
        self.run_for(1)
        self.assertIsNone(self.here.disk)

    def test_a_late_mark_fails(self) -> None:
        """a cut-off lasts longer than its mark"""
        self.lost()
        self.run_for(3.3)
        lease = self.cut_off().leases[-1]
        self.run_for(4.5)
        with self.assertRaises(ConnectionError):
            self.store.mark("p2", "1 0", lease)

    def test_restart(self) -> None:
        """a standby that restarts is still cut off"""
        self.lost()
        self.run_for(3.3)
        self.peer()
        self.run_for(0.5)
        self.here.rest = self.here.server = True
        self.agent = self.start()
        self.run_for(5)
        self.cut_off()
        self.assertIsNone(self.store.at(MARKS + "p2"))
        self.store.set("leader", "p1")  # it leads again
        self.run_for(1)
        self.assertIsNone(self.here.disk)

    def test_sync_as_it_is(self) -> None:
        """the marks are counted by the /sync that there is when the leader key is removed"""
        self.lost()
        self.run_for(3.3)
        view = self.store.read()
        self.store.set("sync", json.dumps({"leader": "p1", "quorum": 1, "sync_standby": "p2,p3,p4"}))
        self.peer()
        self.run_for(1)
        self.assertNotIn("remove", self.store.log)
        self.store.remove(view)  # what was read before counts no more
        self.assertNotIn("remove", self.store.log)

    def test_cut_until_result(self) -> None:
        """a cut-off lasts until the leader key is there, or another leads"""
        self.lost()
        self.run_for(3.3)
        self.peer()
        self.run_for(60)
        self.cut_off()
        self.store.set("leader", "p3")
        self.run_for(60)
        self.cut_off()
        self.store.set("leader", None)
        self.run_for(60)
        self.cut_off()

    def test_young_key(self) -> None:
        """a leader key is removed when no election before it can go on"""
        self.run_for(30)
        self.store.set("leader", "p1")  # it has started anew
        self.run_for(6)
        self.here.lose()
        self.store.log.clear()
        self.run_for(8)
        self.assert_nothing()
        self.assertIn("the leader key has been there for less than 20 s", self.said[-1])
        self.run_for(10)
        self.cut_off()

    def test_program_that_has_just_started(self) -> None:
        """a leader key is removed when no election before it can go on"""
        self.lost()
        self.agent = self.start()
        self.run_for(15)
        self.assert_nothing()

    def test_timeline_is_known(self) -> None:
        """/history has the timeline of who marks"""
        self.here.state = Database(True, 7, 0.0, 2, 5000)
        for history in ([], [[1, 6000, "no recovery target specified"]], [[1, 5000, ""], [2, 7000, ""]]):
            self.store.set("history", json.dumps(history))
            self.lost()
            self.run_for(8)
            self.assert_nothing()
            self.assertIn("its timeline 2 is not known to be the last one of /history", self.said[-1])
            self.here.rest = True
        self.store.set("history", json.dumps([[1, 5000, ""]]))
        self.lost()
        self.run_for(3.3)
        self.cut_off()
        # The transaction itself sees another /history.
        view = self.store.read()
        self.peer()
        self.store.set("history", json.dumps([[1, 5000, ""], [2, 7000, ""]]))
        self.store.remove(view)
        self.assertNotIn("remove", self.store.log)

    def test_timeline_is_known_to_each(self) -> None:
        """/history has the timeline of who marks"""
        self.here.state = Database(True, 7, 0.0, 2, 5000)
        self.peer()  # by the /history that there was
        self.store.set("history", json.dumps([[1, 5000, ""]]))
        self.lost()
        self.run_for(4)
        self.cut_off()
        self.assertNotIn("ask to remove", self.store.log)

    # What step 1 refuses beside these.

    def test_refused(self) -> None:
        quorum = {"ttl": 20, "synchronous_mode": "quorum"}
        for name, value, back, why in (
            ("sync", json.dumps({"leader": "p1", "quorum": 1, "sync_standby": "p3,p4"}), self.store.at(PREFIX + "sync"), "it is not among those"),
            ("sync", json.dumps({"leader": "p3", "quorum": 1, "sync_standby": "p2,p1"}), self.store.at(PREFIX + "sync"), "it is not among those"),
            ("sync", None, self.store.at(PREFIX + "sync"), "it is not among those"),
            ("failover", json.dumps({"leader": "p1"}), None, "a switchover or failover is asked for"),
            ("failover", json.dumps({"leader": "p1", "member": "p3", "scheduled_at": "2026-12-01T03:00:00+00:00"}), None,
             "a switchover or failover is asked for"),
            ("failover", "p1:p3", None, "a switchover or failover is asked for"),
            ("config", json.dumps(quorum | {"pause": True}), json.dumps(quorum), "the cluster is paused"),
            ("config", json.dumps(quorum | {"synchronous_node_count": 2}), json.dumps(quorum), "synchronous_node_count is not 1"),
            ("config", json.dumps({"ttl": 20, "synchronous_mode": True}), json.dumps(quorum), "it is for durability quorum and strict alone"),
            ("config", json.dumps({"ttl": 20}), json.dumps(quorum), "it is for durability quorum and strict alone"),
        ):
            with self.subTest(why):
                self.store.set(name, value)
                self.lost()
                self.run_for(8)
                self.assert_nothing()
                self.assertIn(why, self.said[-1])
                self.store.set(name, back)
                self.here.rest = True

    def test_other_term(self) -> None:
        self.lost()
        self.run_for(3.3)
        self.peer()
        view = self.store.read()
        self.store.set("leader", "p1")  # it has started anew meanwhile
        self.store.remove(view)
        self.assertNotIn("remove", self.store.log)

    def test_mark_that_has_not_ended(self) -> None:
        self.lost()
        self.run_for(3.3)
        self.store.write(MARKS + "p2", "1 0")  # as a request that was late would
        self.run_for(10)
        self.cut_off()
        self.assertEqual(self.reported[1], "its mark in etcd has not ended")

    def test_strict(self) -> None:
        self.store.set("config", json.dumps({"ttl": 20, "synchronous_mode": True, "synchronous_mode_strict": True}))
        self.store.set("sync", json.dumps({"leader": "p1", "quorum": 0, "sync_standby": "p2"}))
        self.lost()
        self.run_for(4)
        self.assertIn("remove", self.store.log)

    def test_failover_asked_for_meanwhile(self) -> None:
        for before in None, "{}":
            with self.subTest(before):
                self.setUp()
                self.store.set("failover", before)
                self.lost()
                self.run_for(3.3)
                view = self.store.read()
                self.store.set("failover", json.dumps({"leader": "p1"}))
                self.peer()
                self.run_for(1)
                self.store.remove(view)
                self.assertNotIn("remove", self.store.log)

    def test_switchover_that_is_over(self) -> None:
        self.store.set("failover", "{}")
        self.lost()
        self.run_for(3.3)
        self.peer()
        self.run_for(1)
        self.assertIn("remove", self.store.log)

    def test_paused_meanwhile(self) -> None:
        self.lost()
        self.run_for(3.3)
        self.peer()
        view = self.store.read()
        self.store.set("config", json.dumps({"ttl": 20, "synchronous_mode": "quorum", "pause": True}))
        self.store.remove(view)
        self.assertNotIn("remove", self.store.log)

    def test_etcd_is_away(self) -> None:
        self.lost()
        self.store.away = True
        self.run_for(30)
        self.assert_nothing()

    def test_postgresql_is_away(self) -> None:
        self.lost()
        self.here.stopped = True
        self.run_for(6)
        self.assertEqual([line for line in self.store.log if "mark" in line], [])

    def test_leader_comes_back_before(self) -> None:
        self.lost()
        self.run_for(3.3)
        self.here.rest = self.here.server = True
        self.run_for(4.5)
        self.assertIsNone(self.here.disk)
        self.assertIn("p1 still leads", self.said[-1])
        self.store.log.clear()
        self.run_for(30)
        self.assert_nothing()

    def test_other_comes_late(self) -> None:
        """It tries again and again, with all that belongs to it."""
        self.lost()
        self.run_for(12)
        self.store.log.clear()
        while not self.here.disk or not self.store.at(MARKS + "p2"):
            self.run_for(0.2)
        self.peer()
        self.run_for(1)
        self.assertIn("remove", self.store.log)


class DatabaseTest(unittest.TestCase):
    """What PostgreSQL answers."""

    def test_timelines(self) -> None:
        history = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tbefore\n"
        found: dict[str, Any] = {"standby": True, "receiver": 9, "received": 3, "flushed": 0x5000100, "silence": 0.25, "checkpoint": 2,
                                 "histories": {"2": "1\t0/3000000\tx\n", "3": history}}
        self.assertEqual(agreement.database(found), Database(True, 9, 0.25, 3, 0x5000000))
        # The walreceiver asks for it, and has nothing of it yet.
        self.assertEqual(agreement.database(found | {"flushed": 0x5000000}), Database(True, 9, 0.25, 2, 0x3000000))
        self.assertEqual(agreement.database(found | {"histories": {"2": "1\t0/3000000\tx\n", "3": None}}).timeline, 2)
        nothing = {"standby": False, "receiver": None, "received": None, "flushed": None, "silence": None, "checkpoint": 1, "histories": None}
        self.assertEqual(agreement.database(nothing), Database(False, 0, float("inf"), 1, 0))


class ConnectedTest(unittest.TestCase):
    """/proc/net/tcp."""

    def test_connected(self) -> None:
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        row = "   0: 0200000A:A000 {}:1538 {} 00000000:00000000 00:00000000 00000000   540        0 {} 1 0 20 4 30 10 -1\n"
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tcp")
            for text, want in ((row.format("0100000A", "01", "1234"), True), (row.format("0100000A", "01", "0"), False), (row.format("0300000A", "01", "1234"), False),
                               (row.format("0100000A", "02", "1234"), False), (row.format("0100000A", "08", "1234"), True),
                               (row.format("0000000000000000FFFF00000100000A", "01", "77"), True), ("", False)):
                with open(path, "w", encoding="ascii") as file:
                    file.write(head + text)
                self.assertEqual(agreement.connected(path, "10.0.0.1", 5432), want, text)


class RulesTest(unittest.TestCase):
    """cluster.env."""

    def test_rules(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "cluster.env")
            for text, want in (("PGHA_NODES='p1=10.0.0.1 p2=10.0.0.2'\n", Rules(0, {"p1": "10.0.0.1", "p2": "10.0.0.2"})),
                               ("PGHA_NODES='p1 p2'\nPGHA_AGREEMENT=2500\n", Rules(2.5, {}))):
                with open(path, "w", encoding="ascii") as file:
                    file.write(text)
                self.assertEqual(agreement.rules_of(path), want)

    def test_wanted(self) -> None:
        """The service runs with an agreement in the spec, and until a cut-off has ended."""
        for text, cut_off, want in (("PGHA_ROLE=patroni\nPGHA_AGREEMENT=2500\n", False, True), ("PGHA_ROLE=patroni\nPGHA_AGREEMENT=0\n", False, False),
                                    ("PGHA_ROLE=patroni\n", False, False), ("PGHA_AGREEMENT=0\n", True, True)):
            with self.subTest(text), tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "cluster.env"), "w", encoding="ascii") as file:
                    file.write(text)
                if cut_off:
                    cut.save(os.path.join(folder, "agreement.json"), Cut("p1", "10.0.0.1", 5, 1, 1000, (7, 8)))
                script = os.path.join(os.path.dirname(agreement.__file__), "agreement-wanted.sh")
                done = subprocess.run([script], env={**os.environ, "PGHA_ETC": folder, "PGHA_STATE": folder}, check=False)
                self.assertEqual(done.returncode == 0, want)


class CutTest(unittest.TestCase):
    """The file of a cut-off, and its table."""

    def test_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "agreement.json")
            self.assertIsNone(cut.load(path))
            found = Cut("p1", "10.0.0.1", 5, 1, 1000, (7, 8))
            cut.save(path, found)
            self.assertEqual(cut.load(path), found)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            cut.forget(path)
            cut.forget(path)
            self.assertIsNone(cut.load(path))
            rules = [line.strip() for line in cut.table("10.0.0.1").splitlines()]
            # What refuses comes from the same address.
            self.assertLess(rules.index("iif lo accept"), rules.index("ip saddr 10.0.0.1 counter drop"))
            for text in ("", "{}", "[]", json.dumps(found._replace(address="10.0.0.0/8")._asdict()), json.dumps(found._replace(address="10.0.0.1 }")._asdict())):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                with self.assertRaises(cut.Failed):
                    cut.load(path)

    def test_damaged(self) -> None:
        """It ends with the status by which systemd knows that another try is of no use."""
        unit = os.path.join(os.path.dirname(agreement.__file__), "../systemd/system/pgha-agreement.service")
        with open(unit, encoding="utf-8") as file:
            self.assertIn(f"RestartPreventExitStatus={agreement.DAMAGED}\n", file.read())
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "agreement.json"), "w", encoding="utf-8") as file:
                file.write('{"owner": "p1"')
            done = subprocess.run([sys.executable, agreement.__file__], env={**os.environ, "PGHA_STATE": folder, "PGHA_ETC": folder, "PGHA_RUN": folder},
                                  stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, agreement.DAMAGED)
        self.assertRegex(done.stderr, r"^\S+/agreement.json does not say from whom this node is cut off: .*\n$")


if __name__ == "__main__":
    unittest.main()
