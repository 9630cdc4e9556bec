"""What the Python programs of a machine share: paths, and lines on the console."""

import hashlib
import os
import re
import time

ETC = os.environ.get("PGHA_ETC", "/etc/pgha")
RUN = os.environ.get("PGHA_RUN", "/run/pgha")
LIB = os.environ.get("PGHA_LIB", "/usr/lib/pgha")
STATE = os.environ.get("PGHA_STATE", "/var/lib/pgha")
CONSOLE = os.environ.get("PGHA_CONSOLE", "/dev/console")
STEPS = os.path.join(RUN, "steps")

REMEMBERED = 50  # words of what was in force before

MIB = 1 << 20
GIB = 1 << 30

_OWN = {"PGHA_ETC", "PGHA_RUN", "PGHA_LIB", "PGHA_STATE", "PGHA_CONSOLE", "PGHA_UPTIME"}
_FORM = re.compile(r"([A-Z_][A-Z0-9_]*)=(?:'([A-Za-z0-9_./:,@%+=<>~ -]*)'|([A-Za-z0-9_./:,@%+=<>~-]*))")


def read_values(path: str, prefix: str) -> dict[str, str]:
    """The variables of a file whose names begin so, in the forms that step.sh's read_values takes.

    Any other form is a ValueError that names the line by its number: its text may be a secret.
    """
    with open(path, encoding="ascii", errors="surrogateescape", newline="\n") as file:
        lines = file.read().split("\n")
    values = {}
    for number, line in enumerate(lines, 1):
        if not line.partition("=")[0].startswith(prefix):
            continue
        found = _FORM.fullmatch(line)
        if found is None or found[1] in _OWN:
            raise ValueError(f"line {number} of {path} is no plain NAME=value")
        values[found[1]] = found[2] if found[2] is not None else found[3]
    return values


def digest(user_data: bytes) -> str:
    """What user-data is known by. The cloud may keep or drop the line break at its end."""
    return hashlib.sha256(user_data.rstrip(b"\n")).hexdigest()[:16]


def had(kind: str) -> list[str]:
    """What this machine had in force, what it has now at the end: digests of "user-data", or versions of "secrets"."""
    try:
        with open(had_file(kind), encoding="ascii") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def had_file(kind: str) -> str:
    """Where that is kept. Secrets are fetched anew at each boot, and each version of them has a name of its own."""
    return os.path.join(RUN if kind == "secrets" else STATE, "had", kind)


def write(path: str, text: str) -> None:
    """Whole, or not at all; for everybody to read."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    os.rename(path + ".new", path)


def size(count: int) -> str:
    """Bytes, for people."""
    if count >= 10 * GIB:
        return f"{count // GIB} GB"
    return f"{count // MIB} MB"


class Console:
    """Where this node says what it does, in the boot protocol's form."""

    def __init__(self, node: str) -> None:
        self.node = node

    def say(self, step: str, status: str, detail: str) -> None:
        """One line: STEP ok|wait|warn|fail DETAIL. The machine's status has it, too."""
        detail = re.sub(r"[\x00-\x1f\x7f]+", " ", detail)[:400]
        now = time.time_ns() // 1_000_000
        line = f"pgha: {now} {self.node} {step} {status} {detail}\n"
        print(line, end="", flush=True)
        try:
            os.makedirs(STEPS, exist_ok=True)
            write(os.path.join(STEPS, step), f"{now} {status} {detail}\n")
        except OSError:
            pass  # a step that may not write there
        try:
            with open(CONSOLE, "a", encoding="utf-8") as console:
                console.write(line)
        except OSError:
            pass  # a machine without a console must still run
