"""Tests of old_sessions.py: what it reads of HAProxy's answers, and what it orders."""

import unittest

import old_sessions
import servers_state

PROCESSES = """#<PID>          <type>          <reloads>       <uptime>        <version>
233             master          3 [failed: 0]   0d00h06m28s     3.2.26-1
# workers
765             worker          0               0d00h01m00s     3.2.26-1
# old workers
543             worker          1               0d00h02m00s     3.2.26-1
253             worker          2               0d00h06m00s     3.2.26-1
# programs

"""
STATE = ("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state\n"
         "3 primary 1 demo-pg-1 10.0.0.1 0 0\n3 primary 2 demo-pg-2 10.0.0.2 2 0\n3 primary 3 demo-pg-3 10.0.0.3 3 0\n"
         "4 replicas 2 demo-pg-2 10.0.0.2 0 0\n\n")


class OldSessionsTest(unittest.TestCase):
    """A node that answers and does not lead ends its sessions itself."""

    def test_old(self) -> None:
        self.assertEqual(old_sessions.old(PROCESSES), ["543", "253"])
        self.assertEqual(old_sessions.old(PROCESSES.replace("543 ", "# ").partition("# old")[0]), [])
        self.assertEqual(old_sessions.old(""), [])

    def test_down(self) -> None:
        self.assertEqual(old_sessions.down(STATE), ["demo-pg-1"])

    def test_look(self) -> None:
        for processes, want in ((PROCESSES, ["@!543 shutdown sessions server primary/demo-pg-1", "@!253 shutdown sessions server primary/demo-pg-1"]),
                                (PROCESSES.partition("# old")[0], [])):
            asked: list[str] = []

            def ask(path: str, command: str) -> str:
                if command in ("show proc", "show servers state"):
                    return processes if command == "show proc" else STATE
                self.assertEqual(path, old_sessions.MASTER)
                asked.append(command)
                return "\n"

            self.addCleanup(setattr, servers_state, "ask", servers_state.ask)
            servers_state.ask = ask
            old_sessions.look()
            self.assertEqual(asked, want)


if __name__ == "__main__":
    unittest.main()
