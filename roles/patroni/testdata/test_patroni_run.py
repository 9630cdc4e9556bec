"""Tests of patroni_run.py: which of Patroni's waits end early, and which do not."""

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


def modules() -> tuple[Any, Any]:
    """Patroni's modules, as far as they are changed."""
    ha, postgresql = types.ModuleType("patroni.ha"), types.ModuleType("patroni.postgresql")

    class Ha:
        """Patroni's."""

        def __init__(self, patroni: Any) -> None:
            self.dcs = patroni.dcs
            self.woken = threading.Event()

        def wakeup(self) -> None:
            """Starts the next loop."""
            self.woken.set()

    vars(ha).update(Ha=Ha, time=time)
    vars(postgresql).update(STOP_POLLING_INTERVAL=1, polling_loop=lambda timeout, interval=1: (timeout, interval))
    return ha, postgresql


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
        clock = patroni_run.Clock(lambda: patroni_run.another_leads(dcs, "p1"), lambda: runs)
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
        patroni_run.Clock(lambda: patroni_run.another_leads(dcs, "p1"), lambda: True).sleep(2)
        self.assertEqual(dcs.asked, 1)

    def test_rest_of_the_module(self) -> None:
        self.assertAlmostEqual(patroni_run.Clock(lambda: False, lambda: True).time(), time.time(), delta=1)


SOURCE = """time.sleep(2)  # Give a time to somebody to take the leader lock
time.sleep(2)  # Give a time to somebody to take the leader lock
time.sleep(2)
time.sleep(1)  # give replicas some more time to catch up
time.sleep(1)  # give replicas some more time to catch up
time.sleep(1)
"""


class ShortenTest(unittest.TestCase):
    """What becomes of Patroni's modules."""

    def test_all(self) -> None:
        ha, postgresql = modules()
        self.assertEqual(patroni_run.shorten(ha, postgresql, SOURCE), "")
        self.assertEqual((postgresql.STOP_POLLING_INTERVAL, postgresql.polling_loop(7)), (patroni_run.POLL, (7, patroni_run.POLL)))
        with tempfile.TemporaryDirectory() as data:
            with subprocess.Popen(["sleep", "60"]) as server:
                with open(os.path.join(data, "postmaster.pid"), "w", encoding="ascii") as file:
                    file.write(f"{server.pid}\n{data}\n")
                patroni = types.SimpleNamespace(dcs=DCS("p2"), postgresql=types.SimpleNamespace(name="p1", data_dir=data), reload_config=None)
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

    def test_another_patroni(self) -> None:
        """Nothing is changed by half."""
        for name, module in (("Ha", 0), ("time", 0), ("STOP_POLLING_INTERVAL", 1), ("polling_loop", 1)):
            with self.subTest(name):
                both = modules()
                delattr(both[module], name)
                before = [dict(vars(m)) for m in both]
                self.assertIn(name, patroni_run.shorten(*both, SOURCE))
                self.assertEqual([dict(vars(m)) for m in both], before)

    def test_other_sleeps(self) -> None:
        """A newer Patroni may sleep for another reason."""
        for source in ("", SOURCE + "time.sleep(2)\n", SOURCE.replace("give replicas", "give them", 1), SOURCE.replace("sleep(1)", "sleep(3)", 1)):
            with self.subTest(source):
                both = modules()
                before = [dict(vars(m)) for m in both]
                self.assertIn("ha.py with ", patroni_run.shorten(*both, source))
                self.assertEqual([dict(vars(m)) for m in both], before)


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
