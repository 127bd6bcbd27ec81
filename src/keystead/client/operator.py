"""Operator and AsyncOperator: a server and an operator's credential, for the product's own backend."""

from __future__ import annotations

from collections.abc import Sequence

from keystead.client import calls
from keystead.client.calls import PortalRole
from keystead.client.client import AsyncDoor, Door
from keystead.client.results import PlanWithLimits, PortalSession
from keystead.client.workspaces import AsyncWorkspaces, Workspaces


class Operator(Door):
    """The operator API."""

    @property
    def workspaces(self) -> Workspaces:
        """The tenants of the installation."""
        return Workspaces(self._connection)

    def plans(self) -> Sequence[PlanWithLimits]:
        """Every plan that workspaces may be on, from small to large."""
        return self._connection.run(calls.plans())

    def portal_session(
        self,
        workspace_id: str,
        *,
        user_id: str,
        name: str,
        role: PortalRole,
        email: str | None = None,
        return_url: str | None = None,
    ) -> PortalSession:
        """A link that signs a user of the product in, once and within five minutes. `user_id` is the product's own.

        NotFound, LimitReached (members), Invalid where the origin of `return_url` is not configured.
        """
        call = calls.portal_session(workspace_id, user_id, name, email, role, return_url)
        return self._connection.run(call)


class AsyncOperator(AsyncDoor):
    """As Operator, awaited."""

    @property
    def workspaces(self) -> AsyncWorkspaces:
        """The tenants of the installation."""
        return AsyncWorkspaces(self._connection)

    async def plans(self) -> Sequence[PlanWithLimits]:
        """As Operator.plans."""
        return await self._connection.run(calls.plans())

    async def portal_session(
        self,
        workspace_id: str,
        *,
        user_id: str,
        name: str,
        role: PortalRole,
        email: str | None = None,
        return_url: str | None = None,
    ) -> PortalSession:
        """As Operator.portal_session."""
        call = calls.portal_session(workspace_id, user_id, name, email, role, return_url)
        return await self._connection.run(call)
