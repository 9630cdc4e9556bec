"""Patroni's dynamic configuration: what the spec said, says now, and what is there.

Keys are paths, such as postgresql.parameters.max_connections.
"""

from typing import Any, NamedTuple

import order

BASE = "pgha"  # the key that keeps what the spec said when it was last applied
OTHERS = ("pause", order.KEY)  # keys that no spec has: an operator's, and ours

Tree = dict[str, Any]
Path = tuple[str, ...]


class Merge(NamedTuple):
    """What is to be done, and what there is to say."""

    patch: Tree  # for PATCH /config; empty: nothing
    changed: list[str]
    kept: list[str]  # keys that are somebody else's


def merge(spec: Tree, have: Tree) -> Merge:
    """Makes have what the spec says, but for the keys that it never had."""
    said = have[BASE] if isinstance(have.get(BASE), dict) else {}
    want, base = (leaves({key: value for key, value in text.items() if key not in (*OTHERS, BASE)}) for text in (spec, said))
    there = leaves({key: value for key, value in have.items() if key != BASE})
    result, changed = dict(there), []
    for path in base.keys() - want.keys():
        if result.pop(path, None) is not None:
            changed.append((path, f"{name(path)} removed"))
    for path, value in want.items():
        # Where the spec has a value, there is no mapping, and the reverse.
        for other in [other for other in result if other != path and (other[:len(path)] == path or path[:len(other)] == other)]:
            del result[other]
        if path not in there:
            changed.append((path, f"{name(path)} {show(value)}"))
        elif not same(there[path], value):
            by = "" if path in base and same(base[path], there[path]) else ", which is not the spec's"
            changed.append((path, f"{name(path)} {show(value)} (was {show(there[path])}{by})"))
        result[path] = value
    kept = [path for path in result if path not in want and path[0] not in OTHERS]
    patch = difference(have, {**tree(result), BASE: tree(want)})
    return Merge(patch, [text for _, text in sorted(changed)], [name(path) for path in sorted(kept)])


def leaves(node: Tree, above: Path = ()) -> dict[Path, Any]:
    """The values by their paths. Null is none, for Patroni removes such keys, and an empty mapping has none."""
    found: dict[Path, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found.update(leaves(value, (*above, str(key))))
        elif value is not None:
            found[(*above, str(key))] = value
    return found


def tree(values: dict[Path, Any]) -> Tree:
    """The reverse of leaves."""
    root: Tree = {}
    for path, value in values.items():
        node = root
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value
    return root


def difference(have: Tree, want: Tree) -> Tree:
    """The patch that makes one the other, as Patroni's patch_config takes it."""
    patch: Tree = {key: None for key, value in have.items() if key not in want and value not in (None, {})}
    for key, value in want.items():
        old = have.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := difference(old, value):
                patch[key] = inner
        elif isinstance(old, dict) != isinstance(value, dict) or not same(old, value):
            patch[key] = value
    return patch


def same(a: Any, b: Any) -> bool:
    """Patroni compares what the values look like, and leaves those that look alike."""
    return str(a) == str(b)


def name(path: Path) -> str:
    """As people write it."""
    return ".".join(path)


def show(value: Any) -> str:
    """As YAML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
