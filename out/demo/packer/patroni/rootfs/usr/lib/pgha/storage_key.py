#!/usr/bin/python3 -sES
"""Keeps a key of object storage on this machine that ends by itself.

Only root reaches metadata, and what archives runs as postgres. So root changes this
machine's IAM token for an ephemeral key, long before the last one ends, and leaves it
on tmpfs, in the form that programs of AWS's credential_process take.
"""

import datetime
import grp
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import step

METADATA = os.environ.get("PGHA_METADATA", "http://169.254.169.254")
IAM = os.environ.get("PGHA_IAM", "https://iam.api.cloud.yandex.net")
KEY = os.path.join(step.RUN, "storage-key", "key.json")

LIFE = 4 * 3600  # seconds that a key lives; IAM gives no longer one than its token has left
SPARE = 3 * 3600  # it is replaced that long before its end: so long may IAM be away
LEAST = 60  # between two keys, if a token leaves a key less than SPARE
AGAIN = 5  # seconds until what failed is tried again; then twice as long
MINUTE = 60

Say = Callable[[str, str, str], None]


def ask(request: urllib.request.Request, whom: str) -> Any:
    """The answer, as JSON. ConnectionError: there is none, and why; it names no token."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            message = json.load(error).get("message", "")
        except (ValueError, AttributeError, OSError):
            message = ""
        raise ConnectionError(f"{whom} answers {error.code}" + (f": {message}" if message else "")) from None
    except ValueError:
        raise ConnectionError(f"{whom} answers with something that is no JSON") from None
    except OSError as error:
        raise ConnectionError(f"{whom} does not answer: {getattr(error, 'reason', error)}") from None


def fetch(name: str) -> dict[str, Any]:
    """A new key, in the form of credential_process."""
    found = ask(urllib.request.Request(
        METADATA + "/computeMetadata/v1/instance/service-accounts/default/token",
        headers={"Metadata-Flavor": "Google"}), f"metadata at {METADATA}")
    try:
        token = str(found["access_token"])
    except (KeyError, TypeError):
        raise ConnectionError("metadata gives no access_token") from None
    body = json.dumps({"sessionName": name, "duration": f"{LIFE}s"}).encode()
    found = ask(urllib.request.Request(
        IAM + "/iam/aws-compatibility/v1/ephemeralAccessKeys", body,
        {"Authorization": "Bearer " + token, "Content-Type": "application/json"}), f"IAM at {IAM}")
    try:
        return {
            "Version": 1, "AccessKeyId": str(found["accessKeyId"]), "SecretAccessKey": str(found["secret"]),
            "SessionToken": str(found["sessionToken"]),
            # pgBackRest takes no fractions of a second.
            "Expiration": datetime.datetime.fromtimestamp(end_of(found["expiresAt"]), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    except (KeyError, TypeError, ValueError):
        raise ConnectionError(f"IAM at {IAM} answers with something that is no key") from None


def end_of(text: str) -> int:
    """RFC 3339, in UTC, as seconds. Python 3.10 reads only three or six digits of a fraction."""
    return int(datetime.datetime.strptime(text.partition(".")[0].rstrip("Z") + "Z", "%Y-%m-%dT%H:%M:%S%z").timestamp())


def keep(path: str, key: dict[str, Any], group: int) -> None:
    """Whole or not at all, for root and the service's group alone."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        json.dump(key, file)
        os.fchown(file.fileno(), -1, group)
        os.fchmod(file.fileno(), 0o640)
    os.rename(path + ".new", path)


class Keeper:
    """When a key is due, and what is said."""

    def __init__(self, get: Callable[[], dict[str, Any]], store: Callable[[dict[str, Any]], None], say: Say) -> None:
        self.get, self.store, self.say = get, store, say
        self.end = 0.0  # of the key that is there
        self.pause = AGAIN
        self.said = ""

    def renew(self, now: float) -> float:
        """Takes a new key. The answer is the seconds until it is called again."""
        try:
            key = self.get()
        except ConnectionError as error:
            left = self.end - now
            if left > 0:
                self.tell("warn", f"no new key of object storage: {error}; the one that is there lasts until {clock(self.end)}")
            else:
                self.tell("wait", f"no key of object storage: {error}")
            pause, self.pause = self.pause, min(2 * self.pause, MINUTE)
            return pause
        self.store(key)
        self.end, self.pause = end_of(key["Expiration"]), AGAIN
        self.tell("ok", "this machine has a key of object storage, and renews it")
        return max(self.end - now - SPARE, LEAST)

    def tell(self, status: str, detail: str) -> None:
        """What is as before is not said again."""
        if detail != self.said:
            self.said = detail
            self.say("storage-key", status, detail)


def clock(seconds: float) -> str:
    """A time, for people."""
    return time.strftime("%H:%M UTC", time.gmtime(seconds))


def main() -> int:
    """Works until it is stopped."""
    cluster = step.read_values(os.path.join(step.ETC, "cluster.env"), "PGHA_")
    name = step.read_values(os.path.join(step.RUN, "identity.env"), "NODE_")["NODE_NAME"]
    group = grp.getgrnam(cluster["PGHA_SERVICE_USER"]).gr_gid
    keeper = Keeper(lambda: fetch(name), lambda key: keep(KEY, key, group), step.Console(name).say)
    while True:
        time.sleep(keeper.renew(time.time()))


if __name__ == "__main__":
    sys.exit(main())
