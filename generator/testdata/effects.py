"""What refresh.py makes of user-data and lists of effects, for a test that compares.

Arguments: base.list. Standard input: {name: {"List": role.list, "UserData": text}}.
"""

import json
import sys

import userdata

answer = {}
for name, sample in json.load(sys.stdin).items():
    rules = userdata.read_rules(sample["List"], sys.argv[1])
    lines = []
    for path, data in userdata.read(sample["UserData"].encode()).items():
        for key in userdata.keys(path, data):
            rule = userdata._rule(rules, path, key)  # pylint: disable=protected-access
            lines.append(f"{path} {key}: {rule.path} {rule.key} {rule.effect} {rule.what}")
    answer[name] = sorted(lines)
json.dump(answer, sys.stdout)
