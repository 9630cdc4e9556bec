"""What agreement.py asks of etcd, and what a real etcd makes of it."""

import os
import time
import unittest
from typing import Any

import agreement
from agreement import Etcd, View, encoded

HOST, DEAD = os.environ["ETCD"], os.environ["ETCD_DEAD"]
TLS = os.environ["ETCD_TLS"]
SYNC = '{"leader": "p1", "quorum": 1, "sync_standby": "p2,p3"}'


class Requests(unittest.TestCase):
    """Each test has a cluster of its own in the same etcd."""

    def setUp(self) -> None:
        self.etcd = self.client(HOST)
        self.begin()

    def begin(self) -> None:
        """p1 leads, as Patroni writes it."""
        self.delete("failover")
        self.put("leader", "p1", self.lease(30))
        self.put("sync", SYNC)
        self.put("history", '[[1, 100, "no recovery target specified"]]')
        self.put("config", '{"ttl": 20}')

    def client(self, *hosts: str) -> Etcd:
        """As a node makes it from Patroni's configuration."""
        return Etcd({"scope": self.id(), "namespace": "/service/", "etcd3": {
            "hosts": list(hosts), "cacert": f"{TLS}/ca.crt", "cert": f"{TLS}/client.crt", "key": f"{TLS}/client.key"}})

    def lease(self, seconds: int) -> int:
        """Of Patroni's."""
        return int(self.etcd.ask("lease/grant", {"TTL": seconds})["ID"])

    def put(self, name: str, text: str, lease: int = 0) -> None:
        """A key of Patroni's."""
        self.etcd.ask("kv/put", {"key": encoded(self.etcd.cluster + name), "value": encoded(text), "lease": str(lease)})

    def delete(self, name: str) -> None:
        """Takes it away."""
        self.etcd.ask("kv/deleterange", {"key": encoded(self.etcd.cluster + name)})

    def marked(self) -> View:
        """Both standbys have marked."""
        view = self.etcd.read()
        for node in ("p2", "p3"):
            self.etcd.mark(node, view.mark, self.etcd.lease())
        return self.etcd.read()

    def test_nothing_there(self) -> None:
        """A cluster that is still founded."""
        for name in ("leader", "sync", "history", "config"):
            self.delete(name)
        self.assertEqual(self.etcd.read(), View())

    def test_read(self) -> None:
        """All keys, with the revisions that wrote them; the lease's renewal writes nothing."""
        view = self.etcd.read()
        self.assertEqual((view.leader, view.voters, view.timeline, view.settings), ("p1", ["p2", "p3"], (2, 100), {"ttl": 20}))
        self.assertEqual((view.failover, view.failover_revision), ("", 0))
        self.assertEqual(len({view.term, view.sync_revision, view.history_revision, view.config_revision, 0}), 5)
        held = self.lease(30)
        self.put("leader", "p1", held)
        view = self.etcd.read()
        self.etcd.ask("lease/keepalive", {"ID": str(held)})
        self.put("failover", '{"leader": "p1"}')
        after = self.etcd.read()
        self.assertEqual(after, view._replace(failover='{"leader": "p1"}', failover_revision=after.failover_revision))
        self.assertGreater(after.failover_revision, view.term)

    def test_marks(self) -> None:
        """A mark is there until it is taken back, and none is made with a lease that has ended."""
        lease = self.etcd.lease()
        self.etcd.mark("p2", "5 7", lease)
        self.assertEqual(self.etcd.read().marks, {"p2": "5 7"})
        self.etcd.unmark(lease)
        self.assertEqual(self.etcd.read().marks, {})
        self.etcd.unmark(lease)
        with self.assertRaisesRegex(ConnectionError, "requested lease not found"):
            self.etcd.mark("p2", "5 7", lease)
        self.assertEqual(self.etcd.read().marks, {})

    def test_mark_ends_by_itself(self) -> None:
        """After the seconds that it lives, and the second or so that etcd takes to see that."""
        self.etcd.mark("p2", "5 7", self.etcd.lease())
        time.sleep(agreement.MARK - 1)
        self.assertEqual(self.etcd.read().marks, {"p2": "5 7"})
        end = time.monotonic() + 10
        while self.etcd.read().marks and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(self.etcd.read().marks, {})

    def test_remove(self) -> None:
        """The leader key is gone, and /sync has a new version, by which a leader that lives knows."""
        view = self.marked()
        self.etcd.remove(view)
        after = self.etcd.read()
        self.assertEqual((after.leader, after.sync), ("", SYNC))
        self.assertGreater(after.sync_revision, view.sync_revision)
        self.etcd.remove(view)  # as one that comes late
        self.assertEqual(self.etcd.read(), after)

    def test_remove_after_a_switchover(self) -> None:
        """The {} that Patroni leaves is no change since it was read."""
        self.put("failover", "{}")
        view = self.marked()
        self.assertGreater(view.failover_revision, 0)
        self.etcd.remove(view)
        self.assertEqual(self.etcd.read().leader, "")

    def test_remove_refused(self) -> None:
        """Whatever has changed, the leader key stays."""
        changes: list[tuple[str, Any]] = [
            ("another term", lambda view: self.put("leader", "p1", self.lease(30))),
            ("another leader", lambda view: self.put("leader", "p2", self.lease(30))),
            ("other voters", lambda view: self.put("sync", '{"leader": "p1", "sync_standby": "p2"}')),
            ("the same voters once more", lambda view: self.put("sync", SYNC)),
            ("another timeline", lambda view: self.put("history", "[]")),
            ("other settings", lambda view: self.put("config", '{"ttl": 30}')),
            ("maintenance mode", lambda view: self.put("config", '{"ttl": 20, "pause": true}')),
            ("a switchover is asked for", lambda view: self.put("failover", '{"leader": "p1"}')),
            ("a switchover has been asked for, and is over", lambda view: self.put("failover", "{}")),
            ("a mark against another term", lambda view: self.etcd.mark("p3", "1 1", self.etcd.lease())),
        ]
        for name, change in changes:
            with self.subTest(name):
                self.begin()
                view = self.marked()
                change(view)
                before = self.etcd.read()
                self.etcd.remove(view)
                self.assertEqual(self.etcd.read(), before)
        with self.subTest("a mark that is missing"):
            self.begin()
            view = self.marked()
            lease = self.etcd.lease()
            self.etcd.mark("p3", view.mark, lease)
            self.etcd.unmark(lease)
            self.etcd.remove(view)
            self.assertEqual(self.etcd.read().leader, view.leader)

    def test_members_away(self) -> None:
        """The one that answers is enough; without any it is an error."""
        self.assertEqual(self.client(DEAD, HOST).read().leader, "p1")
        with self.assertRaisesRegex(ConnectionError, DEAD):
            self.client(DEAD).read()


if __name__ == "__main__":
    unittest.main()
