"""Tests of disk_full.py: who gets the tag, who hands over, and what is said."""

import os
import signal
import subprocess
import tempfile
import time
import unittest

import disk_full
from disk_full import Answer


class Fake:
    """A Patroni that answers as the test says."""

    def __init__(self) -> None:
        self.leader: bool | None = False
        self.answer: Answer | None = None
        self.runs = True
        self.calls: list[str] = []

    def leads(self) -> bool | None:
        """As the test says."""
        return self.leader

    def hand_over(self) -> Answer | None:
        """Counts."""
        self.calls.append("hand over")
        return self.answer

    def reload(self) -> bool:
        """Counts."""
        if self.runs:
            self.calls.append("reload")
        return self.runs

    def take(self) -> list[str]:
        """The calls since."""
        taken, self.calls = self.calls, []
        return taken


class NodeTest(unittest.TestCase):
    """A node with a full disk."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.config = os.path.join(folder.name, "config")
        os.mkdir(self.config)
        self.link = os.path.join(self.config, "40-disk-full.yml")
        self.patroni = Fake()
        self.said: list[str] = []
        self.node = disk_full.Node(self.patroni, self.link, "/usr/lib/pgha/disk-full.yml", lambda *words: self.said.append(" ".join(words)))  # type: ignore[arg-type]

    def look(self, now: float) -> tuple[bool, list[str]]:
        """Is the tag there, and what was done?"""
        self.node.look(now)
        return os.path.lexists(self.link), self.patroni.take()

    def test_replica(self) -> None:
        self.assertEqual(self.look(0), (True, ["reload"]))
        self.assertEqual(os.readlink(self.link), "/usr/lib/pgha/disk-full.yml")
        self.assertEqual(self.look(1), (True, []))
        os.unlink(self.link)  # Patroni was started again
        self.assertEqual(self.look(2), (True, ["reload"]))
        self.assertEqual(self.said, [])

    def test_leader(self) -> None:
        self.patroni.leader, self.patroni.answer = True, Answer(412, "no good candidates have been found")
        self.assertEqual(self.look(0), (False, ["hand over"]))
        self.assertEqual(self.look(1), (False, []))
        self.assertEqual(self.look(5), (False, ["hand over"]))
        self.assertEqual(self.look(61), (False, ["hand over"]))
        self.assertEqual(self.said, ["disk warn the disk is full, and this node leads: no other node can lead (412: no good candidates have been found);"
                                     " delete data, or make the data disk larger"] * 2)
        self.patroni.answer = Answer(200, 'Successfully switched over to "p2"')
        self.look(70)
        self.assertEqual(self.said[2:], ['disk warn the disk is full, so another node leads: Successfully switched over to "p2"'])
        self.patroni.leader = False
        self.assertEqual(self.look(71), (True, ["hand over", "reload"][1:]))

    def test_silence(self) -> None:
        self.patroni.leader = True
        self.look(0)
        self.assertIn("Patroni does not answer", self.said[0])
        # A leader that does not answer for a moment keeps its replicas' slots.
        self.patroni.leader = None
        self.assertEqual(self.look(1), (False, []))

    def test_becomes_leader(self) -> None:
        self.look(0)
        self.patroni.leader = True
        self.assertEqual(self.look(10), (False, ["reload", "hand over"]))

    def test_starting(self) -> None:
        self.patroni.runs, self.patroni.leader = False, None
        self.assertEqual(self.look(0), (True, []))
        self.patroni.runs = True
        self.assertEqual(self.look(1), (True, ["reload"]))

    def test_no_configuration_yet(self) -> None:
        os.rmdir(self.config)
        self.assertEqual(self.look(0), (False, []))


class ProcessesTest(unittest.TestCase):
    """Who gets SIGHUP."""

    def test_only_who_minds(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            procs = os.path.join(folder, "cgroup.procs")
            self.assertEqual(disk_full.processes(procs), [])
            with open(procs, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n999999999\n")
            self.assertEqual(disk_full.processes(procs), [])  # not Patroni

    def test_patroni(self) -> None:
        # Both have lost their parent; one minds SIGHUP.
        script = "trap : HUP; while :; do sleep 0.1; done"
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "patroni")
            os.symlink("/bin/bash", program)
            pids = []
            for body in (script, "while :; do sleep 0.1; done"):
                shown = subprocess.run(["setsid", "sh", "-c", '"$0" -c "$1" >/dev/null 2>&1 & echo $!', program, body], capture_output=True, text=True, check=True)
                pids.append(int(shown.stdout))
            try:
                time.sleep(0.3)
                with open(f"/proc/{pids[0]}/status", encoding="ascii") as file:
                    if "PPid:\t1\n" not in file.read():
                        self.skipTest("orphans do not go to process 1 here")
                procs = os.path.join(folder, "cgroup.procs")
                with open(procs, "w", encoding="ascii") as file:
                    file.write("".join(f"{pid}\n" for pid in pids))
                self.assertEqual(disk_full.processes(procs), pids[:1])
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
