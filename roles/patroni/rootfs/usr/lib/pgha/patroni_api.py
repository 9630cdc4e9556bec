"""This node's Patroni, as root's programs use it: its REST API, and its process."""

import base64
import http.client
import json
import math
import os
import signal
import socket
import ssl
from typing import Any, NamedTuple

import step

SECRETS = os.path.join(step.RUN, "secrets")
PROCESSES = "/sys/fs/cgroup/system.slice/patroni.service/cgroup.procs"
USER = "patroni"  # of the REST API's unsafe verbs
LARGEST = 4 << 20  # of an answer
SWITCHOVER = 30  # seconds for Patroni to answer that it is done, or cannot be


class Answer(NamedTuple):
    """What Patroni says."""

    status: int
    text: str


class Patroni:
    """This node's Patroni."""

    def __init__(self, name: str, fqdn: str, address: str, port: int) -> None:
        self.name, self.fqdn, self.address, self.port = name, fqdn, address, port

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, patience: float = 3) -> Answer | None:
        """None: it does not answer."""
        try:
            context = ssl.create_default_context(cafile=os.path.join(SECRETS, "ca.crt"))
            headers = {"Content-Type": "application/json"}
            if body is not None:
                context.load_cert_chain(os.path.join(SECRETS, "node.crt"), os.path.join(SECRETS, "node.key"))
                password = step.read_values(os.path.join(SECRETS, "patroni.env"), "PATRONI_RESTAPI_PASSWORD")["PATRONI_RESTAPI_PASSWORD"]
                headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()
            connection = http.client.HTTPSConnection(self.fqdn, self.port, timeout=patience)
            # By its name, which is in its certificate; its address need not be.
            connection.sock = context.wrap_socket(
                socket.create_connection((self.address, self.port), patience), server_hostname=self.fqdn)
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                return Answer(answer.status, answer.read(LARGEST).decode("utf-8", "replace"))
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return None

    def leads(self) -> bool | None:
        """Does this node hold the leader's lock? None: Patroni does not say."""
        answer = self.ask("GET", "/leader")
        return answer.status == 200 if answer else None

    def get(self, path: str) -> Any:
        """What it answers to a question. ValueError: it gives no answer, and why."""
        answer = self.ask("GET", path)
        if answer is None:
            raise ValueError("Patroni does not answer")
        if answer.status != 200:
            raise ValueError(f"Patroni answers {answer.status} to {path}: {answer.text}")
        return json.loads(answer.text)

    def configure(self, patch: dict[str, Any]) -> None:
        """Changes the dynamic configuration. ValueError: it is not changed, and why."""
        answer = self.ask("PATCH", "/config", patch)
        if answer is None:
            raise ValueError("Patroni does not answer")
        if answer.status != 200:
            raise ValueError(f"Patroni answers {answer.status}: {answer.text}")

    def hand_over(self) -> Answer | None:
        """Asks it to let another node lead. It answers when one does, or none can.

        For as long as wal_sender_timeout Patroni counts on a standby that was lost, and may
        refuse for that; not if the next leader is named (its Ha.is_failover_possible).
        """
        request = {"leader": self.name}
        refused = self.ask("POST", "/switchover", request, SWITCHOVER)
        if refused is None or refused.status == 200:
            return refused
        for name in self.standbys():
            answer = self.ask("POST", "/switchover", request | {"candidate": name}, SWITCHOVER)
            if answer and answer.status == 200:
                return answer
        return refused

    def standbys(self) -> list[str]:
        """The nodes that stream and may lead, the best one first; none while an operator has paused Patroni."""
        try:
            cluster = self.get("/cluster")
            if cluster.get("pause"):  # with a name Patroni would do it all the same
                return []
            members = [m for m in cluster["members"] if m["name"] != self.name and m["state"] == "streaming"]
            return [m["name"] for m in sorted(members, key=distance) if not m.get("tags", {}).get("nofailover")]
        except (ValueError, LookupError, TypeError, AttributeError):
            return []

    def reload(self) -> bool:
        """Makes Patroni read its configuration again. False: it is not running yet."""
        for pid in processes(PROCESSES):
            try:
                os.kill(pid, signal.SIGHUP)
                return True
            except ProcessLookupError:
                pass
        return False


def distance(member: dict[str, Any]) -> tuple[bool, float]:
    """How far a member is from the leader: one that commits wait for is closer than one that they do not wait for."""
    lag = member.get("lag")
    return member["role"] == "replica", lag if isinstance(lag, int) else math.inf


def this_node() -> Patroni:
    """The Patroni of this machine."""
    cluster = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_")
    identity = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")
    return Patroni(identity["NODE_NAME"], identity["NODE_FQDN"], identity["NODE_ADDRESS"], int(cluster["PGHA_REST_PORT"]))


def processes(cgroup: str) -> list[int]:
    """Patroni's own process, once it handles SIGHUP: before that, it would end."""
    try:
        with open(cgroup, encoding="ascii") as file:
            pids = file.read().split()
    except OSError:
        return []
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                status = dict(line.partition(":")[::2] for line in file)
        except OSError:
            continue
        catches = int(status.get("SigCgt", "0"), 16) & 1 << signal.SIGHUP - 1
        if status.get("Name", "").strip() == "patroni" and status.get("PPid", "").strip() == "1" and catches:
            found.append(int(pid))
    return found
