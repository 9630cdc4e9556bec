"""Tests of refresh.py: user-data is taken whole or not at all, and what is in force stays."""

import os
import shutil
import tempfile
import unittest

import refresh
import step
import userdata
from userdata import Refused

LIB = os.path.dirname(os.path.abspath(refresh.__file__))
HEAD = "#cloud-config\nusers: []\ndisable_root: true\nssh_pwauth: false\nallow_public_ssh_keys: false\nwrite_files:\n"


def text(config: str = "one", nodes: str = "n-1=10.0.0.1 n-2=10.0.0.2", token: str = "demo-1", more: str = "") -> bytes:
    """User-data of a role whose only file is /etc/x/x.cfg."""
    cluster = f"PGHA_CONTRACT=2\nPGHA_ROLE=x\nPGHA_TOKEN={token}\nPGHA_NODES='{nodes}'\n"
    files = {"/etc/pgha/cluster.env": cluster, "/etc/pgha/access": "", "/etc/x/x.cfg": config}
    out = HEAD
    for path, content in files.items():
        out += f'  - path: "{path}"\n    permissions: "0644"\n    content: {content!r}\n'.replace("content: '", 'content: "').replace("'\n", '"\n') \
            if "'" not in content else f'  - path: "{path}"\n    permissions: "0644"\n    content: |\n' + "".join(f"      {line}\n" for line in content.splitlines())
    return (out + more).encode()


class Said(list[str]):
    """Collects lines."""

    def __call__(self, name: str, status: str, detail: str) -> None:
        self.append(f"{name} {status} {detail}")

    def take(self) -> list[str]:
        """What was said since."""
        taken = list(self)
        self.clear()
        return taken


class Cloud:
    """Metadata that says what the test says."""

    def __init__(self) -> None:
        self.text: bytes | None = text()
        self.waited: list[float] = []

    def user_data(self, wait: float) -> bytes:
        """As refresh.Metadata."""
        self.waited.append(wait)
        if self.text is None:
            raise ConnectionError("metadata does not answer")
        return self.text


class RefreshTest(unittest.TestCase):
    """A machine below a folder, whose programs are scripts of the test's."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        names = {
            (refresh, "ROOT"): "root", (refresh, "STAGE"): "run/stage", (refresh, "IN_FORCE"): "state/user-data",
            (refresh, "PENDING"): "state/pending", (refresh, "BROKEN"): "state/broken", (step, "RUN"): "run", (step, "LIB"): "lib", (step, "STATE"): "state",
        }
        for (module, name), place in names.items():
            self.addCleanup(setattr, module, name, getattr(module, name))
            setattr(module, name, os.path.join(self.folder, place))
        for name in ("lib", "run", "state"):
            os.mkdir(os.path.join(self.folder, name))
        shutil.copytree(os.path.join(LIB, "effects"), os.path.join(step.LIB, "effects"))
        self.put("lib/effects/role.list", "/etc/x/x.cfg reload\n/etc/x/old.cfg reload\n")
        lists = (os.path.join(step.LIB, "effects", "role.list"), os.path.join(step.LIB, "effects", "base.list"))
        self.addCleanup(setattr, userdata, "LISTS", userdata.LISTS)
        userdata.LISTS = lists
        self.put("run/identity.env", "NODE_NAME=n-1\nNODE_ADDRESS=10.0.0.1\n")
        for name in ("contract.sh", "firewall.sh", "refresh-check.sh"):
            self.program(name, "exit 0")
        self.program("refresh-apply.sh", f'echo "$*" >>"{self.folder}/applied"; echo reloaded')
        self.put("bin/systemctl", f'#!/bin/sh\necho "$*" >>"{self.folder}/asked"\n')
        os.chmod(os.path.join(self.folder, "bin/systemctl"), 0o755)
        self.addCleanup(os.environ.__setitem__, "PATH", os.environ["PATH"])
        os.environ["PATH"] = os.path.join(self.folder, "bin") + ":" + os.environ["PATH"]
        self.said, self.cloud = Said(), Cloud()
        self.start()

    def start(self) -> None:
        """As the unit does."""
        self.machine = refresh.Machine("n-1", False, self.said)
        self.follower = refresh.Follower(self.machine, self.cloud, self.said)  # type: ignore[arg-type]

    def put(self, path: str, content: str) -> None:
        """Writes a file."""
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(content)

    def program(self, name: str, lines: str) -> None:
        """Makes a program of this machine."""
        self.put("lib/" + name, "#!/bin/sh\n" + lines + "\n")
        os.chmod(os.path.join(self.folder, "lib", name), 0o755)

    def config(self) -> str:
        """The file that is in force."""
        with open(os.path.join(self.folder, "root/etc/x/x.cfg"), encoding="ascii") as file:
            return file.read()

    def applied(self) -> list[str]:
        """What refresh-apply.sh was called with, since."""
        path = os.path.join(self.folder, "applied")
        try:
            with open(path, encoding="ascii") as file:
                lines = file.read().splitlines()
            os.unlink(path)
            return lines
        except FileNotFoundError:
            return []

    def boots(self) -> None:
        """The machine has the first user-data, as cloud-init writes it, and knows it."""
        for path, data in userdata.read(text()).items():
            refresh.write(refresh.place(path), data)
        self.follower.turn(0)
        self.assertEqual(self.said.take(), [f"refresh ok {step.digest(text())} is in force"])

    def test_change(self) -> None:
        self.boots()
        self.cloud.text = text("two")
        self.follower.turn(1)
        self.assertEqual(self.said.take(), [f"refresh ok {step.digest(text('two'))} reloaded"])
        self.assertEqual((self.config(), self.applied()), ("two", ["/etc/x/x.cfg"]))
        self.assertEqual(step.had("user-data"), [step.digest(text()), step.digest(text("two"))])
        self.follower.turn(2)
        self.assertEqual((self.said.take(), self.applied()), ([], []))
        self.assertEqual(self.cloud.waited[-1], refresh.LONG_POLL)
        with open(os.path.join(self.folder, "asked"), encoding="ascii") as file:
            self.assertEqual(file.read(), "start --no-block pgha-secrets-refresh.service\n")

    def test_what_it_had(self) -> None:
        self.boots()
        configs = ["one", *(str(n) for n in range(step.REMEMBERED)), "one"]
        for now, config in enumerate(configs[1:]):
            self.cloud.text = text(config)
            self.follower.turn(now)
        self.assertEqual(step.had("user-data"), [step.digest(text(config)) for config in configs[-step.REMEMBERED:]])

    def test_file_goes(self) -> None:
        self.boots()
        self.cloud.text = text(more='  - path: "/etc/x/old.cfg"\n    permissions: "0644"\n    content: "x"\n')
        self.follower.turn(1)
        self.assertTrue(os.path.exists(refresh.place("/etc/x/old.cfg")))
        self.cloud.text = text()
        self.follower.turn(2)
        self.assertFalse(os.path.exists(refresh.place("/etc/x/old.cfg")))
        self.assertEqual(self.applied(), ["/etc/x/old.cfg", "/etc/x/old.cfg"])

    def test_firewall(self) -> None:
        self.boots()
        self.program("firewall.sh", f'echo "$*" >>"{self.folder}/applied"')
        self.cloud.text = text().replace(b"/access\"\n    permissions: \"0644\"\n    content: \"\"", b"/access\"\n    permissions: \"0644\"\n    content: \"x\"")
        self.follower.turn(1)
        self.assertEqual(self.applied(), ["check", "open", "/etc/pgha/access"])
        self.assertIn("firewall replaced", self.said.take()[0])

    def refuses(self, new: bytes, want: str) -> None:
        """New user-data is refused with this reason, once, and nothing changes."""
        self.boots()
        self.cloud.text = new
        for now in range(3):
            self.follower.turn(now)
        lines = self.said.take()
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith("refresh fail new user-data is refused, and the old stays in force: "), lines)
        self.assertIn(want, lines[0])
        self.assertEqual(self.config(), "one")
        with open(refresh.IN_FORCE, "rb") as file:
            self.assertEqual(file.read(), text())
        self.assertLess(self.cloud.waited[-1], refresh.LONG_POLL)  # it may become right
        # The next that is right is taken.
        for name in ("contract.sh", "firewall.sh", "refresh-check.sh"):
            self.program(name, "exit 0")
        self.cloud.text = text("three")
        self.follower.turn(9)
        self.assertEqual((self.config(), self.said.take()), ("three", [f"refresh ok {step.digest(text('three'))} reloaded"]))

    def test_garbage(self) -> None:
        self.refuses(b"\x00garbage", "first line is not #cloud-config")

    def test_other_cluster(self) -> None:
        self.refuses(text("two", token="other-2"), "PGHA_TOKEN of /etc/pgha/cluster.env (it is for another cluster)")

    def test_other_role(self) -> None:
        self.refuses(text("two").replace(b"PGHA_ROLE=x", b"PGHA_ROLE=y"), "it is for another role")

    def test_other_contract(self) -> None:
        self.refuses(text("two").replace(b"PGHA_CONTRACT=2", b"PGHA_CONTRACT=3"), "an image speaks one contract")

    def test_new_machine(self) -> None:
        self.refuses(text("two").replace(b"PGHA_CONTRACT=2\n", b"PGHA_CONTRACT=2\n      PGHA_DATA_MOUNT=/x\n"), "only a new machine can have that")

    def test_undeclared_file(self) -> None:
        self.refuses(text("two", more='  - path: "/etc/shadow"\n    permissions: "0644"\n    content: "x"\n'), "/etc/shadow is nothing that this image knows")

    def test_not_in_the_spec(self) -> None:
        self.refuses(text("two", nodes="n-2=10.0.0.2"), "the spec has no node n-1 any more")

    def test_other_address(self) -> None:
        self.refuses(text("two", nodes="n-1=10.0.0.9"), "it has the address 10.0.0.9 for n-1")

    def test_not_plain(self) -> None:
        self.refuses(text("two").replace(b"PGHA_NODES='n", b"PGHA_NODES='$(n"), "it has no proper /etc/pgha/cluster.env")

    def test_image(self) -> None:
        self.program("contract.sh", 'echo "pgha: 1 n-1 contract fail the image has no x"; exit 1')
        self.refuses(text("two"), "the image does not fit: the image has no x")

    def test_firewall_refused(self) -> None:
        self.program("firewall.sh", 'echo "pgha: 1 n-1 firewall fail nft does not take the rules: x"; exit 1')
        self.refuses(text("two"), "its firewall is refused: nft does not take the rules: x")

    def test_role_refuses(self) -> None:
        self.program("refresh-check.sh", f'grep -q two "$1/etc/x/x.cfg" || exit 0; echo noise; echo "x.cfg line 1: {{no}}"; exit 1')
        self.refuses(text("two"), "it is refused: x.cfg line 1: {no}")

    def test_does_not_take_effect(self) -> None:
        self.boots()
        self.program("refresh-apply.sh", f'echo "$*" >>"{self.folder}/applied"; grep -q one "{self.folder}/root/etc/x/x.cfg" && exit 0; echo broken; exit 1')
        self.cloud.text = text("two")
        self.follower.turn(1)
        self.assertEqual(self.said.take(), ["refresh fail new user-data is refused, and the old stays in force: it does not take effect: broken"])
        self.assertEqual(step.had("user-data"), [step.digest(text())])
        self.assertEqual((self.config(), self.applied()), ("one", ["/etc/x/x.cfg", "/etc/x/x.cfg"]))
        self.assertEqual(self.machine.in_force(), text())
        self.assertFalse(os.path.exists(refresh.PENDING))
        # It is not tried again and again, nor at a boot.
        self.follower.turn(2)
        refresh.boot(refresh.Machine("n-1", True, self.said), self.cloud, self.said)  # type: ignore[arg-type]
        self.assertEqual((self.applied(), self.config()), ([], "one"))
        self.assertEqual(len(self.said.take()), 1)
        self.program("refresh-apply.sh", "echo good")
        self.cloud.text = text("three")
        self.follower.turn(3)
        self.assertEqual((self.config(), os.path.exists(refresh.BROKEN)), ("three", False))

    def test_the_old_does_not_take_effect_either(self) -> None:
        self.boots()
        self.program("refresh-apply.sh", "echo broken; exit 1")
        self.cloud.text = text("two")
        self.follower.turn(1)
        self.assertEqual([line.split()[1] for line in self.said.take()], ["warn", "fail"])
        self.assertEqual(self.config(), "one")

    def test_has_to_wait(self) -> None:
        self.boots()
        self.program("refresh-apply.sh", 'echo "another member restarts"; exit 75')
        self.cloud.text = text("two")
        for now in range(3):
            self.follower.turn(now)
        self.assertEqual(self.said.take(), ["refresh wait another member restarts"])
        self.assertEqual(self.cloud.waited[-1], refresh.AGAIN)
        self.start()  # and this program is restarted meanwhile
        self.follower.turn(3)
        self.assertEqual(self.said.take(), ["refresh wait another member restarts"])
        self.program("refresh-apply.sh", f'echo "$*" >>"{self.folder}/applied"; echo restarted')
        self.follower.turn(4)
        self.assertEqual(self.said.take(), [f"refresh ok {step.digest(text('two'))} restarted"])
        self.assertEqual(self.applied(), ["/etc/x/x.cfg"])

    def test_change_while_waiting(self) -> None:
        self.boots()
        self.program("refresh-apply.sh", 'echo "another member restarts"; exit 75')
        self.cloud.text = text("two")
        self.follower.turn(1)
        self.program("refresh-apply.sh", f'echo "$*" >>"{self.folder}/applied"; grep -q one "{self.folder}/root/etc/x/x.cfg" || exit 75; echo back')
        self.cloud.text = text()
        self.follower.turn(2)
        self.assertEqual((self.config(), self.said.take()[-1]), ("one", f"refresh ok {step.digest(text())} back"))

    def test_interrupted(self) -> None:
        self.boots()
        refresh.write(refresh.IN_FORCE, text("two"))  # accepted, and then the power was cut
        self.cloud.text = None  # and metadata is away
        self.start()
        self.follower.turn(1)
        self.assertEqual((self.config(), self.applied()), ("two", ["/etc/x/x.cfg"]))
        self.assertEqual(self.said.take(), [f"refresh ok {step.digest(text('two'))} reloaded", "refresh wait metadata does not answer"])

    def test_metadata_away(self) -> None:
        self.boots()
        self.cloud.text = None
        rests = [self.follower.turn(now) for now in (1, 2, 3, 3700)]
        self.assertEqual(self.said.take(), ["refresh wait metadata does not answer"] * 2)  # again after an hour
        self.assertTrue(all(1 <= rest <= 5 for rest in rests), rests)
        self.cloud.text = text()
        self.follower.turn(3701)
        self.assertEqual(self.said.take(), [f"refresh ok {step.digest(text())} is in force"])

    def test_boot(self) -> None:
        self.boots()
        self.cloud.text = text("two")
        machine = refresh.Machine("n-1", True, self.said)
        refresh.boot(machine, self.cloud, self.said)  # type: ignore[arg-type]
        self.assertEqual(self.said.take(), [f"refresh ok {step.digest(text('two'))} at this boot: /etc/x/x.cfg"])
        self.assertEqual((self.config(), self.applied()), ("two", []))
        self.start()
        self.follower.turn(1)
        self.assertEqual((self.said.take(), self.applied()), ([f"refresh ok {step.digest(text('two'))} is in force"], []))

    def test_boot_refuses(self) -> None:
        self.boots()
        self.cloud.text = text("two", nodes="n-2=10.0.0.2")
        refresh.boot(refresh.Machine("n-1", True, self.said), self.cloud, self.said)  # type: ignore[arg-type]
        self.assertIn("the spec has no node n-1 any more", self.said.take()[0])
        self.assertEqual(self.config(), "one")

    def test_nobody_refuses_what_is_in_force(self) -> None:
        self.boots()
        self.program("refresh-check.sh", "exit 1")
        self.follower.turn(1)
        self.assertEqual(self.said.take(), [])
        with self.assertRaises(Refused):
            self.machine.take(text("two"))


if __name__ == "__main__":
    unittest.main()
