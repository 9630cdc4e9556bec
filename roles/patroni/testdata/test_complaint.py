"""complaint.py, with what pgBackRest 2.60 said."""

import unittest

from complaint import complaint

REQUEST = """[ProtocolError] HTTP request failed with {0}:
*** Path/Query ***:
GET /backup/?delimiter=%2F&list-type=2&prefix=demo%2Fbackup%2F
*** Request Headers ***:
authorization: <redacted>
*** Response Headers ***:
content-type: application/xml
*** Response Content ***:
<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{1}</Code><Message>No</Message></Error>"""
CRYPTO = """[CryptoError] unable to load info file '/demo/backup/main/backup.info' or '/demo/backup/main/backup.info.copy':
CryptoError: unable to flush
HINT: is or was the repo encrypted?"""
ENCRYPTED = ("what is in the bucket is encrypted with another pass phrase: take the folder of secrets with which it was made, "
             "or give backup.prefix a new folder")


class TestComplaint(unittest.TestCase):
    """One sentence each."""

    def test_complaint(self) -> None:
        """What is wrong, and what to do."""
        for name, said, want in [
            ("no right", REQUEST.format("403 (Forbidden)", "AccessDenied"),
             "object storage refuses this machine: give its service account the role storage.editor on the bucket"),
            ("key", REQUEST.format("403 (Forbidden)", "InvalidAccessKeyId"),
             "object storage does not take this machine's key, InvalidAccessKeyId: the step storage-key says more"),
            ("key, and no content", "HTTP request failed with 403 (Forbidden)",
             "object storage does not take this machine's key, 403 (Forbidden): the step storage-key says more"),
            ("no bucket", REQUEST.format("404 (Not Found)", "NoSuchBucket"), "the bucket is not there: create it, or correct backup.bucket"),
            ("full", "P00  ERROR: [101]: [507] Insufficient Storage", "the bucket is full: raise its limit, or lower backup.retention"),
            ("away", "[ServiceError] [503] Service Unavailable\n    [ServiceError] on 9 retries from 109-10001ms: [503] Service Unavailable",
             "object storage answers 503, and may come back by itself"),
            ("broken off", "P00  ERROR: [104]: raised from local-1 protocol: archive-push command encountered error(s):\n"
             "    repo1: [ServiceError] TLS error [5:2147483752] no details available\n        [ServiceError] on 9 retries from 1258-15526ms: TLS error",
             "object storage breaks connections off, and may come back by itself"),
            ("broken off, and full", "[ServiceError] TLS error [5:1]\n    [CommandError] on retry at 1ms: [507] Insufficient Storage",
             "the bucket is full: raise its limit, or lower backup.retention"),
            ("not reached", "[HostConnectError] unable to connect to 's:443': [111] Connection refused\n    [HostConnectError] on 9 retries",
             "object storage is not reached: unable to connect to 's:443': [111] Connection refused"),
            ("pass phrase", CRYPTO, ENCRYPTED),
            ("a restore that cannot look", f"P00   WARN: repo1: {CRYPTO}\nP00  ERROR: [075]: no backup set found to restore", ENCRYPTED),
            ("a restore with nothing to restore", "P00   WARN: x\nP00  ERROR: [075]: no backup set found to restore\n", "no backup set found to restore"),
            ("another folder", "P00   WARN: repo1: [FileMissingError] unable to load info file '/x/backup/main/backup.info' or '/x/backup/main/backup.info.copy':\n"
             "FileMissingError: unable to open missing file\nP00  ERROR: [075]: no backup set found to restore",
             "the bucket has no backup.info in this cluster's folder: it is another one, or it was emptied"),
            ("a time before all", "P00   WARN: repo1: [BackupSetInvalidError] no backup sets to restore\n"
             "P00  ERROR: [075]: unable to find backup set with stop time less than '2020-01-01 00:00:00+00'\n",
             "no backup is older than '2020-01-01 00:00:00+00': pgha-gen cluster backups says how far one can go back"),
            ("slow", "P00  ERROR: [082]: unable to push WAL file '1' to the archive asynchronously after 5 second(s)",
             "a segment is not archived after 5 seconds: object storage is slow, or away"),
            ("with the time", "2026-11-27 08:00:22.832 P00  ERROR: [031]: must not be root\n   HINT: x\n", "must not be root"),
            ("with what belongs to it", "P00  ERROR: [042]: unable to get 07:\n    repo1: 07.zst [FormatError] bad\n    HINT: none\n",
             "unable to get 07: repo1: 07.zst [FormatError] bad"),
            ("damaged, and no other pass phrase", "P00  ERROR: [095]: unable to flush [CryptoError]", "unable to flush [CryptoError]"),
            ("without a mark", "\nkilled\n", "killed"),
            ("nothing", "", "it says nothing"),
        ]:
            with self.subTest(name):
                self.assertEqual(complaint(said), want)


if __name__ == "__main__":
    unittest.main()
