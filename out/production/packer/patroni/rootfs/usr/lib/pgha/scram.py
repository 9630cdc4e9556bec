"""SCRAM-SHA-256 as PostgreSQL keeps it: a verifier that proves a password and does not give it away."""

import base64
import hashlib
import hmac
import os
import re

ITERATIONS = 4096  # PostgreSQL's own
_FORM = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,8}):([A-Za-z0-9+/]+=*)\$([A-Za-z0-9+/]+=*):([A-Za-z0-9+/]+=*)")


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """What PostgreSQL keeps. ValueError: the password would first need SASLprep, which changes some characters."""
    if not password or not password.isascii() or not password.isprintable():
        raise ValueError("it is no password of printable ASCII characters")
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(server)}"


def proves(kept: str | None, password: str) -> bool:
    """Is what PostgreSQL keeps this password's? No login is tried."""
    found = _FORM.fullmatch(kept or "")
    return found is not None and hmac.compare_digest(
        found[0], verifier(password, base64.b64decode(found[2]), int(found[1])))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
