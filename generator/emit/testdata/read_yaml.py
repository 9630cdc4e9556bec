"""Reads one YAML document in base64 per line, prints what PyYAML made of it as JSON."""

import base64
import json
import sys

import yaml


def typed(v):
    """Floats become {"float": repr}: JSON in Go knows one kind of number only."""
    if isinstance(v, float):
        return {"float": repr(v)}
    if isinstance(v, list):
        return [typed(item) for item in v]
    if isinstance(v, dict):
        return {k if isinstance(k, str) else repr(k): typed(item) for k, item in v.items()}
    return v


for line in sys.stdin:
    try:
        print(json.dumps(typed(yaml.safe_load(base64.b64decode(line)))))
    except yaml.YAMLError as e:
        print(json.dumps({"refused": str(e)}))
