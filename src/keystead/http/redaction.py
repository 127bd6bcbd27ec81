"""Text from strangers, made fit for a log or a record: without what could be a secret or break a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from traceback import walk_tb

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


FRAMES = 20


def type_names(error: BaseException) -> list[str]:
    """The types of the exception and of what caused it, the last one first."""
    return [f"{type(link).__module__}.{type(link).__qualname__}" for link in _chain(error)]


def places(error: BaseException) -> list[str]:
    """The innermost places that the exception and its causes came through, as `module:line function`."""
    return [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for link in reversed(list(_chain(error)))
        for frame, line in walk_tb(link.__traceback__)
    ][-FRAMES:]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
