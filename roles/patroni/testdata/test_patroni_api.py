"""Tests of patroni_api.py: what counts as an answer, who is to lead next, and who gets SIGHUP."""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import patroni_api
from patroni_api import Answer


class Told(patroni_api.Patroni):
    """A Patroni that answers as the test says."""

    def __init__(self, answer: Answer | None) -> None:
        super().__init__("p1", "p1.example", "127.0.0.1", 8008)
        self.answer = answer

    def ask(self, method: str, path: str, body: dict[str, object] | None = None, patience: float = 3) -> Answer | None:
        return self.answer


class AnswerTest(unittest.TestCase):
    """Answers, and what else comes."""

    def test_answer(self) -> None:
        self.assertEqual(Told(Answer(200, '{"ttl":20}')).get("/config"), {"ttl": 20})
        Told(Answer(200, "{}")).configure({"ttl": 20})

    def test_no_answer(self) -> None:
        for answer, want in (
            (None, "Patroni does not answer"),
            (Answer(502, "no"), "Patroni answers 502 to /config: no"),
            (Answer(200, "<html>"), "Expecting value"),
        ):
            with self.assertRaisesRegex(ValueError, want):
                Told(answer).get("/config")
        for answer, want in ((None, "Patroni does not answer"), (Answer(409, "changed"), "Patroni answers 409: changed")):
            with self.assertRaisesRegex(ValueError, want):
                Told(answer).configure({"ttl": 20})

    def test_nobody_listens(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            patroni_api.SECRETS = folder  # no ca.crt
            self.assertIsNone(patroni_api.Patroni("p1", "p1.example", "127.0.0.1", 1).ask("GET", "/leader"))


class Cluster(patroni_api.Patroni):
    """A leader's Patroni, which lets nobody lead but these; no name is whom it likes."""

    def __init__(self, able: tuple[str, ...], members: object, **more: object) -> None:
        super().__init__("p1", "p1.example", "127.0.0.1", 8008)
        self.able, self.cluster = able, {"members": members} | more
        self.asked: list[str] = []

    def ask(self, method: str, path: str, body: dict[str, object] | None = None, patience: float = 3) -> Answer | None:
        if path == "/cluster":
            return Answer(200, json.dumps(self.cluster))
        assert (method, path) == ("POST", "/switchover") and body and body["leader"] == "p1"
        name = str(body.get("candidate", ""))
        self.asked.append(name)
        if name == "silent":
            return None
        return Answer(200, f"{name} leads") if name in self.able else Answer(503, f"no: {name}")


class HandOverTest(unittest.TestCase):
    """Who is asked to lead."""

    def test_hand_over(self) -> None:
        def member(name: str, role: str = "quorum_standby", state: str = "streaming", lag: object = 0, **more: object) -> dict[str, object]:
            return {"name": name, "role": role, "state": state, "lag": lag} | more

        leader = {"name": "p1", "role": "leader", "state": "running"}
        lost = [leader, member("p2", lag=8), member("p3")]
        for reason, able, members, want, asked in (
            ("whom Patroni likes", ("",), lost, Answer(200, " leads"), [""]),
            ("a standby was lost just now: by name, who lags least first", ("p2",), lost, Answer(200, "p2 leads"), ["", "p3", "p2"]),
            ("nobody can, and Patroni's own answer says why", (), lost, Answer(503, "no: "), ["", "p3", "p2"]),
            ("one that does not answer is not the last one", ("p2",), [member("silent"), member("p2", lag=1)], Answer(200, "p2 leads"), ["", "silent", "p2"]),
            ("none that commits do not wait for, before those", (), [leader, member("p2", "replica"), member("p3", "sync_standby", lag=9)],
             Answer(503, "no: "), ["", "p3", "p2"]),
            ("an unknown distance is the longest", (), [member("p2", lag="unknown"), member("p3", lag=9)], Answer(503, "no: "), ["", "p3", "p2"]),
            ("none that does not stream, or may not lead", (), [leader, member("p2", state="stopped"), member("p3", tags={"nofailover": True})],
             Answer(503, "no: "), [""]),
            ("what is no list of members names nobody", (), [{"name": "p2"}], Answer(503, "no: "), [""]),
            ("nor does what has another form", (), 7, Answer(503, "no: "), [""]),
        ):
            cluster = Cluster(able, members)
            with self.subTest(reason):
                self.assertEqual((cluster.hand_over(), cluster.asked), (want, asked))

    def test_paused(self) -> None:
        cluster = Cluster(("p2",), [{"name": "p2", "role": "quorum_standby", "state": "streaming", "lag": 0}], pause=True)
        self.assertEqual((cluster.hand_over(), cluster.asked), (Answer(503, "no: "), [""]))

    def test_silence(self) -> None:
        self.assertIsNone(Told(None).hand_over())


class ProcessesTest(unittest.TestCase):
    """Who gets SIGHUP."""

    def test_only_who_minds(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            procs = os.path.join(folder, "cgroup.procs")
            self.assertEqual(patroni_api.processes(procs), [])
            with open(procs, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n999999999\n")
            self.assertEqual(patroni_api.processes(procs), [])  # not Patroni

    def test_patroni(self) -> None:
        # Both have lost their parent; one minds SIGHUP. Nobody can who inherits that
        # it is ignored, as below nohup.
        self.addCleanup(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL))
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
                for _ in range(100):  # until it has begun to mind
                    if patroni_api.processes(procs):
                        break
                    time.sleep(0.1)
                self.assertEqual(patroni_api.processes(procs), pids[:1])
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
