"""What a gateway is told of a key that may pass: the header fields that it hands on to the service behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from keystead.domain.instants import format_instant
from keystead.domain.keys import EXPIRES_SOON
from keystead.domain.principals import Principal
from keystead.http.asgi import Header, Message
from keystead.http.stack import NO_STORE, SERVER

MAX_KNOWN: Final = 10_000
"""Keys whose fields are kept made, some 10 MB; one more, and they are made anew."""

_Known = tuple[Principal, datetime | None, Message, Message]
"""Whom it is about; when that one ends; the begin of an answer where that is near, and where it is not."""


class Identities:
    """Makes the fields of a principal: workspace, key and scopes, always all three, so that none is a client's own.

    Their values are ids and scopes, which have no character that means anything in a field.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[str, _Known] = {}

    def fields(self, principal: Principal) -> Sequence[Header]:
        """All that an answer needs, the key's end too where that is near."""
        headers: Sequence[Header] = self.start(principal)["headers"]
        return headers

    def start(self, principal: Principal) -> Message:
        """The begin of an answer with these fields: made once for as long as the principal is the same one.

        It is shared, and not to be changed.
        """
        known = self._known.get(principal.id)
        if known is None or known[0] is not principal:
            known = self._learn(principal)
        _, ends, soon, start = known
        return start if ends is None or ends - self._now() > EXPIRES_SOON else soon

    def _learn(self, principal: Principal) -> _Known:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        fields = [*_names(principal), NO_STORE, SERVER]
        ends = principal.expires_at
        start = _start(fields)
        soon = start if ends is None else _start([*fields, _end(ends)])
        known = self._known[principal.id] = (principal, ends, soon, start)
        return known


def _names(principal: Principal) -> list[Header]:
    return [
        (b"x-keystead-workspace", principal.workspace_id.encode("ascii")),
        (b"x-keystead-key", principal.id.encode("ascii")),
        (b"x-keystead-scopes", str(principal.scopes).encode("ascii")),
    ]


def _end(expires_at: datetime) -> Header:
    return b"keystead-key-expires", format_instant(expires_at).encode("ascii")


def _start(fields: Sequence[Header]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": fields}
