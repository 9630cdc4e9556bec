"""Tests of patroni_run.py: which of Patroni's waits end early, and which do not."""

import decimal
import os
import subprocess
import tempfile
import threading
import time
import types
import unittest
import unittest.mock
from typing import Any

import patroni_run


def modules() -> tuple[Any, Any, Any]:
    """Patroni's modules, as far as they are changed."""
    ha, postgresql, config = (types.ModuleType("patroni." + name) for name in ("ha", "postgresql", "postgresql.config"))

    class ConfigHandler:
        """Patroni's: reloads, and gives the server a second."""

        def __init__(self, server: Any, settings: Any) -> None:
            self.server, self.settings = server, settings

        def reload_config(self) -> None:
            """Reloads."""
            self.server.reload()
            vars(config)["time"].sleep(1)

    class Ha:
        """Patroni's."""

        def __init__(self, patroni: Any) -> None:
            self.dcs = patroni.dcs
            self.woken = threading.Event()
            self.lock = self.standby = False

        def wakeup(self) -> None:
            """Starts the next loop."""
            self.woken.set()

        def has_lock(self, info: bool = True) -> bool:
            """Does this node lead? The tests say."""
            return self.lock and not info

        def is_standby_cluster(self) -> bool:
            """Does it follow another cluster?"""
            return self.standby

        def _handle_crash_recovery(self) -> str:
            return "doing crash recovery in a single user mode"

    vars(ha).update(Ha=Ha, time=time)
    vars(postgresql).update(STOP_POLLING_INTERVAL=1, polling_loop=lambda timeout, interval=1: (timeout, interval), ConfigHandler=ConfigHandler)
    vars(config).update(time=time)
    return ha, postgresql, config


class DCS:
    """What etcd says."""

    def __init__(self, *leaders: str | Exception | None) -> None:
        self.leaders = list(leaders)
        self.asked = 0

    def get_cluster(self) -> Any:
        """The next answer; the last one again and again."""
        self.asked += 1
        leader = self.leaders.pop(0) if len(self.leaders) > 1 else self.leaders[0]
        if isinstance(leader, Exception):
            raise leader
        return types.SimpleNamespace(leader=types.SimpleNamespace(name=leader) if leader is not None else None)


class ClockTest(unittest.TestCase):
    """The sleeps of 2 s for a leader, and of 1 s for replicas."""

    def slept(self, seconds: float, *leaders: str | Exception | None, runs: bool = True) -> float:
        """How long a sleep takes on p1."""
        dcs = DCS(*leaders)
        clock = patroni_run.Clock({2: lambda: patroni_run.another_leads(dcs, "p1"), 1: lambda: not runs})
        start = time.monotonic()
        clock.sleep(seconds)
        return time.monotonic() - start

    def test_sleep(self) -> None:
        for name, seconds, leaders, least, most in (
            ("another leads already", 2, ("p2",), 0, 0.5),
            ("another leads a moment later", 2, (None, "", "p2"), 0.1, 0.8),
            ("nobody leads", 2, (None,), 2, 2.5),
            ("this node leads: it waits for PostgreSQL", 2, ("p1",), 2, 2.5),
            ("etcd does not answer", 2, (OSError("away"),), 2, 2.5),
            ("it waits for something else", 0.3, ("p2",), 0.3, 0.8),
        ):
            with self.subTest(name):
                took = self.slept(seconds, *leaders)
                self.assertGreaterEqual(took, least - 0.01)
                self.assertLess(took, most)

    def test_for_replicas(self) -> None:
        """They have everything when the server has ended."""
        self.assertLess(self.slept(1, None, runs=False), 0.3)
        self.assertGreaterEqual(self.slept(1, "p2"), 0.99)

    def test_etcd_is_asked_once_in_vain(self) -> None:
        dcs = DCS(OSError("away"))
        patroni_run.Clock({2: lambda: patroni_run.another_leads(dcs, "p1")}).sleep(2)
        self.assertEqual(dcs.asked, 1)

    def test_rest_of_the_module(self) -> None:
        self.assertAlmostEqual(patroni_run.Clock({}).time(), time.time(), delta=1)


HA = """time.sleep(2)  # Give a time to somebody to take the leader lock
time.sleep(2)  # Give a time to somebody to take the leader lock
time.sleep(2)
time.sleep(1)  # give replicas some more time to catch up
time.sleep(1)  # give replicas some more time to catch up
time.sleep(1)
    def _handle_crash_recovery(self) -> Optional[str]:
                msg = self._handle_crash_recovery()
                msg = self._handle_crash_recovery()
"""
SOURCES = {"ha.py": HA, "postgresql": "    def replica_cached_timeline(self, primary_timeline: Optional[int]) -> Optional[int]:\n", "config.py": "import time\n                time.sleep(1)\n"}


class ShortenTest(unittest.TestCase):
    """What becomes of Patroni's modules."""

    def test_all(self) -> None:
        ha, postgresql, config = modules()
        self.assertEqual(patroni_run.shorten(ha, postgresql, config, SOURCES), "")
        self.assertEqual((postgresql.STOP_POLLING_INTERVAL, postgresql.polling_loop(7)), (patroni_run.POLL, (7, patroni_run.POLL)))
        with tempfile.TemporaryDirectory() as data:
            with subprocess.Popen(["sleep", "60"]) as server:
                with open(os.path.join(data, "postmaster.pid"), "w", encoding="ascii") as file:
                    file.write(f"{server.pid}\n{data}\n")
                patroni = types.SimpleNamespace(dcs=DCS("p2"), postgresql=types.SimpleNamespace(name="p1", data_dir=data, replica_cached_timeline=None), reload_config=None)
                node = ha.Ha(patroni)
                self.assertFalse(node.woken.wait(0.3))
                server.kill()
                server.wait()
                killed = time.monotonic()
                self.assertTrue(node.woken.wait(5))
                self.assertLess(time.monotonic() - killed, 0.5)
        start = time.monotonic()
        ha.time.sleep(2)
        self.assertLess(time.monotonic() - start, 0.5)

    def test_crash_recovery(self) -> None:
        """Who leads recovers as it starts. Who does not may need pg_rewind, and so may the leader of a cluster that follows another."""
        ha, postgresql, config = modules()
        patroni_run.shorten(ha, postgresql, config, SOURCES)
        patroni = types.SimpleNamespace(dcs=DCS("p1"), postgresql=types.SimpleNamespace(name="p1", data_dir="/none", replica_cached_timeline=lambda leader: 7), reload_config=None)
        node = ha.Ha(patroni)
        self.assertEqual(patroni.postgresql.replica_cached_timeline(None), 7)
        self.assertIsInstance(patroni.postgresql.replica_cached_timeline, patroni_run.Timeline)
        for lock, standby, alone in ((True, False, False), (False, False, True), (True, True, True), (False, True, True)):
            node.lock, node.standby = lock, standby
            with self.subTest(lock=lock, standby=standby):
                self.assertEqual(getattr(node, "_handle_crash_recovery")() is not None, alone)

    def test_another_patroni(self) -> None:
        """Nothing is changed by half."""
        for name, module in (("Ha", 0), ("time", 0), ("STOP_POLLING_INTERVAL", 1), ("polling_loop", 1), ("ConfigHandler", 1), ("time", 2)):
            with self.subTest(name, module=module):
                all_ = modules()
                delattr(all_[module], name)
                before = [dict(vars(m)) for m in all_]
                self.assertIn(f"{all_[module].__name__}.{name}", patroni_run.shorten(*all_, SOURCES))
                self.assertEqual([dict(vars(m)) for m in all_], before)

    def test_other_sleeps(self) -> None:
        """A newer Patroni may sleep for another reason."""
        for file, source in (
            ("ha.py", ""), ("ha.py", HA + "time.sleep(2)\n"), ("ha.py", HA.replace("give replicas", "give them", 1)),
            ("ha.py", HA.replace("sleep(1)", "sleep(3)", 1)), ("ha.py", HA + "self._handle_crash_recovery()\n"),
            ("ha.py", HA.replace("def _handle", "def handle")),
            ("config.py", ""), ("config.py", "time.sleep(2)\n"), ("config.py", "time.sleep(1)\ntime.sleep(1)\n"),
            ("config.py", "time.sleep(1)\ntime.sleep(0.5)\n"),
            ("postgresql", ""), ("postgresql", "    def replica_cached_timeline(self, leader: Any) -> Any:\n"),
        ):
            with self.subTest(file, source=source):
                all_ = modules()
                before = [dict(vars(m)) for m in all_]
                self.assertIn(f"{file} with ", patroni_run.shorten(*all_, SOURCES | {file: source}))
                self.assertEqual([dict(vars(m)) for m in all_], before)


class Server:
    """PostgreSQL, whose session has read its settings some time after it was told to."""

    def __init__(self, takes: float | None) -> None:
        self.takes, self.told, self.asked = takes, 0.0, 0

    def reload(self, block_callbacks: bool = False) -> bool:
        """pg_ctl reload."""
        self.told = time.time()
        return not block_callbacks

    def query(self, sql: str, *_: Any, retry: bool = True) -> list[tuple[Any, ...]]:
        """When it has read them."""
        self.asked += 1
        assert "pg_conf_load_time" in sql and not retry
        if self.takes is None:
            raise OSError("no connection")
        now = time.time()
        return [(decimal.Decimal(self.told + self.takes if now - self.told > self.takes else self.told - 3600),)]


class SettingsTest(unittest.TestCase):
    """The second after a reload."""

    def took(self, server: Server, told: bool = True) -> float:
        """How long Patroni is busy with a reload."""
        ha, postgresql, config = modules()
        self.assertEqual(patroni_run.shorten(ha, postgresql, config, SOURCES), "")
        handler = postgresql.ConfigHandler(server, {"x": 1})
        self.assertEqual((handler.server, handler.settings), (server, {"x": 1}))
        start = time.monotonic()
        if told:
            handler.reload_config()
        else:
            config.time.sleep(1)
        return time.monotonic() - start

    def test_settings(self) -> None:
        for name, takes, told, least, most in (
            ("read at once", 0.0, True, 0.0, 0.5),
            ("read later", 0.3, True, 0.3, 0.8),
            ("not read within a second", 5.0, True, 1.0, 1.5),
            ("nobody told it to", 0.0, False, 1.0, 1.5),
            ("no answer", None, True, 1.0, 1.5),
        ):
            with self.subTest(name):
                took = self.took(Server(takes), told)
                self.assertGreaterEqual(took, least - 0.01)
                self.assertLess(took, most)

    def test_asked_once_in_vain(self) -> None:
        server = Server(None)
        self.took(server)
        self.assertEqual(server.asked, 1)

    def test_own_reload(self) -> None:
        """What Patroni passes on and gets back is the same."""
        server = Server(0)
        patroni_run.Reload(server)
        self.assertEqual((server.reload(), server.reload(block_callbacks=True)), (True, False))


class ReloadTest(unittest.TestCase):
    """What becomes of a reload."""

    def test_reload(self) -> None:
        woken, reloads = threading.Event(), list[tuple[bool, Any]]()
        patroni = types.SimpleNamespace(_received_sighup=False, reload_config=lambda sighup, local: reloads.append((sighup, local)))
        with tempfile.TemporaryDirectory() as folder:
            mark = os.path.join(folder, "reloaded")
            with unittest.mock.patch.object(patroni_run, "RELOADED", mark):
                patroni_run.hasten_reload(patroni, woken.set)
                self.assertFalse(woken.wait(0.3))
                patroni._received_sighup = True
                self.assertTrue(woken.wait(2))
                patroni._received_sighup = False
                patroni.reload_config(False, True)
                self.assertFalse(os.path.exists(mark))
                patroni.reload_config(True, None)
                self.assertTrue(os.path.exists(mark))
            with unittest.mock.patch.object(patroni_run, "RELOADED", os.path.join(folder, "missing", "reloaded")):
                patroni.reload_config(True, None)  # Patroni must not end by it
        self.assertEqual(reloads, [(False, True), (True, None), (True, None)])


class TimelineTest(unittest.TestCase):
    """When the server is asked."""

    def test_timeline(self) -> None:
        asked: list[int | None] = []
        answers: list[int | None] = [None, 3, 4, 5]

        def ask(leader: int | None) -> int | None:
            asked.append(leader)
            return leader or answers.pop(0)

        timeline = patroni_run.Timeline(ask)
        self.assertIsNone(timeline(None))  # it does not answer yet
        self.assertEqual([timeline(None) for _ in range(20)], [3] * 20)
        self.assertEqual(timeline(0), 3)
        self.assertEqual((timeline(9), timeline(None)), (9, 3))
        timeline.asked -= patroni_run.FRESH
        self.assertEqual((timeline(None), timeline(None)), (4, 4))
        self.assertEqual(asked, [None, None, 9, None])

    def test_many_at_once(self) -> None:
        """Each request has a thread of its own, and a server may hang."""
        for answer in (3, None):
            with self.subTest(answer=answer):
                asked: list[int | None] = []

                def ask(leader: int | None, asked: list[int | None] = asked, answer: int | None = answer) -> int | None:
                    asked.append(leader)
                    time.sleep(0.3)
                    return answer

                timeline = patroni_run.Timeline(ask)
                threads = [threading.Thread(target=timeline, args=(None,)) for _ in range(10)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual(len(asked), 1)


class PostmasterTest(unittest.TestCase):
    """The number that the server wrote."""

    def test_postmaster(self) -> None:
        with tempfile.TemporaryDirectory() as data:
            self.assertIsNone(patroni_run.postmaster(data))
            for text, want in (("12\n/data\n", 12), ("", None), ("x\n", None), ("-5\n", -5)):
                with open(os.path.join(data, "postmaster.pid"), "w", encoding="ascii") as file:
                    file.write(text)
                self.assertEqual(patroni_run.postmaster(data), want)

    def test_runs(self) -> None:
        with tempfile.TemporaryDirectory() as data:
            self.assertFalse(patroni_run.runs(data))
            for pid, want in ((os.getpid(), True), (2**22 + 1, False)):  # above the kernel's largest
                with open(os.path.join(data, "postmaster.pid"), "w", encoding="ascii") as file:
                    file.write(f"{pid}\n")
                self.assertEqual(patroni_run.runs(data), want)

    def test_watch(self) -> None:
        for name, before, taken, least, most in (
            ("ends, and is taken", 0.3, 0.0, 0.0, 0.5),
            # Patroni counts it as running until then.
            ("ends, and is taken later", 0.3, 0.7, 0.6, 1.2),
            ("has ended before the first look", -1.0, 0.0, 0.0, 0.5),
            ("ends, and is never taken", 0.3, 9.0, patroni_run.TAKEN - 0.1, patroni_run.TAKEN + 0.5),
        ):
            with self.subTest(name), tempfile.TemporaryDirectory() as data, subprocess.Popen(["sleep", "60"]) as server:
                with open(os.path.join(data, "postmaster.pid"), "w", encoding="ascii") as file:
                    file.write(f"{server.pid}\n{data}\n")
                woken = threading.Event()
                if before < 0:
                    server.kill()
                    server.wait()
                threading.Thread(target=patroni_run.watch, args=(data, woken.set), daemon=True).start()
                if before > 0:
                    self.assertFalse(woken.wait(before))
                    server.kill()
                killed = time.monotonic()
                if before > 0 and woken.wait(taken):
                    self.assertGreater(taken, most)
                server.wait()
                self.assertTrue(woken.wait(5))
                self.assertTrue(least <= time.monotonic() - killed <= most, time.monotonic() - killed)
                woken.clear()
                self.assertFalse(woken.wait(1), "woken twice for one server")


if __name__ == "__main__":
    unittest.main()
