"""Text from strangers, made fit for a log or a record: without what could be a secret or break a line."""

from __future__ import annotations

import re

# A token, a session id or a digest is one long run of these; a key id (26), a UUID (36) and words are shorter.
SECRET_RUN = r"[A-Za-z0-9_\-]{38,}"
_SECRET = re.compile(SECRET_RUN)
REDACTED = "[redacted]"


def redacted(text: str) -> str:
    """`text` with every run that is long enough to be a secret replaced."""
    return _SECRET.sub(REDACTED, text) if len(text) >= 38 else text


def one_line(text: str, length: int) -> str:
    """`text` redacted, everything that is not printable escaped, cut to `length` characters."""
    shown = redacted(text)[:length]
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")[:length]
