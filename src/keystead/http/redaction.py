"""What a log may show: text from strangers without secrets, and exceptions without their text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from traceback import walk_tb

# A token, a session id or a digest is one long run of these; a key id (26), a UUID (36) and words are shorter.
SECRET_LENGTH = 38
SECRET_RUN = rf"[A-Za-z0-9_\-]{{{SECRET_LENGTH},}}"
_SECRET = re.compile(SECRET_RUN)
REDACTED = "[redacted]"
MAX_PLACES = 20


def redacted(text: str) -> str:
    """Return `text` with every run replaced that is long enough to be a secret."""
    return _SECRET.sub(REDACTED, text) if len(text) >= SECRET_LENGTH else text


def one_line(text: str, length: int) -> str:
    """Return `text` redacted, with unprintable characters escaped, cut to `length` characters."""
    shown = redacted(text)[:length]
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")[:length]


def type_names(error: BaseException) -> list[str]:
    """Return the types of the exception and its causes, the last one first."""
    return [f"{type(link).__module__}.{type(link).__qualname__}" for link in _chain(error)]


def places(error: BaseException) -> list[str]:
    """Return the innermost places that the exception and its causes passed, as `module:line function`."""
    return [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for link in reversed(list(_chain(error)))
        for frame, line in walk_tb(link.__traceback__)
    ][-MAX_PLACES:]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
