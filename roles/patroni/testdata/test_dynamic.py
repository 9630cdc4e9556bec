"""Tests of dynamic.py: the three-way merge, and its patch as Patroni takes it."""

import copy
import unittest
from typing import Any

import dynamic

SPEC: dict[str, Any] = {"ttl": 20, "failsafe_mode": True, "postgresql": {"use_slots": True, "parameters": {"max_connections": 300, "wal_level": "replica"}}}


def patched(config: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Patroni's patch_config (patroni/utils.py in 4.1)."""
    for name, value in data.items():
        if value is None:
            config.pop(name, None)
        elif name in config:
            if isinstance(value, dict):
                if isinstance(config[name], dict):
                    patched(config[name], value)
                else:
                    config[name] = value
            elif str(config[name]) != str(value):
                config[name] = value
        else:
            config[name] = value
    return config


def changed(**changes: Any) -> dict[str, Any]:
    """The spec with other values; None takes one out."""
    return patched(copy.deepcopy(SPEC), copy.deepcopy(changes))


class MergeTest(unittest.TestCase):
    """What the spec said, says, and what is there."""

    def test_merge(self) -> None:
        more = {"postgresql": {"parameters": {"max_connections": 400}}}
        none = {"postgresql": {"parameters": {"max_connections": None}}}
        theirs = {"maximum_lag_on_timeline": 7, "postgresql": {"parameters": {"foo": "bar"}}}
        tests: list[tuple[str, str, dict[str, Any] | None, dict[str, Any], dict[str, Any], dict[str, Any], list[str], list[str]]] = [
            # name, reason, base, spec, have, what there is in the end, changed, kept
            ("nothing", "nothing changed", SPEC, SPEC, SPEC, SPEC, [], []),
            ("first", "what bootstrap wrote is the spec's", None, SPEC, SPEC, SPEC, [], []),
            ("first, operator's", "what equals is ours, all else is not", None, SPEC, changed(**theirs), changed(**theirs), [],
             ["maximum_lag_on_timeline", "postgresql.parameters.foo"]),
            ("value", "the spec has another one", SPEC, changed(**more), SPEC, changed(**more),
             ["postgresql.parameters.max_connections 400 (was 300)"], []),
            ("new", "the spec has one more", SPEC, changed(loop_wait=2), SPEC, changed(loop_wait=2), ["loop_wait 2"], []),
            ("gone", "what the spec set, it takes away", SPEC, changed(**none), SPEC, changed(**none),
             ["postgresql.parameters.max_connections removed"], []),
            ("gone already", "an operator was faster", SPEC, changed(ttl=None), changed(ttl=None), changed(ttl=None), [], []),
            ("gone with its mapping", "no empty mapping stays", SPEC, changed(postgresql=None), SPEC, changed(postgresql=None),
             ["postgresql.parameters.max_connections removed", "postgresql.parameters.wal_level removed", "postgresql.use_slots removed"], []),
            ("operator's key", "it stays, and is named", SPEC, SPEC, changed(**theirs), changed(**theirs), [],
             ["maximum_lag_on_timeline", "postgresql.parameters.foo"]),
            ("operator's value", "the spec wins, and it is said", SPEC, SPEC, changed(**more), SPEC,
             ["postgresql.parameters.max_connections 300 (was 400, which is not the spec's)"], []),
            ("both changed", "the spec wins, too", SPEC, changed(ttl=60), changed(ttl=30), changed(ttl=60), ["ttl 60 (was 30, which is not the spec's)"], []),
            ("operator removed", "the spec wins here, too", SPEC, SPEC, changed(ttl=None), SPEC, ["ttl 20"], []),
            ("adopted", "an operator's key that the spec takes over becomes the spec's", SPEC, changed(slow=1), changed(slow=1), changed(slow=1), [], []),
            ("looks alike", "Patroni would not change it", SPEC, SPEC, changed(ttl="20"), changed(ttl="20"), [], []),
            ("bool", "as YAML has it", SPEC, changed(failsafe_mode=False), SPEC, changed(failsafe_mode=False), ["failsafe_mode false (was true)"], []),
            ("pause", "an operator's alone", SPEC, SPEC, changed(pause=True), changed(pause=True), [], []),
            ("pause in the spec", "not even then", {**SPEC, "pause": True}, changed(pause=False), changed(pause=True), changed(pause=True), [], []),
            ("mapping for value", "one path has one form", SPEC, changed(ttl={"a": 1}), SPEC, changed(ttl={"a": 1}), ["ttl removed", "ttl.a 1"], []),
            ("value for mapping", "the reverse", changed(ttl={"a": 1}), SPEC, changed(ttl={"a": 1, "b": 2}), SPEC, ["ttl 20", "ttl.a removed"], []),
            ("null and empty", "they say nothing", SPEC, {**SPEC, "slots": {}, "standby": None}, changed(slots={"mine": {"type": "physical"}}),
             changed(slots={"mine": {"type": "physical"}}), [], ["slots.mine.type"]),
            ("list", "is one value", SPEC, changed(ignore_slots=[{"name": "a"}]), changed(ignore_slots=[{"name": "b"}]), changed(ignore_slots=[{"name": "a"}]),
             ["ignore_slots [{'name': 'a'}] (was [{'name': 'b'}], which is not the spec's)"], []),
            ("own key", "the spec has no say in it", SPEC, {**SPEC, "pgha": {"ttl": 1}}, SPEC, SPEC, [], []),
        ]
        for name, reason, base, spec, have, want, says, kept in tests:
            with self.subTest(name, reason=reason):
                there = {**copy.deepcopy(have), **({} if base is None else {"pgha": copy.deepcopy(base)})}
                merged = dynamic.merge(copy.deepcopy(spec), there)
                self.assertEqual((merged.changed, merged.kept), (says, kept))
                result = patched(copy.deepcopy(there), merged.patch)
                remembered = result.pop("pgha")
                self.assertEqual(result, want)
                again = dynamic.merge(copy.deepcopy(spec), {**result, "pgha": remembered})
                self.assertEqual((again.patch, again.changed, again.kept), ({}, [], kept))

    def test_one_patch(self) -> None:
        merged = dynamic.merge(changed(ttl=30), {**SPEC, "mine": 1, "pgha": SPEC})
        self.assertEqual(merged.patch, {"ttl": 30, "pgha": {"ttl": 30}})

    def test_base_is_garbage(self) -> None:
        for base in ("text", 7, None, [1]):
            merged = dynamic.merge(SPEC, {**SPEC, "pgha": base})
            self.assertEqual((merged.patch, merged.changed), ({"pgha": SPEC}, []))


if __name__ == "__main__":
    unittest.main()
