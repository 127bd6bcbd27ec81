# Generated from client/_sync/workspaces.py by `make async-client`; do not edit.
"""The operator's calls about workspaces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Final

from keystead.client._async.sending import AsyncResource
from keystead.client.exchange import ExportLines, Write
from keystead.client.requests import PAGE_SIZE, Request, json_body, path_of
from keystead.client.results import (
    KeyRateLimits,
    ManagedWorkspace,
    OwnRateLimits,
    Page,
    Policy,
    PolicyLayers,
    WorkspaceWithUse,
)
from keystead.domain.keys import UNSET, Unset

PATH: Final = "/operator/v1/workspaces"
BY_EXTERNAL_ID: Final = f"{PATH}/by-external-id"


class AsyncWorkspaces(AsyncResource):
    """The workspaces of the installation."""

    def list(self, *, query: str = "") -> AsyncIterator[ManagedWorkspace]:
        """Yield every workspace with `query` in its name or as its id, newest first."""
        return self._connection.paginate(_page(query, PAGE_SIZE), Page[ManagedWorkspace])

    async def page(
        self, *, query: str = "", limit: int = 50, cursor: str | None = None
    ) -> Page[ManagedWorkspace]:
        """Return a page of workspaces."""
        return await self._connection.send(_page(query, limit, cursor), Page[ManagedWorkspace])

    async def get(self, id: str) -> WorkspaceWithUse:
        """Return a workspace with the use of its limits. Raises NotFound."""
        return await self._connection.send(Request("GET", path_of(PATH, id)), WorkspaceWithUse)

    async def create(
        self,
        name: str,
        *,
        plan: str | None = None,
        owner: str | None = None,
        email: str | None = None,
    ) -> ManagedWorkspace:
        """Create a workspace, on the smallest plan by default. `owner` and `email` are the name and email of its owner.

        Not repeated if the response is lost. Raises NameTaken if another person has the email; Invalid.
        """
        person = UNSET if owner is None else {"name": owner, "email": email}
        body = json_body(name=name, plan=plan, owner=person)
        request = Request("POST", PATH, body=body, repeatable=False)
        return await self._connection.send(request, ManagedWorkspace)

    async def put(
        self, external_id: str, name: str, *, plan: str | None = None, if_match: str | None = None
    ) -> ManagedWorkspace:
        """Create or update the workspace with this id of your product's own.

        By default a new workspace gets the smallest plan, and another keeps its plan.
        """
        path, body = path_of(BY_EXTERNAL_ID, external_id), json_body(name=name, plan=plan)
        request = Request("PUT", path, body=body, if_match=if_match)
        return await self._connection.send(request, ManagedWorkspace)

    async def by_external_id(self, external_id: str) -> WorkspaceWithUse:
        """Return the workspace with this id of your product's own. Raises NotFound."""
        request = Request("GET", path_of(BY_EXTERNAL_ID, external_id))
        return await self._connection.send(request, WorkspaceWithUse)

    async def update(
        self,
        id: str,
        *,
        name: str | Unset = UNSET,
        external_id: str | Unset = UNSET,
        if_match: str | None = None,
    ) -> ManagedWorkspace:
        """Change the name or your product's own id of a workspace. Raises NameTaken if another one has that id."""
        body = json_body(name=name, external_id=external_id)
        request = Request("PATCH", path_of(PATH, id), body=body, if_match=if_match)
        return await self._connection.send(request, ManagedWorkspace)

    async def suspend(self, id: str) -> ManagedWorkspace:
        """Suspend a workspace: its keys are refused from now on. Suspending it again changes nothing."""
        request = Request("POST", f"{path_of(PATH, id)}/suspend")
        return await self._connection.send(request, ManagedWorkspace)

    async def resume(self, id: str) -> ManagedWorkspace:
        """Resume a suspended workspace. Resuming it again changes nothing."""
        request = Request("POST", f"{path_of(PATH, id)}/resume")
        return await self._connection.send(request, ManagedWorkspace)

    async def delete(self, id: str, *, if_match: str | None = None) -> None:
        """Delete a suspended workspace with everything in it, irreversibly. Deleting it again changes nothing.

        Raises NotSuspended, NotFound.
        """
        request = Request("DELETE", path_of(PATH, id), if_match=if_match)
        await self._connection.send(request, type(None))

    async def export(self, id: str, write: Write) -> int:
        """Pass the workspace's data to `write`, as JSON lines without secrets. Returns the number of resources.

        Raises IncompleteExport if the end is missing: export again. NotFound.
        """
        lines = ExportLines(write)
        await self._connection.download(Request("GET", f"{path_of(PATH, id)}/export"), lines.take)
        return lines.require_end()

    async def put_on_plan(
        self,
        id: str,
        plan: str,
        *,
        overrides: Mapping[str, int | None] | None = None,
        if_match: str | None = None,
    ) -> WorkspaceWithUse:
        """Set the plan and the workspace's own limits, which `overrides` replaces as a whole. Deletes nothing.

        A limit such as `api_keys` is unlimited if it is None.
        """
        body = json_body(plan=plan, overrides=overrides or {})
        request = Request("PUT", f"{path_of(PATH, id)}/plan", body=body, if_match=if_match)
        return await self._connection.send(request, WorkspaceWithUse)

    async def policy(self, id: str) -> PolicyLayers:
        """Return what a workspace's keys may be. Raises NotFound."""
        return await self._connection.send(
            Request("GET", f"{path_of(PATH, id)}/policy"), PolicyLayers
        )

    async def set_policy(
        self, id: str, policy: Policy, *, if_match: str | None = None
    ) -> PolicyLayers:
        """Replace the operator's whole layer of a workspace's policy. Raises Invalid for days out of bounds."""
        body = json_body(**asdict(policy))
        request = Request("PUT", f"{path_of(PATH, id)}/policy", body=body, if_match=if_match)
        return await self._connection.send(request, PolicyLayers)

    async def rate_limits(self, id: str) -> OwnRateLimits:
        """Return the rate limits that a workspace has of its own, and those that apply."""
        request = Request("GET", f"{path_of(PATH, id)}/rate-limits")
        return await self._connection.send(request, OwnRateLimits)

    async def set_rate_limits(
        self,
        id: str,
        *,
        workspace_per_minute: int | None,
        key_per_minute: int | None,
        if_match: str | None = None,
    ) -> OwnRateLimits:
        """Replace the rate limits that a workspace has of its own. None: the plan's applies."""
        body = json_body(workspace_per_minute=workspace_per_minute, key_per_minute=key_per_minute)
        path = f"{path_of(PATH, id)}/rate-limits"
        request = Request("PUT", path, body=body, if_match=if_match)
        return await self._connection.send(request, OwnRateLimits)

    async def key_rate_limits(self, id: str, key_id: str) -> KeyRateLimits:
        """Return the rate limit that a key of the workspace has of its own, and those that apply."""
        request = Request("GET", _rates_of_key(id, key_id))
        return await self._connection.send(request, KeyRateLimits)

    async def set_key_rate_limits(
        self, id: str, key_id: str, *, per_minute: int | None, if_match: str | None = None
    ) -> KeyRateLimits:
        """Replace the rate limit that a key of the workspace has of its own. None: the plan's applies."""
        body, path = json_body(per_minute=per_minute), _rates_of_key(id, key_id)
        request = Request("PUT", path, body=body, if_match=if_match)
        return await self._connection.send(request, KeyRateLimits)


def _rates_of_key(id: str, key_id: str) -> str:
    return f"{path_of(f'{path_of(PATH, id)}/keys', key_id)}/rate-limits"


def _page(query: str, limit: int, cursor: str | None = None) -> Request:
    return Request("GET", PATH, {"query": query or None, "limit": str(limit), "cursor": cursor})
