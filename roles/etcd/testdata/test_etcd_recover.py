"""Tests of etcd_recover.py: what an order means to whom, and that it is carried out once."""

import os
import shutil
import tempfile
import unittest

FOLDER = tempfile.TemporaryDirectory()
unittest.addModuleCleanup(FOLDER.cleanup)
os.environ["PGHA_STATE"] = os.path.join(FOLDER.name, "state")

import etcd  # noqa: E402
import etcd_recover  # noqa: E402
from etcd_recover import Answer, Follower, Machine, Order, decide, node_id, parse  # noqa: E402

LOG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "first.wal")
MINE = 0x2e1259d415f2a040  # whose log it is
MEMBERS = {f"etcd-{n}": f"https://10.0.0.{n}:2380" for n in (1, 2, 3)}
SECOND = MEMBERS["etcd-2"]


class World:
    """A cluster as the test has it."""

    def __init__(self, quorum: bool = False, epoch: str | None = None, ids: set[int] | None = None) -> None:
        self.has, self.epoch, self.known = quorum, epoch, ids

    def quorum(self) -> bool:
        return self.has

    def recovered(self, peer: str) -> str | None:
        assert peer == SECOND, peer
        return self.epoch

    def ids(self, peer: str) -> set[int] | None:
        assert peer == SECOND, peer
        return self.known


class Case(unittest.TestCase):
    """A member with disks of its own."""

    def setUp(self) -> None:
        self.disk = os.path.join(FOLDER.name, "disk")
        shutil.rmtree(self.disk, ignore_errors=True)
        shutil.rmtree(os.environ["PGHA_STATE"], ignore_errors=True)
        os.makedirs(self.disk)

    def machine(self, name: str, log: bool = True) -> Machine:
        wal = os.path.join(self.disk, "data/member/wal")
        if log:
            os.makedirs(wal, exist_ok=True)
            shutil.copy(LOG, os.path.join(wal, "0000000000000000-0000000000000000.wal"))
        return Machine(name, "demo-1a2b3c4d", dict(MEMBERS), os.path.join(self.disk, "data"))


class Parse(unittest.TestCase):
    """What is an order."""

    def test_good(self) -> None:
        self.assertEqual(parse("demo-1a2b3c4d:2026-11.a:etcd-2\n", "demo-1a2b3c4d", MEMBERS), Order("2026-11.a", "etcd-2"))

    def test_bad(self) -> None:
        for text, why in (
                ("demo-1a2b3c4d:1", 'pgha-recover is "demo-1a2b3c4d:1" (want demo-1a2b3c4d:EPOCH:SURVIVOR)'),
                ("demo-1a2b3c4d:../x:etcd-2", "(want demo-1a2b3c4d:EPOCH:SURVIVOR)"),
                ("prod-99999999:1:etcd-2", "pgha-recover is for cluster prod-99999999, not demo-1a2b3c4d"),
                ("demo-1a2b3c4d:1:etcd-9", "pgha-recover names etcd-9 as the survivor, which is no etcd member of the spec")):
            with self.assertRaises(ValueError) as raised:
                parse(text, "demo-1a2b3c4d", MEMBERS)
            self.assertIn(why, str(raised.exception))


class Log(Case):
    """Whose log it is."""

    def test_real(self) -> None:
        self.assertEqual(node_id(self.machine("etcd-1").wal), MINE)

    def test_none(self) -> None:
        self.assertIsNone(node_id(self.disk))
        self.assertIsNone(node_id("/nonexistent"))

    def test_damaged(self) -> None:
        for data in (b"", b"\x04", b"\x04" + b"\xff" * 7 + b"rest", b"\x04\x00\x00\x00\x00\x00\x00\x84" * 9):
            with open(os.path.join(self.disk, "0.wal"), "wb") as file:
                file.write(data)
            self.assertIsNone(node_id(self.disk), data)


class Survivor(Case):
    """The member that goes on."""

    ORDER = Order("1", "etcd-1")

    def test_goes_on(self) -> None:
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1"), World()), Answer(
            "force", "1: this member goes on alone; etcd-2 and etcd-3 must join it as new: with pgha-recover, or with empty disks"))

    def test_only_once(self) -> None:
        here = self.machine("etcd-1")
        for place in (here.on_data, here.on_boot):
            here.remember("1", place)
            self.assertEqual(decide(self.ORDER, here, World()).do, "none", "either disk may be a new one")
            self.assertEqual(decide(Order("2", "etcd-1"), here, World()).do, "force", "another order is another")
            os.unlink(place)

    def test_quorum(self) -> None:
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1"), World(quorum=True)), Answer(
            "refuse", "pgha-recover 1: the members that run have a quorum, so there is nothing to recover"))

    def test_no_log(self) -> None:
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1", log=False), World()), Answer(
            "refuse", "pgha-recover 1: etcd-1 has no log of the cluster; name a member that has"))


class Others(Case):
    """All the others: an old log must never vote again."""

    ORDER = Order("1", "etcd-2")

    def test_survivor_is_away(self) -> None:
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1"), World()), Answer(
            "wait", "pgha-recover 1: etcd-2 has not recovered the cluster yet, and the log here is older"))

    def test_survivor_has_not_begun(self) -> None:
        # It still knows this member, and that says nothing.
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1"), World(epoch="", ids={MINE, 2, 3})).do, "wait")
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1"), World(epoch="0", ids={MINE, 2, 3})).do, "wait")

    def test_old_log(self) -> None:
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1"), World(epoch="1", ids={2})), Answer(
            "aside", "1: the log here is older than the recovery by etcd-2: set it aside as member.before-1"))

    def test_log_of_afterwards(self) -> None:
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1"), World(epoch="1", ids={2, MINE})).do, "new")

    def test_empty_disk(self) -> None:
        self.assertEqual(decide(self.ORDER, self.machine("etcd-1", log=False), World()).do, "new")

    def test_remembered(self) -> None:
        here = self.machine("etcd-1")
        here.remember("1", here.on_data)
        self.assertEqual(decide(self.ORDER, here, World()).do, "none")

    def test_old_disk_in_a_machine_that_remembers(self) -> None:
        here = self.machine("etcd-1")
        here.remember("1", here.on_boot)
        self.assertEqual(decide(self.ORDER, here, World(epoch="1", ids={2})).do, "aside")


class BeforeStart(Case):
    """What is done before etcd starts."""

    def obey(self, order: str, world: World, name: str) -> tuple[Answer, Machine]:
        here = self.machine(name)
        etcd_recover.machine, etcd_recover.attribute, etcd_recover.Cluster = lambda: here, lambda: order, lambda: world  # type: ignore
        return etcd_recover.before_start(), here

    def test_force_is_remembered_first(self) -> None:
        answer, here = self.obey("demo-1a2b3c4d:1:etcd-1", World(), "etcd-1")
        self.assertEqual(answer.do, "force")
        self.assertTrue(here.remembers("1", here.on_data) and here.remembers("1", here.on_boot))
        answer, _ = self.obey("demo-1a2b3c4d:1:etcd-1", World(), "etcd-1")
        self.assertEqual(answer.do, "none")

    def test_aside(self) -> None:
        answer, here = self.obey("demo-1a2b3c4d:1:etcd-2", World(epoch="1", ids={2}), "etcd-1")
        self.assertEqual(answer.do, "aside")
        self.assertEqual(os.listdir(os.path.join(self.disk, "data")), ["member.before-1"], "nothing is deleted")
        self.assertTrue(here.remembers("1", here.on_data))

    def test_nothing_ordered(self) -> None:
        self.assertEqual(self.obey("", World(), "etcd-1")[0], Answer("none", ""))

    def test_mistake(self) -> None:
        self.assertEqual(self.obey("yes", World(), "etcd-1")[0].do, "refuse")


class Follow(Case):
    """What happens while the machine runs."""

    def follower(self, name: str, world: World, state: str = "running", log: bool = True) -> Follower:
        self.said: list[str] = []
        self.asked: list[str] = []

        def systemctl(*args: str) -> str:
            self.asked.append(args[0])
            return state + "\n" if args[0] == "show" else ""
        return Follower(self.machine(name, log), world, lambda *what: self.said.append(" ".join(what)), systemctl)

    def starts(self) -> int:
        return self.asked.count("restart") + self.asked.count("kill")

    def test_survivor(self) -> None:
        world = World()
        follower = self.follower("etcd-1", world)
        for now in (100, 102, 104):
            follower.look("demo-1a2b3c4d:1:etcd-1", now)
        self.assertEqual(self.starts(), 0, "a quorum that is away for a moment is not lost")
        follower.look("demo-1a2b3c4d:1:etcd-1", 106)
        self.assertEqual(self.starts(), 1)
        follower.look("demo-1a2b3c4d:1:etcd-1", 108)
        self.assertEqual(self.starts(), 1, "it may take its time")

    def test_quorum(self) -> None:
        follower = self.follower("etcd-1", World(quorum=True))
        for now in range(100, 200, 2):
            follower.look("demo-1a2b3c4d:1:etcd-1", now)
        self.assertEqual(self.starts(), 0)
        self.assertEqual(self.said, ["recover warn pgha-recover 1: the members that run have a quorum, so there is nothing to recover"])

    def test_other_stops_voting(self) -> None:
        follower = self.follower("etcd-1", World(epoch="", ids={MINE, 2, 3}))
        for now in range(100, 112, 2):
            follower.look("demo-1a2b3c4d:1:etcd-2", now)
        self.assertEqual(self.starts(), 1)

    def test_second_cluster(self) -> None:
        # Two old logs have formed the old quorum already: it ends at once.
        follower = self.follower("etcd-1", World(quorum=True, epoch="1", ids={2}))
        follower.look("demo-1a2b3c4d:1:etcd-2", 100)
        self.assertEqual(self.starts(), 1)

    def test_etcd_that_runs_is_killed(self) -> None:
        # Stopped in order, one without a quorum makes Patroni's leader demote itself.
        for state, how in (("running", "kill"), ("start", "kill"), ("dead", "restart"), ("failed", "restart")):
            follower = self.follower("etcd-1", World(epoch="1", ids={2}), state=state)
            follower.look("demo-1a2b3c4d:1:etcd-2", 100)
            self.assertEqual(self.asked[1:], [how], state)

    def test_join_looks_by_itself(self) -> None:
        follower = self.follower("etcd-1", World(epoch="1", ids={2}), state="start-pre")
        follower.look("demo-1a2b3c4d:1:etcd-2", 100)
        self.assertEqual(self.starts(), 0)

    def test_mistake(self) -> None:
        follower = self.follower("etcd-1", World())
        follower.look("prod-99999999:1:etcd-1", 100)
        follower.look("prod-99999999:1:etcd-1", 102)
        self.assertEqual(self.said, ["recover warn pgha-recover is for cluster prod-99999999, not demo-1a2b3c4d"])

    def test_announces(self) -> None:
        follower = self.follower("etcd-1", World())
        follower.here.remember("1", follower.here.on_data)
        store: dict[str, str] = {}
        etcd.Etcd.values = lambda _, key, *options: store  # type: ignore
        etcd.Etcd.run = lambda _, verb, key, value: store.update({key: value})  # type: ignore
        follower.look("demo-1a2b3c4d:1:etcd-1", 100)
        follower.look("demo-1a2b3c4d:1:etcd-1", 102)
        self.assertEqual(store, {"/pgha/recovered": "1"})
        self.assertEqual(self.said, ["recover ok 1: the cluster goes on with etcd-1 alone, until others join it"])


if __name__ == "__main__":
    unittest.main()
