"""The acts that end a key's authority, and how each is done. Most end it with their answer, some at an instant."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from keystead_prove.calls import SCOPE_TO_KEEP, Key, Refused, create
from keystead_prove.connection import Line, Reply
from keystead_prove.history import MILLISECOND

TOLERANCE: Final = 250 * MILLISECOND
"""How exact an end by the clock is, on every server."""
LIFE: Final = timedelta(seconds=2)
"""How long a key lives that ends by the clock."""
BUSY_TRIES: Final = 20
"""How often a rotation is asked for where the database is busy."""
TOGETHER: Final = 25
"""How many keys end by the clock at a time: most of such a trial is waiting."""
REMEMBERED_BY_THE_CLOCK: Final = 1_500 * MILLISECOND
"""What a planted cache remembers an answer for where the end may be a quarter of a second off."""
DONE: Final = frozenset({200, 201, 204})
ENDED_BEFORE: Final = frozenset({401, 404, 409})
"""What an act is answered that an attempt without an answer has done already."""
REVOCATION: Final = "/revoke"


@dataclass(frozen=True, slots=True)
class Act:
    """How keys are made for it, and ended.

    `end(line, key)` ends it with the answer that it returns. Where `ends_at(line, key)` is given instead, the key ends
    at that instant, and so do others, `together` in one trial. `narrows`: the key goes on, with one scope of the many
    that it had. `with_operator`: the act is the operator's. `remembers`: for how many nanoseconds a planted cache must
    keep an answer to be seen, in the time that the act takes to be answered once it is done.
    """

    name: str
    says: str
    end: Callable[[Line, Key], Reply] | None = None
    ends_at: Callable[[Line, Key], datetime] | None = None
    narrows: bool = False
    lives: timedelta | None = None
    with_operator: bool = False
    together: int = 1
    remembers: int = MILLISECOND

    def make(self, line: Line, now: datetime) -> Key:
        """A key for a trial. `now` is the time that decides."""
        expires_at = None
        if self.lives is not None:
            expires_at = (now + self.lives + timedelta(seconds=1)).replace(microsecond=0)
        return create(line, expires_at=expires_at)


def _revoke(line: Line, key: Key) -> Reply:
    return line.send("DELETE", f"/v1/keys/{key.id}")


def _end_itself(line: Line, key: Key) -> Reply:
    return line.send("DELETE", f"/v1/keys/{key.id}", token=key.token)


def _rotate(line: Line, key: Key) -> Reply:
    return line.send("POST", f"/v1/keys/{key.id}/rotate", {"overlap_seconds": 0})


def _narrow(line: Line, key: Key) -> Reply:
    return line.send("PATCH", f"/v1/keys/{key.id}", {"scopes": [SCOPE_TO_KEEP]})


def _give_up(line: Line, key: Key) -> Reply:
    """RFC 7009; refused for haste (429) it has done nothing, and is asked again."""
    while (reply := line.post_form(REVOCATION, token=key.token)).status == 429:
        time.sleep(0.2)
    return reply


def _expiry(_: Line, key: Key) -> datetime:
    return _instant(key.reply.json["expires_at"])


def _end_of_overlap(line: Line, key: Key) -> datetime:
    """Refused for being busy (503) it has done nothing, or is told so (409) when it is asked again."""
    asked = {"overlap_seconds": int(LIFE.total_seconds())}
    reply = line.send("POST", f"/v1/keys/{key.id}/rotate", asked)
    for _ in range(BUSY_TRIES):
        if reply.status == 503:
            time.sleep(0.2)
            reply = line.send("POST", f"/v1/keys/{key.id}/rotate", asked)
    if reply.status != 201:
        raise Refused(f"a key was not rotated: the server answered {reply.status}")
    return _instant(line.get(f"/v1/keys/{key.id}").json["expires_at"])


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
    Act("given up", "revoked by whoever holds it (RFC 7009)", _give_up),
)
"""Every act; the last is done where servers answer RFC 7009."""


def has_revocation(urls: Sequence[str]) -> bool:
    """Whether every server answers RFC 7009: without a token it asks for one."""
    for url in urls:
        with Line(url) as line:
            reply = line.post_form(REVOCATION)
        if reply.status != 400 or b'"invalid-request"' not in reply.body:
            return False
    return True
