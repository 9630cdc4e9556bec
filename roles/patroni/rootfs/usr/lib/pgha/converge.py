#!/usr/bin/python3 -sE
"""While this node leads: the cluster is what the spec says.

Patroni's dynamic configuration, in etcd, becomes what bootstrap.yml says; databases,
users and their passwords become what databases.json and the secrets say. That is
looked at when a file changed, when this node begins to lead, and every minute. With
the argument "bootstrap" and a connection, the databases and users are made at once,
and a failure is the exit status: Patroni undoes the bootstrap then.
"""

import glob
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

import check_parameters
import databases
import dynamic
import order
import step
from patroni_api import Patroni, this_node

ETC = os.environ.get("PGHA_PATRONI_ETC", "/etc/patroni")
SOCKETS = "/var/run/postgresql"

ASK = 3  # seconds between two questions whether this node leads
SOON = 2  # seconds until what failed is tried again; it may have been on its way
AGAIN = 5  # the same, once it is said; then twice as long
MINUTE = 60

Say = Callable[[str, str, str], None]
Missed = dict[str, str]  # why the user-data or the secrets of this node must not decide


class Result(NamedTuple):
    """What one part did, and found."""

    changed: list[str]
    stays: list[str]  # what is so without anything to do about it
    problems: list[str]


class Files:
    """What the spec says and the secrets are, as files."""

    def __init__(self, etc: str, secrets: str) -> None:
        self.etc, self.secrets = etc, secrets

    def state(self) -> tuple[tuple[str, int, int], ...]:
        """Another one when a file is another one."""
        found = []
        for path in [*glob.glob(os.path.join(self.etc, "*")), *glob.glob(os.path.join(self.secrets, "*")), *map(step.had_file, order.KINDS)]:
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((path, status.st_ino, status.st_mtime_ns))
        return tuple(sorted(found))

    def configuration(self) -> dict[str, Any]:
        """The dynamic configuration that the spec wants."""
        with open(os.path.join(self.etc, "bootstrap.yml"), encoding="utf-8") as file:
            text = yaml.safe_load(file)
        found = text["bootstrap"]["dcs"]
        if not isinstance(found, dict):
            raise ValueError("bootstrap.dcs is no mapping")
        return found

    def databases(self) -> dict[str, Any]:
        """The databases and users that the spec wants."""
        with open(os.path.join(self.etc, "databases.json"), encoding="utf-8") as file:
            found = json.load(file)
        if not isinstance(found, dict) or not {"users", "databases"} <= found.keys():
            raise ValueError("it has no users and databases")
        return found


class Converge:
    """What is to be done, and when."""

    def __init__(
            self, missed: Callable[[bool], Missed], parts: list[Callable[[Missed], Result]], leads: Callable[[], bool | None],
            promoted: Callable[[], bool], state: Callable[[], object], say: Say) -> None:
        self.missed, self.parts, self.leads, self.promoted, self.state, self.say = missed, parts, leads, promoted, state, say
        self.leading: bool | None = None
        self.seen: object = None
        self.ask_at = self.run_at = 0.0
        self.pause = SOON
        self.said: object = None

    def look(self, now: float) -> None:
        """Twice a second."""
        state = self.state()
        changed = state != self.seen
        if not changed and now < self.ask_at and not (self.leading and now >= self.run_at):
            return
        self.ask_at = now + ASK
        leads = self.leads()
        to_do = leads and (changed or not self.leading or now >= self.run_at)
        if leads is None or to_do and not self.promoted():
            return  # and a file that changed is still to be looked at
        began, ended, self.leading, self.seen = leads and not self.leading, self.leading and not leads, leads, state
        if not leads:
            if changed or ended or now >= self.run_at:
                self.run_at = now + (ASK if self.missed(False) else MINUTE)
            self.tell("ok", "this node does not lead: the one that does sees to it")
        elif changed or began or now >= self.run_at:
            if changed or began:
                self.pause = SOON
            self.run(now)

    def run(self, now: float) -> None:
        """All parts, as far as this node has missed nothing; one that fails does not stop another."""
        missed = self.missed(True)
        results = [Result([], [], list(dict.fromkeys(missed.values()))), *(part(missed) for part in self.parts)]
        changed = [text for result in results for text in result.changed]
        stays = [text for result in results for text in result.stays]
        problems = [text for result in results for text in result.problems]
        if changed or not problems:
            # A change stays the last line, until there is something else to say.
            self.tell("ok", "; ".join([*(changed or ["all is as the spec says"]), *stays]), topic=stays, again=bool(changed))
        # What a change leads to, such as a restart to wait for, is there a little later.
        self.run_at = now + (AGAIN if changed else MINUTE)
        if not problems:
            self.pause = SOON
            return
        self.run_at = now + self.pause
        if self.pause == SOON:
            self.pause = AGAIN
            return
        self.pause = min(2 * self.pause, MINUTE)
        rest = "all else is as the spec says"
        if missed:
            rest = "nothing is changed" if "secrets" in missed else "nothing but passwords is changed"
        self.tell("fail", f"{'; '.join(problems)}; {rest}, and this is tried again")

    def tell(self, status: str, detail: str, topic: object = None, again: bool = False) -> None:
        """What is about the same as before is not said again."""
        said = (status, detail if topic is None else topic)
        if again or said != self.said:
            self.said = said
            self.say("converge", status, detail)


def met(kind: str) -> order.Met | None:
    """What this machine knows of the others. None: it never had what is newest, or does not know."""
    try:
        with open(step.had_file(kind) + ".met", encoding="ascii") as file:
            found = json.load(file)
        return order.Met([str(word) for word in found["own"]], [str(word) for word in found["known"]])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def meet(kind: str, now: order.Met) -> None:
    """Keeps that; if it cannot, the next look back does."""
    try:
        step.write(step.had_file(kind) + ".met", json.dumps(now._asdict()) + "\n")
    except OSError:
        pass


def look_back(patroni: Patroni, leads: bool) -> Missed:
    """What this node missed. Of a leader that missed nothing, etcd knows now what it has."""
    try:
        found = patroni.get("/config").get(order.KEY)
        texts = found if isinstance(found, dict) else {}
        known = {kind: str(texts.get(kind, "")).split() for kind in order.KINDS}
        own = {kind: step.had(kind) for kind in order.KINDS}
        had = {kind: order.lived(words, met(kind)) for kind, words in own.items()}
        missed = {
            kind: f"this node has the {kind} {had[kind][-1]}, and {word} came after it ({order.KINDS[kind]})"
            for kind, words in known.items() if (word := order.newer(words, had[kind]))}
        if leads:
            fresh = {kind: words if kind in missed else order.follow(words, had[kind]) for kind, words in known.items()}
            if fresh != known:
                patroni.configure({order.KEY: {kind: " ".join(words) for kind, words in fresh.items()}})
                known = fresh
        for kind, words in known.items():
            if words and words[-1:] == own[kind][-1:] and words != had[kind]:
                meet(kind, order.Met(own[kind], words))
        return missed
    except ValueError as error:
        return dict.fromkeys(order.KINDS, f"dynamic configuration: {error}")


def configure(patroni: Patroni, files: Files, refused: Callable[[dict[str, Any]], list[str]], missed: Missed) -> Result:
    """Patroni's dynamic configuration."""
    if missed:
        return Result([], [], [])
    try:
        try:
            want = files.configuration()
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            return Result([], [], [f"bootstrap.yml cannot be read: {error}"])
        merged = dynamic.merge(want, patroni.get("/config"))
        if merged.patch:
            if wrong := refused(want):
                return Result([], [], wrong)
            patroni.configure(merged.patch)
        return Result(merged.changed, stays(merged.kept, patroni.get("/cluster")), [])
    except ValueError as error:
        return Result([], [], [f"dynamic configuration: {error}"])


def stays(kept: list[str], cluster: dict[str, Any]) -> list[str]:
    """What an operator should know."""
    found = []
    if kept:
        found.append("kept, though the spec does not have it: " + ", ".join(kept))
    waits = {member["name"]: sorted(member.get("pending_restart_reason") or {}) for member in cluster.get("members", []) if member.get("pending_restart")}
    if waits:
        names = sorted({name for reason in waits.values() for name in reason})
        found.append(f"waits for a restart of PostgreSQL: {', '.join(names) or 'a parameter'} on {', '.join(sorted(waits))}")
    if cluster.get("pause"):
        found.append("Patroni is paused")
    return found


def refused(want: dict[str, Any]) -> list[str]:
    """What Patroni or PostgreSQL would not take as it is. Patroni itself takes anything.

    It replaces a parameter that it does not like by its own default, and with a value that
    PostgreSQL does not like, no server starts any more.
    """
    mask = os.umask(0o022)
    from patroni.postgresql.config import ConfigHandler  # pylint: disable=import-outside-toplevel

    os.umask(mask)  # Patroni sets its own (file_perm.py)
    wrong = []
    parameters = (want.get("postgresql") or {}).get("parameters") or {}
    for name, value in parameters.items():
        default, valid = ConfigHandler.CMDLINE_OPTIONS.get(name, (None, lambda _: True))[:2]
        if not valid(value):
            wrong.append(f"postgresql.parameters.{name}: Patroni refuses {value}, and would take {default}")
    timers = [want.get(name, usual) for name, usual in (("ttl", 30), ("loop_wait", 10), ("retry_timeout", 10))]
    if not all(isinstance(value, int) for value in timers):
        wrong.append("ttl, loop_wait or retry_timeout is no whole number")
    else:
        ttl, loop_wait, retry_timeout = timers
        if ttl < 20 or loop_wait < 1 or retry_timeout < 3 or loop_wait + 2 * retry_timeout > ttl:
            wrong.append(f"Patroni refuses ttl {ttl}, loop_wait {loop_wait}, retry_timeout {retry_timeout}"
                         " (want 20, 1 and 3 at least, and loop_wait + 2*retry_timeout <= ttl)")
    if not wrong and (why := check_parameters.refused(parameters, databases.SUPERUSER)):
        wrong.append(f"PostgreSQL refuses a parameter: {why}")
    return wrong


def settle(server: databases.Server, files: Files, services: list[str], missed: Missed) -> Result:
    """Databases and users. All nodes use new passwords as soon as they have them, so those do not wait for user-data."""
    if "secrets" in missed:
        return Result([], [], [])
    try:
        want = None if missed else files.databases()
    except (OSError, ValueError) as error:
        return Result([], [], [f"databases.json cannot be read: {error}"])
    try:
        changed, problems = databases.converge(server, want, databases.password_of, services)
    except (KeyError, TypeError, AttributeError) as error:
        return Result([], [], [f"databases.json is not in its form: {error!r}"])
    return Result(changed, [], problems)


def bootstrap(connection: str) -> int:
    """Called by Patroni as postgres, before it makes its own users."""
    result = settle(databases.Server(connection), Files(ETC, databases.SECRETS), [], {})
    for problem in result.problems:
        print(f"bootstrap: {problem}", file=sys.stderr)
    return 1 if result.problems else 0


def main() -> int:
    """Works until it is stopped."""
    if sys.argv[1:2] == ["bootstrap"]:
        return bootstrap(sys.argv[2])
    cluster = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_")
    patroni, files = this_node(), Files(ETC, databases.SECRETS)
    server = databases.Server(f"host={SOCKETS} port={cluster['PGHA_POSTGRESQL_PORT']} user={databases.SUPERUSER}")
    work = Converge(
        lambda leads: look_back(patroni, leads),
        [lambda missed: settle(server, files, list(databases.SERVICES), missed), lambda missed: configure(patroni, files, refused, missed)],
        patroni.leads, server.promoted, files.state, step.Console(patroni.name).say)
    while True:
        work.look(time.monotonic())
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
