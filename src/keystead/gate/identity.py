"""What a gateway is told of a key that may pass: the header fields that it hands on to the service behind it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from keystead.domain.instants import format_instant
from keystead.domain.keys import EXPIRES_SOON
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.http.asgi import Header
from keystead.http.stack import NO_STORE, SERVER

MAX_KNOWN: Final = 10_000
"""Keys whose fields are kept made, some 5 MB; one more, and they are made anew."""


class Identities:
    """Makes the fields of a principal: workspace, key and scopes, always all three, so that none is a client's own.

    Their values are ids and scopes, which have no character that means anything in a field.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[str, tuple[Scopes, list[Header]]] = {}

    def fields(self, principal: Principal) -> list[Header]:
        """All that an answer needs, made once a key and not to be changed; with the key's end, where that is near."""
        known = self._known.get(principal.id)
        if known is None or known[0] != principal.scopes:
            known = self._learn(principal)
        if principal.expires_at is None:
            return known[1]
        return [*known[1], *self._end(principal.expires_at)]

    def _learn(self, principal: Principal) -> tuple[Scopes, list[Header]]:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        values = (
            (b"x-keystead-workspace", principal.workspace_id),
            (b"x-keystead-key", principal.id),
            (b"x-keystead-scopes", str(principal.scopes)),
        )
        made = [(name, value.encode("ascii")) for name, value in values]
        made += [NO_STORE, SERVER]
        known = self._known[principal.id] = (principal.scopes, made)
        return known

    def _end(self, expires_at: datetime) -> list[Header]:
        if expires_at - self._now() > EXPIRES_SOON:
            return []
        return [(b"keystead-key-expires", format_instant(expires_at).encode("ascii"))]
