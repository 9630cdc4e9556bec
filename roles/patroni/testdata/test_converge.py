"""Tests of converge.py: when something is done, what is said, and what Patroni would refuse."""

import os
import sys
import tempfile
import time
import types
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import converge
import databases
import order
from converge import Files, Result

DONE = Result([], [], [])


class LoopTest(unittest.TestCase):
    """The loop, with parts that do as the test says."""

    def setUp(self) -> None:
        self.leads: bool | None = True
        self.promoted = True
        self.state = 1
        self.result = DONE
        self.other = DONE
        self.runs = 0
        self.said: list[str] = []
        self.missed: converge.Missed = {}
        self.asked: list[bool] = []
        self.work = converge.Converge(self.look_back, [self.part, lambda _: self.other], lambda: self.leads, lambda: self.promoted, lambda: self.state, lambda *words: self.said.append(" ".join(words)))

    def look_back(self, leads: bool) -> converge.Missed:
        """What the test says, and keeps the question."""
        self.asked.append(leads)
        return self.missed

    def part(self, missed: converge.Missed) -> Result:
        """Counts."""
        self.assertEqual(missed, self.missed)
        self.runs += 1
        return self.result

    def look(self, now: float) -> tuple[int, list[str]]:
        """How often was it run, and what was said?"""
        self.runs, self.said[:] = 0, []
        self.work.look(now)
        return self.runs, list(self.said)

    def test_leader(self) -> None:
        fine = "converge ok all is as the spec says"
        self.assertEqual(self.look(0), (1, [fine]))
        self.assertEqual(self.look(1), (0, []))
        self.assertEqual(self.look(59), (0, []))
        self.assertEqual(self.look(62), (1, []))  # a minute later, and nothing new
        self.state = 2
        self.result = Result(["ttl 30"], ["Patroni is paused"], [])
        self.assertEqual(self.look(63), (1, ["converge ok ttl 30; Patroni is paused"]))
        self.result = Result([], ["Patroni is paused"], [])
        self.assertEqual(self.look(68), (1, []))  # the change stays the last line
        self.result = DONE
        self.assertEqual(self.look(128), (1, [fine]))

    def test_what_follows_a_change(self) -> None:
        self.result = Result(["max_connections 400"], [], [])
        self.look(0)
        self.result = Result([], ["waits for a restart"], [])
        self.assertEqual(self.look(5), (1, ["converge ok all is as the spec says; waits for a restart"]))

    def test_same_change_again(self) -> None:
        self.result = Result(["ttl 20 (was 30, which is not the spec's)"], [], [])
        first = self.look(0)
        self.assertEqual(self.look(5), first)

    def test_replica(self) -> None:
        self.leads = False
        self.assertEqual(self.look(0), (0, ["converge ok this node does not lead: the one that does sees to it"]))
        self.state = 2
        self.assertEqual(self.look(1), (0, []))
        self.leads = True
        self.assertEqual(self.look(3), (0, []))  # not asked yet
        self.assertEqual(self.look(4), (1, ["converge ok all is as the spec says"]))
        self.leads = False
        self.assertEqual(self.look(7)[1], ["converge ok this node does not lead: the one that does sees to it"])

    def test_silence(self) -> None:
        self.leads = None
        self.assertEqual(self.look(0), (0, []))
        self.leads = True
        self.assertEqual(self.look(3)[0], 1)
        # A file that changed while Patroni did not answer is looked at when it does.
        self.leads, self.state = None, 2
        self.assertEqual(self.look(4), (0, []))
        self.leads = True
        self.assertEqual(self.look(5)[0], 1)

    def test_not_promoted_yet(self) -> None:
        self.promoted = False
        self.assertEqual([self.look(now) for now in (0, 3, 6)], [(0, [])] * 3)
        self.promoted = True
        self.assertEqual(self.look(9)[0], 1)

    def test_failure(self) -> None:
        self.result, self.other = Result([], [], ["ttl: no"]), Result(["user app created"], [], ["user x: no"])
        fail = "converge fail ttl: no; user x: no; all else is as the spec says, and this is tried again"
        self.assertEqual(self.look(0), (1, ["converge ok user app created"]))
        self.other = Result([], [], ["user x: no"])
        self.assertEqual(self.look(1), (0, []))
        self.assertEqual(self.look(2), (1, [fail]))
        tries = []
        for now in range(3, 200):
            runs, said = self.look(now)
            self.assertEqual(said, [])
            if runs:
                tries.append(now)
        self.assertEqual(tries, [7, 17, 37, 77, 137, 197])
        self.state = 2
        self.assertEqual(self.look(200), (1, []))
        self.assertEqual(self.look(202), (1, []))
        self.result = self.other = DONE
        self.assertEqual(self.look(207), (1, ["converge ok all is as the spec says"]))

    def test_on_its_way(self) -> None:
        self.result = Result([], [], ["user x: its password is not among the secrets of this node"])
        self.assertEqual(self.look(0), (1, []))
        self.state, self.result = 2, Result(["user x created"], [], [])
        self.assertEqual(self.look(1), (1, ["converge ok user x created"]))


    def test_missed_a_change(self) -> None:
        for missed, rest in (
            ({"user-data": "a change of it"}, "nothing but passwords is changed"),
            ({"secrets": "a change of it"}, "nothing is changed"),
            ({"user-data": "a change of it", "secrets": "a change of it"}, "nothing is changed"),
        ):
            with self.subTest(rest):
                self.setUp()
                self.missed = missed
                self.assertEqual(self.look(0), (1, []))  # it may be on its way
                self.assertEqual(self.look(2), (1, [f"converge fail a change of it; {rest}, and this is tried again"]))
                self.missed, self.state = {}, 2
                self.assertEqual(self.look(3), (1, ["converge ok all is as the spec says"]))

    def test_replica_looks_back(self) -> None:
        self.leads, self.missed = False, {"user-data": "Patroni does not answer"}
        for now, missed, asked in (
            (0, self.missed, [False]),
            (1, self.missed, []),
            (4, {}, [False]),  # again, soon
            (8, {}, []),
            (65, {}, [False]),  # a minute later
        ):
            self.missed, self.asked[:] = missed, []
            self.look(now)
            self.assertEqual(self.asked, asked, now)
        self.asked.clear()
        self.state = 2
        self.look(66)
        self.assertEqual(self.asked, [False])  # user-data changed, say
        self.leads = True
        self.look(70)
        self.leads = False
        self.look(74)
        self.assertEqual(self.asked, [False, True, False])


class FilesTest(unittest.TestCase):
    """What is read, and noticed."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(os.path.join(self.folder, "secrets"))
        self.files = Files(self.folder, os.path.join(self.folder, "secrets"))

    def write(self, name: str, text: str) -> None:
        """As refresh does: another file under the name."""
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def test_state(self) -> None:
        self.write("databases.json", "{}")
        before = self.files.state()
        self.assertEqual(self.files.state(), before)
        time.sleep(0.01)
        for name in ("databases.json", "secrets/password.app", "bootstrap.yml"):
            self.write(name, "{}")
            self.assertNotEqual(self.files.state(), before)
            before = self.files.state()

    def test_configuration(self) -> None:
        self.write("bootstrap.yml", "bootstrap:\n  dcs: {ttl: 20}\n")
        self.assertEqual(self.files.configuration(), {"ttl": 20})

    def test_unreadable(self) -> None:
        patroni = mock.Mock()
        for text in (None, "bootstrap: {}", "bootstrap: {dcs: [1]}", "a: [", "- 1", ""):
            if text is not None:
                self.write("bootstrap.yml", text)
            result = converge.configure(patroni, self.files, lambda _: [], {})
            self.assertIn("bootstrap.yml cannot be read", result.problems[0])
        server = mock.Mock()
        for text in (None, "{", "[]", '{"users": []}', "7"):
            if text is not None:
                self.write("databases.json", text)
            self.assertIn("databases.json cannot be read", converge.settle(server, self.files, [], {}).problems[0])
        self.assertEqual(patroni.mock_calls + server.mock_calls, [])
        for text in ('{"users": [{}], "databases": []}', '{"users": 7, "databases": []}', '{"users": [], "databases": ["app"]}'):
            self.write("databases.json", text)
            server.look.return_value = {"roles": {}, "databases": {}, "extensions": {}, "applied": {}}
            self.assertIn("databases.json is not in its form", converge.settle(server, self.files, [], {}).problems[0])


class MissedTest(unittest.TestCase):
    """What a node that missed a change still does."""

    def test_parts(self) -> None:
        patroni, server, files = mock.Mock(), mock.Mock(), mock.Mock()
        with mock.patch.object(databases, "converge", return_value=(["user app password set"], [])) as settled:
            for missed, want in (({"secrets": "x"}, []), ({"secrets": "x", "user-data": "x"}, []), ({"user-data": "x"}, ["user app password set"])):
                self.assertEqual(converge.settle(server, files, ["s"], missed).changed, want)
                self.assertEqual(converge.configure(patroni, files, lambda _: [], missed), DONE)
            settled.assert_called_once_with(server, None, databases.password_of, ["s"])
        self.assertEqual(patroni.mock_calls + files.mock_calls, [])


class ConfigureTest(unittest.TestCase):
    """Dynamic configuration, with a Patroni that answers as the test says."""

    def setUp(self) -> None:
        self.patroni = mock.Mock()
        self.answers: dict[str, Any] = {"/config": {"ttl": 20}, "/cluster": {"members": []}}
        self.patroni.get = self.get
        self.files = mock.Mock()
        self.files.configuration.return_value = {"ttl": 20}

    def get(self, path: str) -> Any:
        """An answer, or none."""
        if isinstance(self.answers[path], Exception):
            raise self.answers[path]
        return self.answers[path]

    def configure(self, refused: Callable[[dict[str, Any]], list[str]] = lambda _: []) -> Result:
        """Once."""
        return converge.configure(self.patroni, self.files, refused, {})

    def test_nothing_to_do(self) -> None:
        self.answers["/config"] = {"ttl": 20, "pgha": {"ttl": 20}}
        self.assertEqual(self.configure(), DONE)
        self.patroni.configure.assert_not_called()

    def test_one_patch(self) -> None:
        self.files.configuration.return_value = {"ttl": 30}
        self.assertEqual(self.configure(), Result(["ttl 30 (was 20, which is not the spec's)"], [], []))
        self.patroni.configure.assert_called_once_with({"ttl": 30, "pgha": {"ttl": 30}})

    def test_refused(self) -> None:
        self.assertEqual(self.configure(lambda _: ["ttl: no"]), Result([], [], ["ttl: no"]))
        self.patroni.configure.assert_not_called()
        self.patroni.configure.side_effect = ValueError("Patroni answers 409: changed")
        self.assertEqual(self.configure(), Result([], [], ["dynamic configuration: Patroni answers 409: changed"]))
        self.answers["/config"] = ValueError("Patroni does not answer")
        self.assertEqual(self.configure(), Result([], [], ["dynamic configuration: Patroni does not answer"]))

    def test_stays(self) -> None:
        self.answers["/config"] = {"ttl": 20, "foo": 1, "postgresql": {"parameters": {"bar": 2}}, "pgha": {"ttl": 20}}
        self.answers["/cluster"] = {"pause": True, "members": [
            {"name": "p1"}, {"name": "p3", "pending_restart": True}, {"name": "p2", "pending_restart": True, "pending_restart_reason": {"max_connections": {}}}]}
        self.assertEqual(self.configure().stays, [
            "kept, though the spec does not have it: foo, postgresql.parameters.bar",
            "waits for a restart of PostgreSQL: max_connections on p2, p3", "Patroni is paused"])


class LookBackTest(unittest.TestCase):
    """Who may change the cluster, with a Patroni that keeps what it is given."""

    def setUp(self) -> None:
        self.config: dict[str, Any] = {"ttl": 20}
        self.patroni = mock.Mock()
        self.patroni.get = lambda _: self.config
        self.patroni.configure = self.config.update
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        patch = mock.patch.object(converge.step, "had_file", lambda kind: os.path.join(self.folder, kind))
        patch.start()
        self.addCleanup(patch.stop)

    def look_back(self, user_data: str, secrets: str = "v1", leads: bool = True) -> list[str]:
        """With what a machine had."""
        for kind, words in (("user-data", user_data), ("secrets", secrets)):
            with open(os.path.join(self.folder, kind), "w", encoding="ascii") as file:
                file.write(words.replace(" ", "\n"))
        return list(dict.fromkeys(converge.look_back(self.patroni, leads).values()))

    def machine(self) -> None:
        """Another one, which knows nothing."""
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))

    def test_changes_follow(self) -> None:
        self.assertEqual(self.look_back("d1"), [])
        self.assertEqual(self.config, {"ttl": 20, order.KEY: {"user-data": "d1", "secrets": "v1"}})
        self.assertEqual(self.look_back("d1 d2", "v1 v2"), [])
        self.assertEqual(self.config[order.KEY], {"user-data": "d1 d2", "secrets": "v1 v2"})
        self.machine()
        self.assertEqual(self.look_back("d1", "v2"), ["this node has the user-data d1, and d2 came after it (give it the new one)"])
        self.machine()
        self.assertEqual(self.look_back("d2", "v1"), ["this node has the secrets v1, and v2 came after it (it looks for them within 6 minutes)"])
        self.assertEqual(self.config[order.KEY], {"user-data": "d1 d2", "secrets": "v1 v2"})
        self.machine()
        self.assertEqual(self.look_back("d1 d2", "v1 v2"), [])

    def test_one_kind_missed(self) -> None:
        self.config[order.KEY] = {"user-data": "d1 d2", "secrets": "v1"}
        self.assertEqual(self.look_back("d1", "v1 v2"), ["this node has the user-data d1, and d2 came after it (give it the new one)"])
        # Who missed that this node's passwords are in force shall not bring the old ones back.
        self.assertEqual(self.config[order.KEY], {"user-data": "d1 d2", "secrets": "v1 v2"})

    def test_new_machine(self) -> None:
        self.config[order.KEY] = {"user-data": "d1 d2 d1", "secrets": "v1"}
        stale = "this node has the user-data d2, and d1 came after it (give it the new one)"
        for reason, words, want in (
            ("it has what is newest", ["d1"], []),
            ("and then what was in force before", ["d1", "d1 d2"], []),
            ("it never had what is newest", ["d2"], [stale]),
            ("nor here: it was made with what is old by now", ["d1 d2"], [stale]),
        ):
            with self.subTest(reason):
                self.machine()
                said = [self.look_back(had, leads=False) for had in words]
                self.assertEqual(said[-1], want)
                self.assertEqual(self.config[order.KEY]["user-data"], "d1 d2 d1")  # a replica writes nothing
        self.machine()
        self.look_back("d1", leads=False)
        self.assertEqual(self.look_back("d1 d2"), [])
        self.assertEqual(self.config[order.KEY]["user-data"], "d1 d2 d1 d2")
        self.assertEqual(self.look_back("d1 d2 d1"), [])
        self.assertEqual(self.config[order.KEY]["user-data"], "d1 d2 d1 d2 d1")

    def test_away_meanwhile(self) -> None:
        """It had all until d2, and the others went back while it was off."""
        self.config[order.KEY] = {"user-data": "d1 d2", "secrets": "v1"}
        self.assertEqual(self.look_back("d1 d2", leads=False), [])
        self.config[order.KEY] = {"user-data": "d1 d2 d1", "secrets": "v1"}
        self.assertEqual(self.look_back("d1 d2"), ["this node has the user-data d2, and d1 came after it (give it the new one)"])

    def test_what_it_kept_is_no_use(self) -> None:
        for text in ("", "{", "[]", "{}", '{"own": 7, "known": []}'):
            self.config[order.KEY] = {"user-data": "d1 d2 d1", "secrets": "v1"}
            self.machine()
            with open(os.path.join(self.folder, "user-data.met"), "w", encoding="ascii") as file:
                file.write(text)
            self.assertEqual(self.look_back("d1"), [])
            self.assertEqual(self.look_back("d1 d2"), [])

    def test_boot_disk_is_full(self) -> None:
        self.config[order.KEY] = {"user-data": "d1 d2 d1", "secrets": "v1"}
        with mock.patch.object(converge.step, "write", side_effect=OSError(28, "No space left on device")):
            self.assertEqual(self.look_back("d1"), [])

    def test_no_answer(self) -> None:
        self.patroni.get = mock.Mock(side_effect=ValueError("Patroni does not answer"))
        self.assertEqual(self.look_back("d1"), ["dynamic configuration: Patroni does not answer"])
        self.patroni.get = lambda _: self.config
        self.patroni.configure = mock.Mock(side_effect=ValueError("Patroni answers 409: changed"))
        self.assertEqual(self.look_back("d1"), ["dynamic configuration: Patroni answers 409: changed"])

    def test_somebody_wrote_there(self) -> None:
        self.config[order.KEY] = "x"
        self.assertEqual(self.look_back("d1"), [])
        self.assertEqual(self.config[order.KEY], {"user-data": "d1", "secrets": "v1"})


class RefusedTest(unittest.TestCase):
    """What is not sent to Patroni. The lab asks Patroni's and PostgreSQL's own rules (TestConverge)."""

    def refused(self, want: dict[str, Any]) -> list[str]:
        """With one rule of Patroni's, and a server that takes everything."""
        handler = mock.Mock(CMDLINE_OPTIONS={"max_connections": (100, lambda value: value >= 25, 90100)})
        modules = {"patroni": types.ModuleType("patroni"), "patroni.postgresql": types.ModuleType("patroni.postgresql"),
                   "patroni.postgresql.config": mock.Mock(ConfigHandler=handler)}
        with mock.patch.dict(sys.modules, modules), mock.patch.object(
                converge.check_parameters, "refused", lambda parameters, _: "no other" if "other" in parameters else ""):
            return converge.refused(want)

    def test_refused(self) -> None:
        for want, said in (
            ({}, []),
            ({"postgresql": {"use_slots": True}, "ttl": 20, "loop_wait": 2, "retry_timeout": 9}, []),
            ({"postgresql": {"parameters": {"max_connections": 25}}}, []),
            ({"postgresql": {"parameters": {"max_connections": 25, "other": "x"}}}, ["PostgreSQL refuses a parameter: no other"]),
            ({"postgresql": {"parameters": {"max_connections": 24}}}, ["postgresql.parameters.max_connections: Patroni refuses 24, and would take 100"]),
            ({"ttl": 19}, ["Patroni refuses ttl 19, loop_wait 10, retry_timeout 10 (want 20, 1 and 3 at least, and loop_wait + 2*retry_timeout <= ttl)"]),
            ({"ttl": 20, "loop_wait": 2, "retry_timeout": 10},
             ["Patroni refuses ttl 20, loop_wait 2, retry_timeout 10 (want 20, 1 and 3 at least, and loop_wait + 2*retry_timeout <= ttl)"]),
            ({"ttl": "soon"}, ["ttl, loop_wait or retry_timeout is no whole number"]),
        ):
            self.assertEqual(self.refused(want), said)


class BootstrapTest(unittest.TestCase):
    """Patroni undoes a bootstrap whose program fails."""

    def test_status(self) -> None:
        with mock.patch.object(converge, "settle") as settle:
            settle.return_value = Result(["user app created"], [], [])
            self.assertEqual(converge.bootstrap("host=/x"), 0)
            server, _, services, missed = settle.call_args.args
            self.assertEqual((server.connection, services, missed), ("host=/x", [], {}))
            settle.return_value = Result(["user app created"], [], ["user reader: no"])
            self.assertEqual(converge.bootstrap("host=/x"), 1)
        self.assertIsInstance(server, databases.Server)


if __name__ == "__main__":
    unittest.main()
