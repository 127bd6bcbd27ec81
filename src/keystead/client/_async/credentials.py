# Generated from client/_sync/credentials.py by `make async-client`; do not edit.
"""The operator's calls about credentials of services and operators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import NoneType
from typing import Final, Literal

from keystead.client._async.sending import AsyncResource
from keystead.client.requests import PAGE_SIZE, Request, json_body, path_of
from keystead.client.results import CreatedCredential, Credential, Page

PATH: Final = "/operator/v1/credentials"


class AsyncCredentials(AsyncResource):
    """The credentials of your own services, and of operators."""

    def list(self) -> AsyncIterator[Credential]:
        """Yield every credential, newest first, revoked ones included."""
        request = Request("GET", PATH, {"limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[Credential])

    async def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Credential]:
        """Return a page of credentials."""
        request = Request("GET", PATH, {"limit": str(limit), "cursor": cursor})
        return await self._connection.send(request, Page[Credential])

    async def create(self, name: str, *, kind: Literal["service", "operator"]) -> CreatedCredential:
        """Create a credential and return it with its token, which no later response contains."""
        body = json_body(name=name, kind=kind)
        request = Request("POST", PATH, body=body, repeatable=False)
        return await self._connection.send(request, CreatedCredential)

    async def revoke(self, id: str, *, created: bool = False) -> None:
        """Revoke a credential immediately, and with `created` also those that it created, and that these created."""
        query = {"created": "true" if created else None}
        await self._connection.send(Request("DELETE", path_of(PATH, id), query), NoneType)
