"""User-data as data: the files that it writes, and how a change of them takes effect."""

import base64
import binascii
import fnmatch
import json
import os
import re
from typing import Any, NamedTuple

import yaml

import step

LISTS = (os.path.join(step.LIB, "effects", "role.list"), os.path.join(step.LIB, "effects", "base.list"))
EFFECTS = ("reload", "dynamic", "rolling", "restart", "boot", "bootstrap", "machine", "refused")
UNKNOWN = "unknown"  # no rule is about it

_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")  # it is kept in lists, a line each
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What all user-data says beside its files: nobody can log in.
_SETTINGS = {"users": [], "disable_root": True, "ssh_pwauth": False, "allow_public_ssh_keys": False}

Files = dict[str, bytes]


class Refused(Exception):
    """User-data that is not taken, and why."""


def read(text: bytes) -> Files:
    """The files of user-data, by path, as generator/cloudinit writes it; anything else is Refused."""
    if not text.startswith(b"#cloud-config\n"):
        raise Refused("it is no user-data of pgha-gen: its first line is not #cloud-config")
    try:
        document = yaml.load(text, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"it is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise Refused("it is no mapping of keys")
    entries = document.pop("write_files", [])
    for key in {**document, **_SETTINGS}:
        if key not in _SETTINGS or document.get(key) != _SETTINGS[key]:
            raise Refused(f"its key {key} is not as pgha-gen writes it")
    if not isinstance(entries, list):
        raise Refused("write_files is no list")
    files: Files = {}
    for entry in entries:
        path, data = _file(entry)
        if path in files:
            raise Refused(f"it has {path} twice")
        files[path] = data
    return files


def _file(entry: Any) -> tuple[str, bytes]:
    """One item of write_files."""
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise Refused("write_files has an item that is no file")
    path, content, encoding = entry.get("path", ""), entry.get("content", ""), entry.get("encoding", "")
    if set(entry) - {"path", "permissions", "content", "encoding"} or entry.get("permissions") != "0644" or encoding not in ("", "b64"):
        raise Refused(f"its file {path} is not as pgha-gen writes it")
    if not _PATH.fullmatch(path) or os.path.normpath(path) != path:
        raise Refused(f"its path {path!r} is not the path of a file")
    if not encoding:
        return path, content.encode()
    try:
        return path, base64.b64decode(content, validate=True)
    except binascii.Error:
        raise Refused(f"its file {path} is no base64") from None


class Rule(NamedTuple):
    """A line of an effects list."""

    path: str
    key: str  # empty: the whole file
    effect: str
    what: str

    def covers(self, path: str, key: str) -> bool:
        """Is it about this key of this file?"""
        if path.count("/") != self.path.count("/") or not fnmatch.fnmatchcase(path, self.path):
            return False
        if not self.key:
            return True
        wanted, given = self.key.split("."), key.split(".")
        return len(given) >= len(wanted) and all(w in ("*", g) for w, g in zip(wanted, given))


def read_rules(*lists: str) -> list[Rule]:
    """The lines of these lists, in their order."""
    rules = []
    for name in lists:
        with open(name, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip() or line.startswith("#"):
                    continue
                where, effect, what = (line.split(None, 2) + ["", ""])[:3]
                if effect not in EFFECTS:
                    raise ValueError(f"line {number} of {name} has no effect")
                path, _, key = where.partition("#")
                rules.append(Rule(path, key, effect, what.strip()))
    return rules


class Change(NamedTuple):
    """A file, or a key of it, that is not what it was."""

    path: str
    key: str  # empty: the file as a whole
    rule: Rule

    def __str__(self) -> str:
        name = f"{self.key} of {self.path}" if self.key else self.path
        return f"{name} ({self.rule.what})" if self.rule.what else name


def changes(old: Files, new: Files, rules: list[Rule]) -> list[Change]:
    """What differs, and the rule for it."""
    found = []
    for path in sorted({**old, **new}):
        if old.get(path) == new.get(path):
            continue
        before, after = keys(path, old.get(path)), keys(path, new.get(path))
        for key in sorted(set(before) | set(after)):
            if before.get(key) != after.get(key):
                found.append(Change(path, key, _rule(rules, path, key)))
        if before == after:  # the same values, written in another way
            found.append(Change(path, "", _rule(rules, path, "")))
    return found


def _rule(rules: list[Rule], path: str, key: str) -> Rule:
    return next((rule for rule in rules if rule.covers(path, key)), Rule(path, key, UNKNOWN, ""))


def keys(path: str, data: bytes | None) -> dict[str, Any]:
    """The values of a file by their keys; that of a file without keys is its text."""
    if data is None:
        return {}
    kind = path.rpartition(".")[2]
    try:
        if kind == "env":
            return dict(line.partition("=")[::2] for line in data.decode().splitlines() if line and not line.startswith("#"))
        if kind == "yml":
            return _flat("", yaml.load(data, _Loader))
        if kind == "json":
            return _flat("", json.loads(data))
    except (ValueError, yaml.YAMLError, RecursionError):
        raise Refused(f"its file {path} cannot be read") from None
    return {"": data}


def _flat(above: str, value: Any) -> dict[str, Any]:
    """A mapping's values by dotted keys; a list is one value."""
    if not isinstance(value, dict) or not value:
        return {above: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(f"{above}.{key}" if above else str(key), inner)
    return found


def plain(text: str) -> str:
    """One line for the console."""
    return re.sub(r"\s+", " ", text).strip()
