"""Tests of databases.py, on the PostgreSQL that this host has installed."""

import glob
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import databases
import step

step.LIB = os.path.dirname(databases.__file__)
SERVICES = list(databases.SERVICES)

USERS: list[dict[str, Any]] = [
    {"name": "app", "databases": ["app"], "member_of": [], "settings": {}, "connection_limit": -1},
    {"name": "reader", "databases": ["app"], "member_of": ["pg_read_all_data"], "settings": {}, "connection_limit": -1},
]
DATABASES: list[dict[str, Any]] = [{"name": "app", "owner": "app", "extensions": [], "settings": {}}]


def spec(**changes: Any) -> dict[str, Any]:
    """A spec of two users and a database, changed."""
    return {"users": [dict(user) for user in USERS], "databases": [dict(database) for database in DATABASES], **changes}


def user(name: str, **changes: Any) -> dict[str, Any]:
    """A user of the spec."""
    return {"name": name, "databases": [], "member_of": [], "settings": {}, "connection_limit": -1, **changes}


def database(name: str, owner: str = "app", **changes: Any) -> dict[str, Any]:
    """A database of the spec."""
    return {"name": name, "owner": owner, "extensions": [], "settings": {}, **changes}


def secret(name: str) -> str:
    """Everybody's password."""
    return f"secret of {name}"


def missing_prerequisite() -> str:
    """Why no server can be started here."""
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        return "no PostgreSQL server on this host"
    if os.geteuid() != 0:
        return "only root can start PostgreSQL as postgres"
    return ""


class PlanTest(unittest.TestCase):
    """Without a server: words and values."""

    def test_values(self) -> None:
        for key, text, want in (
            ("work_mem", "64MB", ["64MB"]),
            ("DateStyle", "ISO, MDY", ["ISO, MDY"]),
            ("search_path", '"$user", public', ["$user", "public"]),
            ("search_path", 'App , "My ""own"""', ["app", 'My "own"']),
            ("search_path", "", [""]),
            ("Search_Path", "a,b", ["a", "b"]),
        ):
            self.assertEqual(databases.values(key, text), want, text)

    def test_complaint(self) -> None:
        for said, want in (
            ('psql:<stdin>:12: ERROR:  role "x" does not exist\n', 'role "x" does not exist'),
            ('psql:<stdin>:3: WARNING:  no\npsql:<stdin>:4: ERROR:  database "app" already exists\n', 'database "app" already exists'),
            ('psql: error: connection to server on socket "/x" failed: FATAL:  the database system is starting up\n', "the database system is starting up"),
            ("psql: error: connection to server failed: No such file or directory\n\tIs the server running?\n", "psql: error: connection to server failed: No such file or directory"),
            ("", "psql failed"),
        ):
            self.assertEqual(databases.complaint(said), want)

    def test_passwords(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            databases.SECRETS = folder
            with open(os.path.join(folder, "password.app"), "w", encoding="utf-8") as file:
                file.write("geheim\n")
            with open(os.path.join(folder, "patroni.env"), "w", encoding="utf-8") as file:
                file.write("PATRONI_SUPERUSER_PASSWORD=super\nPATRONI_REWIND_PASSWORD=rewind\n")
            for name, want in (("app", "geheim"), ("postgres", "super"), ("rewind_user", "rewind")):
                self.assertEqual(databases.password_of(name), want)
            for name in ("reader", "replication_user"):
                with self.assertRaisesRegex(ValueError, "not among the secrets"):
                    databases.password_of(name)


@unittest.skipIf(missing_prerequisite(), missing_prerequisite())
class ServerTest(unittest.TestCase):
    """A server, and a spec that changes."""

    folder = ""

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.mkdtemp()
        shutil.chown(cls.folder, "postgres")
        cls.as_postgres(f"{cls.programs()}/initdb -D data -A trust --locale-provider=libc --no-locale >log 2>&1 || cat log")
        cls.as_postgres(f"{cls.programs()}/pg_ctl -w -D data -l log -o '-c listen_addresses= -k {cls.folder} -c fsync=off -c log_statement=all"
                        " -c log_min_duration_statement=0' start >/dev/null")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.as_postgres(f"{cls.programs()}/pg_ctl -D data -m immediate stop >/dev/null")
        shutil.rmtree(cls.folder)

    @staticmethod
    def programs() -> str:
        """PostgreSQL's, of the newest version."""
        return sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]

    @classmethod
    def as_postgres(cls, command: str) -> None:
        """Runs a command in the folder."""
        subprocess.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "sh", "-c", command], cwd=cls.folder, check=True)

    def setUp(self) -> None:
        """Each test has a cluster in which nothing was done yet."""
        self.server = databases.Server(f"host={self.folder} user=postgres")
        self.sql("""SELECT format('DROP DATABASE %I', datname) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')
\\gexec
            DROP SCHEMA IF EXISTS pgha CASCADE;
            SELECT format('DROP OWNED BY %I; DROP ROLE %I', rolname, rolname) FROM pg_roles WHERE rolname <> 'postgres' AND rolname !~ '^pg_'
\\gexec
            ALTER ROLE postgres PASSWORD NULL; CREATE ROLE replication_user REPLICATION LOGIN; CREATE ROLE rewind_user LOGIN""")

    def sql(self, query: str, name: str = "postgres", role: str = "postgres") -> str:
        """What an operator does by hand."""
        done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", role, "-d", name, "-f", "-"],
                              input=query, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def fails(self, query: str, name: str, role: str) -> bool:
        """Does it fail?"""
        done = subprocess.run(["psql", "-XAtq", "-h", self.folder, "-U", role, "-d", name, "-c", query], capture_output=True, text=True, check=False)
        return done.returncode != 0

    def converge(self, want: dict[str, Any] | None, password: Callable[[str], str] = secret) -> tuple[list[str], list[str]]:
        """One run. Behind it nothing is left to do."""
        want = json.loads(json.dumps(want))
        changed, problems = databases.converge(self.server, want, password, SERVICES)
        if not problems:
            self.assertEqual(databases.converge(self.server, want, password, SERVICES), ([], []))
        return changed, problems

    def test_from_nothing(self) -> None:
        changed, problems = self.converge(spec())
        self.assertEqual(problems, [])
        self.assertEqual(changed, [
            "user app created",
            "user reader created, is a member of pg_read_all_data, may connect to app",
            "user postgres password set", "user replication_user password set", "user rewind_user password set",
            "database app created",
        ])
        self.assertTrue(self.fails("SELECT 1", "app", "rewind_user"), "everybody may connect")
        self.sql("CREATE TABLE t (); SELECT 1", "app", "app")
        for query in ("SELECT * FROM pgha.applied", "SELECT 1 FROM pgha.applied", "INSERT INTO pgha.applied VALUES ('user', 'x', '{}')"):
            self.assertTrue(self.fails(query, "postgres", "app"), query)
        self.sql("GRANT pg_read_all_data, pg_write_all_data TO app")
        self.assertEqual(self.sql("SELECT count(*) FROM pgha.applied", "postgres", "app"), "0")
        self.assertTrue(self.fails("INSERT INTO pgha.applied VALUES ('user', 'x', '{}')", "postgres", "app"))

    def test_grants(self) -> None:
        self.converge(spec())
        # An operator's own, which stays.
        self.sql("CREATE ROLE theirs; GRANT theirs, pg_monitor TO reader; GRANT CREATE ON DATABASE app TO reader")
        changed, problems = self.converge(spec(
            users=[user("app", databases=["app", "shop"]), user("reader", databases=["shop"], member_of=["app"]), user("more", databases=["app"])],
            databases=[*DATABASES, database("shop")]))
        self.assertEqual((changed, problems), ([
            "user more created, may connect to app",
            "database shop created",
            "user reader is a member of app, may not connect to app any more, is no member of pg_read_all_data any more, may connect to shop",
        ], []))
        self.assertEqual(self.sql("SELECT string_agg(roleid::regrole::text, ' ' ORDER BY roleid::regrole::text) FROM pg_auth_members WHERE member = 'reader'::regrole"),
                         "app pg_monitor theirs")
        self.assertEqual(self.sql("SELECT has_database_privilege('reader', 'app', 'CREATE')"), "t")

    def test_passwords(self) -> None:
        self.converge(spec())
        before = self.sql("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
        self.assertEqual(self.converge(spec()), ([], []))
        self.assertEqual(self.sql("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1"), before)
        changed, problems = self.converge(spec(), lambda name: "another" if name in ("app", "rewind_user") else secret(name))
        self.assertEqual((changed, problems), (["user app password set", "user rewind_user password set"], []))
        # What PostgreSQL makes of a password is taken for it.
        self.sql("ALTER ROLE app PASSWORD 'secret of app'")
        self.assertEqual(self.converge(spec(), lambda name: "another" if name == "rewind_user" else secret(name)), ([], []))

        def without(name: str) -> str:
            if name in ("reader", "late"):
                raise ValueError("its password is not among the secrets of this node")
            return secret(name)
        changed, problems = self.converge(spec(users=[*USERS, user("late")]), without)
        self.assertEqual(problems, ["user reader: its password is not among the secrets of this node", "user late: its password is not among the secrets of this node"])
        self.assertEqual(changed, ["user late created", "user rewind_user password set"])
        changed, problems = self.converge(spec(users=[*USERS, user("late")]), lambda name: "zwölf" if name == "late" else secret(name))
        self.assertEqual(problems, ["user late: it is no password of printable ASCII characters"])
        self.assertEqual(self.sql("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'late'"), "t")

    def test_passwords_alone(self) -> None:
        """A node that does not know what the spec says by now."""
        self.converge(spec(users=[*USERS, user("gone")]))
        self.converge(spec())
        self.sql("CREATE ROLE theirs LOGIN PASSWORD 'x'; REVOKE pg_read_all_data FROM reader; ALTER ROLE reader SUPERUSER; ALTER ROLE app CONNECTION LIMIT 7")
        before = self.sql("SELECT rolname, rolcanlogin, rolsuper, rolconnlimit FROM pg_roles ORDER BY 1")

        def another(name: str) -> str:
            if name == missing:
                raise ValueError("its password is not among the secrets of this node")
            return "another"
        missing = "app"
        self.assertEqual(self.converge(None, another), (
            ["user postgres password set", "user replication_user password set", "user rewind_user password set"], []))
        missing = "rewind_user"
        self.assertEqual(self.converge(None, another), (
            ["user app password set"], ["user rewind_user: its password is not among the secrets of this node"]))
        self.assertEqual(self.sql("SELECT rolname, rolcanlogin, rolsuper, rolconnlimit FROM pg_roles ORDER BY 1"), before)
        self.assertEqual(self.sql("SELECT has_database_privilege('reader', 'app', 'CONNECT'), pg_has_role('reader', 'pg_read_all_data', 'MEMBER')"), "t|t")
        self.assertEqual(self.sql("SELECT count(*) FROM pg_auth_members WHERE member = 'reader'::regrole"), "0")

    def test_left_out(self) -> None:
        self.converge(spec(databases=[*DATABASES, database("shop", "keeper")], users=[*USERS, user("keeper", databases=["shop", "app"], member_of=["pg_monitor"])]))
        self.sql("CREATE TABLE kept AS SELECT 1 AS one", "shop", "keeper")
        changed, problems = self.converge(spec())
        self.assertEqual((changed, problems), ([
            "user keeper left the spec: it is kept and may not log in (DROP ROLE if nobody needs it), may not connect to shop any more,"
            " may not connect to app any more, is no member of pg_monitor any more",
            "database shop left the spec and is kept (DROP DATABASE if nobody needs it)",
        ], []))
        self.assertTrue(self.fails("SELECT 1", "shop", "keeper"))
        self.assertEqual(self.sql("SELECT one FROM kept", "shop"), "1")
        changed, problems = self.converge(spec(databases=[*DATABASES, database("shop", "keeper")], users=[*USERS, user("keeper", databases=["shop"])]))
        self.assertEqual((changed, problems), (["user keeper may log in, may connect to shop"], []))
        self.assertEqual(self.sql("SELECT one FROM kept", "shop", "keeper"), "1")

    def test_sessions_go_on(self) -> None:
        self.converge(spec())
        with subprocess.Popen(["psql", "-XAtq", "-h", self.folder, "-U", "reader", "-d", "app"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
            assert session.stdin and session.stdout
            session.stdin.write("SELECT 1;\n")
            session.stdin.flush()
            self.assertEqual(session.stdout.readline(), "1\n")
            changed, _ = self.converge(spec(users=USERS[:1]))
            self.assertIn("1 of its sessions go on", changed[0])
            session.stdin.write("SELECT 2;\n")
            session.stdin.flush()
            self.assertEqual(session.stdout.readline(), "2\n")

    def test_owner(self) -> None:
        self.converge(spec())
        changed, problems = self.converge(spec(databases=[database("app", "reader")]))
        self.assertEqual((changed, problems), (["database app is reader's now, and what is in it stays app's", "user app may connect to app"], []))

    def test_settings(self) -> None:
        self.converge(spec())
        self.sql("ALTER ROLE app SET statement_timeout TO '7s'; ALTER DATABASE app SET log_min_messages TO 'error'")
        first = spec(
            users=[{**USERS[0], "settings": {"work_mem": "8MB", "search_path": '"$user", public', "timezone": "UTC"}, "connection_limit": 7}, USERS[1]],
            databases=[{**DATABASES[0], "settings": {"plpgsql.extra_warnings": "all", "DateStyle": "ISO, DMY", "application_name": "it's \\ a \" name"}}])
        changed, problems = self.converge(first)
        self.assertEqual((changed, problems), ([
            'user app connection limit 7, work_mem 8MB, search_path "$user", public, timezone UTC',
            "database app plpgsql.extra_warnings all, DateStyle ISO, DMY, application_name it's \\ a \" name"], []))
        shown = "SELECT name, setting FROM pg_settings WHERE name IN ('work_mem', 'search_path', 'statement_timeout', 'DateStyle', 'application_name') ORDER BY name COLLATE \"C\""
        done = subprocess.run(["psql", "-XAtq", f"host={self.folder} user=app dbname=app", "-c", shown], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("DateStyle|ISO, DMY\n", done.stdout)
        self.assertIn('search_path|"$user", public\nstatement_timeout|7000\nwork_mem|8192', done.stdout)
        self.assertIn("it's \\\\ a", self.sql("SELECT setconfig FROM pg_db_role_setting WHERE setdatabase <> 0"))
        changed, problems = self.converge(spec(databases=[{**DATABASES[0], "settings": {"datestyle": "German"}}]))
        self.assertEqual((changed, problems), ([
            "user app no connection limit, search_path is not set any more, timezone is not set any more, work_mem is not set any more",
            "database app datestyle German, application_name is not set any more, plpgsql.extra_warnings is not set any more"], []))
        self.assertEqual(self.sql("SELECT setconfig FROM pg_db_role_setting ORDER BY setdatabase"), "{statement_timeout=7s}\n{log_min_messages=error,DateStyle=German}")

    def test_connection_limit_of_an_operator(self) -> None:
        self.converge(spec())
        self.sql("ALTER ROLE app CONNECTION LIMIT 3")
        self.assertEqual(self.converge(spec()), ([], []))

    def test_extensions(self) -> None:
        self.converge(spec())
        changed, problems = self.converge(spec(databases=[database("app", extensions=["earthdistance", "uuid-ossp"]), database("shop", extensions=["hstore"])]))
        self.assertEqual((changed, problems), ([
            "database shop created", "extension earthdistance of database app created", "extension uuid-ossp of database app created", "extension hstore of database shop created",
        ], []))
        self.assertEqual(self.sql("SELECT string_agg(extname || ' ' || extnamespace::regnamespace, ',' ORDER BY 1) FROM pg_extension WHERE extname <> 'plpgsql'", "app"),
                         "cube public,earthdistance public,uuid-ossp public")
        changed, problems = self.converge(spec(databases=[database("app", extensions=["uuid-ossp", "no_such"]), database("shop")]))
        self.assertEqual(changed, [
            "database app keeps extension earthdistance, which left the spec (DROP EXTENSION if nobody needs it)",
            "database shop keeps extension hstore, which left the spec (DROP EXTENSION if nobody needs it)"])
        self.assertEqual([problem.split(" is not available")[0] for problem in problems], ['extension no_such of database app: extension "no_such"'])

    def test_one_failure_stops_no_other(self) -> None:
        self.converge(spec())
        self.sql("CREATE ROLE boss SUPERUSER LOGIN")
        changed, problems = self.converge(spec(
            users=[*USERS, user("boss"), user("wrong", settings={"work_mem": "lots"}), user("fine", databases=["app", "gone"])],
            databases=[*DATABASES, database("gone", "nobody_there"), database("shop", "fine")]))
        self.assertEqual(problems, [
            "user boss: it is a superuser, and no user of the spec may be one: ALTER ROLE ... NOSUPERUSER first",
            'user wrong: invalid value for parameter "work_mem": "lots"',
            'database gone: role "nobody_there" does not exist',
        ])
        self.assertEqual(changed, ["user fine created, may connect to app", "database shop created"])
        self.assertEqual(self.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'wrong'"), "0", "half of it was done")

    def test_hostile_names(self) -> None:
        name = "a'b\"c\\d; DROP ROLE reader --$x"
        changed, problems = self.converge(spec(users=[*USERS, user(name, databases=[name])], databases=[*DATABASES, database(name, name, extensions=["hstore"])]))
        self.assertEqual((len(changed), problems), (9, []))
        self.assertEqual(self.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'reader'"), "1")
        self.assertEqual(self.sql("SELECT datname FROM pg_database WHERE datname ~ 'DROP'"), name)

    def test_hostile_owner(self) -> None:
        self.converge(spec())
        self.sql("""CREATE SCHEMA evil; CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE sql AS $$SELECT 'ALTER ROLE app SUPERUSER'$$;
            CREATE TABLE evil.pg_extension (extname text);
            ALTER DATABASE app SET search_path TO evil, public; ALTER DATABASE app SET default_transaction_read_only TO on""", "app", "app")
        self.sql("SET default_transaction_read_only TO off; ALTER DATABASE app SET role TO app", "app", "app")
        self.sql("SET default_transaction_read_only TO off; ALTER DATABASE app SET statement_timeout TO 1", "app", "app")
        self.assertEqual(self.converge(spec(databases=[database("app", extensions=["hstore"])])), (["extension hstore of database app created"], []))
        self.assertEqual(self.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'"), "f")

    def test_foreign_schema(self) -> None:
        self.sql("CREATE ROLE app LOGIN; CREATE SCHEMA pgha AUTHORIZATION app; SET ROLE app; CREATE TABLE pgha.applied (kind text, name text, spec jsonb NOT NULL)")
        self.assertEqual(self.converge(spec()), ([], ["PostgreSQL: schema pgha of database postgres is not a superuser's: drop it, or give it to postgres"]))

    def test_administrator(self) -> None:
        changed, _ = self.converge(spec(administrator=True))
        self.assertIn("user pgha_admin created", changed)
        look = "SELECT rolsuper, rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = 'pgha_admin'"
        self.assertEqual(self.sql(look), "t|t|t")
        self.sql("ALTER ROLE pgha_admin PASSWORD 'x'")
        self.assertEqual(self.converge(spec(administrator=True)), (["user pgha_admin is the administrator again"], []))
        self.assertEqual(self.sql(look), "t|t|t")
        changed, _ = self.converge(spec(administrator=False))
        self.assertEqual(changed, ["user pgha_admin left the spec: it is kept and may not log in (DROP ROLE if nobody needs it)"])
        self.assertEqual(self.sql(look), "f|f|t")
        self.assertEqual(self.converge(spec()), ([], []))

    def test_no_service_role(self) -> None:
        self.sql("DROP ROLE rewind_user")
        self.assertEqual(self.converge(spec())[1], ["user rewind_user: there is no such role, and Patroni needs it"])

    def test_program(self) -> None:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(databases, "PROGRAMS", folder):
            self.assertEqual(databases.program("psql"), "psql")  # then PATH has it
            os.makedirs(os.path.join(folder, "18", "bin"))
            self.assertEqual(databases.program("psql"), "psql")
            with open(os.path.join(folder, "18", "bin", "psql"), "w", encoding="ascii"):
                pass
            self.assertEqual(databases.program("psql"), os.path.join(folder, "18", "bin", "psql"))
            self.assertEqual(databases.program("pg_ctl"), "pg_ctl")

    def test_no_server(self) -> None:
        self.server = databases.Server("host=/nonexistent user=postgres")
        changed, problems = self.converge(spec())
        self.assertEqual(changed, [])
        self.assertIn("PostgreSQL: ", problems[0])
        self.assertFalse(self.server.promoted())

    def test_promoted(self) -> None:
        self.assertTrue(self.server.promoted())

    def test_nothing_in_the_log(self) -> None:
        self.converge(spec())
        self.converge(spec(), lambda name: "changed " + name)
        self.sql("SELECT 'marked'")
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as file:
            log = file.read()
        self.assertIn("marked", log)
        for word in ("secret of", "changed ", "SCRAM-SHA-256"):
            self.assertNotIn(word, log)


if __name__ == "__main__":
    unittest.main()
