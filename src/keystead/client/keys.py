"""API keys over the API: the calls, and how both kinds of client offer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from keystead.client import reading
from keystead.client.connection import AsyncConnection, Connection
from keystead.client.errors import InvalidValue
from keystead.client.exchange import Call, Request, encode, path_of
from keystead.client.results import CreatedKey, Key, KeyPage, Page
from keystead.domain.instants import NAIVE, format_instant, is_naive
from keystead.domain.keys import UNSET, Unset

Status = Literal["active", "expired", "revoked"]
End = datetime | None | Unset
"""When a key ends: None is never, UNSET leaves it to the server's rule."""


def _page(
    status: Status | None, query: str, limit: int, cursor: str | None = None
) -> Call[KeyPage]:
    asked = {"status": status, "query": query or None, "limit": str(limit), "cursor": cursor}
    sent = {name: value for name, value in asked.items() if value is not None}
    return Call(Request("GET", "/v1/keys", sent), reading.key_page)


def _walked(status: Status | None, query: str, cursor: str | None) -> Call[Page[Key]]:
    call = _page(status, query, 200, cursor)
    return Call(call.request, call.read)


def _get(id: str) -> Call[Key]:
    return Call(Request("GET", _path(id)), reading.key)


def _create(
    description: str, scopes: Iterable[str] | Unset, expires_at: End, once: str | None
) -> Call[CreatedKey]:
    body = {"description": description, **_rights(scopes, expires_at)}
    request = Request("POST", "/v1/keys", body=encode(body), once=once or str(uuid4()))
    return Call(request, reading.created_key)


def _update(
    id: str, description: str | Unset, scopes: Iterable[str] | Unset, expires_at: End
) -> Call[Key]:
    body = _rights(scopes, expires_at)
    if not isinstance(description, Unset):
        body["description"] = description
    return Call(Request("PATCH", _path(id), body=encode(body)), reading.key)


def _revoke(id: str) -> Call[None]:
    return Call(Request("DELETE", _path(id)), reading.nothing)


def _rotate(id: str, overlap: timedelta, expires_at: End, once: str | None) -> Call[CreatedKey]:
    body = {"overlap_seconds": int(overlap.total_seconds()), **_rights(UNSET, expires_at)}
    path = f"{_path(id)}/rotate"
    request = Request("POST", path, body=encode(body), once=once or str(uuid4()))
    return Call(request, reading.created_key)


def _rights(scopes: Iterable[str] | Unset, expires_at: End) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if not isinstance(scopes, Unset):
        body["scopes"] = list(scopes)
    if not isinstance(expires_at, Unset):
        body["expires_at"] = None if expires_at is None else _written(expires_at)
    return body


def _written(expires_at: datetime) -> str:
    if is_naive(expires_at):
        raise InvalidValue(f"expires_at {NAIVE}.")
    return format_instant(expires_at)


def _path(id: str) -> str:
    return f"/v1/keys{path_of(id)}"


class Keys:
    """The keys of the workspace. Creating and rotating send an Idempotency-Key of their own, unless one is given."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, status: Status | None = None, query: str = "") -> Iterator[Key]:
        """Every key, newest first; of that status, or with `query` in the description, where given."""
        return self._connection.walk(lambda cursor: _walked(status, query, cursor))

    def page(
        self,
        *,
        status: Status | None = None,
        query: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> KeyPage:
        """One page of keys, with the quota."""
        return self._connection.run(_page(status, query, limit, cursor))

    def get(self, id: str) -> Key:
        """One key, whatever became of it. NotFound."""
        return self._connection.run(_get(id))

    def create(
        self,
        description: str,
        *,
        scopes: Iterable[str] | Unset = UNSET,
        expires_at: End = UNSET,
        idempotency_key: str | None = None,
    ) -> CreatedKey:
        """A new key with its token. Left out: the caller's scopes without `keys:write`, and the caller's end.

        LimitReached, WouldWiden, Invalid; TokenLost where the answer that held the token did not arrive.
        """
        return self._connection.run(_create(description, scopes, expires_at, idempotency_key))

    def update(
        self,
        id: str,
        *,
        description: str | Unset = UNSET,
        scopes: Iterable[str] | Unset = UNSET,
        expires_at: End = UNSET,
        if_match: str | None = None,
    ) -> Key:
        """The key with what was given changed; scopes only shrink. KeyRevoked, KeyExpired, WouldWiden.

        `if_match`: the `etag` of the version that the change is made for; another one is ChangedMeanwhile.
        """
        return self._connection.run(_update(id, description, scopes, expires_at).when(if_match))

    def revoke(self, id: str, *, if_match: str | None = None) -> None:
        """Ends the key, at once and for good; again is the same."""
        self._connection.run(_revoke(id).when(if_match))

    def rotate(
        self,
        id: str,
        *,
        overlap: timedelta = timedelta(0),
        expires_at: End = UNSET,
        idempotency_key: str | None = None,
    ) -> CreatedKey:
        """A successor with its token; the old key ends now, or after the overlap (at most 7 days).

        RotationInProgress, KeyRevoked, KeyExpired; TokenLost as for create.
        """
        return self._connection.run(_rotate(id, overlap, expires_at, idempotency_key))


class AsyncKeys:
    """As Keys, awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def list(self, *, status: Status | None = None, query: str = "") -> AsyncIterator[Key]:
        """As Keys.list."""
        return self._connection.walk(lambda cursor: _walked(status, query, cursor))

    async def page(
        self,
        *,
        status: Status | None = None,
        query: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> KeyPage:
        """As Keys.page."""
        return await self._connection.run(_page(status, query, limit, cursor))

    async def get(self, id: str) -> Key:
        """As Keys.get."""
        return await self._connection.run(_get(id))

    async def create(
        self,
        description: str,
        *,
        scopes: Iterable[str] | Unset = UNSET,
        expires_at: End = UNSET,
        idempotency_key: str | None = None,
    ) -> CreatedKey:
        """As Keys.create."""
        call = _create(description, scopes, expires_at, idempotency_key)
        return await self._connection.run(call)

    async def update(
        self,
        id: str,
        *,
        description: str | Unset = UNSET,
        scopes: Iterable[str] | Unset = UNSET,
        expires_at: End = UNSET,
        if_match: str | None = None,
    ) -> Key:
        """As Keys.update."""
        return await self._connection.run(
            _update(id, description, scopes, expires_at).when(if_match)
        )

    async def revoke(self, id: str, *, if_match: str | None = None) -> None:
        """As Keys.revoke."""
        await self._connection.run(_revoke(id).when(if_match))

    async def rotate(
        self,
        id: str,
        *,
        overlap: timedelta = timedelta(0),
        expires_at: End = UNSET,
        idempotency_key: str | None = None,
    ) -> CreatedKey:
        """As Keys.rotate."""
        return await self._connection.run(_rotate(id, overlap, expires_at, idempotency_key))
