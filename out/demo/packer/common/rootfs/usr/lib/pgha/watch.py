#!/usr/bin/python3 -sES
"""Looks at this machine once a second: is its data disk full, does a certificate end?

What is wrong is said on the console, and all of it is written as Prometheus reads
it. That a service failed, failed.sh says; that it goes on again, is said here. The data
disk has a reserve, which is given up when the disk is full; as long as it is full there
is the file disk-full below /run/pgha, for a role that has something to do then. When
the disk becomes larger, the file disk-grow starts what may grow a file system.
"""

import glob
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

import step
from step import GIB, MIB

Say = Callable[[str, str, str], None]

MARKER = os.path.join(step.RUN, "disk-full")
GROW = os.path.join(step.RUN, "disk-grow")
METRICS = os.path.join(step.RUN, "metrics", "pgha.prom")
STATUS = os.path.join(step.RUN, "metrics", "status.json")
REPORTS = os.path.join(step.RUN, "reports")
CERTIFICATES = os.path.join(step.RUN, "secrets", "*.crt")
UNITS = "/run/systemd/units"  # a link for each that runs or starts, made anew at each start

WARN, CALM = 85, 80  # per cent of the disk
HOUR, DAY = 3600, 86400
CALM_AFTER = 60  # seconds that a service has to go on
EARLY = 60 * DAY  # this long before its end a certificate is spoken of


class Usage(NamedTuple):
    """A file system, as a service's user sees it: in bytes, without what root keeps."""

    total: int
    used: int
    free: int
    device: int = 0  # the size of what it is on; 0: not known

    @property
    def percent(self) -> int:
        """What df calls Use%, rounded down."""
        return 100 * self.used // max(1, self.used + self.free)


def usage(mount: str) -> Usage | None:
    """None: nothing is mounted there."""
    if not os.path.ismount(mount):
        return None
    s = os.statvfs(mount)
    return Usage(s.f_blocks * s.f_frsize, (s.f_blocks - s.f_bfree) * s.f_frsize, s.f_bavail * s.f_frsize, device_size(mount))


def device_size(mount: str) -> int:
    """0: it is on no disk."""
    number = os.stat(mount).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/size", encoding="ascii") as file:
            return 512 * int(file.read())
    except OSError:
        return 0


def reserve_size(total: int) -> int:
    """One per cent of a disk, within reason."""
    return min(max(total // 100, 64 * MIB), 2 * GIB)


def least_free(total: int) -> int:
    """A disk with less free is full."""
    return max(32 * MIB, total * 2 // 1000)


class Disk:
    """The data disk: how full it is, and its reserve."""

    def __init__(self, mount: str, say: Say, look: Callable[[str], Usage | None] = usage, marker: str = MARKER, grow: str = GROW) -> None:
        self.mount, self.say, self.usage, self.marker, self.grow = mount, say, look, marker, grow
        self.reserve = os.path.join(mount, ".reserve")
        self.full = os.path.exists(marker)
        self.said_level = 0
        self.said_at = 0.0
        self.made_at: float | None = None
        self.made_for = 0
        self.before: Usage | None = None

    def look(self, now: float) -> Usage | None:
        """Looks, says and does what there is to; gives what it saw, if there is a disk."""
        seen = self.usage(self.mount)
        if seen is None:
            return None
        self.follow(seen)
        least, reserve = least_free(seen.total), reserve_size(seen.total)
        if not self.full and seen.free < least:
            self.begin(seen, now)
        elif self.full and seen.free >= 2 * least + reserve:
            self.end(seen, now)
        elif not self.full and seen.percent < 70:
            self.make_reserve(reserve, now)
        self.speak(seen, now)
        return seen

    def follow(self, seen: Usage) -> None:
        """Has the file system grown when its disk has. At the boot, pgha-disk did."""
        before, self.before = self.before, seen
        if before is None:
            return
        if seen.device > before.device > 0:
            with open(self.grow, "w", encoding="ascii"):
                pass
        if seen.total > before.total:
            self.say("disk", "ok", f"{self.mount} has grown from {step.size(before.total)} to {step.size(seen.total)}")

    def begin(self, seen: Usage, now: float) -> None:
        """The disk is full from now on."""
        self.full = True
        gave = "there is no reserve to give up"
        try:
            held = os.lstat(self.reserve).st_size
            os.unlink(self.reserve)
            gave = f"gave up the reserve of {step.size(held)}"
        except FileNotFoundError:
            pass
        with open(self.marker, "w", encoding="ascii"):
            pass
        self.said_level, self.said_at = 100, now
        self.say("disk", "warn", f"{self.mount} is full, {step.size(seen.free)} of {step.size(seen.total)} are free: {gave}; {WHAT_TO_DO}")

    def end(self, seen: Usage, now: float) -> None:
        """The disk has room again."""
        self.full = False
        self.made_at = None
        self.make_reserve(reserve_size(seen.total), now)
        try:
            os.unlink(self.marker)
        except FileNotFoundError:
            pass
        self.said_level, self.said_at = level(seen.percent), now
        self.say("disk", "ok", f"{self.mount} has room again, {step.size(seen.free)} of {step.size(seen.total)}; {step.size(self.reserved())} of it are the reserve again")

    def reserved(self) -> int:
        """How large the reserve is."""
        try:
            return os.lstat(self.reserve).st_size
        except FileNotFoundError:
            return 0

    def make_reserve(self, want: int, now: float) -> None:
        """Makes it, or makes it larger with its disk. What fails is tried again in an hour."""
        if self.reserved() >= want or self.made_at is not None and now - self.made_at < HOUR and want <= self.made_for:
            return
        self.made_at, self.made_for = now, want
        try:
            # A disk that others had may hold a link there.
            file = os.open(self.reserve, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(file, 0o600)
                os.posix_fallocate(file, 0, want)
            finally:
                os.close(file)
        except OSError as error:
            self.say("disk", "warn", f"cannot make the reserve of {step.size(want)}, {self.reserve}: {error.strerror}")

    def speak(self, seen: Usage, now: float) -> None:
        """Says how full it is: once at each level, and every hour."""
        percent, now_level = seen.percent, level(seen.percent)
        if now_level and (now_level > self.said_level or now - self.said_at >= HOUR):
            self.said_level, self.said_at = now_level, now
            self.say("disk", "warn", f"{self.mount} is {percent} % full, {step.size(seen.free)} of {step.size(seen.total)} are free: {WHAT_TO_DO}")
        elif percent < CALM and self.said_level and not self.full:
            self.said_level = 0
            self.say("disk", "ok", f"{self.mount} is {percent} % full")


WHAT_TO_DO = "delete data, or make the data disk larger"


def level(percent: int) -> int:
    """The five per cent at which a disk is spoken of; 0: it is not."""
    return percent - percent % 5 if percent >= WARN else 0


class Certificate(NamedTuple):
    """One of those in a file."""

    file: str
    subject: str
    serial: str
    end: float


def read_certificates(file: str) -> list[Certificate]:
    """All that a file holds. A ValueError says that one of them is none."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    with open(file, encoding="ascii", errors="replace") as text:
        blocks = text.read().split(begin)[1:]
    if not blocks:
        raise ValueError(f"{file} holds no certificate")
    found = []
    for block in blocks:
        openssl = subprocess.run(
            ["openssl", "x509", "-noout", "-subject", "-serial", "-enddate", "-nameopt", "RFC2253"],
            input=begin + block.partition(end)[0] + end + "\n", capture_output=True, text=True, check=False)
        lines = dict(line.partition("=")[::2] for line in openssl.stdout.splitlines())
        if openssl.returncode != 0 or not {"subject", "serial", "notAfter"} <= lines.keys():
            raise ValueError(f"{file} holds a certificate that cannot be read")
        found.append(Certificate(file, lines["subject"].strip(), lines["serial"], ssl.cert_time_to_seconds(lines["notAfter"])))
    return found


class Certificates:
    """The certificates of this machine, and how long they are good."""

    def __init__(self, patterns: list[str], say: Say) -> None:
        self.patterns, self.say = patterns, say
        self.known: list[Certificate] = []
        self.files: dict[str, tuple[int, int, int]] = {}
        self.said: dict[Certificate, tuple[str, float]] = {}

    def look(self, now: float) -> list[Certificate]:
        """Reads files that have changed, and says which certificates end soon: once a day; and when none does any more."""
        files = {}
        for file in sorted(path for pattern in self.patterns for path in glob.glob(pattern)):
            try:
                s = os.stat(file)
            except FileNotFoundError:
                continue  # being replaced
            files[file] = (s.st_ino, s.st_mtime_ns, s.st_size)
        if files != self.files:
            self.files = files
            self.read()
        for c in self.known:
            if c.end - now >= EARLY:
                continue
            status = "fail" if c.end <= now else "warn"
            before, at = self.said.get(c, ("", 0.0))
            if status != before or now - at >= DAY:
                self.said[c] = (status, now)
                self.say("certificates", status, sentence(c, now))
        replaced = self.said.keys() - set(self.known)
        for c in replaced:
            del self.said[c]
        if replaced and not self.said:
            self.say("certificates", "ok", "none ends soon any more")
        return self.known

    def read(self) -> None:
        """All files anew."""
        self.known = []
        for file in self.files:
            try:
                # One file may hold a certificate twice.
                self.known += dict.fromkeys(read_certificates(file))
            except (OSError, ValueError) as error:
                self.say("certificates", "warn", f"{error}: run pgha-gen secrets generate, and what it says next")


def sentence(c: Certificate, now: float) -> str:
    """What there is to say of a certificate that ends."""
    day = time.strftime("%Y-%m-%d", time.gmtime(c.end))
    days = int((c.end - now) // DAY)
    when = f"ended on {day}" if c.end <= now else f"ends in {days} {'day' if days == 1 else 'days'}, on {day}"
    whose = f" ({c.subject})" if c.subject else ""
    return f"{c.file}{whose} {when}: run pgha-gen secrets generate, and what it says next"


def back(said: dict[str, dict[str, object]], now: float, units: str = UNITS) -> list[str]:
    """The services that had failed, as they said last, and have gone on since."""
    found = []
    for name, line in said.items():
        if not name.endswith(".service") or line["status"] not in ("wait", "fail"):
            continue
        try:
            started = os.lstat(os.path.join(units, f"invocation:{name}")).st_mtime
        except OSError:
            continue  # it does not run
        at = line["at"]
        if isinstance(at, int) and now - max(started, at / 1000) >= CALM_AFTER:
            found.append(name)
    return found


def sample(name: str, value: float, **labels: str) -> str:
    """One line of Prometheus' text format."""
    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

    inner = ",".join(f'{key}="{quoted(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.0f}" if inner else f"{name} {value:.0f}"


def gauge(name: str, text: str, *samples: str) -> list[str]:
    """A metric with its samples; nothing if there are none."""
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *samples] if samples else []


def metrics(
        info: dict[str, str], ready: bool, certificates: list[Certificate], disk: Usage | None, reserve: int, full: bool,
        said: dict[str, dict[str, object]]) -> str:
    """All that is known, as Prometheus reads it (its text format, 0.0.4)."""
    lines = [
        *gauge("pgha_info", "What this machine is.", sample("pgha_info", 1, **info)),
        *gauge("pgha_ready", "1 once the service has answered, since the boot.", sample("pgha_ready", ready)),
        *gauge("pgha_certificate_end_timestamp_seconds", "When a certificate ends.", *(
            sample("pgha_certificate_end_timestamp_seconds", c.end, file=c.file, subject=c.subject, serial=c.serial)
            for c in certificates)),
        *gauge("pgha_step_failed", "1 if the last that a step said is that it failed.", *(
            sample("pgha_step_failed", line["status"] == "fail", step=name) for name, line in said.items())),
    ]
    if disk is not None:
        for name, text, value in (
            ("size", "The data disk's file system.", disk.total),
            ("free", "What the service may still write.", disk.free),
            ("reserve", "What is given up when the disk is full.", reserve),
        ):
            name = f"pgha_data_disk_{name}_bytes"
            lines += gauge(name, text, sample(name, value))
        lines += gauge("pgha_data_disk_full", "1 from when the disk is full until it has room again.", sample("pgha_data_disk_full", full))
    return "\n".join(lines) + "\n"


def steps(folder: str) -> dict[str, dict[str, object]]:
    """What each step said last."""
    found: dict[str, dict[str, object]] = {}
    for path in sorted(glob.glob(os.path.join(folder, "*"))):
        name = os.path.basename(path)
        if name.endswith(".new"):
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                at, status, detail = file.read().rstrip("\n").split(" ", 2)
            found[name] = {"at": int(at), "status": status, "detail": detail}
        except (OSError, ValueError):
            continue  # being written
    return found


def reports(folder: str) -> tuple[dict[str, object], str]:
    """What programs of the role report of the cluster, by their names; and metrics of it."""
    found: dict[str, object] = {}
    text = ""
    for path in sorted(glob.glob(os.path.join(folder, "*.json")) + glob.glob(os.path.join(folder, "*.prom"))):
        name, kind = os.path.splitext(os.path.basename(path))
        try:
            with open(path, encoding="utf-8") as file:
                if kind == ".json":
                    found[name] = json.load(file)
                else:
                    text += file.read()
        except (OSError, ValueError):
            continue  # taken away just now
    return found, text


def digest() -> str:
    """Of the user-data that is in force; empty: nothing says so yet."""
    try:
        with open(os.path.join(step.STATE, "user-data"), "rb") as file:
            return step.digest(file.read())
    except FileNotFoundError:
        return ""


def recipe() -> str:
    """What the image was baked of."""
    with open(os.path.join(step.LIB, "manifest.json"), encoding="utf-8") as file:
        return str(json.load(file)["recipe"])


def main() -> None:
    """Watches until it is stopped."""
    cluster = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_")
    node = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"]
    console = step.Console(node)
    info = {"role": cluster["PGHA_ROLE"], "node": node, "cluster_token": cluster["PGHA_TOKEN"], "image_recipe": recipe()}
    certificates = Certificates([CERTIFICATES, *os.environ.get("PGHA_CERTIFICATES", "").split()], console.say)
    mount = cluster.get("PGHA_DATA_MOUNT")
    disk = Disk(mount, console.say) if mount else None
    while True:
        seen = disk.look(time.monotonic()) if disk else None
        ready = os.path.exists(os.path.join(step.RUN, "ready"))
        ends = certificates.look(time.time())
        full = disk is not None and disk.full
        for unit in back(steps(step.STEPS), time.time()):
            console.say(unit, "ok", f"it has not failed again for {CALM_AFTER} s")
        said, in_force = steps(step.STEPS), digest()
        reported, more = reports(REPORTS)
        step.write(METRICS, metrics(info, ready, ends, seen, disk.reserved() if disk else 0, full, said) + more)
        step.write(STATUS, json.dumps({
            **info, "ready": ready, "user_data": in_force, "steps": said,
            "certificates": [{"file": c.file, "subject": c.subject, "end": int(c.end)} for c in ends],
            "disk": {"size": seen.total, "free": seen.free, "full": full} if seen else None,
            **reported,
        }) + "\n")
        time.sleep(1)


if __name__ == "__main__":
    main()
