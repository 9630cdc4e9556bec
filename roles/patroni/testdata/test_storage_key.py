"""storage_key.py against a metadata service and an IAM that answer as the test says."""

import http.server
import json
import os
import stat
import tempfile
import threading
import unittest
from typing import Any

import storage_key

TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
KEYS = "/iam/aws-compatibility/v1/ephemeralAccessKeys"
GIVEN = {"accessKeyId": "id1", "secret": "YCs", "sessionToken": "s1.t", "expiresAt": "2026-03-01T16:00:00.123456789Z"}
WANT = {"Version": 1, "AccessKeyId": "id1", "SecretAccessKey": "YCs", "SessionToken": "s1.t", "Expiration": "2026-03-01T16:00:00Z"}
END = 1772380800.0


class Service:
    """Both services at one address."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, str, str]] = []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """What do_GET gives, do_POST gives, too."""

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                service.asked.append((self.path, self.headers.get("Authorization") or self.headers.get("Metadata-Flavor", ""), body))
                status, text = service.answers.get(self.path, (404, ""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Silence."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        """Nothing stays."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class TestFetch(unittest.TestCase):
    """What is asked, and what comes of the answers."""

    def setUp(self) -> None:
        self.service = Service()
        self.addCleanup(self.service.close)
        storage_key.METADATA = storage_key.IAM = self.service.url

    def answer(self, token: tuple[int, str], key: tuple[int, str]) -> None:
        """Of the two services."""
        self.service.answers = {TOKEN: token, KEYS: key}

    def test_key(self) -> None:
        """The token of the machine is changed for a key in the other form."""
        self.answer((200, '{"access_token": "t1.x"}'), (200, json.dumps(GIVEN)))
        self.assertEqual(storage_key.fetch("demo-pg-1"), WANT)
        self.assertEqual(self.service.asked, [
            (TOKEN, "Google", ""),
            (KEYS, "Bearer t1.x", '{"sessionName": "demo-pg-1", "duration": "14400s"}'),
        ])

    def test_refusals(self) -> None:
        """Each says who refuses, and why; none has the token."""
        good, url = (200, '{"access_token": "t1.secret"}'), self.service.url
        for token, key, want in [
            ((404, "no account"), (200, ""), f"metadata at {url} answers 404"),
            ((200, "{}"), (200, ""), "metadata gives no access_token"),
            ((200, "[]"), (200, ""), "metadata gives no access_token"),
            ((200, "<html>"), (200, ""), f"metadata at {url} answers with something that is no JSON"),
            (good, (401, '{"code": 16, "message": "the token has expired"}'), f"IAM at {url} answers 401: the token has expired"),
            (good, (503, "[]"), f"IAM at {url} answers 503"),
            (good, (200, "{}"), f"IAM at {url} answers with something that is no key"),
            (good, (200, json.dumps({**GIVEN, "expiresAt": "soon"})), f"IAM at {url} answers with something that is no key"),
        ]:
            with self.subTest(want):
                self.answer(token, key)
                with self.assertRaises(ConnectionError) as caught:
                    storage_key.fetch("demo-pg-1")
                self.assertEqual(str(caught.exception), want)

    def test_nobody(self) -> None:
        """A service that is not there."""
        storage_key.METADATA = "http://127.0.0.1:9"
        with self.assertRaisesRegex(ConnectionError, "^metadata at http://127.0.0.1:9 does not answer: "):
            storage_key.fetch("demo-pg-1")


class TestKeep(unittest.TestCase):
    """The file."""

    def test_file(self) -> None:
        """It is for the group to read, and another key takes its place whole."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "storage-key", "key.json")
            for key in ({**WANT, "AccessKeyId": "a long one, so that a rest would show"}, WANT):
                storage_key.keep(path, key, os.getgid())
                with open(path, encoding="ascii") as file:
                    self.assertEqual(json.load(file), key)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
            self.assertEqual(os.listdir(os.path.dirname(path)), ["key.json"])


class TestKeeper(unittest.TestCase):
    """When it asks, and what it says."""

    def setUp(self) -> None:
        self.wrong = ""
        self.kept: list[dict[str, Any]] = []
        self.said: list[tuple[str, str, str]] = []
        self.keeper = storage_key.Keeper(self.get, self.kept.append, lambda *line: self.said.append(line))

    def get(self) -> dict[str, Any]:
        """What fetch gives."""
        if self.wrong:
            raise ConnectionError(self.wrong)
        return WANT

    def test_renews_early(self) -> None:
        """IAM may be away for SPARE, and the key still lasts."""
        self.assertEqual(self.keeper.renew(END - storage_key.LIFE), 3600)
        self.assertEqual(self.keeper.renew(END - storage_key.SPARE), storage_key.LEAST, "the token leaves it no more")
        self.assertEqual(self.kept, [WANT, WANT])
        self.assertEqual(self.said, [("storage-key", "ok", "this machine has a key of object storage, and renews it")])

    def test_waits(self) -> None:
        """Longer each time, and says it once; a key that is there still is used."""
        self.wrong = "IAM is away"
        self.assertEqual([self.keeper.renew(0) for _ in range(6)], [5, 10, 20, 40, 60, 60])
        self.wrong = ""
        self.keeper.renew(END - storage_key.LIFE)
        self.wrong = "IAM is away"
        self.assertEqual(self.keeper.renew(END - storage_key.SPARE), 5)
        self.keeper.renew(END + 1)
        self.assertEqual([(status, detail) for _, status, detail in self.said], [
            ("wait", "no key of object storage: IAM is away"),
            ("ok", "this machine has a key of object storage, and renews it"),
            ("warn", "no new key of object storage: IAM is away; the one that is there lasts until 16:00 UTC"),
            ("wait", "no key of object storage: IAM is away"),
        ])


if __name__ == "__main__":
    unittest.main()
