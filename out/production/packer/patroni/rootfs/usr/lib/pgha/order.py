"""Which user-data, and which version of the secrets, came after which.

Neither says by itself whether it is newer than another. So the leader keeps in etcd
what was in force on leaders, one after the other, and a machine keeps what it had. A
machine that has an old one, and never had the newest, missed a change: it must not
bring the cluster back to what it has. One that had what is newest, and then the old
one again, was given that on purpose.

A machine that is new knows nothing of what came before it. So once it has what is
newest, it keeps what the others had until then: what it is given from there on is new,
though it may have been in force before.
"""

from typing import NamedTuple

import step

KEY = "pgha_in_force"  # in Patroni's dynamic configuration: the words of each kind, oldest first
KINDS = {"user-data": "give it the new one", "secrets": "it looks for them within 6 minutes"}  # and what helps


class Met(NamedTuple):
    """What a machine had when it had what is newest, and what the leaders had until then."""

    own: list[str]
    known: list[str]


def lived(own: list[str], met: Met | None) -> list[str]:
    """What a machine had, as if it had been there from the first change on."""
    if met is None or own[:len(met.own)] != met.own:
        return own
    return [*met.known, *own[len(met.own):]]


def newer(known: list[str], own: list[str]) -> str:
    """What this machine missed; empty: nothing that anybody knows of."""
    if not known or not own or own[-1] == known[-1] or _beyond(known, own):
        return ""
    return known[-1]


def follow(known: list[str], own: list[str]) -> list[str]:
    """What is known once this machine's is in force. It must have missed nothing."""
    beyond = [] if known and own[-1:] == known[-1:] else _beyond(known, own)
    return [*known, *beyond][-step.REMEMBERED:]


def _beyond(known: list[str], own: list[str]) -> list[str]:
    """What this machine had after the last that others had, too."""
    position, beyond = 0, list[str]()
    for word in own:
        if word in known[position:]:
            position, beyond = known.index(word, position) + 1, []
        else:
            beyond.append(word)
    return beyond
