"""archive.py: segments of WAL, and what pgBackRest says of them."""

import json
import unittest

import archive

SIZE = 16 << 20


def there(*names: str) -> set[archive.Segment]:
    """Segments of these names."""
    return {s for name in names if (s := archive.segment(name, SIZE))}


class TestSegment(unittest.TestCase):
    """Names."""

    def test_names(self) -> None:
        """As pgBackRest and PostgreSQL have them."""
        for name, size, want in [
            ("000000010000000000000001", SIZE, (1, 1)),
            ("0000000A00000002000000FF-4f3c.zst", SIZE, (10, 2 * 256 + 255)),
            ("000000010000000100000003", 64 << 20, (1, 64 + 3)),
            ("000000010000000000000001.partial", SIZE, None),
            ("000000010000000000000001.00000028.backup", SIZE, None),
            ("00000002.history", SIZE, None),
            ("archive_status", SIZE, None),
        ]:
            with self.subTest(name):
                got = archive.segment(name, size)
                self.assertEqual(got and (got.timeline, got.number), want)
                if got:
                    self.assertEqual(got.name, name[:24])

    def test_text(self) -> None:
        """The other way."""
        self.assertEqual(archive.text(2 * 256 + 255, SIZE), "00000002000000FF")


class TestArchive(unittest.TestCase):
    """What it has."""

    def test_segments(self) -> None:
        """Folders long before the first are not asked for."""
        asked = []

        def run(*arguments: str) -> str:
            asked.append(arguments[-1])
            return json.dumps({
                "archive/main/18-1": {"0000000100000000": {}, "0000000100000001": {}, "0000000200000001": {}, "00000002.history-1.zst": {}},
                "archive/main/18-1/0000000100000001": {"000000010000000100000000-a.zst": {}, "000000010000000100000001.00000028.backup": {}},
                "archive/main/18-1/0000000200000001": {"000000020000000100000001-a.zst": {}},
            }[arguments[-1]])

        got = archive.Archive(run, SIZE).segments("18-1", 256)
        self.assertEqual(got, there("000000010000000100000000", "000000020000000100000001"))
        self.assertNotIn("archive/main/18-1/0000000100000000", asked)

    def test_unfinished(self) -> None:
        """What a lost leader wrote and did not archive; not what this one archives itself."""
        local = ["000000010000000000000003", "000000010000000000000004", "000000010000000000000005", "000000020000000000000005",
                 "000000020000000000000006", "00000002.history", "archive_status", "000000010000000000000005.partial"]
        has = there("000000010000000000000003")
        self.assertEqual(archive.unfinished(local, 2, 5, has, SIZE), ["000000010000000000000004"])
        self.assertEqual(archive.unfinished(local, 2, 5, there(*local), SIZE), [])

    def test_holes(self) -> None:
        """On whatever timeline."""
        has = there("000000010000000000000002", "000000010000000000000003", "000000020000000000000003", "000000020000000000000005",
                    "000000020000000000000009")
        self.assertEqual(archive.holes(has, 2), [(4, 4), (6, 8)])
        self.assertEqual(archive.holes(has, 1), [(1, 1), (4, 4), (6, 8)])
        self.assertEqual(archive.holes(has, 9), [])
        self.assertEqual(archive.holes(set(), 9), [])

    def test_switch(self) -> None:
        """The last line counts."""
        text = "1\t0/5000158\tno recovery target specified\n\n2\t1/20000A0\tbefore 2026-11-27\n"
        self.assertEqual(archive.switch(text, SIZE), 256 + 2)


class TestSummary(unittest.TestCase):
    """pgBackRest's info."""

    def test_summary(self) -> None:
        """One stanza, none, or a problem."""
        def info(code: int) -> str:
            return json.dumps([{"name": "main", "status": {"code": code, "message": "message"}, "db": [{"id": 1, "version": "18"}]}])

        self.assertEqual((archive.summary(info(0)) or {})["name"], "main")
        self.assertEqual(archive.part(archive.summary(info(2)) or {}), "18-1")
        self.assertIsNone(archive.summary(info(1)))
        self.assertIsNone(archive.summary(info(3)))
        for text, want in [
            (info(99), "message"),
            (json.dumps([{"status": {"code": 99, "message": "other"}, "repo": [{"status": {"code": 99, "message": "[ServiceError] [507] Insufficient Storage"}}]}]),
             "the bucket is full: raise its limit"),
            ("[]", "pgBackRest's info is not in its form"),
            ("{", "pgBackRest's info is not in its form"),
        ]:
            with self.assertRaisesRegex(ValueError, want):
                archive.summary(text)

    def test_damaged(self) -> None:
        """By its own code, and by that of archive-get's own error; what only cannot be reached is not damaged."""
        for said, want in [
            ("P00  ERROR: [026]: actual checksum 'a' does not match expected checksum 'b'", True),
            ("P00  ERROR: [055]: unable to open missing file", True),
            ("P00  ERROR: [042]: unable to get 07:\n    repo1: 07.zst [FormatError] zst error: [-20] Data corruption detected", True),
            ("P00  ERROR: [042]: unable to get 07:\n    repo1: 07.zst [ServiceError] HTTP request failed with 503", False),
            ("P00  ERROR: [101]: HTTP request failed with 503", False),
            ("unable to find 07 in the archive", False),
        ]:
            self.assertEqual(archive.damaged(said), want, said)


if __name__ == "__main__":
    unittest.main()
