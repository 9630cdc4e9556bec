"""Tests of etcd_refresh.py: which user-data is refused, and what takes effect how."""

import base64
import contextlib
import io
import json
import os
import pwd
import shutil
import sys
import tempfile
import unittest

FOLDER = tempfile.TemporaryDirectory()
unittest.addModuleCleanup(FOLDER.cleanup)
for name in ("run", "etc", "state"):
    os.mkdir(os.path.join(FOLDER.name, name))
    os.environ["PGHA_" + name.upper()] = os.path.join(FOLDER.name, name)
os.environ["PGHA_CONSOLE"] = os.path.join(FOLDER.name, "console")
os.environ["PGHA_ETCD_ENV"] = os.path.join(FOLDER.name, "etcd.env")

import etcd  # noqa: E402
import etcd_refresh  # noqa: E402
import step  # noqa: E402
from fakes import Fakes, health, member  # noqa: E402

# The real etcd, where the host has one: it judges its settings.
REAL = shutil.which("etcd")
FAKES = Fakes(FOLDER.name, "etcdctl", "systemctl", "etcd")

KNOWS = '{"msg":"failed to list data directory","dir":"/dev/null/none"}'
USER = pwd.getpwuid(os.getuid()).pw_name
DOWN = (1, "Error: context deadline exceeded")


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def env(members: list[int], *lines: str) -> str:
    """An etcd.env."""
    initial = ",".join(f"etcd-{n}=https://10.0.0.{n}:2380" for n in members)
    return "\n".join([f"ETCD_INITIAL_CLUSTER={initial}", "ETCD_DATA_DIR=/data", *lines]) + "\n"


def keys(**values: str) -> dict[str, object]:
    """What etcdctl get prints, for the keys of scope demo."""
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()
    return {"kvs": [{"key": encoded("/service/demo/" + key.replace("__", "/").replace("_", "-")), "value": encoded(value)}
                    for key, value in values.items()]}


LEADER = keys(leader="pg-1", members__pg_1=json.dumps({"conn_url": "postgres://10.0.1.1:5432/postgres"}))


class Check(unittest.TestCase):
    """What is refused, and why."""

    def check(self, why: str, old: str = env([1, 2, 3]), new: str = env([1, 2, 3]), members: list[int] = [1, 2, 3], bad: list[int] = [],
              access: tuple[str, str] = ("admit 2379 10.0.1.1\n", "admit 2379 10.0.1.1\n"), **changes: tuple[int, object]) -> None:
        write(etcd.ENV, old)
        write(etcd_refresh.ACCESS, access[0])
        write(os.path.join(step.ETC, "cluster.env"), f"PGHA_SERVICE_USER={USER}\n")
        os.makedirs(etcd.SECRETS, exist_ok=True)
        stage = os.path.join(FOLDER.name, "stage")
        write(os.path.join(stage, "etc/etcd/etcd.env"), new)
        write(os.path.join(stage, "etc/pgha/access"), access[1])
        FAKES.answer({
            "etcd": (1, KNOWS), "etcdctl member list": (0, {"members": [member(n) for n in members]}),
            "etcdctl endpoint health": (1 if bad else 0, health([n for n in members if n not in bad], bad)), "etcdctl get": (0, LEADER),
        } | {"etcdctl " + key.replace("_", " "): value for key, value in changes.items()})
        out = io.StringIO()
        sys.argv = ["etcd_refresh.py", "check", stage]
        with contextlib.redirect_stdout(out):
            status = etcd_refresh.main()
        self.assertEqual((status, out.getvalue()), (1, why + "\n") if why else (0, ""))

    def test_nothing_of_the_cluster(self) -> None:
        self.check("", new=env([1, 2, 3], "ETCD_HEARTBEAT_INTERVAL=200"))
        self.assertEqual(FAKES.calls(), ["etcd"], "etcd's cluster need not answer for what does not concern it")

    def test_form(self) -> None:
        path = os.path.join(FOLDER.name, "stage/etc/etcd/etcd.env")
        self.check(f"line 3 of {path} is no plain NAME=value", new=env([1, 2, 3], "ETCD_SNAPSHOT_COUNT=$(touch hurt)"))

    def test_added(self) -> None:
        self.check("", new=env([1, 2, 3, 4, 5]), member_list=DOWN)

    def test_two_of_five(self) -> None:
        self.check("", old=env([1, 2, 3, 4, 5]), members=[1, 2, 3, 4, 5])

    def test_dead_one(self) -> None:
        self.check("", new=env([1, 2, 4]), bad=[3])

    def test_another_is_unhealthy(self) -> None:
        self.check("etcd-3 cannot leave now: etcd-2 is not healthy (context deadline exceeded)", new=env([1, 2, 4]), bad=[2])

    def test_two_of_three(self) -> None:
        self.check("etcd-2 and etcd-3 would leave at once, and of 3 etcd members only 1 would stay (a majority must: exchange one at a time)",
                   new=env([1, 4, 5]))

    def test_more_than_five_can_spare(self) -> None:
        self.check("etcd-3 and etcd-4 and etcd-5 would leave at once, and of 5 etcd members only 2 would stay (a majority must: exchange one at a time)",
                   old=env([1, 2, 3, 4, 5]), new=env([1, 2, 6]), members=[1, 2, 3, 4, 5])

    def test_left_already(self) -> None:
        self.check("", new=env([1, 2, 4]), members=[1, 2], bad=[2])

    def test_no_quorum(self) -> None:
        self.check("etcd members are taken out, and the cluster does not answer (Error: context deadline exceeded)", new=env([1, 2, 4]), member_list=DOWN)

    def test_leader_shut_out(self) -> None:
        self.check("pg-1 leads and is not in the new spec: switch over first", access=("admit 2379 10.0.1.1\n", "admit 2379 10.0.1.2\n"))

    def test_leader_only_on_another_port(self) -> None:
        self.check("pg-1 leads and is not in the new spec: switch over first", access=("admit 2379 10.0.1.1\n", "admit 2380 10.0.1.1\n"))

    def test_leader_by_network(self) -> None:
        self.check("", access=("admit 2379 10.0.1.1\n", "limit 2379 100\nadmit 2379 10.0.1.0/24\n"))

    def test_leader_by_name(self) -> None:
        by_name = keys(leader="pg-1", members__pg_1=json.dumps({"conn_url": "postgres://pg-1.internal:5432/postgres"}))
        self.check("", access=("admit 2379 pg-1.internal\nadmit 2379 pg-2.internal\n", "admit 2379 pg-1.internal\n"), get=(0, by_name))
        self.check("pg-1 leads and is not in the new spec: switch over first",
                   access=("admit 2379 pg-1.internal\nadmit 2379 pg-2.internal\n", "admit 2379 pg-2.internal\n"), get=(0, by_name))

    def test_replica_shut_out(self) -> None:
        self.check("", access=("admit 2379 10.0.1.1\nadmit 2379 10.0.1.2\n", "admit 2379 10.0.1.1\n"))

    def test_who_leads_is_unknown(self) -> None:
        self.check("etcd shuts out 10.0.1.2, and does not say who leads (Error: context deadline exceeded)",
                   access=("admit 2379 10.0.1.1\nadmit 2379 10.0.1.2\n", "admit 2379 10.0.1.1\n"), get=DOWN)

    def test_nobody_leads(self) -> None:
        self.check("", access=("admit 2379 10.0.1.1\n", "admit 2379 10.0.1.2\n"), get=(0, {}))

    def test_strange_member(self) -> None:
        self.check("", access=("admit 2379 10.0.1.1\n", "admit 2379 10.0.1.2\n"), get=(0, keys(leader="pg-1", members__pg_1="{")))

    def test_booting(self) -> None:
        os.environ["PGHA_BOOTING"] = "yes"
        try:
            self.check("", new=env([1, 4, 5]))
        finally:
            del os.environ["PGHA_BOOTING"]

    def test_etcd_refuses(self) -> None:
        write(os.path.join(FOLDER.name, "stage/etc/etcd/etcd.env"), env([1]))
        for line, why in (
                ('{"msg":"failed to verify flags","error":"parse error"}', "etcd does not take its settings: parse error"),
                ('{"msg":"unrecognized environment variable","environment-variable":"ETCD_NONSENSE=1"}', "etcd knows no ETCD_NONSENSE"),
                ("", "etcd does not take its settings: it gives no reason")):
            FAKES.answer({"etcd": (1, line)})
            with self.assertRaisesRegex(etcd_refresh.Refused, "^" + why + "$"):
                etcd_refresh.judge(os.path.join(FOLDER.name, "stage/etc/etcd/etcd.env"), USER)

    @unittest.skipUnless(REAL, "this host has no etcd")
    def test_real_etcd(self) -> None:
        path = os.environ["PATH"]
        os.environ["PATH"] = os.path.dirname(REAL or "")
        try:
            for line, why in (
                    ("ETCD_ELECTION_TIMEOUT=1000", ""), ("ETCD_ELECTION_TIMEOUT=abc", "parse error"),
                    ("ETCD_ELECTION_TIMEOUT=100", "should be at least as 5 times"), ("ETCD_NONSENSE=1", "knows no ETCD_NONSENSE")):
                write(os.path.join(FOLDER.name, "one.env"), env([1], line))
                try:
                    etcd_refresh.judge(os.path.join(FOLDER.name, "one.env"), USER)
                    self.assertEqual(why, "", line)
                except etcd_refresh.Refused as error:
                    self.assertTrue(why and why in str(error), f"{line}: {error}")
        finally:
            os.environ["PATH"] = path


class Apply(unittest.TestCase):
    """What takes effect, and how."""

    def apply(self, status: int, line: str, started: str | None = None, recorded: str = env([1, 2, 3]), new: str = env([1, 2, 3]),
              lists: list[list[int]] = [[1, 2, 3]], bad: list[int] = [], transactions: list[tuple[int, object]] = [],
              **changes: tuple[int, object]) -> None:
        write(os.path.join(step.RUN, "identity.env"), "NODE_NAME=etcd-1\n")
        write(etcd.ENV, new)
        if started is not None:
            write(etcd_refresh.STARTED, started)
        elif os.path.exists(etcd_refresh.STARTED):
            os.unlink(etcd_refresh.STARTED)
        write(etcd_refresh.RECORD, recorded)
        FAKES.answer({
            "systemctl": (0, ""), "etcdctl lease grant": (0, {"ID": 7}), "etcdctl lease revoke": (0, {}), "etcdctl txn": (0, {"succeeded": True}),
            "etcdctl member remove": (0, {}), "etcdctl endpoint health": (1 if bad else 0, health([n for n in lists[0] if n not in bad], bad)),
        } | {"etcdctl " + key.replace("_", " "): value for key, value in changes.items()},
            {"etcdctl member list": [(0, {"members": [member(n) for n in numbers]}) for numbers in lists]}
            | ({"etcdctl txn": transactions} if transactions else {}))
        out = io.StringIO()
        sys.argv = ["etcd_refresh.py", "apply"]
        with contextlib.redirect_stdout(out):
            got = etcd_refresh.main()
        *said, last = out.getvalue().splitlines()
        self.assertRegex(last, "^" + line + "$")
        self.assertEqual([text.partition(" etcd-1 ")[2] for text in said],
                         [f"etcd-members ok removed member etcd-{int(number, 16) - 0x8211f1d0f64f3269}, which is not in the spec any more"
                          for number in self.removed()])
        self.assertEqual(got, status)

    def removed(self) -> list[str]:
        """The ids of those that were removed."""
        return [call.split()[-1] for call in FAKES.calls() if call.startswith("etcdctl member remove")]

    def test_nothing(self) -> None:
        self.apply(0, "etcd goes on as it is", started=env([1, 2, 3]))
        self.assertEqual(FAKES.calls(), [])

    def test_timer(self) -> None:
        self.apply(0, r"etcd restarted in \d+\.\d s", started=env([1, 2, 3]), new=env([1, 2, 3], "ETCD_HEARTBEAT_INTERVAL=200"))
        self.assertIn("systemctl restart etcd.service", FAKES.calls())

    def test_timer_taken_back(self) -> None:
        self.apply(0, r"etcd restarted in \d+\.\d s", started=env([1, 2, 3], "ETCD_HEARTBEAT_INTERVAL=200"))

    def test_timer_must_wait(self) -> None:
        self.apply(75, r"etcd is restarted when all members are healthy: etcd-2 is not healthy \(context deadline exceeded\)",
                   started=env([1, 2, 3]), new=env([1, 2, 3], "ETCD_HEARTBEAT_INTERVAL=200"), bad=[2])

    def test_not_started_yet(self) -> None:
        self.apply(0, "etcd goes on as it is", new=env([1, 2, 3], "ETCD_HEARTBEAT_INTERVAL=200"))

    def test_added(self) -> None:
        self.apply(0, "etcd goes on as it is", started=env([1, 2, 3]), new=env([1, 2, 3, 4, 5]))
        self.assertEqual(etcd.initial_cluster(etcd_refresh.RECORD), etcd.initial_cluster(), "later, they may leave")

    def test_five_to_three(self) -> None:
        self.apply(0, "removed member etcd-4, removed member etcd-5", recorded=env([1, 2, 3, 4, 5]),
                   lists=[[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 5], [1, 2, 3, 5], [1, 2, 3]])
        self.assertEqual(self.removed(), ["8211f1d0f64f326d", "8211f1d0f64f326e"])
        self.assertEqual(FAKES.calls().count("etcdctl endpoint health"), 2, "each time all others must be healthy")
        self.assertEqual(FAKES.calls().count("etcdctl txn"), 2, "others may have a turn in between")
        self.assertEqual(etcd.initial_cluster(etcd_refresh.RECORD), etcd.initial_cluster())

    def test_dead_one(self) -> None:
        self.apply(0, "removed member etcd-3", new=env([1, 2, 4]), lists=[[1, 2, 3], [1, 2, 3], [1, 2]], bad=[3])
        self.assertEqual(self.removed(), ["8211f1d0f64f326c"])

    def test_another_is_unhealthy(self) -> None:
        self.apply(75, r"etcd-3 leaves etcd when all others are healthy: etcd-2 is not healthy \(context deadline exceeded\)", new=env([1, 2, 4]), bad=[2])
        self.assertEqual(self.removed(), [])
        self.assertEqual(etcd.initial_cluster(etcd_refresh.RECORD), {f"etcd-{n}": f"https://10.0.0.{n}:2380" for n in (1, 2, 3)}, "it is still to be done")

    def test_another_removed_it(self) -> None:
        self.apply(0, "etcd goes on as it is", new=env([1, 2, 4]), lists=[[1, 2, 3], [1, 2]])
        self.assertEqual(self.removed(), [])

    def test_unknown_member(self) -> None:
        # It may be of a spec that has not arrived here.
        self.apply(0, "etcd goes on as it is", lists=[[1, 2, 3, 9]])
        self.assertEqual(self.removed(), [])

    def test_too_many(self) -> None:
        self.apply(75, "etcd-2 and etcd-3 would leave at once.*", new=env([1, 4, 5]))
        self.assertEqual(self.removed(), [])

    def test_no_quorum(self) -> None:
        self.apply(75, "members leave etcd when its cluster answers: Error: context deadline exceeded", new=env([1, 2, 4]), lease_grant=DOWN)

    def test_locked_in_between(self) -> None:
        # What is done by then is said all the same.
        won, lost = (0, {"succeeded": True}), (0, {"responses": [{"Response": {"response_range": {"kvs": [{"value": "ZXRjZC0y"}]}}}]})
        self.apply(75, "members leave etcd when etcd-2 is done", recorded=env([1, 2, 3, 4, 5]),
                   lists=[[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 5]], transactions=[won, lost])
        self.assertEqual(self.removed(), ["8211f1d0f64f326d"])

    def test_locked(self) -> None:
        lost = {"responses": [{"Response": {"response_range": {"kvs": [{"value": "ZXRjZC0y"}]}}}]}
        self.apply(75, "members leave etcd when etcd-2 is done", new=env([1, 2, 4]), txn=(0, lost))


if __name__ == "__main__":
    unittest.main()
