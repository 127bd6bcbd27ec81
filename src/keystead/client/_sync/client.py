"""The clients: a server and a credential of a workspace's key, of a service or of an operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from ssl import SSLContext
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from keystead.client._sync.credentials import Credentials
from keystead.client._sync.documents import Collections, Documents
from keystead.client._sync.keys import Keys
from keystead.client._sync.members import Members
from keystead.client._sync.sending import Sender
from keystead.client._sync.usage import Usage, by_workspace
from keystead.client._sync.webhooks import Deliveries, Events, Webhooks
from keystead.client._sync.workspaces import PATH as WORKSPACES
from keystead.client._sync.workspaces import Workspaces
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


class BaseClient:
    """The calls that every credential allows. Threads may share it."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        agent: str = AGENT,
        timeout: float = TIMEOUT,
        patience: Patience | None = None,
        tls: SSLContext | None = None,
        transport: httpx2.BaseTransport | None = None,
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
        from keystead.client._sync.connection import Connection

        self._connection: Sender = Connection(
            url,
            token,
            agent=agent,
            timeout=timeout,
            patience=patience,
            tls=tls,
            transport=transport,
        )

    @classmethod
    def over(cls, sender: Sender) -> Self:
        """Return a client that sends over `sender`, which has the credential, and closes it."""
        client = cls.__new__(cls)
        client._connection = sender
        return client

    @property
    def url(self) -> str:
        """The server's URL."""
        return self._connection.url

    def introspect(self, token: str, *, ip: str | None = None) -> Introspection:
        """Return the state of a token (RFC 7662). Needs a credential of a service or an operator.

        Without `ip`, the address of your caller, a key with networks is not active.
        """
        body = form_body(token=token) if ip is None else form_body(token=token, ip=ip)
        request = Request("POST", "/introspect", body=body, media_type=FORM)
        return self._connection.send(request, Introspection)

    def revoke_token(self, token: str) -> None:
        """Revoke the key of a token that was found somewhere (RFC 7009). Needs no other credential than the token."""
        # The server answers 200 to any text, so a line break would leave the key alive.
        body = form_body(token=trim(token))
        request = Request("POST", "/revoke", body=body, media_type=FORM, authenticated=False)
        self._connection.send(request, NoneType)

    def close(self) -> None:
        """Close the sockets."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"


class Client(BaseClient):
    """The API of a workspace, with one of its keys."""

    @property
    def keys(self) -> Keys:
        """The workspace's keys."""
        return Keys(self._connection)

    @property
    def collections(self) -> Collections:
        """The workspace's collections."""
        return Collections(self._connection)

    @property
    def documents(self) -> Documents:
        """The documents of its collections."""
        return Documents(self._connection)

    @property
    def events(self) -> Events:
        """The workspace's events."""
        return Events(self._connection)

    @property
    def webhooks(self) -> Webhooks:
        """The workspace's webhooks."""
        return Webhooks(self._connection)

    @property
    def deliveries(self) -> Deliveries:
        """The deliveries to its webhooks."""
        return Deliveries(self._connection)

    @property
    def usage(self) -> Usage:
        """The use of the workspace's keys."""
        return Usage(self._connection)

    @property
    def key_expires_at(self) -> datetime | None:
        """When the client's own key expires, if the last response said so: within 14 days. Otherwise None."""
        return self._connection.key_expires_at

    def whoami(self) -> Whoami:
        """Return the client's own key and its workspace."""
        return self._connection.send(Request("GET", "/v1/whoami"), Whoami)

    def plan(self) -> PlanUse:
        """Return the workspace's plan with the use of each limit."""
        return self._connection.send(Request("GET", "/v1/plan"), PlanUse)

    def policy(self) -> PolicyLayers:
        """Return what the workspace's keys may be."""
        return self._connection.send(Request("GET", "/v1/policy"), PolicyLayers)


class Operator(BaseClient):
    """The operator API, with an operator's credential."""

    @property
    def workspaces(self) -> Workspaces:
        """The workspaces of the installation."""
        return Workspaces(self._connection)

    def keys(self, workspace_id: str) -> Keys:
        """Return the keys of a workspace, with the calls that one of its keys has."""
        return Keys(self._connection, path_of(WORKSPACES, workspace_id))

    def events(self, workspace_id: str) -> Events:
        """Return the audit log of a workspace, newest first; the feed has the events of all of them."""
        return Events(self._connection, path_of(WORKSPACES, workspace_id))

    @property
    def credentials(self) -> Credentials:
        """The credentials of your own services, and of operators."""
        return Credentials(self._connection)

    def owner_of(self, token: str) -> KeyOwner:
        """Return the key of a token and its workspace, whatever became of them. Raises NotFound, RateLimited."""
        body = json_body(token=trim(token))
        return self._connection.send(Request("POST", LOOKUP, body=body), KeyOwner)

    def members(self, workspace_id: str) -> Members:
        """Return the members of a workspace."""
        return Members(self._connection, path_of(WORKSPACES, workspace_id))

    def usage(
        self, *, first: date | None = None, last: date | None = None
    ) -> Iterator[WorkspaceUsage]:
        """Yield the requests of each workspace on each day with any, newest day first, by default of 30 days."""
        request = by_workspace(first, last, PAGE_SIZE)
        return self._connection.paginate(request, Page[WorkspaceUsage])

    def usage_page(
        self,
        *,
        first: date | None = None,
        last: date | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[WorkspaceUsage]:
        """Return a page of workspaces and days."""
        request = by_workspace(first, last, limit, cursor)
        return self._connection.send(request, Page[WorkspaceUsage])

    def feed(
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
        return self._connection.send(Request("GET", "/operator/v1/events", query), Feed)

    def plans(self) -> Sequence[PlanWithLimits]:
        """Return every plan, from the smallest to the largest."""
        page = self._connection.send(Request("GET", PLANS), Page[PlanWithLimits])
        return page.items

    def put_plans(
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
        return self._connection.send(request, PlanReport)

    def portal_session(
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
        return self._connection.send(request, PortalSession)
