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

SESSIONS = """0x7f74e6ec7c00: proto=tcpv4 src=127.0.0.1:38918 fe=clients be=primary srv=demo-pg-1 ts=00
0x7f74e6ec7d00: proto=tcpv4 src=127.0.0.1:38919 fe=clients be=primary srv=demo-pg-1 ts=00
0x7f74e6ec7e00: proto=tcpv4 src=127.0.0.1:38920 fe=clients be=replicas srv=demo-pg-1 ts=00
0x7f74e6ec7f00: proto=tcpv4 src=127.0.0.1:38921 fe=clients be=primary srv=demo-pg-10 ts=00
0x7f74e6ec7800: proto=sockpair src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=404

"""


class OldSessionsTest(unittest.TestCase):
    """A node that answers and does not lead ends its sessions itself."""

    def test_old(self) -> None:
        self.assertEqual(old_sessions.old(PROCESSES), ["543", "253"])
        self.assertEqual(old_sessions.old(PROCESSES.replace("543 ", "# ").partition("# old")[0]), [])
        self.assertEqual(old_sessions.old(""), [])

    def test_down(self) -> None:
        self.assertEqual(old_sessions.down(STATE), ["demo-pg-1"])

    def test_sessions(self) -> None:
        self.assertEqual(old_sessions.sessions(SESSIONS, ["demo-pg-1"]), ["0x7f74e6ec7c00", "0x7f74e6ec7d00"])
        self.assertEqual(old_sessions.sessions(SESSIONS, ["demo-pg-3"]), [])

    def test_look(self) -> None:
        for processes, state, want in (
            (PROCESSES, STATE, [f"@!{pid} shutdown session {session}" for pid in (543, 253) for session in ("0x7f74e6ec7c00", "0x7f74e6ec7d00")]),
            (PROCESSES, STATE.replace("10.0.0.1 0", "10.0.0.1 2"), []),
            (PROCESSES, STATE.replace("10.0.0.1 0 0", "10.0.0.1 2 0 1 1 8 15 2"),  # silent, and another one leads
             [f"@!{pid} shutdown session {session}" for pid in (543, 253) for session in ("0x7f74e6ec7c00", "0x7f74e6ec7d00")]),
            (PROCESSES.partition("# old")[0], STATE, []),
        ):
            asked: list[str] = []

            def ask(path: str, command: str) -> str:
                answers = {"show proc": processes, "show servers state": state, "show sess": SESSIONS}
                answer = next((text for question, text in answers.items() if command.endswith(question)), None)
                if answer is None:
                    self.assertEqual(path, old_sessions.MASTER)
                    asked.append(command)
                return answer or "\n"

            self.addCleanup(setattr, servers_state, "ask", servers_state.ask)
            servers_state.ask = ask
            old_sessions.look()
            self.assertEqual(asked, want)


if __name__ == "__main__":
    unittest.main()
