"""Who acts: signing in by a one-time link or a password, signing out, and the member behind a request.

The cookie holds one secret. On the sign-in page it stands for nobody and only binds the form to the browser; signing
in replaces it with a session's secret. `__Host-` cookies need `Secure`, which Chromium and Firefox also take on
http://127.0.0.1 and http://localhost; Safari wants https.

A sign-in link is `/sign-in?link=<secret>`, so that it works without JavaScript. The GET uses nothing up, since mail
scanners fetch links; the form on it does. The secret cannot leave the page (no Referer, no foreign resource), our log
has no queries, and it is worth nothing once used or after 15 minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.people.contexts import SignInPage
from keystead.developer_area.redirects import own_path, see_other
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.kept_forms import waiting
from keystead.developer_area.web.contexts import Frame, Link
from keystead.developer_area.web.forms import Form, form_token
from keystead.developer_area.web.navigation import account_link, places, workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import zone_named
from keystead.domain.errors import Invalid, NotFound, RateLimited
from keystead.domain.events import Origin
from keystead.domain.ids import UserId, WorkspaceId, is_id
from keystead.domain.passwords import Password
from keystead.domain.principals import Principal, of_member
from keystead.domain.sessions import LinkPurpose
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Workspace
from keystead.http.access_log import log_refused_sign_in
from keystead.http.client import client_of, note_caller
from keystead.services import Services
from keystead.services.sessions import Visitor

COOKIE: Final = cookies.SESSION


class SignedOut(Exception):
    """Nobody is signed in in this browser, or not any more."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a browser. `known`: the secret came from its cookie, and was not made just now."""

    request: Request
    secret: Secret
    known: bool
    form: Form = field(default_factory=Form)

    @classmethod
    def of(cls, request: Request, form: Form | None = None) -> Visit:
        """The visit that a request is."""
        found = cookies.secret_in(request, COOKIE)
        return cls(request, found or Secret.fresh(), found is not None, form or Form())

    @property
    def form_token(self) -> str:
        """What the forms of this browser carry."""
        return form_token(self.secret)

    @property
    def device(self) -> Secret | None:
        """What shows that somebody signed in in this browser before."""
        return cookies.secret_in(self.request, cookies.DEVICE)

    @property
    def origin(self) -> Origin:
        """Where the request came from, for the record."""
        client = client_of(self.request.scope)
        return Origin(client.address or None, client.request_id)

    @property
    def agent(self) -> str | None:
        """What the browser calls itself."""
        return client_of(self.request.scope).agent or None

    def note_refusal(self, way: str, reason: str) -> None:
        """Log a refused sign-in with its source."""
        log_refused_sign_in(self.request.scope, way, reason)

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """A parameter of the query; empty where there is none."""
        return self.request.query_params.get(name, "")


@dataclass(frozen=True, slots=True)
class Acting:
    """A signed-in person in one workspace."""

    member: Member
    workspace: Workspace
    visitor: Visitor

    @property
    def principal(self) -> Principal:
        """The person as services know them."""
        return of_member(self.member)

    @property
    def url(self) -> str:
        """Below which the pages of the workspace stand."""
        return workspace_url(self.workspace.id)

    @property
    def keys_url(self) -> str:
        """Where the workspace's keys are."""
        return keys_url(self.workspace.id)

    @property
    def zone(self) -> tzinfo:
        """Where the person's clock hangs: the zone in which they read instants."""
        return zone_named(self.member.user.time_zone)


def _member(visit: Visit, visitor: Visitor) -> Member | None:
    """Return the visitor as a member of the workspace that the path names."""
    workspace_id = WorkspaceId(visit.path("workspace_id"))
    if not is_id("ws", workspace_id):
        return None
    found = (member for member in visitor.members if member.workspace_id == workspace_id)
    return next(found, None)


def keys_url(workspace_id: WorkspaceId) -> str:
    """Where the keys of a workspace are."""
    return f"{workspace_url(workspace_id)}/keys"


@dataclass(frozen=True, slots=True)
class _In:
    """Somebody who has just signed in."""

    secret: Secret
    device: Secret | None
    user_id: UserId
    lands: str


class Sessions:
    """Signing in and out, and finding out who acts."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    def visitor(self, visit: Visit) -> Visitor | None:
        """Who is signed in in this browser."""
        return self._services.sign_in.visitor(visit.secret) if visit.known else None

    def acting(self, visit: Visit) -> Acting:
        """The person in the workspace that the path names. SignedOut without a session; NotFound for others."""
        visitor = self.visitor(visit)
        if visitor is None or not visitor.members:
            raise SignedOut
        member = _member(visit, visitor)
        if member is None:
            raise NotFound("There is no such workspace.")
        workspace_id = member.workspace_id
        note_caller(visit.request.scope, key_id=None, workspace_id=workspace_id)
        return Acting(member, self._services.workspaces.get(workspace_id), visitor)

    def is_of_member(self, visit: Visit) -> bool:
        """Return whether a member of the workspace that the path names is signed in in this browser."""
        visitor = self.visitor(visit)
        return visitor is not None and _member(visit, visitor) is not None

    def frame(self, visit: Visit, acting: Acting) -> Frame:
        """What surrounds the page."""
        path = str(visit.request.scope["path"])  # Request.url raises for a query that is not UTF-8
        return Frame(
            workspace=acting.workspace.name,
            suspended=acting.workspace.suspended_at is not None,
            person=acting.member.user.name,
            role=acting.member.role,
            form_token=form_token(visit.secret, acting.member.user.id),
            home_url=acting.keys_url,
            links=places(acting.workspace.id, path),
            switch=self._others(acting),
            account=account_link(acting.workspace.id, path),
            return_url=acting.visitor.session.return_url,
        )

    def home(self, visit: Visit) -> Response:
        """On to the person's first workspace, or to the sign-in page."""
        visitor = self.visitor(visit)
        members = visitor.members if visitor else []
        return see_other(keys_url(members[0].workspace_id) if members else "/sign-in")

    def sign_in_page(self, visit: Visit) -> Response:
        """Where people come in. Behind a one-time link it asks whether to use it, and uses nothing up."""
        link, wanted = visit.query("link") or None, own_path(visit.query("next"))
        visitor = self.visitor(visit)
        if link is None and visitor is not None and visitor.members:
            return see_other(wanted or "/")
        stranded = visitor.user.name if visitor and not visitor.members else ""
        return self._page(visit, link=link, wanted=wanted, stranded=stranded)

    def sign_in(self, visit: Visit) -> Response:
        """Begins a session, by link or by password. It is new; one that this browser had before has ended."""
        wanted = own_path(visit.form.one("next"))
        by_link = "link" in visit.form.fields
        try:
            entered = self._by_link(visit) if by_link else self._by_password(visit)
        except Invalid:
            visit.note_refusal("link" if by_link else "password", "wrong")
            if by_link:
                return self._page(visit, wanted=wanted, spent=True, status=422)
            wrong = "The e-mail address and the password do not fit."
            return self._page(visit, wanted=wanted, problem=wrong, status=422)
        except RateLimited as wait:
            visit.note_refusal("password", "rate-limited")
            return self._wait_page(visit, wanted, wait)
        if visit.known:
            self._services.sign_in.sign_out(visit.secret, visit.origin)
        return _welcomed(visit, entered, wanted)

    def sign_out(self, visit: Visit) -> Response:
        """Ends the session, here and now."""
        self._services.sign_in.sign_out(visit.secret, visit.origin)
        response = see_other("/sign-in")
        cookies.drop_all_but_device(response)
        return response

    def _by_link(self, visit: Visit) -> _In:
        link = Secret(visit.form.one("link"))
        found = self._services.sign_in.redeem(link, visit.origin, visit.agent, visit.device)
        lands = keys_url(found.member.workspace_id)
        if found.purpose is LinkPurpose.PASSWORD:
            lands = f"{workspace_url(found.member.workspace_id)}/account/password"
        return _In(found.secret, found.device, found.member.user.id, lands)

    def _by_password(self, visit: Visit) -> _In:
        email, password = visit.form.one("email").strip(), Password(visit.form.one("password"))
        found = self._services.sign_in.with_password(
            email, password, visit.origin, visit.agent, visit.device
        )
        return _In(found.secret, found.device, found.user.id, "/")

    def _others(self, acting: Acting) -> Sequence[Link]:
        """The person's other workspaces."""
        if len(acting.visitor.members) == 1:
            return []
        found = self._services.workspaces.of_user(acting.member.user.id)
        return [Link(one.name, keys_url(one.id)) for one in found if one != acting.workspace]

    def _wait_page(self, visit: Visit, wanted: str | None, wait: RateLimited) -> Response:
        response = self._page(visit, wanted=wanted, problem=wait.detail, status=429)
        response.headers["retry-after"] = str(wait.retry_after)
        return response

    def _page(
        self,
        visit: Visit,
        *,
        link: str | None = None,
        wanted: str | None = None,
        problem: str = "",
        spent: bool = False,
        stranded: str = "",
        status: int = 200,
    ) -> Response:
        page = SignInPage(
            form_token=visit.form_token,
            link=link,
            next=wanted or "",
            email=visit.form.one("email"),
            problem=problem,
            spent=spent,
            waits=cookies.text_in(visit.request, cookies.KEPT) is not None,
            stranded=stranded,
        )
        return bind(visit, self._render(page, status))


def bind(visit: Visit, response: Response) -> Response:
    """Gives the browser of somebody outside the secret that the page's forms are bound to."""
    if not visit.known:
        cookies.give_session(response, visit.secret)
    return response


def enter(visit: Visit, response: Response, secret: Secret, device: Secret | None) -> Response:
    """Puts the session into the browser, and keeps it known as a device of its person."""
    cookies.give_session(response, secret)
    kept = device or visit.device
    if kept is not None:
        cookies.give_device(response, kept)
    return response


def _welcomed(visit: Visit, entered: _In, wanted: str | None) -> Response:
    """On to what waited for this sign-in, to where the person wanted to go, or to their workspace."""
    kept = waiting(visit.request, entered.user_id)
    response = see_other(kept or wanted or entered.lands)
    if kept is None and cookies.value_in(visit.request, cookies.KEPT) is not None:
        cookies.drop(response, cookies.KEPT)
    return enter(visit, response, entered.secret, entered.device)
