"""Databases and users: what the spec says, what it said before, and what is there.

Nothing is ever dropped, and nothing revoked that the spec did not grant.
"""

import glob
import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import scram
import step

PROGRAMS = os.environ.get("PGHA_POSTGRESQL", "/usr/lib/postgresql")

SUPERUSER = "postgres"
SERVICES = {  # the users that Patroni works with, and where their passwords are
    SUPERUSER: "PATRONI_SUPERUSER_PASSWORD",
    "replication_user": "PATRONI_REPLICATION_PASSWORD",
    "rewind_user": "PATRONI_REWIND_PASSWORD",
}
ADMINISTRATOR = "pgha_admin"
SECRETS = os.path.join(step.RUN, "secrets")

END = "pgha: end of a change"  # not a line that PostgreSQL says
PASSES = 4  # what one has made, the next one sees
LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")  # GUC_LIST_QUOTE

# They win over whatever the owner of a database has set for it. What is done here
# is done again by the next leader if this one is lost, so no replica is waited
# for; and no verifier gets into a log or a view.
OPTIONS = {
    "role": "none", "search_path": "pg_catalog,pg_temp", "client_min_messages": "warning", "lc_messages": "C",
    "default_transaction_read_only": "off", "synchronous_commit": "local",
    "statement_timeout": "60s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "60s",
    "log_statement": "none", "log_duration": "off", "log_min_duration_statement": "-1", "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0", "log_min_error_statement": "panic", "track_activities": "off",
    "pg_stat_statements.track": "none", "pgaudit.log": "none",
}

Spec = dict[str, Any]
Step = dict[str, Any]

NOTHING: Spec = {"users": [], "databases": []}


class Refused(Exception):
    """PostgreSQL does not do it, and why."""


class Change(NamedTuple):
    """Steps on one object, done together or not at all."""

    what: str
    steps: list[Step]
    said: list[str]
    database: str = SUPERUSER
    whole: bool = True  # in one transaction, which CREATE DATABASE cannot be in


class Server:
    """PostgreSQL on this node, as psql reaches it."""

    def __init__(self, connection: str) -> None:
        self.connection = connection

    def promoted(self) -> bool:
        """May it be written to? A node that just became the leader is not there yet."""
        try:
            return self.psql(SUPERUSER, "SELECT pg_is_in_recovery();").stdout.strip() == "f"
        except Refused:
            return False

    def look(self, want: Spec) -> Spec:
        """All that is there, with the extensions of the spec's databases."""
        have = json.loads(self.run("databases-look.sql"))
        if have["foreign"]:
            raise Refused("schema pgha of database postgres is not a superuser's: drop it, or give it to postgres")
        have["extensions"] = {
            database["name"]: self.run("databases-extensions.sql", database["name"]).split()
            for database in want["databases"] if database.get("extensions") and database["name"] in have["databases"]}
        return have

    def apply(self, database: str, changes: list[Change]) -> list[str]:
        """Makes changes in a database, by one session. For each: why not; empty: it is done."""
        with open(os.path.join(step.LIB, "databases-apply.sql"), encoding="utf-8") as file:
            script = file.read()
        parts = ["\\set VERBOSITY terse"]
        for change in changes:
            text = f"\\set steps {quoted(json.dumps(change.steps))}\n{script}"
            parts.append((f"BEGIN;\n{text}\nCOMMIT;" if change.whole else text) + f"\n\\warn {END}")
        said = self.psql(database, "\n".join(parts) + "\n").stderr.split(f"{END}\n")
        if len(said) != len(changes) + 1:
            raise Refused(complaint(said[-1]))
        return [complaint(part) if "ERROR:" in part else "" for part in said[:-1]]

    def run(self, file: str, database: str = SUPERUSER) -> str:
        """What a script of psql answers."""
        with open(os.path.join(step.LIB, file), encoding="utf-8") as script:
            done = self.psql(database, script.read())
        if done.returncode != 0:
            raise Refused(complaint(done.stderr))
        return done.stdout

    def psql(self, database: str, text: str, patience: float = 120) -> "subprocess.CompletedProcess[str]":
        """Runs psql. What it shall do goes by the pipe alone, where nobody else looks."""
        command = [program("psql"), "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--file=-"]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={SUPERUSER}", f"--regid={SUPERUSER}", "--init-groups", "--", *command]
        try:
            return subprocess.run(
                [*command, f"{self.connection} dbname={quoted(database)}"], input=text, capture_output=True, text=True, encoding="utf-8",
                timeout=patience, check=False, env=environment())
        except subprocess.TimeoutExpired:
            raise Refused("PostgreSQL does not answer") from None


def program(name: str) -> str:
    """One of PostgreSQL itself. Those in /usr/bin are Debian's in Perl, which take longer to find it than most answers take."""
    return max(glob.glob(os.path.join(PROGRAMS, "*", "bin", name)), default=name)


def environment(**options: str) -> dict[str, str]:
    """A psql's, with OPTIONS and others that win over them."""
    return {
        **os.environ, "PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in {**OPTIONS, **options}.items()),
        "LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8", "PGCONNECT_TIMEOUT": "5"}


def quoted(text: str) -> str:
    r"""Between the quotes of psql and of libpq; in both, a backslash keeps what follows."""
    return "'" + re.sub(r"([\\'])", r"\\\1", text) + "'"


def complaint(said: str) -> str:
    """The error, of all that psql says."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b(ERROR|FATAL|error):", line)] or lines[-1:] or ["psql failed"]
    return re.sub(r"^.*?\b(ERROR|FATAL):\s*", "", errors[0])


def password_of(name: str) -> str:
    """A user's, from the secrets. ValueError: there is none."""
    try:
        if name in SERVICES:
            return step.read_values(os.path.join(SECRETS, "patroni.env"), SERVICES[name])[SERVICES[name]]
        with open(os.path.join(SECRETS, f"password.{name}"), encoding="utf-8") as file:
            return file.read().removesuffix("\n")
    except (OSError, KeyError):
        raise ValueError("its password is not among the secrets of this node") from None


def converge(server: Server, want: Spec | None, password: Callable[[str], str], services: Iterable[str]) -> tuple[list[str], list[str]]:
    """Makes databases and users what the spec says; None: only passwords, of who is there. What changed, and what does not work."""
    said: dict[str, list[str]] = {}
    failed: dict[str, str] = {}
    problems: dict[str, str] = {}
    try:
        for _ in range(PASSES):
            changes, problems = plan(want, server.look(want or NOTHING), password, services)
            changes = [change for change in changes if change.what not in failed]
            if not changes:
                break
            for database, group in itertools.groupby(changes, lambda change: change.database):
                for change, why in zip(some := list(group), server.apply(database, some)):
                    if why:
                        failed.setdefault(change.what, why)
                    else:
                        said.setdefault(change.what, []).extend(change.said)
    except Refused as error:
        failed["PostgreSQL"] = str(error)
    return (
        [f"{what} {', '.join(words)}" for what, words in said.items() if words],
        [f"{what}: {why}" for what, why in {**problems, **failed}.items()])


def plan(want: Spec | None, have: Spec, password: Callable[[str], str], services: Iterable[str]) -> tuple[list[Change], dict[str, str]]:
    """The changes that make one the other, in their order, and what nothing can be done about."""
    planner = Planner(want or NOTHING, have, password)
    if want is None:
        planner.services(services)
        problems = dict(planner.problems)
        planner.services(planner.users_before())  # one without a password here may have come with the newer spec
        return planner.changes, problems
    planner.accounts()
    planner.administrator()
    planner.services(services)
    planner.databases()
    planner.grants()
    planner.extensions()
    planner.left_out()
    return planner.changes, planner.problems


class Planner:
    """Compares, object by object."""

    def __init__(self, want: Spec, have: Spec, password: Callable[[str], str]) -> None:
        self.users: dict[str, Spec] = {user["name"]: user for user in want["users"]}
        self.wanted: dict[str, Spec] = {database["name"]: database for database in want["databases"]}
        self.admin = bool(want.get("administrator"))
        self.roles: dict[str, Spec] = have["roles"]
        self.there: dict[str, Spec] = have["databases"]
        self.present: dict[str, list[str]] = have["extensions"]
        self.applied: dict[str, dict[str, Spec]] = have["applied"]
        self.password = password
        self.changes: list[Change] = []
        self.problems: dict[str, str] = {}

    def base(self, kind: str, name: str) -> Spec:
        """What the spec said of it when that was last applied."""
        return self.applied.get(kind, {}).get(name, {})

    def change(self, what: str, steps: list[Step], said: list[str], database: str = SUPERUSER, whole: bool = True) -> None:
        """One more, if there is anything to do."""
        if steps:
            self.changes.append(Change(what, steps, said, database, whole))

    def accounts(self) -> None:
        """Users exist, and log in with the password that they have now."""
        for name, user in self.users.items():
            what, role, base = f"user {name}", self.roles.get(name), self.base("user", name)
            steps: list[Step] = []
            said: list[str] = []
            if role is None:
                steps.append({"do": "create role", "name": name})
                said.append("created")
            elif role["super"]:
                self.problems[what] = "it is a superuser, and no user of the spec may be one: ALTER ROLE ... NOSUPERUSER first"
                continue
            elif not role["login"]:
                steps.append({"do": "login", "name": name})
                said.append("may log in")
            self.verify(what, name, steps, said)
            limit, now = limit_of(user), role["limit"] if role else -1
            if limit != now and (limit >= 0 or limit_of(base) >= 0):
                steps.append({"do": "limit", "name": name, "limit": limit})
                said.append(f"connection limit {limit}" if limit >= 0 else "no connection limit")
            settings("role", name, user, base, role, steps, said)
            if steps:
                steps.append(remember("user", name, {**base, **{key: user[key] for key in ("settings", "connection_limit") if key in user}}))
            self.change(what, steps, said)

    def verify(self, what: str, name: str, steps: list[Step], said: list[str]) -> None:
        """The password is what the secrets say."""
        role = self.roles.get(name)
        try:
            password = self.password(name)
            if role is None or not scram.proves(role["verifier"], password):
                steps.append({"do": "verifier", "name": name, "verifier": scram.verifier(password)})
                if role is not None:
                    said.append("password set")
        except ValueError as error:
            self.problems[what] = str(error)

    def administrator(self) -> None:
        """An operator logs in by certificate: this role has no password."""
        what, role = f"user {ADMINISTRATOR}", self.roles.get(ADMINISTRATOR)
        steps: list[Step] = []
        said: list[str] = []
        if self.admin:
            if role is None:
                steps.append({"do": "create role", "name": ADMINISTRATOR})
                said.append("created")
            elif not role["login"] or not role["super"] or role["verifier"] is not None:
                said.append("is the administrator again")
            if said:
                steps.append({"do": "administrator", "name": ADMINISTRATOR})
            if steps or ADMINISTRATOR not in self.applied.get("administrator", {}):
                steps.append(remember("administrator", ADMINISTRATOR, {}))
        elif ADMINISTRATOR in self.applied.get("administrator", {}):
            self.lock(ADMINISTRATOR, steps, said)
            steps.append({"do": "forget", "kind": "administrator", "name": ADMINISTRATOR})
        self.change(what, steps, said)

    def users_before(self) -> list[str]:
        """Those of the spec when that was last applied, who may log in."""
        return [name for name in self.applied.get("user", {}) if (role := self.roles.get(name)) and role["login"] and not role["super"]]

    def services(self, names: Iterable[str]) -> None:
        """Patroni's users exist, and have the passwords that all nodes use."""
        for name in names:
            what = f"user {name}"
            if name not in self.roles:
                self.problems[what] = "there is no such role, and Patroni needs it"
                continue
            steps: list[Step] = []
            said: list[str] = []
            self.verify(what, name, steps, said)
            self.change(what, steps, said)

    def databases(self) -> None:
        """Databases exist, with their owners and settings."""
        for name, database in self.wanted.items():
            what, there, base = f"database {name}", self.there.get(name), self.base("database", name)
            steps: list[Step] = []
            said: list[str] = []
            if there is None:
                self.change(what, [{"do": "create database", "name": name, "owner": database["owner"]}], ["created"], whole=False)
            elif there["owner"] != database["owner"]:
                steps.append({"do": "owner", "name": name, "owner": database["owner"]})
                said.append(f"is {database['owner']}'s now, and what is in it stays {there['owner']}'s")
            if not base:
                steps.append({"do": "close", "name": name})
            settings("database", name, database, base, there, steps, said)
            gone = [extension for extension in base.get("extensions") or [] if extension not in (database.get("extensions") or [])]
            said += [f"keeps extension {extension}, which left the spec (DROP EXTENSION if nobody needs it)" for extension in gone]
            if steps or base != database:
                steps.append(remember("database", name, database))
            self.change(what, steps, said)

    def grants(self) -> None:
        """Users may connect where the spec says, and are members of what it says."""
        for name, user in self.users.items():
            role, base = self.roles.get(name), self.base("user", name)
            if role and role["super"]:
                continue
            steps: list[Step] = []
            said: list[str] = []
            for database in user["databases"]:
                # What is still to be created comes with the next pass.
                if name not in self.connect(database) and (database in self.there or database not in self.wanted):
                    steps.append({"do": "connect", "name": database, "role": name})
                    said.append(f"may connect to {database}")
            for other in user["member_of"]:
                if (not role or other not in role["member_of"]) and (other in self.roles or other not in self.users):
                    steps.append({"do": "member", "name": name, "of": other})
                    said.append(f"is a member of {other}")
            self.revoke(name, user, steps, said)
            if steps or base != user:
                steps.append(remember("user", name, user))
            self.change(f"user {name}", steps, said)

    def revoke(self, name: str, user: Spec, steps: list[Step], said: list[str]) -> None:
        """What the spec granted, and grants no more."""
        base, role = self.base("user", name), self.roles.get(name)
        for database in base.get("databases", []):
            if database not in user["databases"] and name in self.connect(database):
                steps.append({"do": "no connect", "name": database, "role": name})
                said.append(f"may not connect to {database} any more")
        for other in base.get("member_of", []):
            if other not in user["member_of"] and role and other in role["member_of"]:
                steps.append({"do": "no member", "name": name, "of": other})
                said.append(f"is no member of {other} any more")

    def connect(self, database: str) -> list[str]:
        """Who may connect, by a grant of its own."""
        there = self.there.get(database)
        return there["connect"] if there else []

    def extensions(self) -> None:
        """Databases have the spec's extensions, in whichever version the server brings."""
        for name, present in self.present.items():
            for extension in self.wanted[name]["extensions"]:
                if extension not in present:
                    self.change(f"extension {extension} of database {name}", [{"do": "extension", "name": extension}], ["created"], name)

    def left_out(self) -> None:
        """What the spec named before: nobody gets in, and nothing is dropped."""
        for name in sorted(self.applied.get("user", {})):
            if name in self.users:
                continue
            steps: list[Step] = []
            said: list[str] = []
            if name in self.roles:
                self.lock(name, steps, said)
                self.revoke(name, {"databases": [], "member_of": []}, steps, said)
            steps.append({"do": "forget", "kind": "user", "name": name})
            self.change(f"user {name}", steps, said)
        for name in sorted(self.applied.get("database", {})):
            if name not in self.wanted:
                said = ["left the spec and is kept (DROP DATABASE if nobody needs it)"] if name in self.there else []
                self.change(f"database {name}", [{"do": "forget", "kind": "database", "name": name}], said)

    def lock(self, name: str, steps: list[Step], said: list[str]) -> None:
        """A role that may not log in any more."""
        role = self.roles.get(name)
        if role is None:
            return
        if role["login"] or role["super"]:
            steps.append({"do": "no login", "name": name})
        said.append("left the spec: it is kept and may not log in (DROP ROLE if nobody needs it)")
        if role["sessions"]:
            said.append(f"{role['sessions']} of its sessions go on")


def settings(of: str, name: str, spec: Spec, base: Spec, there: Spec | None, steps: list[Step], said: list[str]) -> None:
    """Parameters of a database or a role: the spec's are set, and those that it had are not any more."""
    now = {key.lower(): value for key, _, value in (line.partition("=") for line in (there["settings"] if there else []))}
    wanted: dict[str, str] = spec.get("settings") or {}
    for key, value in wanted.items():
        if key.lower() not in now or values(key, now[key.lower()]) != values(key, value):
            steps.append({"do": f"set {of}", "name": name, "key": key, "values": values(key, value)})
            said.append(f"{key} {value}")
    for key in sorted(base.get("settings") or {}):
        if key.lower() not in (name.lower() for name in wanted) and key.lower() in now:
            steps.append({"do": f"reset {of}", "name": name, "key": key})
            said.append(f"{key} is not set any more")


def values(key: str, text: str) -> list[str]:
    """Those of a parameter that is a list of names: SET takes each by itself. Any other has one."""
    if key.lower() not in LISTS:
        return [text]
    found = re.findall(r'\s*(?:"((?:[^"]|"")*)"|([^,"]*?))\s*(?:,|$)', text)
    return [quoted_name.replace('""', '"') or plain.lower() for quoted_name, plain in found if quoted_name or plain] or [""]


def limit_of(spec: Spec) -> int:
    """-1: none, or the spec does not say."""
    return int(spec.get("connection_limit", -1))


def remember(kind: str, name: str, spec: Spec) -> Step:
    """The step that keeps what the spec says of an object."""
    return {"do": "remember", "kind": kind, "name": name, "spec": spec}
