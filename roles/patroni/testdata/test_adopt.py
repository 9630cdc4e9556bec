"""Tests of adopt.py: who goes first where etcd knows nothing of the cluster, and how far data go."""

import base64
import os
import pwd
import tempfile
import unittest
from typing import Any

import adopt
from adopt import NOTHING, Data, Known, Position, first

NODES = ["pg-1", "pg-2", "pg-3"]
OLD, MORE, LATER = Position(1, 0x5000000), Position(1, 0x6000000), Position(2, 0x5800000)


def known(whole: bool = False, running: dict[str, str] = {}, **positions: Position) -> Known:
    """What etcd says."""
    return Known(whole, {node.replace("_", "-"): position for node, position in positions.items()}, running)


class First(unittest.TestCase):
    """Who has to wait."""

    def test_etcd_knows(self) -> None:
        self.assertEqual(first("pg-1", NODES, OLD, known(whole=True), ""), "")

    def test_silent(self) -> None:
        self.assertEqual(first("pg-1", NODES, OLD, known(pg_1=OLD), ""),
                         "etcd knows nothing of the cluster, and this node has timeline 1, 0/5000000: waiting for what pg-2 and pg-3 may have "
                         "(pgha-adopt=TOKEN:NODE names the node that goes first without it)")

    def test_most_goes_first(self) -> None:
        all_ = known(pg_1=OLD, pg_2=MORE, pg_3=OLD)
        self.assertEqual(first("pg-2", NODES, MORE, all_, ""), "")
        self.assertEqual(first("pg-1", NODES, OLD, all_, ""),
                         "etcd knows nothing of the cluster, and pg-2 goes first: it has timeline 1, 0/6000000, and this node timeline 1, 0/5000000")

    def test_later_timeline(self) -> None:
        # Who was promoted had all that was acknowledged; what the old leader has beyond was not.
        all_ = known(pg_1=MORE, pg_2=LATER, pg_3=OLD)
        self.assertEqual([bool(first(node, NODES, all_.positions[node], all_, "")) for node in NODES], [True, False, True])

    def test_equal(self) -> None:
        all_ = known(pg_1=OLD, pg_2=OLD, pg_3=OLD)
        self.assertEqual([bool(first(node, NODES, OLD, all_, "")) for node in NODES], [False, True, True])

    def test_empty_disk(self) -> None:
        self.assertEqual(first("pg-1", NODES, OLD, known(pg_1=OLD, pg_2=NOTHING, running={"pg-3": "uninitialized"}), ""), "")

    def test_running_primary(self) -> None:
        self.assertEqual(first("pg-2", NODES, MORE, known(pg_1=OLD, pg_2=MORE, pg_3=OLD, running={"pg-1": "primary"}), ""),
                         "etcd knows nothing of the cluster, and pg-1, which runs as primary, goes first")

    def test_running_replica_says_nothing(self) -> None:
        self.assertIn("waiting for what pg-3 may have", first("pg-1", NODES, OLD, known(pg_2=OLD, running={"pg-3": "replica"}), ""))

    def test_chosen(self) -> None:
        self.assertEqual(first("pg-1", NODES, OLD, known(pg_1=OLD), "pg-1"), "")
        self.assertEqual(first("pg-1", NODES, MORE, known(pg_1=MORE, pg_2=OLD, pg_3=OLD), "pg-2"),
                         "etcd knows nothing of the cluster, and pg-2 goes first: pgha-adopt says so")


class Store(adopt.Etcd):
    """etcd's gateway, with a few keys."""

    def __init__(self) -> None:
        super().__init__({"scope": "demo", "namespace": "/service/", "etcd3": {"hosts": ["a:1", "b:1"], "cacert": "", "cert": "", "key": ""}})
        self.keys: dict[str, str] = {}
        self.leases: list[int] = []

    def ask_one(self, host: str, path: str, body: dict[str, Any]) -> dict[str, Any] | str:
        if host == "a:1":
            return "a:1: it is off"
        match path:
            case "kv/range":
                first_, end = (base64.b64decode(body[name]).decode() for name in ("key", "range_end"))
                return {"kvs": [{"key": encoded(key), "value": encoded(value)} for key, value in self.keys.items() if first_ <= key < end]}
            case "lease/grant":
                self.leases.append(body["TTL"])
                return {"ID": "7"}
            case "kv/put":
                assert body["lease"] == "7"
                self.keys[base64.b64decode(body["key"]).decode()] = base64.b64decode(body["value"]).decode()
                return {}
        return "what?"


def encoded(text: str) -> str:
    """As the gateway does."""
    return base64.b64encode(text.encode()).decode()


class Gateway(unittest.TestCase):
    """What is asked of etcd."""

    def test_empty(self) -> None:
        store = Store()
        store.keys = {"/service/demo2/config": "{}", "/pgha/adopt/demo2/pg-1": "1 2"}
        self.assertEqual(store.known(), known(), "another cluster says nothing of this one")

    def test_positions(self) -> None:
        store = Store()
        store.tell("pg-1", OLD, 20)
        store.keys |= {"/service/demo/members/pg-2": '{"role": "replica"}', "/service/demo/members/pg-3": "{", "/pgha/adopt/demo/pg-3": "x"}
        self.assertEqual(store.known(), known(pg_1=OLD, running={"pg-2": "replica"}))
        self.assertEqual(store.leases, [20], "what a node said ends with it")

    def test_whole(self) -> None:
        for key in ("leader", "config"):
            store = Store()
            store.keys = {f"/service/demo/{key}": "x"}
            self.assertTrue(store.known().whole)

    def test_only_initialize(self) -> None:
        # Patroni writes it before anybody leads.
        store = Store()
        store.keys = {"/service/demo/initialize": "7"}
        self.assertFalse(store.known().whole)

    def test_silence(self) -> None:
        store = Store()
        store.hosts = ["a:1"]
        with self.assertRaisesRegex(ConnectionError, "^a:1: it is off$"):
            store.known()


CONTROL = """Latest checkpoint's REDO location:    0/3000060
Latest checkpoint's TimeLineID:       1
Bytes per WAL segment:                16777216
"""


class Positions(unittest.TestCase):
    """How far data go."""

    def position(self, complaint: str, *segments: str, control: str = CONTROL) -> Position:
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, "data/pg_wal"))
            for name in segments:
                with open(os.path.join(folder, "data/pg_wal", name), "w", encoding="ascii"):
                    pass
            for program, script in (("pg_controldata", f"cat <<'END'\n{control}END\n"),
                                    ("pg_waldump", f"echo \"$*\" >{folder}/asked\ncat >&2 <<'END'\npg_waldump: error: {complaint}\nEND\nexit 1\n")):
                path = os.path.join(folder, program)
                with open(path, "w", encoding="ascii") as file:
                    file.write("#!/bin/sh\n" + script)
                os.chmod(path, 0o755)
            found = Data(os.path.join(folder, "data"), folder, pwd.getpwuid(os.getuid()).pw_name).position()
            with open(os.path.join(folder, "asked"), encoding="ascii") as file:
                self.asked = file.read().split("pg_wal ")[1].strip()
            return found

    def test_end(self) -> None:
        self.assertEqual(self.position("error in WAL record at 0/3000148: invalid record length at 0/3000180: expected at least 24, got 0",
                                       "000000010000000000000003", "000000010000000000000004"), Position(1, 0x3000180))
        self.assertEqual(self.asked, "--timeline 1 --start 0/3000060")

    def test_end_of_segment(self) -> None:
        self.assertEqual(self.position('could not find file "000000010000000200000004": No such file or directory', "000000010000000000000003"),
                         Position(1, 0x204000000))
        self.assertEqual(self.position("error in WAL record at 0/3FFFF28: invalid magic number 0000 in WAL segment 000000010000000000000004, "
                                       "LSN 0/4000000, offset 0", "000000010000000000000003"), Position(1, 0x4000000))

    def test_newer_timeline(self) -> None:
        self.assertEqual(self.position("error in WAL record at 0/50001A8: invalid record length at 0/50001E0: wanted 24, got 0",
                                       "000000010000000000000004", "000000020000000000000005", "000000020000000000000006", "00000002.history"),
                         Position(2, 0x50001E0))
        self.assertEqual(self.asked, "--timeline 2 000000020000000000000005")

    def test_nothing_found(self) -> None:
        self.assertEqual(self.position("something new", "000000010000000000000003"), Position(1, 0x3000060))

    def test_damaged(self) -> None:
        with self.assertRaisesRegex(ValueError, "pg_controldata reads nothing from"):
            self.position("", control="nothing\n")


if __name__ == "__main__":
    unittest.main()
