"""Tests of scram.py. TestPython/test_databases.py lets PostgreSQL judge it."""

import base64
import unittest

import scram

# By PostgreSQL 15: CREATE ROLE ... PASSWORD 'secret'
KEPT = "SCRAM-SHA-256$4096:NsIg4DDYPGbFqLWK/C8z7w==$Fp8YUZ8JLCT9F3Zc0TqvJbXntkixa5bWEcyip4dZYKQ=:P7tT6Zr5Idqz5F6LtGXc7pwAmV1j/rf9S3AeS8v8S5o="


class ScramTest(unittest.TestCase):
    """Verifiers."""

    def test_of_postgresql(self) -> None:
        self.assertTrue(scram.proves(KEPT, "secret"))
        self.assertFalse(scram.proves(KEPT, "Secret"))
        salt = base64.b64decode(KEPT.split("$")[1].split(":")[1])
        self.assertEqual(scram.verifier("secret", salt), KEPT)

    def test_fresh_salt(self) -> None:
        self.assertNotEqual(scram.verifier("secret"), scram.verifier("secret"))

    def test_no_verifier(self) -> None:
        for kept in (None, "", "md5a5dc3f3ccf9a3d3a6ad73e29d2ebcc66", "secret", KEPT + "x", KEPT.replace("4096", "0")):
            self.assertFalse(scram.proves(kept, "secret"), kept)

    def test_no_password(self) -> None:
        for password in ("", "pässword", "two\nlines", "a\tb", "nul\0"):
            with self.assertRaisesRegex(ValueError, "printable ASCII"):
                scram.verifier(password)


if __name__ == "__main__":
    unittest.main()
