#!/usr/bin/python3 -sES
"""What a refresh means to etcd.

    etcd_refresh.py check STAGE   refuses new files that etcd would not start with, or
                                  that would hurt the cluster
    etcd_refresh.py apply         restarts etcd if its settings changed, and removes
                                  the members that were taken out of the spec

The last line of stdout says how it ended. Status 0: good; 75: not yet; any other: no.
"""

import ipaddress
import json
import os
import pwd
import subprocess
import sys
import urllib.parse

import etcd
import etcd_roll
import step
from etcd_roll import NOT_YET, NotYet

ACCESS = os.path.join(step.ETC, "access")
# What etcd was started with.
STARTED = os.path.join(step.RUN, "etcd", "etcd.env")
# The members of the spec that this machine has brought about.
RECORD = os.path.join(step.STATE, "etcd-members")
CLIENTS = "2379"


class Refused(Exception):
    """New files are not taken; says why."""


def judge(path: str, user: str) -> None:
    """Lets etcd, as its user, read its settings. It ends when it has, because it cannot use this data directory."""
    settings = step.read_values(path, "ETCD_") | {"ETCD_DATA_DIR": "/dev/null/none", "ETCD_LOG_OUTPUTS": "stderr"}
    done = subprocess.run(["etcd"], env={"PATH": os.environ["PATH"], **settings}, capture_output=True, text=True, timeout=20,
                          check=False, user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[])
    last = {}
    for line in done.stderr.splitlines():
        try:
            last = json.loads(line)
        except ValueError:
            continue
        if last.get("msg") == "unrecognized environment variable":
            raise Refused(f"etcd knows no {last['environment-variable'].partition('=')[0]}")
    if last.get("dir") != "/dev/null/none":
        raise Refused(f"etcd does not take its settings: {last.get('error') or last.get('msg') or 'it gives no reason'}")


def leaving(members: list[etcd.Member], wanted: dict[str, str], gone: set[str]) -> list[etcd.Member]:
    """The members with these peer URLs. Refused: the cluster would not survive that."""
    going = [m for m in members if m.peer in gone]
    staying = [m for m in members if m not in going]
    if 2 * len(staying) <= len(members):
        raise Refused(f"{' and '.join(map(str, going))} would leave at once, and of {len(members)} etcd members only "
                      f"{len(staying)} would stay (a majority must: exchange one at a time)")
    return going


def check_members(new: dict[str, str], cluster: etcd.Etcd) -> None:
    """Refuses to take out more members than the cluster can spare."""
    gone = set(etcd.initial_cluster().values()) - set(new.values())
    if not gone:
        return
    try:
        members = cluster.members()
        going = leaving(members, new, gone)
        bad = cluster.unhealthy([m for m in members if m not in going]) if going else []
    except etcd.Unavailable as why:
        raise Refused(f"etcd members are taken out, and the cluster does not answer ({why})") from None
    if bad:
        raise Refused(f"{' and '.join(map(str, going))} cannot leave now: {'; '.join(bad)}")


def admitted(path: str) -> set[str]:
    """Who may reach etcd's port for clients."""
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file]
    return {words[2] for words in lines if len(words) == 3 and words[:2] == ["admit", CLIENTS]}


def admits(sources: set[str], host: str) -> bool:
    """Whether a host, an address or a name, is one of these or in one of these networks."""
    if host in sources:
        return True
    try:
        address = ipaddress.ip_address(host)
        return any(address in ipaddress.ip_network(source, strict=False) for source in sources if source[-1].isdigit())
    except ValueError:
        return False


def check_leader(new: set[str], old: set[str], cluster: etcd.Etcd) -> None:
    """Refuses to shut out who leads."""
    if old <= new:
        return
    try:
        keys = cluster.values("/service/")
    except etcd.Unavailable as why:
        raise Refused(f"etcd shuts out {', '.join(sorted(old - new))}, and does not say who leads ({why})") from None
    for key, name in keys.items():
        scope, _, last = key.rpartition("/")
        if last != "leader":
            continue
        try:
            host = urllib.parse.urlsplit(json.loads(keys.get(f"{scope}/members/{name}", "{}")).get("conn_url", "")).hostname
        except (ValueError, AttributeError):
            host = None
        if host and not admits(new, host):
            raise Refused(f"{name} leads and is not in the new spec: switch over first")


def check(stage: str) -> None:
    """Refused: it."""
    env = os.path.join(stage, "etc/etcd/etcd.env")
    judge(env, step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_SERVICE_USER")["PGHA_SERVICE_USER"])
    # Before the other steps of a boot nobody can be asked, and nothing of this
    # is done: the machine that boots has no say.
    if os.environ.get("PGHA_BOOTING") or not os.path.exists(etcd.SECRETS):
        return
    cluster = etcd.cluster()
    check_members(etcd.initial_cluster(env), cluster)
    check_leader(admitted(os.path.join(stage, "etc/pgha/access")), admitted(ACCESS), cluster)


def stale() -> bool:
    """Whether etcd runs with other settings than user-data has. What counts for a first start alone is none."""
    def settings(path: str) -> dict[str, str]:
        return {name: value for name, value in step.read_values(path, "ETCD_").items() if not name.startswith("ETCD_INITIAL_")}

    try:
        return settings(STARTED) != settings(etcd.ENV)
    except FileNotFoundError:
        return False  # it has not started yet


def recorded() -> dict[str, str]:
    """The members that the spec had when this machine last made the cluster have them."""
    try:
        return etcd.initial_cluster(RECORD)
    except (FileNotFoundError, KeyError, ValueError):
        return {}


def release(node: str) -> list[str]:
    """Removes the members that left the spec, one after the other, and gives their names. NotYet: not now, or not all.

    Only those that this machine knew from its own spec: one that it does not know
    may be new, in a spec that has not arrived here.
    """
    wanted = etcd.initial_cluster()
    gone = set(recorded().values()) - set(wanted.values())
    removed = []
    cluster = etcd.cluster()
    try:
        while gone:
            members = cluster.members()
            going = leaving(members, wanted, gone)
            if not going:
                break
            with cluster.lock(node):
                members = cluster.members()
                bad = cluster.unhealthy([m for m in members if m not in going])
                if bad:
                    raise NotYet(f"{going[0]} leaves etcd when all others are healthy: {'; '.join(bad)}")
                if going[0] in members:
                    cluster.run("member", "remove", f"{going[0].id:x}")
                    step.Console(node).say("etcd-members", "ok", f"removed member {going[0]}, which is not in the spec any more")
                    removed.append(str(going[0]))
    except etcd.Locked as other:
        raise NotYet(f"members leave etcd when {other} is done") from None
    except etcd.Unavailable as why:
        raise NotYet(f"members leave etcd when its cluster answers: {why}") from None
    except Refused as why:
        raise NotYet(str(why)) from None
    record(wanted)
    return removed


def record(members: dict[str, str]) -> None:
    """Remembers these members."""
    os.makedirs(step.STATE, exist_ok=True)
    step.write(RECORD, f"ETCD_INITIAL_CLUSTER={','.join(f'{name}={url}' for name, url in members.items())}\n")


def apply(node: str) -> str:
    """Gives what took effect. NotYet: it must wait."""
    done = []
    if stale():
        done.append(etcd_roll.once(node))
    for name in release(node):
        done.append(f"removed member {name}")
    return ", ".join(done) or "etcd goes on as it is"


def main() -> int:
    """Gives the exit status."""
    node = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_").get("NODE_NAME", "") if sys.argv[1] == "apply" else ""
    try:
        if sys.argv[1] == "check":
            check(sys.argv[2])
        else:
            print(apply(node))
        return 0
    except NotYet as why:
        print(why)
        return NOT_YET
    except (Refused, RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
