"""A guard over keys in memory: no server and no database, but the refusals of the real guards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from keystead.domain.errors import InvalidToken, KeysteadError
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.domain.verification import is_outside
from keystead.integrations.guard import Guard, RequestHead

Key = Scopes | Principal | KeysteadError
"""A key in a test: its scopes, its whole principal, or the error that requests with it get."""

WORKSPACE: Final = "ws_test"
PUBLIC_URL: Final = "http://127.0.0.1:8080"


class FakeGuard(Guard):
    """A guard over `keys`, by token. Add to it or delete from it between two requests."""

    def __init__(
        self, keys: Mapping[str, Key], workspace_id: str = WORKSPACE, public_url: str = PUBLIC_URL
    ) -> None:
        super().__init__(public_url)
        self.keys = dict(keys)
        self._workspace_id = workspace_id

    def decide(self, head: RequestHead, token: str, required: str | None) -> Principal:
        """Return the principal. Raises InvalidToken, InsufficientScope, or the error of the key."""
        key = self.keys.get(token)
        if isinstance(key, KeysteadError):
            raise key.with_traceback(None)
        principal = self._principal(token, key) if isinstance(key, Scopes) else key
        if principal is None or _has_expired(principal):
            raise InvalidToken
        if is_outside(principal, self.sender(head).source):
            raise InvalidToken
        if required is not None:
            principal.require(required)
        return principal

    async def decide_on_loop(
        self, head: RequestHead, token: str, required: str | None
    ) -> Principal:
        """Like `decide`, which never blocks."""
        return self.decide(head, token, required)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _principal(self, token: str, scopes: Scopes) -> Principal:
        # The same id in each request, which does not show the token.
        id = f"key_{sha256(token.encode()).hexdigest()[:22]}"
        return Principal.of_key(id, "a key of a test", self._workspace_id, scopes)


def fake_keystead(
    keys: Mapping[str, Key], *, workspace_id: str = WORKSPACE, public_url: str = PUBLIC_URL
) -> FakeGuard:
    """Return a guard that needs no server, for tests of an application.

    Args:
        keys: Each key by its token, which may be any text that fits an Authorization field. See `Key`.
        workspace_id: The workspace of the keys that are given by their scopes.
        public_url: The URL that problems link to.
    """
    return FakeGuard(keys, workspace_id, public_url)


def _has_expired(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)
