#!/usr/bin/python3 -sE
"""check_parameters.py STAGE: would PostgreSQL start with the parameters of these files?

The server itself says so: it reads them as it does at a start, and ends before it
opens anything. The last line says why not.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import yaml

import step

SERVER = os.path.join(step.LIB, "postgres.sh")


def parameters(stage: str) -> dict[str, Any]:
    """PostgreSQL's parameters: this node's, and those that all have alike."""
    found: dict[str, Any] = {}
    for name, above in (("bootstrap.yml", ("bootstrap", "dcs")), ("config.yml", ())):
        with open(os.path.join(stage, "etc/patroni", name), encoding="utf-8") as file:
            part = yaml.safe_load(file)
        for key in (*above, "postgresql", "parameters"):
            part = part.get(key) or {}
        found |= part
    return found


def complaint(text: str) -> str:
    """What the server says is wrong, without what its log puts before it."""
    for line in text.splitlines():
        said = re.search(r"(?:FATAL|ERROR|LOG): *(.+)", line)
        if said:
            return said[1]
    return "PostgreSQL does not start with these parameters"


def refused(values: dict[str, Any], user: str) -> str:
    """Why the server does not take them; empty: it does."""
    folder = tempfile.mkdtemp()
    try:
        with open(os.path.join(folder, "postgresql.conf"), "w", encoding="ascii"):
            pass
        os.chmod(folder, 0o755)
        command = [SERVER, "-C", "max_connections", "-D", folder]
        for name, value in values.items():
            command += ["-c", f"{name}={value}"]
        done = subprocess.run(command, user=user, group=user, extra_groups=[], capture_output=True, check=False)
        return complaint(done.stderr.decode(errors="replace")) if done.returncode else ""
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Status 1: they are refused."""
    user = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_SERVICE_USER")["PGHA_SERVICE_USER"]
    try:
        why = refused(parameters(sys.argv[1]), user)
    except (OSError, AttributeError, yaml.YAMLError) as error:
        why = f"its configuration cannot be read: {error}"
    if why:
        print(why)
        sys.exit(1)


if __name__ == "__main__":
    main()
