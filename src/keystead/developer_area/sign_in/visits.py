"""Requests as handlers see them: a browser's visit, and a member's visit to one workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final, TypeVar, overload

from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.web.contexts import Frame, Link, Timestamp
from keystead.developer_area.web.forms import Form, form_token
from keystead.developer_area.web.navigation import (
    account_link,
    keys_url,
    sidebar_links,
    switch_url,
    workspace_url,
)
from keystead.developer_area.web.timestamps import timestamp
from keystead.domain.events import Origin
from keystead.domain.principals import Principal, of_member
from keystead.domain.roles import Permission
from keystead.domain.time_zones import find_zone, proposed_zone
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, User, Workspace
from keystead.http.access_log import log_refused_sign_in
from keystead.http.client import client_of
from keystead.http.paging import Page, read_page
from keystead.services import Services
from keystead.services.sessions import Visitor

BROWSER_ZONE: Final = "browser_zone"
_BACKGROUND: Final = "keystead-background"
"""The header of requests that scripts make by themselves."""
P = TypeVar("P", str, int)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a browser, and the user who was signed in in it when the request arrived.

    `known`: the secret came from the browser's cookie rather than being generated now.
    """

    request: Request
    secret: Secret
    known: bool
    form: Form = field(default_factory=Form)
    visitor: Visitor | None = None

    @classmethod
    def of(cls, request: Request, form: Form | None = None) -> Visit:
        """Return the visit of a request."""
        secret = cookies.find_secret(request, cookies.SESSION)
        return cls(request, secret or Secret.fresh(), secret is not None, form or Form())

    @property
    def form_token(self) -> str:
        """Return the token that this browser's forms carry."""
        return form_token(self.secret)

    @property
    def device(self) -> Secret | None:
        """Return the secret of a browser in which a user has signed in before."""
        return cookies.find_secret(self.request, cookies.DEVICE)

    @property
    def origin(self) -> Origin:
        """Return the address and request id for events."""
        client = client_of(self.request.scope)
        return Origin(client.address or None, client.request_id)

    @property
    def agent(self) -> str | None:
        """Return the browser's User-Agent."""
        return client_of(self.request.scope).agent or None

    @property
    def is_background(self) -> bool:
        """Return whether a script asked by itself: that keeps no session alive, and is not a visit of the user."""
        return _BACKGROUND in self.request.headers

    def membership(self) -> Member | None:
        """Return the signed-in user as a member of the workspace in the path."""
        workspace_id = self.request.path_params.get("workspace_id")
        members = self.visitor.members if self.visitor else ()
        return next((member for member in members if member.workspace_id == workspace_id), None)

    def path(self, name: str) -> str:
        """Return a path parameter."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """Return a query parameter, empty if absent."""
        return self.request.query_params.get(name, "")

    def log_refusal(self, method: str, reason: str) -> None:
        """Log a refused sign-in with its source."""
        log_refused_sign_in(self.request.scope, method, reason)

    def bind(self, response: Response) -> Response:
        """Give a browser without a session the secret that the forms of the page are bound to."""
        if not self.known:
            cookies.set_session(response, self.secret)
        return response

    @property
    def browser_zone(self) -> str:
        """Return the browser's time zone, which scripts fill in on the forms that sign in; empty without them."""
        return self.form.one(BROWSER_ZONE)

    def begin_session(self, response: Response, secret: Secret, device: Secret | None) -> Response:
        """Store a session in the browser, and remember the browser as a device of its user."""
        cookies.set_session(response, secret)
        known_device = device or self.device
        if known_device is not None:
            cookies.set_device(response, known_device)
        return response

    def explain_zone(self, response: Response, user: User) -> Response:
        """Let the next page say that times are shown in the browser's zone, if `user` had no zone before signing in."""
        zone = proposed_zone(user.time_zone, self.browser_zone)
        if zone not in {None, "UTC"}:
            text = f"Times are shown in your time zone, {zone}. You can change it in Account."
            cookies.set_message(response, text)
        return response


@dataclass(frozen=True, slots=True)
class MemberVisit(Visit):
    """A request of a signed-in member to a page of one workspace."""

    services: Services = field(kw_only=True)
    visitor: Visitor = field(kw_only=True)
    member: Member = field(kw_only=True)
    workspace: Workspace = field(kw_only=True)

    @property
    def principal(self) -> Principal:
        """Return the member as the principal of use cases."""
        return of_member(self.member)

    @property
    def user(self) -> User:
        """Return the member's user."""
        return self.member.user

    @property
    def zone(self) -> tzinfo:
        """Return the user's time zone."""
        return find_zone(self.user.time_zone)

    @property
    def workspace_url(self) -> str:
        """Return the prefix of the workspace's pages."""
        return workspace_url(self.workspace.id)

    @property
    def keys_url(self) -> str:
        """Return the page of the workspace's keys."""
        return keys_url(self.workspace.id)

    def now(self) -> datetime:
        """Return the current time by the services' clock."""
        return self.services.keys.now()

    @overload
    def timestamp(self, instant: datetime) -> Timestamp: ...
    @overload
    def timestamp(self, instant: datetime | None) -> Timestamp | None: ...
    def timestamp(self, instant: datetime | None) -> Timestamp | None:
        """Return `instant` in the user's time zone."""
        return None if instant is None else timestamp(instant, self.now(), self.zone)

    def page(self, kind: type[P], **filters: str) -> Page[P]:
        """Return the page of a list that the query's cursor names. `kind` is the type of the list's positions."""
        return read_page(
            kind,
            workspace_id=self.workspace.id,
            path=self.request.scope["path"],
            filters=filters,
            cursor=self.query("cursor") or None,
        )

    def remember_workspace(self, response: Response) -> Response:
        """Let `/` open this workspace in this browser, if the user has others."""
        is_known = cookies.find_value(self.request, cookies.WORKSPACE) == self.workspace.id
        if len(self.visitor.members) > 1 and not is_known and not self.is_background:
            cookies.set_workspace(response, self.workspace.id)
        return response

    def frame(self, message: str = "") -> Frame:
        """Return the layout around the page. The message of a redirect to it is the default."""
        path = str(self.request.scope["path"])  # Request.url raises if the query isn't UTF-8
        return Frame(
            workspace=self.workspace.name,
            suspended=self.workspace.suspended_at is not None,
            person=self.user.name,
            role=self.member.role,
            form_token=form_token(self.secret, self.user.id),
            message=message or cookies.find_message(self.request),
            url=self.workspace_url,
            home_url=self.keys_url,
            links=sidebar_links(
                self.workspace.id, path, has_documents=self.services.keys.catalog.has_documents
            ),
            switch=self._other_workspaces(),
            account=account_link(self.workspace.id, path),
            return_url=self.visitor.session.return_url,
            may_choose_plan=self.principal.may(Permission.CHOOSE_PLAN),
        )

    def _other_workspaces(self) -> Sequence[Link]:
        here, path = self.workspace.id, str(self.request.scope["path"])
        return [
            Link(other.name, switch_url(other.id, here, path))
            for other in self.visitor.workspaces.values()
            if other.id != here
        ]
