# Generated from client/_sync/keys.py by `make async-client`; do not edit.
"""The calls about API keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from types import NoneType
from typing import Final, Unpack
from uuid import uuid4

from keystead.client._async.sending import AsyncResource, AsyncSender
from keystead.client._async.usage import period
from keystead.client.requests import (
    PAGE_SIZE,
    KeyFilters,
    Request,
    as_list,
    json_body,
    key_parameters,
    path_of,
)
from keystead.client.results import CreatedKey, DayUsage, Key, KeyPage, Page
from keystead.domain.keys import UNSET, Unset
from keystead.domain.renewals import Renewal

ROOT: Final = "/v1"
Expiry = datetime | None | Unset
"""The time at which a key expires: None is never, UNSET is the server's default."""


class AsyncKeys(AsyncResource):
    """The keys of a workspace. `create` and `rotate` send an Idempotency-Key of their own, unless one is given."""

    def __init__(self, sender: AsyncSender, root: str = ROOT) -> None:
        """`root` is the path of the workspace: of the key's own, or of the one that an operator names."""
        super().__init__(sender)
        self._path = f"{root}/keys"

    def list(self, **filters: Unpack[KeyFilters]) -> AsyncIterator[Key]:
        """Yield every key that all filters select, newest first unless they sort otherwise."""
        return self._connection.paginate(self._page(filters, PAGE_SIZE), KeyPage)

    async def page(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[KeyFilters]
    ) -> KeyPage:
        """Return a page of keys with the use of the plan's limit."""
        return await self._connection.send(self._page(filters, limit, cursor), KeyPage)

    async def get(self, id: str) -> Key:
        """Return a key in any status. Raises NotFound."""
        return await self._connection.send(Request("GET", path_of(self._path, id)), Key)

    async def create(
        self,
        description: str,
        *,
        scopes: Iterable[str] | Unset = UNSET,
        expires_at: Expiry = UNSET,
        networks: Iterable[str] | Unset = UNSET,
        metadata: Mapping[str, str] | Unset = UNSET,
        renewal: Renewal | None | Unset = UNSET,
        idempotency_key: str | None = None,
    ) -> CreatedKey:
        """Create a key and return it with its token.

        By default it has the caller's scopes except `keys:write`, expires with the caller, works from the caller's
        networks and can't renew itself. Raises LimitReached, WouldWiden, Invalid; TokenLost if the response with the
        token did not arrive.
        """
        body = json_body(
            description=description,
            scopes=as_list(scopes),
            expires_at=expires_at,
            networks=as_list(networks),
            metadata=metadata,
            renewal=renewal,
        )
        return await self._create(self._path, body, idempotency_key)

    async def update(
        self,
        id: str,
        *,
        description: str | Unset = UNSET,
        scopes: Iterable[str] | Unset = UNSET,
        expires_at: Expiry = UNSET,
        networks: Iterable[str] | Unset = UNSET,
        metadata: Mapping[str, str | None] | Unset = UNSET,
        renewal: Renewal | None | Unset = UNSET,
        if_match: str | None = None,
    ) -> Key:
        """Change a key and return it. Scopes can only be removed. `metadata` is merged: None removes a member.

        `if_match` is the `etag` of the version to change. Raises ChangedMeanwhile for another version; KeyRevoked,
        KeyExpired, WouldWiden.
        """
        body = json_body(
            description=description,
            scopes=as_list(scopes),
            expires_at=expires_at,
            networks=as_list(networks),
            metadata=metadata,
            renewal=renewal,
        )
        request = Request("PATCH", path_of(self._path, id), body=body, if_match=if_match)
        return await self._connection.send(request, Key)

    async def revoke(self, id: str, *, if_match: str | None = None, family: bool = False) -> None:
        """Revoke a key, immediately and permanently. Revoking it again changes nothing.

        `family`: also the keys that renewed themselves to this one, and those that it renewed itself to.
        """
        query = {"family": "true"} if family else {}
        request = Request("DELETE", path_of(self._path, id), query, if_match=if_match)
        await self._connection.send(request, NoneType)

    async def usage(
        self, id: str, *, first: date | None = None, last: date | None = None
    ) -> Sequence[DayUsage]:
        """Return the requests of a key on each day with any, oldest first; by default of the 30 days until today.

        Raises NotFound.
        """
        request = Request("GET", f"{path_of(self._path, id)}/usage", period(first, last))
        page = await self._connection.send(request, Page[DayUsage])
        return page.items

    async def rotate(
        self,
        id: str,
        *,
        overlap: timedelta = timedelta(0),
        end_when_quiet: timedelta | None = None,
        expires_at: Expiry = UNSET,
        idempotency_key: str | None = None,
    ) -> CreatedKey:
        """Create the successor of a key and return it with its token.

        The old key stops working after `overlap`, at most 7 days; earlier once the successor was used and the old key
        was silent for `end_when_quiet`. Raises RotationInProgress, KeyRevoked, KeyExpired; TokenLost as for `create`.
        """
        seconds = int(overlap.total_seconds())
        quiet = UNSET if end_when_quiet is None else int(end_when_quiet.total_seconds())
        body = json_body(
            overlap_seconds=seconds, end_when_quiet_seconds=quiet, expires_at=expires_at
        )
        return await self._create(f"{path_of(self._path, id)}/rotate", body, idempotency_key)

    async def renew(self) -> CreatedKey:
        """Create the successor of the client's own key and return it with its token.

        The old key works until the successor is first used, and an hour longer. Repeating it after a lost answer gives
        another successor. Raises NotRenewable, RotationInProgress, RateLimited, AgainstPolicy.
        """
        request = Request("POST", f"{self._path}/self/rotate", body=json_body())
        return await self._connection.send(request, CreatedKey)

    async def _create(self, path: str, body: bytes, idempotency_key: str | None) -> CreatedKey:
        key = idempotency_key or str(uuid4())
        return await self._connection.send(
            Request("POST", path, body=body, idempotency_key=key), CreatedKey
        )

    def _page(self, filters: KeyFilters, limit: int, cursor: str | None = None) -> Request:
        return Request("GET", self._path, key_parameters(filters, limit, cursor))
