# Generated from client/_sync/client.py by `make async-client`; do not edit.
"""The clients: a server and a credential of a workspace's key, of a service or of an operator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from ssl import SSLContext
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from keystead.client._async.credentials import AsyncCredentials
from keystead.client._async.documents import AsyncCollections, AsyncDocuments
from keystead.client._async.keys import AsyncKeys
from keystead.client._async.members import AsyncMembers
from keystead.client._async.sending import AsyncSender
from keystead.client._async.usage import AsyncUsage, by_workspace
from keystead.client._async.webhooks import AsyncDeliveries, AsyncEvents, AsyncWebhooks
from keystead.client._async.workspaces import PATH as WORKSPACES
from keystead.client._async.workspaces import AsyncWorkspaces
from keystead.client.exchange import AGENT, TIMEOUT, Patience
from keystead.client.requests import FORM, PAGE_SIZE, Request, form_body, json_body, path_of
from keystead.client.results import (
    Feed,
    Introspection,
    KeyOwner,
    Page,
    PlanReport,
    PlanUse,
    PlanWithLimits,
    PolicyLayers,
    PortalSession,
    Whoami,
    WorkspaceUsage,
)
from keystead.domain.token import trim

if TYPE_CHECKING:
    import httpx2

LOOKUP: Final = "/operator/v1/keys/lookup"
PLANS: Final = "/operator/v1/plans"


class AsyncBaseClient:
    """The calls that every credential allows. It belongs to one event loop."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        agent: str = AGENT,
        timeout: float = TIMEOUT,
        patience: Patience | None = None,
        tls: SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Check the URL and the token; nothing is sent yet.

        Args:
            url: The server, over https, or http to this machine.
            token: The client's own credential.
            agent: The User-Agent of its requests.
            timeout: Seconds of each wait on the network; connecting takes at most five of them.
            patience: How often and how long to retry.
            tls: The servers to trust; without it, the system's certificates.
            transport: Replaces httpx2's own, for example in tests.

        Raises:
            UnsafeAddress: The token must not go to this URL.
            NotAToken: The token is malformed.
        """
        # Only here: what sends over another sender has no use for an HTTP client.
        from keystead.client._async.connection import AsyncConnection

        self._connection: AsyncSender = AsyncConnection(
            url,
            token,
            agent=agent,
            timeout=timeout,
            patience=patience,
            tls=tls,
            transport=transport,
        )

    @classmethod
    def over(cls, sender: AsyncSender) -> Self:
        """Return a client that sends over `sender`, which has the credential, and closes it."""
        client = cls.__new__(cls)
        client._connection = sender
        return client

    @property
    def url(self) -> str:
        """The server's URL."""
        return self._connection.url

    async def introspect(self, token: str, *, ip: str | None = None) -> Introspection:
        """Return the state of a token (RFC 7662). Needs a credential of a service or an operator.

        Without `ip`, the address of your caller, a key with networks is not active.
        """
        body = form_body(token=token) if ip is None else form_body(token=token, ip=ip)
        request = Request("POST", "/introspect", body=body, media_type=FORM)
        return await self._connection.send(request, Introspection)

    async def revoke_token(self, token: str) -> None:
        """Revoke the key of a token that was found somewhere (RFC 7009). Needs no other credential than the token."""
        # The server answers 200 to any text, so a line break would leave the key alive.
        body = form_body(token=trim(token))
        request = Request("POST", "/revoke", body=body, media_type=FORM, authenticated=False)
        await self._connection.send(request, NoneType)

    async def close(self) -> None:
        """Close the sockets."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"


class AsyncClient(AsyncBaseClient):
    """The API of a workspace, with one of its keys."""

    @property
    def keys(self) -> AsyncKeys:
        """The workspace's keys."""
        return AsyncKeys(self._connection)

    @property
    def collections(self) -> AsyncCollections:
        """The workspace's collections."""
        return AsyncCollections(self._connection)

    @property
    def documents(self) -> AsyncDocuments:
        """The documents of its collections."""
        return AsyncDocuments(self._connection)

    @property
    def events(self) -> AsyncEvents:
        """The workspace's events."""
        return AsyncEvents(self._connection)

    @property
    def webhooks(self) -> AsyncWebhooks:
        """The workspace's webhooks."""
        return AsyncWebhooks(self._connection)

    @property
    def deliveries(self) -> AsyncDeliveries:
        """The deliveries to its webhooks."""
        return AsyncDeliveries(self._connection)

    @property
    def usage(self) -> AsyncUsage:
        """The use of the workspace's keys."""
        return AsyncUsage(self._connection)

    @property
    def key_expires_at(self) -> datetime | None:
        """When the client's own key expires, if the last response said so: within 14 days. Otherwise None."""
        return self._connection.key_expires_at

    async def whoami(self) -> Whoami:
        """Return the client's own key and its workspace."""
        return await self._connection.send(Request("GET", "/v1/whoami"), Whoami)

    async def plan(self) -> PlanUse:
        """Return the workspace's plan with the use of each limit."""
        return await self._connection.send(Request("GET", "/v1/plan"), PlanUse)

    async def policy(self) -> PolicyLayers:
        """Return what the workspace's keys may be."""
        return await self._connection.send(Request("GET", "/v1/policy"), PolicyLayers)


class AsyncOperator(AsyncBaseClient):
    """The operator API, with an operator's credential."""

    @property
    def workspaces(self) -> AsyncWorkspaces:
        """The workspaces of the installation."""
        return AsyncWorkspaces(self._connection)

    def keys(self, workspace_id: str) -> AsyncKeys:
        """Return the keys of a workspace, with the calls that one of its keys has."""
        return AsyncKeys(self._connection, path_of(WORKSPACES, workspace_id))

    def events(self, workspace_id: str) -> AsyncEvents:
        """Return the audit log of a workspace, newest first; the feed has the events of all of them."""
        return AsyncEvents(self._connection, path_of(WORKSPACES, workspace_id))

    @property
    def credentials(self) -> AsyncCredentials:
        """The credentials of your own services, and of operators."""
        return AsyncCredentials(self._connection)

    async def owner_of(self, token: str) -> KeyOwner:
        """Return the key of a token and its workspace, whatever became of them. Raises NotFound, RateLimited."""
        body = json_body(token=trim(token))
        return await self._connection.send(Request("POST", LOOKUP, body=body), KeyOwner)

    def members(self, workspace_id: str) -> AsyncMembers:
        """Return the members of a workspace."""
        return AsyncMembers(self._connection, path_of(WORKSPACES, workspace_id))

    def usage(
        self, *, first: date | None = None, last: date | None = None
    ) -> AsyncIterator[WorkspaceUsage]:
        """Yield the requests of each workspace on each day with any, newest day first, by default of 30 days."""
        request = by_workspace(first, last, PAGE_SIZE)
        return self._connection.paginate(request, Page[WorkspaceUsage])

    async def usage_page(
        self,
        *,
        first: date | None = None,
        last: date | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[WorkspaceUsage]:
        """Return a page of workspaces and days."""
        request = by_workspace(first, last, limit, cursor)
        return await self._connection.send(request, Page[WorkspaceUsage])

    async def feed(
        self,
        after: str | None = None,
        *,
        workspace: str | None = None,
        type: str | None = None,
        limit: int = 50,
    ) -> Feed:
        """Return the next events of all workspaces and of the installation behind a position; None: the oldest.

        Raises FeedExpired if some of them were deleted, with the position to continue after.
        """
        query = {"after": after, "workspace": workspace, "type": type, "limit": str(limit)}
        return await self._connection.send(Request("GET", "/operator/v1/events", query), Feed)

    async def plans(self) -> Sequence[PlanWithLimits]:
        """Return every plan, from the smallest to the largest."""
        page = await self._connection.send(Request("GET", PLANS), Page[PlanWithLimits])
        return page.items

    async def put_plans(
        self,
        plans: Sequence[PlanWithLimits | Mapping[str, Any]],
        *,
        dry_run: bool = False,
        allow_loosening: bool = False,
        if_match: str | None = None,
    ) -> PlanReport:
        """Replace all plans, from the smallest to the largest: values, or the members that the API takes.

        `dry_run`: only report what would change.

        Raises WouldLoosen if it removes a plan, raises a limit or loosens a policy, unless `allow_loosening` is true;
        Invalid if a plan in use is missing.
        """
        query = {
            "dry_run": "true" if dry_run else None,
            "allow_loosening": "true" if allow_loosening else None,
        }
        body = json_body(
            plans=[plan if isinstance(plan, Mapping) else asdict(plan) for plan in plans]
        )
        request = Request("PUT", PLANS, query, body=body, if_match=if_match)
        return await self._connection.send(request, PlanReport)

    async def portal_session(
        self,
        workspace_id: str,
        *,
        user_id: str,
        name: str,
        role: Literal["admin", "developer", "viewer"],
        email: str | None = None,
        return_url: str | None = None,
    ) -> PortalSession:
        """Return a link that signs a user of your product in, once and within five minutes.

        `user_id` is your product's own id. Raises NotFound; LimitReached for the limit of members; Invalid if the
        origin of `return_url` is not configured.
        """
        user = {"id": user_id, "name": name, "email": email}
        body = json_body(workspace_id=workspace_id, user=user, role=role, return_url=return_url)
        # Repeating it is harmless: the lost link expires by itself.
        request = Request("POST", "/operator/v1/portal-sessions", body=body)
        return await self._connection.send(request, PortalSession)
