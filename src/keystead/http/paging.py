"""Lists in pages: the request's limit and cursor, and the shape of the answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from keystead.domain.errors import FieldError, Invalid, InvalidCursor

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

P = TypeVar("P", str, int)

_BINDING_BYTES = 16
_LONGEST_CURSOR = 512
_DIGITS = re.compile(r"[0-9]{1,4}")
# Any position, even in a forged cursor: an id of any kind, or a sequence that fits 64 bits.
_POSITION = {str: re.compile(rb"[!-~]{1,200}"), int: re.compile(rb"0|[1-9][0-9]{0,17}")}
_ALPHABET = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Page(Generic[P]):
    """A requested page: at most `limit` items after the position `after` (None: from the start).

    A position is the id (`str`) or the sequence (`int`) of the last item of the page before. `binding` is what a cursor
    belongs to.
    """

    limit: int
    after: P | None
    binding: Binding

    def cursor(self, position: P) -> str:
        """Return the cursor that continues after `position`."""
        # The position first: a cursor that began with "-" would be an option to a command line.
        return _base64url(str(position).encode("ascii") + self.binding.digest())

    def next_cursor(self, position: P | None) -> str | None:
        """Return the cursor that continues after the last item's `position`; None on the last page."""
        return None if position is None else self.cursor(position)


class Binding(NamedTuple):
    """The list that a cursor belongs to."""

    workspace_id: str
    path: str
    filters: Mapping[str, str | None]

    def digest(self) -> bytes:
        """Return the bytes that begin every cursor of the list. Most pages need none: the list ends on them."""
        used = sorted((name, value) for name, value in self.filters.items() if value is not None)
        text = repr((self.workspace_id, self.path, used))
        return hashlib.sha256(text.encode()).digest()[:_BINDING_BYTES]


def read_page(
    kind: type[P],
    *,
    workspace_id: str,
    path: str,
    filters: Mapping[str, str | None] | None = None,
    limit: int | str | None = None,
    cursor: str | None = None,
) -> Page[P]:
    """Return the page that `limit` and `cursor` ask for. `kind` is the type of the list's positions.

    A cursor grants nothing: it only names a position, and every list has the workspace in its WHERE.

    Raises:
        Invalid: The limit is not 1-200.
        InvalidCursor: The cursor is malformed, or belongs to another workspace, path or filters.
    """
    binding = Binding(workspace_id, path, filters or {})
    after = None if cursor is None else _position(kind, cursor, binding.digest())
    return Page(read_limit(limit), after, binding)


def read_limit(limit: int | str | None) -> int:
    """Return the number of items that `limit` asks for. Raises Invalid unless it is 1-200."""
    if limit is None:
        return DEFAULT_LIMIT
    number = int(limit) if _DIGITS.fullmatch(str(limit)) else 0
    if not 1 <= number <= MAX_LIMIT:
        raise Invalid.field("query:limit", f"The limit is a number from 1 to {MAX_LIMIT}.")
    return number


def _position(kind: type[P], cursor: str, binding: bytes) -> P:
    data = _decoded(cursor)
    match = _POSITION[kind].fullmatch(data, 0, max(0, len(data) - _BINDING_BYTES))
    if match is None or not data.endswith(binding):
        raise _unfit()
    return kind(match[0].decode("ascii"))


def _decoded(cursor: str) -> bytes:
    if len(cursor) > _LONGEST_CURSOR or not _ALPHABET.fullmatch(cursor):
        raise _unfit()
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except binascii.Error:
        raise _unfit() from None
    if (
        _base64url(data) != cursor
    ):  # base64 has several texts for the same bytes; a position has one
        raise _unfit()
    return data


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unfit() -> InvalidCursor:
    return InvalidCursor([FieldError("query:cursor", "The cursor is not valid for this list.")])
