"""Tests of follow_leader.py: who is asked and when, and what HAProxy is told."""

import threading
import time
import unittest

import follow_leader
from follow_leader import Node

# HAProxy 3.2.26.
COLUMNS = ("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
           "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
           "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n")
CONFIG = """backend primary
    default-server inter 300ms port 8008 check-ssl verify required ca-file /etc/haproxy/ca.crt maxconn 290
    server p1 10.0.0.1:5432 check verifyhost p1.internal
    server p2 p2.internal:5432 check verifyhost p2.internal resolvers cloud init-addr last,libc,none
    #server p9 10.0.0.9:5432 check verifyhost p9.internal
backend replicas
    server p1 10.0.0.1:5432 check verifyhost p1.internal
"""


def row(name: str, state: int, address: str = "10.0.0.1", backend: str = "primary", result: int = 3) -> str:
    """A server's line: 3 is stopping, 2 running, 0 down; of its last check, 3 is passed, 2 failed."""
    return f"4 {backend} 1 {name} {address} {state} 0 1 1 8 15 {result} 4 6 0 0 0 - 5432 - 0 8008 - - 0\n"


class Fake:
    """A HAProxy, and nodes, that answer as the test says."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.told: list[str] = []
        self.lead: set[str] = set()
        self.variables = "\n"
        self.calls: list[str] = []
        self.slow = threading.Event()
        self.slow.set()

    def ask(self, _path: str, command: str) -> str:
        """HAProxy."""
        if command == "show servers state primary":
            return self.state
        self.told.append(command)
        if "set var" in command:
            return self.variables
        if "health up" in command:
            self.state = COLUMNS + row(command.partition("/")[2].split()[0], 2)
        return "\n"

    def leads(self, node: Node) -> bool:
        """A node."""
        self.calls.append(node.name)
        self.slow.wait(5)
        return node.name in self.lead


class WatchTest(unittest.TestCase):
    """Each look, from the state that HAProxy has."""

    def start(self, state: str) -> tuple[Fake, follow_leader.Watch]:
        """Both sides."""
        fake = Fake(COLUMNS + state)
        watch = follow_leader.Watch(fake.ask, fake.leads)
        self.addCleanup(watch.pool.shutdown)
        watch.last, self.now = 100.0, 105.0
        return fake, watch

    def settle(self, watch: follow_leader.Watch) -> None:
        """Until each node has answered."""
        for answer in list(watch.asked.values()):
            answer.result(5)

    def test_somebody_leads(self) -> None:
        fake, watch = self.start(row("p1", 2) + row("p2", 3))
        watch.look(lambda: CONFIG, self.now)
        self.settle(watch)
        self.assertEqual((fake.calls, fake.told), ([], []))

    def test_nobody_leads(self) -> None:
        """A node counts that HAProxy takes for stopping, and one that it takes for down."""
        for state in (3, 0):
            fake, watch = self.start(row("p1", state) + row("p2", state, "10.0.0.2"))
            watch.look(lambda: CONFIG, self.now)
            self.settle(watch)
            self.assertEqual((sorted(fake.calls), fake.told), (["p1", "p2"], []))
            fake.lead = {"p2"}
            watch.look(lambda: CONFIG, self.now)
            self.settle(watch)
            self.assertEqual(fake.told, ["experimental-mode on; set var proc.leader str(p2)", "set server primary/p2 health up"])
            watch.look(lambda: CONFIG, self.now)
            self.settle(watch)
            self.assertEqual(len(fake.told), 2)

    def test_leader_is_silent(self) -> None:
        """HAProxy keeps it for some checks more: another node may lead by then."""
        fake, watch = self.start(row("p1", 2, result=2) + row("p2", 3, "10.0.0.2"))
        fake.lead = {"p2"}
        watch.look(lambda: CONFIG, 200.0)
        self.settle(watch)
        self.assertEqual((sorted(fake.calls), watch.last), (["p1", "p2"], 200.0))
        self.assertEqual(fake.told, ["experimental-mode on; set var proc.leader str(p2)", "set server primary/p2 health up"])

    def test_sessions_of_a_silent_leader(self) -> None:
        """They end once another node leads, and not before."""
        for name, state, want in (
            ("nobody else leads", row("p1", 2, result=2) + row("p2", 3), []),
            ("another one leads", row("p1", 2, result=2) + row("p2", 2), ["shutdown sessions server primary/p1"]),
            ("both answer", row("p1", 2) + row("p2", 2), []),
            ("it is down: HAProxy has ended them", row("p1", 0, result=2) + row("p2", 2), []),
            ("it answers that it does not lead", row("p1", 3) + row("p2", 2), []),
        ):
            with self.subTest(name):
                fake, watch = self.start(state)
                watch.look(lambda: CONFIG, self.now)
                self.settle(watch)
                self.assertEqual(fake.told, want)

    def test_while(self) -> None:
        """Only after HAProxy knew a leader, and not for ever."""
        for last, now, asked in ((None, 105.0, 0), (100.0, 100.1, 1), (100.0, 159.9, 1), (100.0, 160.0, 0)):
            with self.subTest(last=last, now=now):
                fake, watch = self.start(row("p1", 3))
                watch.last = last
                watch.look(lambda: CONFIG, now)
                self.settle(watch)
                self.assertEqual(len(fake.calls), asked)
        fake, watch = self.start(row("p1", 2))
        watch.last = None
        watch.look(lambda: CONFIG, 200.0)
        self.assertEqual((fake.calls, watch.last), ([], 200.0))

    def test_silent_node(self) -> None:
        """It is asked once at a time, however often HAProxy is looked at."""
        fake, watch = self.start(row("p1", 3))
        fake.slow.clear()
        for _ in range(20):
            watch.look(lambda: CONFIG, self.now)
        self.assertEqual(fake.calls, ["p1"])
        fake.slow.set()
        self.settle(watch)

    def test_late_answer(self) -> None:
        """HAProxy has found another one meanwhile."""
        fake, watch = self.start(row("p1", 3))
        fake.lead = {"p1"}
        fake.slow.clear()
        watch.look(lambda: CONFIG, self.now)
        fake.state = COLUMNS + row("p1", 3) + row("p2", 2)
        fake.slow.set()
        self.settle(watch)
        self.assertEqual(fake.told, [])

    def test_no_variables(self) -> None:
        """Without the name, writers would go to the last leader."""
        fake, watch = self.start(row("p1", 3))
        fake.lead, fake.variables = {"p1"}, "Permission denied\n"
        watch.look(lambda: CONFIG, self.now)
        self.settle(watch)
        self.assertEqual(fake.told, ["experimental-mode on; set var proc.leader str(p1)"])


class NodesTest(unittest.TestCase):
    """Where the nodes are: HAProxy's addresses, the names of its configuration."""

    def test_nodes(self) -> None:
        p1 = Node("p1", "10.0.0.1", 8008, "p1.internal")
        for name, state, want in (
            ("one", row("p1", 3), [p1]),
            ("its name is not found yet", row("p1", 3, "-"), []),
            ("not in the configuration any more", row("p9", 3), []),
            ("readers' servers", row("p1", 2, backend="replicas"), []),
            ("a line that is cut", "4 primary 1\n", []),
            ("nothing", "", []),
        ):
            with self.subTest(name):
                self.assertEqual(follow_leader.nodes(COLUMNS + state, CONFIG), want)
        self.assertEqual(follow_leader.nodes("", CONFIG), [])


class LeadsTest(unittest.TestCase):
    """A node that nobody can ask does not lead."""

    def test_nobody_there(self) -> None:
        start = time.monotonic()
        self.assertFalse(follow_leader.leads(Node("p1", "127.0.0.1", 1, "p1.internal"), "/no/ca.crt"))
        self.assertLess(time.monotonic() - start, 2)


if __name__ == "__main__":
    unittest.main()
