"""etcd's JSON gateway, as Patroni's configuration says where it is."""

import base64
import http.client
import json
import queue
import ssl
import threading
from typing import Any


class Gateway:
    """etcd, at the member that answers first."""

    def __init__(self, config: dict[str, Any], patience: float = 3) -> None:
        etcd3 = config["etcd3"]
        self.hosts = list(etcd3["hosts"])
        self.scope, self.namespace = config["scope"], config.get("namespace", "/service/").rstrip("/")
        self.tls = (etcd3["cacert"], etcd3["cert"], etcd3["key"])
        self.patience = patience

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Its answer. ConnectionError: none of them does as it is asked.

        All are asked at once: one whose machine is off would take its time. So what is asked
        for must be right when it is done twice, and late.
        """
        answers: queue.SimpleQueue[dict[str, Any] | str] = queue.SimpleQueue()
        for host in self.hosts:
            threading.Thread(target=lambda host=host: answers.put(self.ask_one(host, path, body)), daemon=True).start()
        why = ""
        for _ in self.hosts:
            answer = answers.get()
            if isinstance(answer, dict):
                return answer
            why = answer
        raise ConnectionError(why)

    def ask_one(self, host: str, path: str, body: dict[str, Any]) -> dict[str, Any] | str:
        """The answer of one, or why there is none."""
        name, _, port = host.rpartition(":")
        connection: http.client.HTTPSConnection | None = None
        try:
            context = ssl.create_default_context(cafile=self.tls[0])
            context.load_cert_chain(*self.tls[1:])
            connection = http.client.HTTPSConnection(name, int(port), timeout=self.patience, context=context)
            connection.request("POST", "/v3/" + path, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            return dict(json.loads(text)) if answer.status == 200 else f"{host} answers {answer.status}: {text.decode('utf-8', 'replace')[:200]}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"{host}: {error}"
        finally:
            if connection:
                connection.close()

    def values(self, prefix: str) -> dict[str, str]:
        """The keys below a prefix, without it, and their values."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        rows = self.ask("kv/range", {"key": encoded(prefix), "range_end": encoded(end)}).get("kvs", [])
        return {decoded(row["key"])[len(prefix):]: decoded(row.get("value", "")) for row in rows}


def encoded(text: str) -> str:
    """As the gateway takes keys and values."""
    return base64.b64encode(text.encode()).decode()


def decoded(text: str) -> str:
    """What the gateway gives."""
    return base64.b64decode(text).decode("utf-8", "replace")
