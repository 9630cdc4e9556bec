"""Tests of userdata.py: what is user-data, and how a change of it takes effect."""

import base64
import os
import tempfile
import unittest

import userdata
from userdata import Refused, Rule

HEAD = "#cloud-config\nusers: []\ndisable_root: true\nssh_pwauth: false\nallow_public_ssh_keys: false\n"


def document(*files: str, head: str = HEAD) -> bytes:
    """User-data with these items of write_files."""
    return (head + ("write_files:\n" + "".join(files) if files else "")).encode()


def item(path: str, more: str = '    content: "x"\n', mode: str = "0644") -> str:
    """An item of write_files."""
    return f'  - path: "{path}"\n    permissions: "{mode}"\n{more}'


class ReadTest(unittest.TestCase):
    """What cloudinit.UserData writes is read; nothing else is."""

    def test_files(self) -> None:
        encoded = base64.b64encode(b"\x00$\xff").decode()
        got = userdata.read(document(
            item("/etc/a", "    content: |\n      A=1\n      B=2\n"),
            item("/etc/b", f'    encoding: b64\n    content: "{encoded}"\n'),
            item("/etc/c", '    content: ""\n')))
        self.assertEqual(got, {"/etc/a": b"A=1\nB=2\n", "/etc/b": b"\x00$\xff", "/etc/c": b""})

    def test_none(self) -> None:
        self.assertEqual(userdata.read(document()), {})

    def test_refused(self) -> None:
        for name, text, want in (
            ("empty", b"", "first line is not #cloud-config"),
            ("a script", b"#!/bin/sh\nreboot\n", "first line is not #cloud-config"),
            ("no YAML", b"#cloud-config\na: [\n", "no YAML"),
            ("not UTF-8", b"#cloud-config\na: \xff\n", "no YAML"),
            ("a list", b"#cloud-config\n- a\n", "no mapping"),
            ("nothing", b"#cloud-config\n", "no mapping"),
            ("a Python object", b"#cloud-config\na: !!python/object/apply:os.system [reboot]\n", "no YAML"),
            ("a command", document(head=HEAD + "runcmd: [reboot]\n"), "key runcmd"),
            ("a user", document(head=HEAD.replace("users: []", "users: [default]")), "key users"),
            ("root may log in", document(head=HEAD.replace("disable_root: true", "disable_root: false")), "key disable_root"),
            ("a setting less", document(head=HEAD.replace("ssh_pwauth: false\n", "")), "key ssh_pwauth"),
            ("files are no list", document(head=HEAD + "write_files: {}\n"), "no list"),
            ("no file", document("  - x\n"), "no file"),
            ("a number for a path", document('  - path: 1\n    permissions: "0644"\n'), "no file"),
            ("another mode", document(item("/etc/a", mode="4755")), "/etc/a is not as"),
            ("an owner", document(item("/etc/a", "    owner: x\n")), "/etc/a is not as"),
            ("appended", document(item("/etc/a", '    append: "true"\n')), "/etc/a is not as"),
            ("another encoding", document(item("/etc/a", '    encoding: gzip\n    content: ""\n')), "/etc/a is not as"),
            ("no base64", document(item("/etc/a", '    encoding: b64\n    content: "!"\n')), "/etc/a is no base64"),
            ("relative", document(item("etc/a")), "is not the path"),
            ("upwards", document(item("/etc/../a")), "is not the path"),
            ("two slashes", document(item("//etc/a")), "is not the path"),
            ("a blank", document(item("/etc/a b")), "is not the path"),
            ("a line break", document(item("/etc/a\\nb")), "is not the path"),
            ("twice", document(item("/etc/a"), item("/etc/a")), "/etc/a twice"),
        ):
            with self.subTest(name), self.assertRaises(Refused) as caught:
                userdata.read(text)
            self.assertIn(want, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))


RULES = [
    Rule("/etc/pgha/cluster.env", "PGHA_TOKEN", "refused", "it is for another cluster"),
    Rule("/etc/pgha/cluster.env", "PGHA_NODES", "reload", ""),
    Rule("/etc/x/config.yml", "a.b", "machine", ""),
    Rule("/etc/x/config.yml", "a.*.d", "boot", ""),
    Rule("/etc/x/config.yml", "", "reload", ""),
    Rule("/etc/x/nodes/*.yml", "", "reload", ""),
    Rule("/etc/x/x.cfg", "", "reload", ""),
]


class ChangesTest(unittest.TestCase):
    """What differs, and the rule for it."""

    def effects(self, path: str, old: bytes | None, new: bytes | None) -> list[tuple[str, str]]:
        """Key and effect of each change."""
        def files(data: bytes | None) -> userdata.Files:
            return {} if data is None else {path: data}
        return [(c.key, c.rule.effect) for c in userdata.changes(files(old), files(new), RULES)]

    def test_changes(self) -> None:
        config = "/etc/x/config.yml"
        for name, path, old, new, want in (
            ("same", config, b"a: 1\n", b"a: 1\n", []),
            ("variable", "/etc/pgha/cluster.env", b"PGHA_TOKEN=a\nPGHA_NODES=x\n", b"PGHA_TOKEN=b\nPGHA_NODES=x\n", [("PGHA_TOKEN", "refused")]),
            ("two variables", "/etc/pgha/cluster.env", b"PGHA_TOKEN=a\n", b"PGHA_NODES=x\n", [("PGHA_NODES", "reload"), ("PGHA_TOKEN", "refused")]),
            ("key below a key", config, b"a: {b: {c: 1}}\n", b"a: {b: {c: 2}}\n", [("a.b.c", "machine")]),
            ("any key", config, b"a: {x: {d: 1}}\n", b"a: {x: {d: 2}}\n", [("a.x.d", "boot")]),
            ("another key", config, b"z: [1]\n", b"z: [2]\n", [("z", "reload")]),
            ("key gone", config, b"a: {b: 1}\nz: 1\n", b"z: 1\n", [("a.b", "machine")]),
            ("key with no prefix in common", config, b"ab: 1\n", b"ab: 2\n", [("ab", "reload")]),
            ("comment alone", config, b"z: 1\n", b"# x\nz: 1\n", [("", "reload")]),
            ("file comes", "/etc/x/nodes/n.yml", None, b"t: 1\n", [("t", "reload")]),
            ("file goes", "/etc/x/nodes/n.yml", b"t: 1\n", None, [("t", "reload")]),
            ("text", "/etc/x/x.cfg", b"a", b"b", [("", "reload")]),
            ("text comes", "/etc/x/x.cfg", None, b"b", [("", "reload")]),
        ):
            with self.subTest(name):
                self.assertEqual(self.effects(path, old, new), want)

    def test_unknown(self) -> None:
        for name, path, data, want in (
            ("file", "/etc/shadow", b"x", ""),
            ("folder of the pattern", "/etc/x/nodes/a/b.yml", b"t: 1", "t"),
            ("variable", "/etc/pgha/cluster.env", b"PGHA_NEW=1", "PGHA_NEW"),
        ):
            with self.subTest(name):
                self.assertEqual(self.effects(path, None, data), [(want, userdata.UNKNOWN)])

    def test_cannot_be_read(self) -> None:
        with self.assertRaisesRegex(Refused, "config.yml cannot be read"):
            self.effects("/etc/x/config.yml", None, b"a: [")


class RulesTest(unittest.TestCase):
    """The lists."""

    def read(self, text: str) -> list[Rule]:
        """The rules of a list."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.list")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return userdata.read_rules(path)

    def test_read(self) -> None:
        self.assertEqual(
            self.read("# comment\n\n/etc/a#K reload what happens\n/etc/b machine\n"),
            [Rule("/etc/a", "K", "reload", "what happens"), Rule("/etc/b", "", "machine", "")])

    def test_refused(self) -> None:
        for line in ("/etc/a", "/etc/a soon"):
            with self.subTest(line), self.assertRaises(ValueError):
                self.read(line + "\n")


if __name__ == "__main__":
    unittest.main()
