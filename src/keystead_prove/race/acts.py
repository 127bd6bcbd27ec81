"""The acts that revoke a key's access. Most take effect with their response, some at a given time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from keystead_prove.race.history import MILLISECOND
from keystead_prove.servers.calls import SCOPE_TO_KEEP, Key, Refused, create
from keystead_prove.servers.connection import Connection, Reply

TOLERANCE: Final = 250 * MILLISECOND
"""How precisely a key must end by the clock, on every server."""
LIFE: Final = timedelta(seconds=2)
"""The lifetime of a key that ends by the clock."""
BUSY_TRIES: Final = 20
"""Attempts at a rotation while the database is busy."""
TOGETHER: Final = 25
"""Keys that end by the clock in one trial, since most of such a trial is waiting."""
REMEMBERED_BY_THE_CLOCK: Final = 1_500 * MILLISECOND
"""How long the seeded cache keeps a response if the end is only known to a quarter of a second."""
DONE: Final = frozenset({200, 201, 204})
ENDED_BEFORE: Final = frozenset({401, 404, 409})
"""The statuses of an act that an earlier attempt without a response has done already."""
REVOCATION: Final = "/revoke"


@dataclass(frozen=True, slots=True)
class Act:
    """How the keys of a trial are created, and how their access ends.

    `end(connection, key)` ends it with the response that it returns. `ends_at(connection, key)` instead returns
    the time at which it ends, for `together` keys in one trial. `narrows`: the key keeps one of its scopes.
    `with_operator`: only the operator can do it. `remembers`: how long (in nanoseconds) the seeded cache keeps
    a response, so that the check must see it; longer if an act returns late.
    """

    name: str
    says: str
    end: Callable[[Connection, Key], Reply] | None = None
    ends_at: Callable[[Connection, Key], datetime] | None = None
    narrows: bool = False
    lives: timedelta | None = None
    with_operator: bool = False
    together: int = 1
    remembers: int = MILLISECOND

    def make(self, connection: Connection, now: datetime) -> Key:
        """Create a key for a trial. `now` is the installation's time."""
        expires_at = None
        if self.lives is not None:
            expires_at = (now + self.lives + timedelta(seconds=1)).replace(microsecond=0)
        return create(connection, expires_at=expires_at)


def _revoke(connection: Connection, key: Key) -> Reply:
    return connection.send("DELETE", f"/v1/keys/{key.id}")


def _end_itself(connection: Connection, key: Key) -> Reply:
    return connection.send("DELETE", f"/v1/keys/{key.id}", token=key.token)


def _rotate(connection: Connection, key: Key) -> Reply:
    return connection.send("POST", f"/v1/keys/{key.id}/rotate", {"overlap_seconds": 0})


def _narrow(connection: Connection, key: Key) -> Reply:
    return connection.send("PATCH", f"/v1/keys/{key.id}", {"scopes": [SCOPE_TO_KEEP]})


def _give_up(connection: Connection, key: Key) -> Reply:
    """Revoke the key by RFC 7009, again while it is rate-limited (429)."""
    while (reply := connection.post_form(REVOCATION, token=key.token)).status == 429:
        time.sleep(0.2)
    return reply


def _expiry(_: Connection, key: Key) -> datetime:
    return _instant(key.reply.json["expires_at"])


def _end_of_overlap(connection: Connection, key: Key) -> datetime:
    """Rotate the key, again while the database is busy (503), and return the end of the overlap."""
    body = {"overlap_seconds": int(LIFE.total_seconds())}
    reply = connection.send("POST", f"/v1/keys/{key.id}/rotate", body)
    for _ in range(BUSY_TRIES):
        if reply.status == 503:
            time.sleep(0.2)
            reply = connection.send("POST", f"/v1/keys/{key.id}/rotate", body)
    if reply.status != 201:
        raise Refused(f"a key was not rotated: the server responded with {reply.status}")
    return _instant(connection.get(f"/v1/keys/{key.id}").json["expires_at"])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


REVOKED: Final = Act("revoked", "revoked over the API", _revoke)
EXPIRED: Final = Act(
    "expired",
    "left to expire",
    ends_at=_expiry,
    lives=LIFE,
    together=TOGETHER,
    remembers=REMEMBERED_BY_THE_CLOCK,
)
OVERLAPPED: Final = Act(
    "overlap",
    "left to the end of its overlap",
    ends_at=_end_of_overlap,
    together=TOGETHER,
    remembers=REMEMBERED_BY_THE_CLOCK,
)
ACTS: Final = (
    REVOKED,
    Act("ended itself", "revoked with its own token", _end_itself),
    Act("rotated", "rotated without an overlap", _rotate),
    Act("narrowed", "patched to lose scopes", _narrow, narrows=True),
    Act("suspended", "its workspace suspended", with_operator=True),
    EXPIRED,
    OVERLAPPED,
    Act("given up", "revoked with the token itself (RFC 7009)", _give_up),
)
"""All acts; the last one only if servers support RFC 7009."""


def has_revocation(urls: Sequence[str]) -> bool:
    """Return whether every server supports RFC 7009: without a token it asks for one."""
    for url in urls:
        with Connection(url) as connection:
            reply = connection.post_form(REVOCATION)
        if reply.status != 400 or b'"invalid-request"' not in reply.body:
            return False
    return True
