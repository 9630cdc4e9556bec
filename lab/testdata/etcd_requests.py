"""Asks members of etcd without a pause, the way Patroni renews its lease, until a file is there.

    etcd_requests.py FILE SECRETS HOST...

Prints, as JSON, how many answers there were, and those that Patroni takes for a refusal. A
connection that breaks is none: Patroni asks the next member then, as it does after code 14.
"""

import base64
import collections
import http.client
import json
import os
import ssl
import sys
import threading
import time

UNAVAILABLE = 14
answers: collections.Counter[str] = collections.Counter()


def refusal(status: int, text: str) -> str:
    """Why Patroni would give up its lease after this answer; empty: it would not."""
    said = json.loads(text)
    error = said.get("error")
    code = error.get("grpc_code") if isinstance(error, dict) else said.get("code")
    if error and code != UNAVAILABLE:
        return f"{status} {text.strip()}"
    return ""


class Member:
    """One of etcd's members."""

    def __init__(self, host: str, context: ssl.SSLContext) -> None:
        self.host, self.context = host, context
        self.connection: http.client.HTTPSConnection | None = None

    def ask(self, path: str, body: object) -> tuple[int, str]:
        """The status and the answer. OSError, HTTPException: the connection breaks."""
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.host, 2379, context=self.context, timeout=3)
        try:
            self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def keep_asking(self, end: str, path: str, body: object) -> None:
        """Counts answers until the file is there."""
        while not os.path.exists(end):
            try:
                answers[refusal(*self.ask(path, body))] += 1
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)


def first_answer(members: list[Member], path: str, body: object) -> str:
    """That of the first member that gives one. OSError: none does for ten seconds."""
    for _ in range(100):
        for member in members:
            try:
                status, text = member.ask(path, body)
                if status == 200:
                    return text
            except (OSError, http.client.HTTPException):
                continue
        time.sleep(0.1)
    raise OSError(f"no member answers {path}")


def main(end: str, secrets: str, hosts: list[str]) -> None:
    """Until the file is there."""
    context = ssl.create_default_context(cafile=f"{secrets}/ca.crt")
    context.load_cert_chain(f"{secrets}/node.crt", f"{secrets}/node.key")
    members = [Member(host, context) for host in hosts]
    lease = json.loads(first_answer(members, "/v3/lease/grant", {"TTL": 600}))["ID"]
    key, value = (base64.b64encode(text).decode() for text in (b"/pgha/requests", b"x"))
    put = {"request_put": {"key": key, "value": value, "lease": lease}}
    requests: list[tuple[str, object]] = [("/v3/lease/keepalive", {"ID": lease}), ("/v3/kv/txn", {"success": [put]})]
    threads = [threading.Thread(target=Member(host, context).keep_asking, args=(end, *request)) for host in hosts for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first_answer(members, "/v3/lease/revoke", {"ID": lease})
    print(json.dumps({"answers": answers.total(), "refusals": {text: n for text, n in answers.items() if text}}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
