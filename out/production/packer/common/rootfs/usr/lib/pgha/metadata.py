"""What the cloud has for this machine, and waiting for it to change."""

import http.client
import os
import urllib.parse

METADATA = os.environ.get("PGHA_METADATA", "http://169.254.169.254")
USER_DATA = "instance/attributes/user-data"

LONG_POLL = 60  # seconds that metadata holds a question


class Metadata:
    """What the cloud has for this machine."""

    def __init__(self, url: str) -> None:
        self.url = urllib.parse.urlsplit(url)
        self.etag = ""

    def ask(self, path: str, timeout: float) -> tuple[int, bytes, str]:
        """Status, value and ETag; an OSError or HTTPException: it does not answer."""
        connection = http.client.HTTPConnection(self.url.hostname or "", self.url.port or 80, timeout=timeout)
        try:
            connection.request("GET", "/computeMetadata/v1/" + path, headers={"Metadata-Flavor": "Google"})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("ETag", "")
        finally:
            connection.close()

    def user_data(self, wait: float) -> bytes:
        """The user-data, as value has it."""
        return self.value(USER_DATA, wait)

    def value(self, path: str, wait: float) -> bytes:
        """The value; with wait, once it is another than that of the last answer, or after so many seconds."""
        query = f"?wait_for_change=true&timeout_sec={wait:.0f}&last_etag={urllib.parse.quote(self.etag)}" if wait and self.etag else ""
        try:
            status, text, etag = self.ask(path + query, wait + 10)
        except (OSError, http.client.HTTPException) as error:
            self.etag = ""
            raise ConnectionError(f"metadata at {self.url.geturl()} does not answer: {error}") from None
        if status != 200:
            self.etag = ""
            raise ConnectionError(f"metadata has no {path.rpartition('/')[2]} (it answers {status})")
        self.etag = etag
        return text
