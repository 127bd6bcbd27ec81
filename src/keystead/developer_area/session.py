"""Who acts: the cookie, signing in by a one-time link, signing out, and the member behind a request.

The cookie holds one secret. On the sign-in page it stands for nobody and only binds the form to the browser; signing
in replaces it with a session's secret. `__Host-` cookies need `Secure`, which Chromium and Firefox also take on
http://127.0.0.1 and http://localhost; Safari wants https.

A sign-in link is `/sign-in?link=<secret>`, so that it works without JavaScript. The GET uses nothing up, since mail
scanners fetch links; the form on it does. The secret cannot leave the page (no Referer, no foreign resource), our log
has no queries, and it is worth nothing once used or after 15 minutes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keystead.developer_area.forms import Form, form_token
from keystead.developer_area.navigation import places
from keystead.developer_area.pages import Frame, SignInPage
from keystead.developer_area.render import Renderer
from keystead.domain.errors import Invalid, NotFound
from keystead.domain.events import Origin
from keystead.domain.ids import WorkspaceId, is_id
from keystead.domain.principals import Principal, of_member
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Workspace
from keystead.http.record import client_of, note_caller
from keystead.services import Services

COOKIE: Final = "__Host-keystead"
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


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
        said = request.cookies.get(COOKIE, "")
        known = _SECRET.fullmatch(said) is not None
        return cls(request, Secret(said) if known else Secret.fresh(), known, form or Form())

    @property
    def form_token(self) -> str:
        """What the forms of this browser carry."""
        return form_token(self.secret)

    @property
    def origin(self) -> Origin:
        """Where the request came from, for the record."""
        client = client_of(self.request.scope)
        return Origin(client.address or None, client.request_id)

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

    @property
    def principal(self) -> Principal:
        """The person as services know them."""
        return of_member(self.member)

    @property
    def keys_url(self) -> str:
        """Where the workspace's keys are."""
        return keys_url(self.workspace.id)


def keys_url(workspace_id: WorkspaceId) -> str:
    """Where the keys of a workspace are."""
    return f"/w/{workspace_id}/keys"


class Sessions:
    """Signing in and out, and finding out who acts."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    def acting(self, visit: Visit) -> Acting:
        """The person in the workspace that the path names. SignedOut without a session; NotFound for others."""
        workspace_id = WorkspaceId(visit.path("workspace_id"))
        memberships = self._memberships(visit)
        if not memberships:
            raise SignedOut
        for member in memberships:
            if member.workspace_id == workspace_id and is_id("ws", workspace_id):
                note_caller(visit.request.scope, key_id=None, workspace_id=workspace_id)
                return Acting(member, self._services.workspaces.get(workspace_id))
        raise NotFound("There is no such workspace.")

    def frame(self, visit: Visit, acting: Acting) -> Frame:
        """What surrounds the page."""
        return Frame(
            workspace=acting.workspace.name,
            suspended=acting.workspace.suspended_at is not None,
            person=acting.member.user.name,
            role=acting.member.role,
            form_token=visit.form_token,
            home_url=acting.keys_url,
            links=places(acting.workspace.id, visit.request.url.path),
        )

    def home(self, visit: Visit) -> Response:
        """On to the person's first workspace, or to the sign-in page."""
        memberships = self._memberships(visit)
        return see_other(keys_url(memberships[0].workspace_id) if memberships else "/sign-in")

    def sign_in_page(self, visit: Visit) -> Response:
        """The page behind a sign-in link; without one it says how to get one. It uses nothing up."""
        link = visit.query("link") or None
        if link is None and self._memberships(visit):
            return see_other("/")
        return self._sign_in_page(visit, link)

    def sign_in(self, visit: Visit) -> Response:
        """Uses the link up. The session is new; one that this browser had before has ended."""
        client = client_of(visit.request.scope)
        link = Secret(visit.form.one("link"))
        try:
            signed_in = self._services.sign_in.redeem(link, visit.origin, client.agent or None)
        except Invalid:
            return self._sign_in_page(visit, None, refused=True)
        if visit.known:
            self._services.sign_in.sign_out(visit.secret)
        response = see_other(keys_url(signed_in.member.workspace_id))
        return _with_cookie(response, signed_in.secret)

    def sign_out(self, visit: Visit) -> Response:
        """Ends the session, here and now."""
        self._services.sign_in.sign_out(visit.secret)
        response = see_other("/sign-in")
        response.set_cookie(COOKIE, "", max_age=0, secure=True, httponly=True, samesite="lax")
        return response

    def _memberships(self, visit: Visit) -> list[Member]:
        return self._services.sign_in.memberships(visit.secret) if visit.known else []

    def _sign_in_page(self, visit: Visit, link: str | None, *, refused: bool = False) -> Response:
        page = SignInPage(visit.form_token, link, refused)
        response = self._render(page, 422 if refused else 200)
        return response if visit.known else _with_cookie(response, visit.secret)


def see_other(url: str) -> RedirectResponse:
    """On to another page of ours, by GET (RFC 9110 section 15.4.4). `url` is a path that we made."""
    return RedirectResponse(url, 303, {"cache-control": "no-store"})


def _with_cookie(response: Response, secret: Secret) -> Response:
    response.set_cookie(COOKIE, secret.reveal(), secure=True, httponly=True, samesite="lax")
    return response
