#!/usr/bin/python3 -sE
"""Patroni, whose waits end when that has happened for which it waits.

Patroni sleeps for fixed times where it waits for something, and nobody can write
meanwhile:

- 2 s for somebody to lead, on each node that shall not: until then none of them
  follows the new leader, whose first writes wait for one that does;
- 1 s for replicas to have all of a server that stops: it has ended when they have;
- 1 s between two looks at whether PostgreSQL has stopped, started or been promoted;
- up to loop_wait, until it looks whether PostgreSQL still runs;
- up to loop_wait, until it reads its configuration again when it is told to;
- 1 s for PostgreSQL to have taken over its settings, also when Patroni starts beside a
  server that runs, which nobody manages until then.

And who leads, and was lost together with its server, has that recover twice: once alone
and to its end, for pg_rewind, which a leader does not need; and then as it starts.

And while nobody leads, a replica asks its server for its timeline, by a new session with
a password, at each request of its REST API: some fifteen times a second, since HAProxy
looks for who leads then. It asks once a second.

What it does then is Patroni's own.
"""

import functools
import inspect
import math
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

# Seconds that ha.py sleeps with the words "Give a time to somebody to take the leader
# lock" and "give replicas some more time to catch up", and config.py after a reload.
FOR_A_LEADER = 2
FOR_REPLICAS = 1
FOR_A_RELOAD = 1

# How many there are in which file of each length, in all and with those words, and what
# else is changed. A Patroni that has others is another one: nothing of it is changed.
LINES = {
    "ha.py": {"time.sleep(2)": 3, "time.sleep(2)  # Give a time to somebody to take the leader lock": 2,
              "time.sleep(1)": 3, "time.sleep(1)  # give replicas some more time to catch up": 2,
              "def _handle_crash_recovery(": 1, "self._handle_crash_recovery()": 2},
    "config.py": {"time.sleep(": 1, "time.sleep(1)": 1},
    "postgresql": {"def replica_cached_timeline(self, primary_timeline:": 1},
}

# Newer each time when Patroni has reloaded; refresh-apply.sh looks at it.
RELOADED = "/run/postgresql/patroni-reloaded"

LOOK = 0.05  # seconds between two looks at whether that has happened
POLL = 0.1  # seconds between two looks at PostgreSQL
STARTED = 0.5  # seconds between two looks at whether it writes its process down
FRESH = 1.0  # seconds for which a timeline is known that was asked for while nobody leads
TAKEN = 2.0  # seconds that the exit status of a server that has ended may wait for init


class Clock:
    """The module time, where sleeps of some lengths end with what they are for.

    ha.py has one more of each length. It is on a node that leads, and whose server runs: it
    stays as it is.
    """

    def __init__(self, ends: dict[float, Callable[[], bool]]) -> None:
        self.ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """time.sleep."""
        ended = self.ends.get(seconds)
        end = time.monotonic() + seconds
        while ended and (rest := end - time.monotonic()) > 0:
            try:
                if ended():
                    return
            except Exception:  # etcd or PostgreSQL does not answer, in one of Patroni's many words
                break
            time.sleep(min(rest, LOOK))
        time.sleep(max(0, end - time.monotonic()))


def another_leads(dcs: Any, name: str) -> bool:
    """Does a node of another name have the leader's lock?"""
    leader = dcs.get_cluster().leader
    return bool(leader and leader.name and leader.name != name)


class Reload:
    """Has PostgreSQL read its settings since it was last told to?

    The session that Patroni asks by has, and knows which settings wait for a restart.
    """

    def __init__(self, server: Any) -> None:
        self.server = server
        self.told = math.inf
        self.original = server.reload
        server.reload = self.reload

    def reload(self, *args: Any, **named: Any) -> Any:
        """Patroni's own."""
        self.told = time.time()
        return self.original(*args, **named)

    def done(self) -> bool:
        """By the server's own clock, which is this machine's."""
        rows = self.server.query("SELECT extract(epoch FROM pg_catalog.pg_conf_load_time())", retry=False)
        return float(rows[0][0]) >= self.told


class Timeline:
    """The replica's timeline. While that of who leads is known, Patroni remembers it itself."""

    def __init__(self, original: Callable[[int | None], int | None]) -> None:
        self.original = original
        self.lock = threading.Lock()
        self.known: int | None = None
        self.asked = -math.inf

    def __call__(self, primary_timeline: int | None) -> int | None:
        """Patroni's replica_cached_timeline."""
        if primary_timeline:
            return self.original(primary_timeline)
        came = time.monotonic()
        with self.lock:
            # An answer that came while this waited is its own, also that there is none: the
            # requests would wait for a server that hangs one after the other.
            if self.asked < came and (not self.known or time.monotonic() - self.asked > FRESH):
                self.known = self.original(primary_timeline)
                self.asked = time.monotonic()
            return self.known


def postmaster(data: str) -> int | None:
    """The process of the server, as it says itself."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="ascii", errors="replace") as file:
            return int(file.readline())
    except (OSError, ValueError):
        return None


def runs(data: str) -> bool:
    """Does the server run?"""
    pid = postmaster(data)
    return bool(pid and os.path.exists(f"/proc/{pid}"))


def wait_for_end(pid: int) -> None:
    """Waits until there is no such process any more."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return  # it has ended before
    try:
        select.select([process], [], [])
    finally:
        os.close(process)
    # To Patroni it runs until init has taken its exit status, which takes a while when the
    # machine is busy: a loop that is woken before sees nothing.
    end = time.monotonic() + TAKEN
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        time.sleep(LOOK)


def watch(data: str, wake: Callable[[], None]) -> None:
    """Wakes Patroni whenever a server has ended; never returns."""
    ended = None
    while True:
        pid = postmaster(data)
        if pid and pid > 1 and pid != ended:
            wait_for_end(pid)
            ended = pid
            wake()
        # Patroni starts another one, which has to write its number first.
        time.sleep(STARTED)


def hasten_reload(patroni: Any, wake: Callable[[], None]) -> None:
    """Makes Patroni reload soon after SIGHUP, and leave a mark when it has."""
    original = patroni.reload_config

    def reload_config(sighup: bool = False, local: Any = False) -> None:
        original(sighup, local)
        if not sighup:
            return
        try:
            with open(RELOADED, "w", encoding="ascii") as file:
                file.write(f"{time.time_ns()}\n")
        except OSError as error:  # then the mark is missing, and Patroni goes on
            print(f"cannot mark that Patroni has reloaded: {error}", file=sys.stderr, flush=True)

    def wait() -> None:
        # Not in the handler: the main thread may hold the lock that this takes.
        while True:
            time.sleep(POLL)
            if getattr(patroni, "_received_sighup", False):
                wake()

    patroni.reload_config = reload_config
    threading.Thread(target=wait, daemon=True).start()


def shorten(ha: Any, postgresql: Any, config: Any, sources: dict[str, str]) -> str:
    """Changes Patroni's modules, of which two are given. What it says is missing: then nothing is changed."""
    for file, lines in LINES.items():
        for text, count in lines.items():
            if sources[file].count(text) != count:
                return f"{file} with {count} times {text!r}"
    for module, name in ((ha, "Ha"), (ha, "time"), (postgresql, "STOP_POLLING_INTERVAL"), (postgresql, "polling_loop"),
                         (postgresql, "ConfigHandler"), (config, "time")):
        if not hasattr(module, name):
            return f"{module.__name__}.{name}"
    handler = postgresql.ConfigHandler

    class ConfigHandler(handler):  # type: ignore[misc, valid-type]
        """Patroni's, that knows when the server has reloaded. Patroni has one."""

        def __init__(self, server: Any, settings: Any) -> None:
            config.time = Clock({FOR_A_RELOAD: Reload(server).done})
            super().__init__(server, settings)

    postgresql.ConfigHandler = ConfigHandler
    original = ha.Ha

    class Ha(original):  # type: ignore[misc, valid-type]
        """Patroni's, that knows when the server has ended."""

        def __init__(self, patroni: Any) -> None:
            super().__init__(patroni)
            name, data = patroni.postgresql.name, patroni.postgresql.data_dir
            ha.time = Clock({FOR_A_LEADER: lambda: another_leads(patroni.dcs, name), FOR_REPLICAS: lambda: not runs(data)})
            threading.Thread(target=watch, args=(data, self.wakeup), daemon=True).start()
            hasten_reload(patroni, self.wakeup)
            patroni.postgresql.replica_cached_timeline = Timeline(patroni.postgresql.replica_cached_timeline)

        def _handle_crash_recovery(self) -> Any:
            # As Patroni does where it may not use pg_rewind. It starts the server as a
            # replica next, and promotes it.
            if self.has_lock(False) and not self.is_standby_cluster():
                return None
            return super()._handle_crash_recovery()

    ha.Ha = Ha
    postgresql.STOP_POLLING_INTERVAL = POLL
    postgresql.polling_loop = functools.partial(postgresql.polling_loop, interval=POLL)
    return ""


def read_sources(ha: Any, postgresql: Any, config: Any) -> dict[str, str]:
    """Patroni's own text."""
    return {"ha.py": inspect.getsource(ha), "postgresql": inspect.getsource(postgresql), "config.py": inspect.getsource(config)}


def main() -> int | None:
    """Runs Patroni."""
    del sys.path[0]  # no module here shall stand before one of Patroni's
    # By this name people, and other programs, look for it.
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write("patroni")
    from patroni import __main__
    try:
        # In Patroni's order: they import each other.
        from patroni import postgresql
        from patroni import ha
        from patroni.postgresql import config
        missing = shorten(ha, postgresql, config, read_sources(ha, postgresql, config))
    except ImportError as error:
        missing = error.name or "such module"
    except OSError:
        missing = "source"
    if missing:
        print(f"this Patroni has no {missing}: it waits as long as it is made to", file=sys.stderr, flush=True)
    result: int | None = __main__.main()
    return result


# Patroni starts PostgreSQL by a process of multiprocessing's, which imports this file.
if __name__ == "__main__":
    sys.exit(main())
