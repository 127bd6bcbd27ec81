"""The operator's calls about workspaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from keystead.client._sync.sending import Resource
from keystead.client.requests import PAGE_SIZE, Request, json_body, path_of
from keystead.client.results import ManagedWorkspace, Page, WorkspaceWithUse
from keystead.domain.keys import UNSET

PATH: Final = "/operator/v1/workspaces"


class Workspaces(Resource):
    """The workspaces of the installation."""

    def list(self, *, query: str = "") -> Iterator[ManagedWorkspace]:
        """Yield every workspace with `query` in its name or as its id, newest first."""
        return self._connection.paginate(_page(query, PAGE_SIZE), Page[ManagedWorkspace])

    def page(
        self, *, query: str = "", limit: int = 50, cursor: str | None = None
    ) -> Page[ManagedWorkspace]:
        """Return a page of workspaces."""
        return self._connection.send(_page(query, limit, cursor), Page[ManagedWorkspace])

    def get(self, id: str) -> WorkspaceWithUse:
        """Return a workspace with the use of its limits. Raises NotFound."""
        return self._connection.send(Request("GET", path_of(PATH, id)), WorkspaceWithUse)

    def create(
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
        return self._connection.send(request, ManagedWorkspace)

    def rename(self, id: str, name: str, *, if_match: str | None = None) -> ManagedWorkspace:
        """Rename a workspace."""
        body = json_body(name=name)
        request = Request("PATCH", path_of(PATH, id), body=body, if_match=if_match)
        return self._connection.send(request, ManagedWorkspace)

    def suspend(self, id: str) -> ManagedWorkspace:
        """Suspend a workspace: its keys are refused from now on. Suspending it again changes nothing."""
        request = Request("POST", f"{path_of(PATH, id)}/suspend")
        return self._connection.send(request, ManagedWorkspace)

    def resume(self, id: str) -> ManagedWorkspace:
        """Resume a suspended workspace. Resuming it again changes nothing."""
        request = Request("POST", f"{path_of(PATH, id)}/resume")
        return self._connection.send(request, ManagedWorkspace)

    def put_on_plan(
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
        return self._connection.send(request, WorkspaceWithUse)


def _page(query: str, limit: int, cursor: str | None = None) -> Request:
    return Request("GET", PATH, {"query": query or None, "limit": str(limit), "cursor": cursor})
