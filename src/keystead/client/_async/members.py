# Generated from client/_sync/members.py by `make async-client`; do not edit.
"""The operator's calls about the people of a workspace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import NoneType
from typing import Literal

from keystead.client._async.sending import AsyncResource, AsyncSender
from keystead.client.requests import PAGE_SIZE, Request, json_body, path_of
from keystead.client.results import ManagedMember, Page

Role = Literal["owner", "admin", "developer", "viewer"]


class AsyncMembers(AsyncResource):
    """The members of one workspace: users of your product, and people with an account at the server."""

    def __init__(self, sender: AsyncSender, workspace: str) -> None:
        """`workspace` is the path of the workspace."""
        super().__init__(sender)
        self._path = f"{workspace}/members"

    def list(self) -> AsyncIterator[ManagedMember]:
        """Yield every member, newest first."""
        request = Request("GET", self._path, {"limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[ManagedMember])

    async def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[ManagedMember]:
        """Return a page of members."""
        request = Request("GET", self._path, {"limit": str(limit), "cursor": cursor})
        return await self._connection.send(request, Page[ManagedMember])

    async def put(
        self,
        external_id: str,
        *,
        name: str,
        role: Role,
        email: str | None = None,
        if_match: str | None = None,
    ) -> ManagedMember:
        """Make a user of your product a member, or set their name, email and role. Raises LimitReached.

        `external_id` is your product's own id, as in `portal_session`.
        """
        path = path_of(f"{self._path}/by-external-id", external_id)
        body = json_body(name=name, email=email, role=role)
        request = Request("PUT", path, body=body, if_match=if_match)
        return await self._connection.send(request, ManagedMember)

    async def update(self, id: str, *, role: Role, if_match: str | None = None) -> ManagedMember:
        """Change the role of a member. Raises NotFound."""
        body = json_body(role=role)
        request = Request("PATCH", path_of(self._path, id), body=body, if_match=if_match)
        return await self._connection.send(request, ManagedMember)

    async def remove(self, id: str, *, if_match: str | None = None) -> None:
        """End a membership immediately. The keys that the member created keep working. Raises NotFound."""
        request = Request("DELETE", path_of(self._path, id), if_match=if_match, repeatable=False)
        await self._connection.send(request, NoneType)
