"""Tests of etcd_roll.py: when a member may be restarted."""

import contextlib
import fcntl
import io
import os
import tempfile
import unittest

FOLDER = tempfile.TemporaryDirectory()
unittest.addModuleCleanup(FOLDER.cleanup)
RUN = os.path.join(FOLDER.name, "run")
os.mkdir(RUN)
os.environ["PGHA_RUN"] = RUN
os.environ["PGHA_ETCD_ENV"] = os.path.join(FOLDER.name, "etcd.env")

import etcd  # noqa: E402
import etcd_roll  # noqa: E402
from fakes import Fakes, health, member  # noqa: E402

FAKES = Fakes(FOLDER.name, "etcdctl", "systemctl")

with open(os.environ["PGHA_ETCD_ENV"], "w", encoding="ascii") as env:
    env.write("ETCD_INITIAL_CLUSTER=" + ",".join(f"etcd-{n}=https://10.0.0.{n}:2380" for n in (1, 2, 3)) + "\n")
with open(os.path.join(RUN, "identity.env"), "w", encoding="ascii") as identity:
    identity.write("NODE_NAME=etcd-1\n")

THREE = {"members": [member(1), member(2), member(3)]}
WON = {"succeeded": True, "responses": []}
LOST = {"responses": [{"Response": {"response_range": {"kvs": [{"value": "ZXRjZC0y"}]}}}]}
LEASE = {"ID": 0x2040a218e585cf05}


class Roll(unittest.TestCase):
    """When a member may be restarted."""

    def check(self, status: int, line: str, restarts: int, **changes: tuple[int, object]) -> None:
        table = {
            "systemctl is-active": (0, ""), "systemctl restart": (0, ""),
            "etcdctl lease grant": (0, LEASE), "etcdctl lease revoke": (0, {}), "etcdctl txn": (0, WON),
            "etcdctl member list": (0, THREE), "etcdctl endpoint health": (0, health([1, 2, 3])),
        }
        FAKES.answer(table | {key.replace("_", " ").replace("is active", "is-active"): value for key, value in changes.items()})
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            got = etcd_roll.main()
        self.assertRegex(out.getvalue().splitlines()[-1], line)
        self.assertEqual(got, status)
        self.assertEqual(FAKES.calls().count("systemctl restart etcd.service"), restarts)

    def test_healthy(self) -> None:
        self.check(0, r"^etcd restarted in \d+\.\d s$", 1)
        calls = FAKES.calls()
        self.assertEqual([c for c in calls if c.startswith("etcdctl lease")],
                         ["etcdctl lease grant 90", "etcdctl lease revoke 2040a218e585cf05"], "the lock ends with the restart")
        self.assertLess(calls.index("etcdctl txn"), calls.index("etcdctl endpoint health"), "what is asked before the lock may be over")
        self.assertEqual(FAKES.texts(), ['create("/pgha/roll") = "0"\n\nput --lease=2040a218e585cf05 /pgha/roll etcd-1\n\nget /pgha/roll\n\n'])

    def test_released_later(self) -> None:
        revoke = "etcdctl lease revoke 2040a218e585cf05"
        FAKES.answer({"systemctl": (0, ""), "etcdctl lease grant": (0, LEASE), "etcdctl txn": (0, WON),
                      "etcdctl member list": (0, THREE), "etcdctl endpoint health": (0, health([1, 2, 3]))},
                     {revoke: [(1, "Error: etcdserver: request timed out"), (0, {})]})
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(etcd_roll.main(), 0)
        self.assertIn("etcd restarted in", out.getvalue())
        self.assertEqual(FAKES.calls().count(revoke), 2, "the next one would have to wait until the lease has ended")

    def test_locked(self) -> None:
        self.check(75, "^etcd is restarted when etcd-2 is done with its own$", 0, etcdctl_txn=(0, LOST))
        self.assertIn("etcdctl lease revoke 2040a218e585cf05", FAKES.calls(), "nor does a lease stay behind")

    def test_unhealthy(self) -> None:
        self.check(75, r"^etcd is restarted when all members are healthy: etcd-3 is not healthy \(context deadline exceeded\)$", 0,
                   etcdctl_endpoint_health=(1, health([1, 2], [3])))
        self.assertIn("etcdctl lease revoke 2040a218e585cf05", FAKES.calls())

    def test_never_started(self) -> None:
        self.check(75, "when all members are healthy: 8211f1d0f64f326c at https://10.0.0.3:2380 has never started$", 0,
                   etcdctl_member_list=(0, {"members": [member(1), member(2), member(3, started=False)]}))

    def test_no_quorum(self) -> None:
        self.check(75, "^etcd is restarted when its cluster answers: Error: context deadline exceeded$", 0,
                   etcdctl_lease_grant=(1, "Error: context deadline exceeded"))

    def test_strange_answer(self) -> None:
        self.check(75, "etcdctl prints something else than JSON$", 0, etcdctl_member_list=(0, "hello"))

    def test_not_running(self) -> None:
        # The last restart failed: nobody is served, and the way back must be open.
        self.check(0, "^etcd, which served nobody, starts anew$", 0, systemctl_is_active=(3, ""))
        self.assertEqual(FAKES.calls(), ["systemctl is-active --quiet etcd.service", "systemctl restart --no-block etcd.service"])

    def test_does_not_start(self) -> None:
        self.check(1, "^etcd does not start: Job for etcd.service failed.$", 1, systemctl_restart=(1, "Job for etcd.service failed."))
        self.assertIn("etcdctl lease revoke 2040a218e585cf05", FAKES.calls())

    def test_twice_on_one_machine(self) -> None:
        with open(os.path.join(RUN, "etcd-roll.lock"), "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.check(75, "^etcd is just being restarted$", 0)

    def test_command_in_user_data(self) -> None:
        with open(etcd.ENV, encoding="ascii") as file:
            good = file.read()
        try:
            with open(etcd.ENV, "w", encoding="ascii") as file:
                file.write("ETCD_INITIAL_CLUSTER=$(touch hurt)\n")
            self.check(1, "is no plain NAME=value$", 0)
        finally:
            with open(etcd.ENV, "w", encoding="ascii") as file:
                file.write(good)


if __name__ == "__main__":
    unittest.main()
