"""Prefixed, time-ordered, unguessable ids, and the base62 encoding of ids and tokens."""

from __future__ import annotations

import os
import re
from datetime import datetime
from typing import NewType

WorkspaceId = NewType("WorkspaceId", str)
UserId = NewType("UserId", str)
KeyId = NewType("KeyId", str)
EventId = NewType("EventId", str)
SessionId = NewType("SessionId", str)
InvitationId = NewType("InvitationId", str)
CredentialId = NewType("CredentialId", str)
WebhookId = NewType("WebhookId", str)
DeliveryId = NewType("DeliveryId", str)

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_WIDTH = 22

_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_ID = re.compile(r"[0-9A-Za-z]{22}")


def encode_base62(number: int, width: int) -> str:
    """Return `number` (not negative) as big-endian base62, left-padded with `0` to `width`."""
    pairs = []
    while number:
        number, rest = divmod(number, 3844)
        pairs.append(_PAIRS[rest])
    return "".join(reversed(pairs)).lstrip("0").rjust(width, "0")


def decode_base62(text: str) -> int:
    """Return the number that `text` encodes. KeyError for a character outside the alphabet."""
    number = 0
    for character in text:
        number = number * 62 + _VALUES[character]
    return number


def uuid7(now: datetime, after: int = 0) -> int:
    """Return a UUIDv7 (RFC 9562 section 5.7) as a number above `after`: milliseconds, then 74 random bits."""
    # Two ids of one millisecond, or a clock that was set back: the millisecond is counted up, so order is kept.
    milliseconds = max(int(now.timestamp() * 1000), (after >> 80) + 1)
    random = int.from_bytes(os.urandom(10), "big")
    high, low = random >> 68, random & ((1 << 62) - 1)
    return milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low


def new_id(kind: str, now: datetime, after: str | None = None) -> str:
    """Return a fresh id such as `ws_02tcRIyrxLXTR81B3dqdOx`, above `after`; ids of one kind sort by time."""
    return f"{kind}_{encode_base62(uuid7(now, number_of(after)), ID_WIDTH)}"


def least_id(kind: str, instant: datetime) -> str:
    """Return the lowest id of this kind for `instant`: earlier ids are below it, later ones above."""
    milliseconds = int(instant.timestamp() * 1000)
    return f"{kind}_{encode_base62(milliseconds << 80, ID_WIDTH)}"


def number_of(id: str | None) -> int:
    """Return the UUID inside an id as a number; 0 for None."""
    return 0 if id is None else decode_base62(id[-ID_WIDTH:])


def is_id(kind: str, text: str) -> bool:
    """Return whether `text` has the form of an id of this kind (it need not exist)."""
    head, _, tail = text.rpartition("_")
    return head == kind and _ID.fullmatch(tail) is not None
