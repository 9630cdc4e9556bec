#!/usr/bin/python3 -sE
"""Takes over changed user-data from metadata, whole or not at all.

    refresh.py boot     before the other steps: a machine boots with what metadata
                        has now, or with what it had
    refresh.py follow   while the machine runs: waits for a change, and takes it over

What is in force is /var/lib/pgha/user-data, and the files that it writes. New
user-data is checked first: it must be of this cluster and role, change nothing that
only a new machine can have, and each file must be good for the program that reads
it. Then the files are written, and the role's refresh-apply.sh makes the service use
them. What is refused is looked at again: it may become right, as when another node
leads.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import step
import userdata
from metadata import LONG_POLL, METADATA, Metadata
from userdata import Files, Refused

ROOT = os.environ.get("PGHA_ROOT", "/")
STAGE = os.path.join(step.RUN, "stage")
IN_FORCE = os.path.join(step.STATE, "user-data")
PENDING = os.path.join(step.STATE, "pending")
BROKEN = os.path.join(step.STATE, "broken")  # the digest of user-data that did not take effect, and why

AGAIN = 3  # seconds until what has to wait is tried again
HOUR = 3600
NOT_YET = 75  # sysexits.h: EX_TEMPFAIL

Say = Callable[[str, str, str], None]


class Machine:
    """The files of this machine, and the programs that judge and use them."""

    def __init__(self, node: str, booting: bool, say: Say) -> None:
        self.node, self.booting, self.say = node, booting, say
        self.rules = userdata.read_rules(*userdata.LISTS)

    def in_force(self) -> bytes:
        """The user-data in force; empty: nobody knows yet, as at the first boot."""
        try:
            with open(IN_FORCE, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def present(self, *more: Files) -> Files:
        """The files as they are, of all that user-data wrote or would write."""
        text = self.in_force()
        found: Files = {}
        for path in {path for files in (userdata.read(text) if text else {}, *more) for path in files}:
            try:
                with open(place(path), "rb") as file:
                    found[path] = file.read()
            except FileNotFoundError:
                pass
        return found

    def take(self, text: bytes) -> str:
        """Takes new user-data over; gives what took effect, or nothing if nothing changed.

        Refused: it, and nothing changed. BlockingIOError: it is in force, but for what has to wait.
        """
        new = userdata.read(text)
        old = self.present(new)
        changed = userdata.changes(old, new, self.rules)
        if not changed:
            self.keep(text)
            return ""
        self.check(old, new, changed)
        self.try_once(text)
        before = self.in_force()
        self.keep(text)
        self.write(old, new)
        paths = sorted({c.path for c in changed} | set(self.pending()))
        if self.booting:
            return "at this boot: " + ", ".join(paths)
        step.write(PENDING, "\n".join(paths) + "\n")
        try:
            return self.apply(paths)
        except Refused as why:
            step.write(BROKEN, f"{step.digest(text)} {why}\n")
            self.keep(before, again=True)
            self.write(new, old)
            try:
                self.apply(paths)
            except (Refused, BlockingIOError) as error:
                self.say("refresh", "warn", f"what was in force before does not take effect again: {error}")
                remove(PENDING)
            raise

    def try_once(self, text: bytes) -> None:
        """Refuses user-data that did not take effect when it was tried."""
        try:
            with open(BROKEN, encoding="utf-8") as file:
                digest, _, why = file.read().rstrip("\n").partition(" ")
        except FileNotFoundError:
            return
        if digest == step.digest(text):
            raise Refused(why)
        remove(BROKEN)

    def check(self, old: Files, new: Files, changed: list[userdata.Change]) -> None:
        """Refuses what this machine cannot, or must not, take."""
        # What it is for comes first: the rest would follow from it.
        for effect, why in (
            ("refused", "it changes {}"),
            (userdata.UNKNOWN, "{} is nothing that this image knows (bake it again with this pgha-gen)"),
            ("machine", "it changes {}, and only a new machine can have that: replace this one"),
        ):
            for change in sorted(changed, key=lambda c: not c.path.startswith("/etc/pgha/")):
                if change.rule.effect == effect:
                    raise Refused(why.format(change))
        shutil.rmtree(STAGE, ignore_errors=True)
        for path, data in new.items():
            write(STAGE + path, data)
        self.belongs()
        self.judge([os.path.join(step.LIB, "contract.sh")], "the image does not fit")
        self.judge([os.path.join(step.LIB, "firewall.sh"), "check"], "its firewall is refused")
        role = os.path.join(step.LIB, "refresh-check.sh")
        if os.path.exists(role):
            self.judge([role, STAGE], "it is refused")

    def belongs(self) -> None:
        """Refuses user-data in which this node is not, or has another address."""
        try:
            cluster = step.read_values(os.path.join(STAGE, "etc/pgha/cluster.env"), "PGHA_")
            nodes = dict(node.partition("=")[::2] for node in cluster["PGHA_NODES"].split())
        except (OSError, ValueError, KeyError) as error:
            raise Refused(f"it has no proper /etc/pgha/cluster.env: {error}") from None
        if self.node not in nodes:
            raise Refused(f"the spec has no node {self.node} any more: what this machine does stays as it is until it is deleted")
        identity = os.path.join(step.RUN, "identity.env")
        if not self.booting and nodes[self.node] not in ("", step.read_values(identity, "NODE_")["NODE_ADDRESS"]):
            raise Refused(f"it has the address {nodes[self.node]} for {self.node}, and only a new machine can have that")

    def judge(self, command: list[str], what: str) -> None:
        """Lets a program judge the staged files: it fails, and its last line says why."""
        status, last = self.run(command, {
            "PGHA_ETC": STAGE + "/etc/pgha", "PGHA_RUN": os.path.join(STAGE, "run"), "PGHA_CONSOLE": "/dev/null",
            "NODE_NAME": self.node, "PGHA_BOOTING": "yes" if self.booting else ""})
        if status:
            raise Refused(f"{what}: {without_prefix(last)}")

    def apply(self, paths: list[str]) -> str:
        """Makes the services use the files; gives what took effect."""
        effects = []
        if "/etc/pgha/access" in paths:
            status, last = self.run([os.path.join(step.LIB, "firewall.sh"), "open"], {})
            if status:
                raise Refused(f"the firewall is not replaced: {without_prefix(last)}")
            effects.append("firewall replaced")
            if os.path.exists(os.path.join(step.RUN, "access.names")):
                self.run(["systemctl", "start", "--no-block", "pgha-names.service"], {})
        # The spec may name secrets that it did not name before.
        self.run(["systemctl", "start", "--no-block", "pgha-secrets-refresh.service"], {})
        role = os.path.join(step.LIB, "refresh-apply.sh")
        if os.path.exists(role):
            status, last = self.run([role, *paths], {})
            if status == NOT_YET:
                raise BlockingIOError(last)
            if status:
                raise Refused(f"it does not take effect: {last}")
            if last:
                effects.append(last)
        remove(PENDING)
        return ", ".join(effects) or "nothing to do"

    def run(self, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
        """Runs a program; gives its status and its last line."""
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **environment}, timeout=300, check=False)
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        return done.returncode, userdata.plain(lines[-1]) if lines else f"{command[0]} ended with status {done.returncode}"

    def keep(self, text: bytes, again: bool = False) -> None:
        """Makes this the user-data in force; again: instead of one that did not take effect."""
        if not text:
            return
        write(IN_FORCE, text)
        before = step.had("user-data")
        had = before[:-1] if again else before
        if had[-1:] != [step.digest(text)]:
            had = [*had, step.digest(text)][-step.REMEMBERED:]
        if had != before:
            os.makedirs(os.path.dirname(step.had_file("user-data")), exist_ok=True)
            step.write(step.had_file("user-data"), "\n".join(had) + "\n")

    def write(self, old: Files, new: Files) -> None:
        """Makes the machine's files the new ones."""
        for path, data in new.items():
            if old.get(path) != data:
                write(place(path), data)
        for path in old.keys() - new.keys():
            os.unlink(place(path))

    def resume(self) -> str:
        """Brings to an end what a stop of this program interrupted; gives what took effect."""
        text = self.in_force()
        if not text:
            return ""
        new = userdata.read(text)
        old = self.present()
        if old != new:
            step.write(PENDING, "\n".join(sorted(path for path in {**old, **new} if old.get(path) != new.get(path))) + "\n")
            self.write(old, new)
        paths = self.pending()
        if paths and self.booting:
            remove(PENDING)
            return ""
        return self.apply(paths) if paths else ""

    def pending(self) -> list[str]:
        """What is in place, and does not take effect yet."""
        try:
            with open(PENDING, encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []


def place(path: str) -> str:
    """Where a path of user-data is."""
    return os.path.join(ROOT, path.lstrip("/"))


def remove(path: str) -> None:
    """If it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def without_prefix(line: str) -> str:
    """A line of the boot protocol without what comes before its detail."""
    parts = line.split(" ", 5)
    return parts[5] if len(parts) == 6 and parts[0] == "pgha:" else line


def write(path: str, data: bytes) -> None:
    """Whole, or not at all, and on the disk; for everybody to read."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)


class Follower:
    """Follows the metadata for ever."""

    def __init__(self, machine: Machine, metadata: Metadata, say: Say) -> None:
        self.machine, self.metadata, self.tell = machine, metadata, say
        self.said, self.said_at = ("", ""), 0.0
        self.unfinished = True  # something may have to be brought to an end
        self.refused = False

    def say(self, status: str, detail: str, now: float) -> None:
        """The same again only after an hour."""
        if (status, detail) != self.said or now - self.said_at >= HOUR:
            self.said, self.said_at = (status, detail), now
            self.tell("refresh", status, detail)

    def turn(self, now: float) -> float:
        """Brings to an end what is not, asks, and takes over; gives how many seconds to rest."""
        try:
            if self.unfinished:
                self.finish(now)
            text = self.metadata.user_data(AGAIN if self.unfinished else 4 * AGAIN if self.refused else LONG_POLL)
            done = self.machine.take(text)
            self.refused = False
            if done:
                self.unfinished = False
            if done or not self.unfinished and self.said[0] != "ok":
                self.say("ok", f"{step.digest(text)} {done or 'is in force'}", now)
            return 0
        except ConnectionError as error:
            self.say("wait", str(error), now)
            return random.uniform(1, 5)
        except BlockingIOError as error:
            self.unfinished = True
            self.say("wait", str(error), now)
        except Refused as error:
            self.refused = True
            self.say("fail", f"new user-data is refused, and the old stays in force: {error}", now)
        except (OSError, subprocess.SubprocessError) as error:
            self.unfinished = True
            self.say("fail", f"new user-data is not taken over: {error}", now)
            return AGAIN
        return 0

    def finish(self, now: float) -> None:
        """Goes on with what was interrupted, or has to wait."""
        try:
            done = self.machine.resume()
        except BlockingIOError as error:
            self.say("wait", str(error), now)
            return
        self.unfinished = False
        if done:
            self.say("ok", f"{step.digest(self.machine.in_force())} {done}", now)


def boot(machine: Machine, metadata: Metadata, say: Say) -> None:
    """Before the other steps. What does not go is no reason not to boot with what there is."""
    try:
        machine.resume()
        for remaining in reversed(range(3)):
            try:
                text = metadata.user_data(0)
                break
            except ConnectionError:
                if not remaining:
                    raise
                time.sleep(1)
        first = not machine.in_force()
        done = machine.take(text)
        say("refresh", "ok", f"{step.digest(text)} {done or ('is in force' if first else 'is still in force')}")
    except ConnectionError as error:
        say("refresh", "wait", str(error))
    except (Refused, OSError, subprocess.SubprocessError) as error:
        say("refresh", "fail", f"new user-data is refused, and the old stays in force: {error}")


def main() -> None:
    """Boots, or follows until it is stopped."""
    booting = sys.argv[1:] == ["boot"]
    if booting:
        node = socket.gethostname().partition(".")[0]
    else:
        node = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"]
    say = step.Console(node).say
    machine, metadata = Machine(node, booting, say), Metadata(METADATA)
    if booting:
        boot(machine, metadata, say)
        return
    follower = Follower(machine, metadata, say)
    while True:
        time.sleep(follower.turn(time.monotonic()))


if __name__ == "__main__":
    main()
