"""Workspaces over the operator API: the calls, and how both kinds of operator offer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from keystead.client import reading
from keystead.client.connection import AsyncConnection, Connection
from keystead.client.exchange import Call, Request, encode, path_of
from keystead.client.results import ManagedWorkspace, Page, WorkspaceWithUse

PATH = "/operator/v1/workspaces"
Overrides = Mapping[str, int | None]
"""Limits that hold instead of the plan's, by name (`api_keys`, `documents`, ...); None is unlimited."""


def _page(query: str, limit: int, cursor: str | None) -> Call[Page[ManagedWorkspace]]:
    asked = {"query": query or None, "limit": str(limit), "cursor": cursor}
    sent = {name: value for name, value in asked.items() if value is not None}
    return Call(Request("GET", PATH, sent), reading.page(reading.managed_workspace))


def _get(id: str) -> Call[WorkspaceWithUse]:
    return Call(Request("GET", PATH + path_of(id)), reading.workspace_with_use)


def _create(
    name: str, plan: str | None, owner: str | None, email: str | None
) -> Call[ManagedWorkspace]:
    body: dict[str, Any] = {"name": name, "plan": plan}
    if owner is not None:
        body["owner"] = {"name": owner, "email": email}
    request = Request("POST", PATH, body=encode(body), repeatable=False)
    return Call(request, reading.managed_workspace)


def _rename(id: str, name: str) -> Call[ManagedWorkspace]:
    request = Request("PATCH", PATH + path_of(id), body=encode({"name": name}))
    return Call(request, reading.managed_workspace)


def _suspend(id: str) -> Call[ManagedWorkspace]:
    return Call(Request("POST", f"{PATH}{path_of(id)}/suspend"), reading.managed_workspace)


def _resume(id: str) -> Call[ManagedWorkspace]:
    return Call(Request("POST", f"{PATH}{path_of(id)}/resume"), reading.managed_workspace)


def _put_on_plan(id: str, plan: str, overrides: Overrides) -> Call[WorkspaceWithUse]:
    body = encode({"plan": plan, "overrides": dict(overrides)})
    request = Request("PUT", f"{PATH}{path_of(id)}/plan", body=body)
    return Call(request, reading.workspace_with_use)


class Workspaces:
    """The tenants of the installation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, query: str = "") -> Iterator[ManagedWorkspace]:
        """Every workspace, newest first; with `query` in its name, or as its id, where given."""
        return self._connection.walk(lambda cursor: _page(query, 200, cursor))

    def page(
        self, *, query: str = "", limit: int = 50, cursor: str | None = None
    ) -> Page[ManagedWorkspace]:
        """One page of workspaces."""
        return self._connection.run(_page(query, limit, cursor))

    def get(self, id: str) -> WorkspaceWithUse:
        """One workspace with the use of its limits. NotFound."""
        return self._connection.run(_get(id))

    def create(
        self,
        name: str,
        *,
        plan: str | None = None,
        owner: str | None = None,
        email: str | None = None,
    ) -> ManagedWorkspace:
        """A new workspace on that plan, or the smallest; `email` is the owner's. Not tried again when in doubt.

        NameTaken where the address is somebody else's; Invalid.
        """
        return self._connection.run(_create(name, plan, owner, email))

    def rename(self, id: str, name: str, *, if_match: str | None = None) -> ManagedWorkspace:
        """The workspace with another name."""
        return self._connection.run(_rename(id, name).when(if_match))

    def suspend(self, id: str) -> ManagedWorkspace:
        """Refuses every key of the workspace from the answer on; again is the same."""
        return self._connection.run(_suspend(id))

    def resume(self, id: str) -> ManagedWorkspace:
        """Lets the keys work again; again is the same."""
        return self._connection.run(_resume(id))

    def put_on_plan(
        self,
        id: str,
        plan: str,
        *,
        overrides: Overrides | None = None,
        if_match: str | None = None,
    ) -> WorkspaceWithUse:
        """Makes plan and own limits what is given, the whole of it; again is the same. Nothing is ever taken away."""
        return self._connection.run(_put_on_plan(id, plan, overrides or {}).when(if_match))


class AsyncWorkspaces:
    """As Workspaces, awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def list(self, *, query: str = "") -> AsyncIterator[ManagedWorkspace]:
        """As Workspaces.list."""
        return self._connection.walk(lambda cursor: _page(query, 200, cursor))

    async def page(
        self, *, query: str = "", limit: int = 50, cursor: str | None = None
    ) -> Page[ManagedWorkspace]:
        """As Workspaces.page."""
        return await self._connection.run(_page(query, limit, cursor))

    async def get(self, id: str) -> WorkspaceWithUse:
        """As Workspaces.get."""
        return await self._connection.run(_get(id))

    async def create(
        self,
        name: str,
        *,
        plan: str | None = None,
        owner: str | None = None,
        email: str | None = None,
    ) -> ManagedWorkspace:
        """As Workspaces.create."""
        return await self._connection.run(_create(name, plan, owner, email))

    async def rename(self, id: str, name: str, *, if_match: str | None = None) -> ManagedWorkspace:
        """As Workspaces.rename."""
        return await self._connection.run(_rename(id, name).when(if_match))

    async def suspend(self, id: str) -> ManagedWorkspace:
        """As Workspaces.suspend."""
        return await self._connection.run(_suspend(id))

    async def resume(self, id: str) -> ManagedWorkspace:
        """As Workspaces.resume."""
        return await self._connection.run(_resume(id))

    async def put_on_plan(
        self,
        id: str,
        plan: str,
        *,
        overrides: Overrides | None = None,
        if_match: str | None = None,
    ) -> WorkspaceWithUse:
        """As Workspaces.put_on_plan."""
        return await self._connection.run(_put_on_plan(id, plan, overrides or {}).when(if_match))
