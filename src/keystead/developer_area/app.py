"""The Developer area as one ASGI application: routes, guards, and the headers of all responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keystead.developer_area.key_page.views import KeyDashboard
from keystead.developer_area.keys.changes import KeyChanges
from keystead.developer_area.keys.listing import KeyList
from keystead.developer_area.keys.selected import SelectedKeys
from keystead.developer_area.keys.views import KeyViews
from keystead.developer_area.people.account import AccountPages, NotificationPages
from keystead.developer_area.people.device import DevicePages
from keystead.developer_area.people.invitations import AcceptInvitationPages, InvitationPages
from keystead.developer_area.people.members import MemberPages
from keystead.developer_area.sign_in.confirm_email import ConfirmEmailPages
from keystead.developer_area.sign_in.confirmation import (
    Confirmation,
    Handler,
    begun_cookies,
    has_password,
)
from keystead.developer_area.sign_in.session import Dependencies, Sessions
from keystead.developer_area.sign_in.views import SignInPages
from keystead.developer_area.sign_in.visits import MemberVisit, Visit
from keystead.developer_area.web.brand import Brand
from keystead.developer_area.web.error_pages import ErrorPages
from keystead.developer_area.web.forms import has_form_token, read_form, require_same_origin
from keystead.developer_area.web.navigation import see_other
from keystead.developer_area.web.render import Renderer, compress
from keystead.developer_area.webhooks.deliveries import DeliveryPages
from keystead.developer_area.webhooks.views import WebhookViews
from keystead.developer_area.workspace.activity import ActivityPages
from keystead.developer_area.workspace.collections import CollectionPages
from keystead.developer_area.workspace.plans import PlanPages
from keystead.developer_area.workspace.quick_start import QuickStart
from keystead.domain.confirmations import PATH as CONFIRM_EMAIL
from keystead.domain.throttle import address_subject
from keystead.http.asgi import App, Header, Message, Receive, Scope, Send
from keystead.http.client import client_of
from keystead.services import Services

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing foreign, never framed."""
_SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_SEARCHING: Final = frozenset({"query", "sort", "creator", "access", "used"})
"""Parameters of lists that read more rows than they show."""

MemberHandler = Callable[[MemberVisit], Response]


def create_developer_area(
    services: Services,
    *,
    base_url: str,
    plans_url: str | None = None,
    brand: Brand = Brand(),  # noqa: B008 - immutable
) -> App:
    """Return the ASGI application of all pages, to run behind `http.stack.Stack`.

    Args:
        services: The use cases.
        base_url: This server's public URL, without a trailing slash.
        plans_url: Where customers change their plan.
        brand: The product that the pages belong to.

    Raises:
        ValueError: The brand's colors are invalid.
    """
    render, sessions = Renderer(brand, plans_url), Sessions(services)
    dependencies = Dependencies(services, render, sessions, base_url, brand.product)
    confirmation = Confirmation(services, render, sessions)
    routes = _Routes(base_url, services, sessions, confirmation)
    _add_visitor_routes(routes, services, render, sessions)
    routes.member("/confirm", post=confirmation.confirm)
    routes.member("/resume", get=confirmation.resume)
    _add_key_routes(routes, dependencies)
    _add_webhook_routes(routes, dependencies)
    _add_workspace_routes(routes, dependencies)
    if services.keys.catalog.has_documents:
        _add_collection_routes(routes, dependencies)
    _add_people_routes(routes, dependencies)
    _add_device_routes(routes, dependencies)
    static = Route("/static/{digest}/{name}", render.assets.serve)
    app = Starlette(routes=[*routes.routes, static])
    app.router.redirect_slashes = False
    ErrorPages(render).install(app)
    return _WithSecurityHeaders(app)


def _add_visitor_routes(
    routes: _Routes, services: Services, render: Renderer, sessions: Sessions
) -> None:
    sign_in = SignInPages(services, render, sessions)
    confirm_email = ConfirmEmailPages(services, render)
    invitation = AcceptInvitationPages(services, render, sessions)
    routes.visitor("/", get=sign_in.home)
    routes.visitor("/sign-in", get=sign_in.sign_in_form, post=sign_in.sign_in)
    routes.visitor("/sign-out", post=sessions.sign_out)
    routes.visitor(CONFIRM_EMAIL, get=confirm_email.confirm_form, post=confirm_email.confirm)
    routes.visitor("/invitation", get=invitation.show, post=invitation.accept)


def _add_key_routes(routes: _Routes, dependencies: Dependencies) -> None:
    listing, views = KeyList(dependencies), KeyViews(dependencies)
    changes, selected = KeyChanges(dependencies), SelectedKeys(dependencies)
    key = "/keys/{key_id}"
    routes.member("/keys", get=listing.show, post=views.create)
    routes.member("/keys/new", get=views.new)
    routes.member("/keys/expiry", get=views.expiry)
    routes.member("/keys/filter", get=listing.filter_form, is_slow=True)
    routes.member("/keys/revoke", get=selected.revoke_form, post=selected.revoke, is_slow=True)
    routes.member("/keys/expire", get=selected.expire_form, post=selected.expire, is_slow=True)
    routes.member(key, get=KeyDashboard(dependencies).show)
    routes.member(f"{key}/edit", get=changes.edit_form, post=changes.edit)
    routes.member(f"{key}/rotate", get=changes.rotate_form, post=changes.rotate)
    routes.member(f"{key}/revoke", get=views.revoke_form, post=views.revoke)


def _add_webhook_routes(routes: _Routes, dependencies: Dependencies) -> None:
    webhooks, deliveries = WebhookViews(dependencies), DeliveryPages(dependencies)
    webhook = "/webhooks/{webhook_id}"
    delivery = f"{webhook}/deliveries/{{delivery_id}}"
    routes.member("/webhooks", get=webhooks.index, post=webhooks.create)
    routes.member("/webhooks/new", get=webhooks.new)
    routes.member(webhook, get=webhooks.show)
    routes.member(f"{webhook}/edit", get=webhooks.edit_form, post=webhooks.edit)
    routes.member(f"{webhook}/status", post=webhooks.set_status)
    routes.member(f"{webhook}/test", post=webhooks.test)
    routes.member(f"{webhook}/resend-failed", post=webhooks.resend_failed, is_slow=True)
    routes.member(f"{webhook}/rotate-secret", get=webhooks.rotate_form, post=webhooks.rotate)
    routes.member(f"{webhook}/delete", get=webhooks.delete_form, post=webhooks.delete)
    routes.member(delivery, get=deliveries.show)
    routes.member(f"{delivery}/redeliver", post=deliveries.redeliver)


def _add_workspace_routes(routes: _Routes, dependencies: Dependencies) -> None:
    activity, notifications = ActivityPages(dependencies), NotificationPages(dependencies)
    routes.member("/notices", get=notifications.index, post=notifications.save)
    routes.member("/activity", get=activity.index)
    routes.member("/activity.csv", get=activity.as_csv, is_slow=True)
    routes.member("/activity.jsonl", get=activity.as_json_lines, is_slow=True)
    routes.member("/quick-start", get=QuickStart(dependencies).index)
    plan = PlanPages(dependencies)
    routes.member("/plan", get=plan.index)
    routes.member("/plan/policy", post=plan.set_policy)


def _add_collection_routes(routes: _Routes, dependencies: Dependencies) -> None:
    collections = CollectionPages(dependencies)
    collection = "/collections/{name}"
    document = f"{collection}/documents/{{id}}"
    routes.member("/collections", get=collections.index, post=collections.create)
    # Not below the collections, where any name may be a collection's.
    routes.member("/new-collection", get=collections.new)
    routes.member(collection, get=collections.show)
    routes.member(f"{collection}/delete", get=collections.delete_form, post=collections.delete)
    routes.member(document, get=collections.document)
    routes.member(f"{document}/text", get=collections.text)


def _add_people_routes(routes: _Routes, dependencies: Dependencies) -> None:
    account, members = AccountPages(dependencies), MemberPages(dependencies)
    invitations = InvitationPages(dependencies)
    invitation, member = "/members/invitations/{invitation_id}", "/members/{user_id}"
    routes.member("/account", get=account.index)
    routes.member("/account/name", post=account.rename)
    routes.member("/account/email", post=account.change_email)
    routes.member("/account/time-zone", post=account.set_time_zone)
    routes.member("/account/password", get=account.password_form, post=account.change_password)
    routes.member("/account/sessions/end-others", post=account.end_other_sessions)
    routes.member("/account/sessions/{session_id}/end", post=account.end_session)
    routes.member("/members", get=members.index)
    routes.member("/members/leave", get=members.leave_form, post=members.leave)
    routes.member("/members/workspace-name", get=members.name_form, post=members.rename_workspace)
    routes.member("/members/invitations", get=invitations.index, post=invitations.invite)
    routes.member("/members/invitations/new", get=invitations.new)
    routes.member(f"{invitation}/revoke", get=invitations.revoke_form, post=invitations.revoke)
    routes.member(f"{member}/role", get=members.role_form, post=members.change_role)
    routes.member(f"{member}/remove", get=members.remove_form, post=members.remove)


def _add_device_routes(routes: _Routes, dependencies: Dependencies) -> None:
    devices = DevicePages(dependencies)
    routes.visitor("/device", get=devices.code_form, post=devices.check_code)
    routes.member("/device", get=devices.start_again, post=devices.decide)


class _Routes:
    """Collects routes. Reads run where the database's reads do, changes as writes, and what takes long apart."""

    def __init__(
        self, base_url: str, services: Services, sessions: Sessions, confirmation: Confirmation
    ) -> None:
        self.routes: list[Route] = []
        self._pages: set[str] = set()
        self._base_url = base_url
        self._execution = services.execution
        self._sign_in = services.sign_in
        self._sessions = sessions
        self._confirmation = confirmation

    def member(
        self,
        path: str,
        *,
        get: MemberHandler | None = None,
        post: MemberHandler | None = None,
        is_slow: bool = False,
    ) -> None:
        """Add a page of a workspace, whose handlers get the signed-in member. A form without a page leads to one."""
        if get is not None:
            self._pages.add(path)
        self.visitor(
            f"/w/{{workspace_id}}{path}",
            get=_compressed(self._for_member(get or partial(_start_again, self._page_of(path)))),
            post=post and self._for_member(post),
            is_slow=is_slow,
        )

    def _page_of(self, path: str) -> str:
        """Return the page that a path belongs to: the nearest one above it, else the keys."""
        while path and path not in self._pages:
            path = path.rpartition("/")[0]
        return path or "/keys"

    def visitor(
        self,
        path: str,
        *,
        get: Handler | None = None,
        post: Handler | None = None,
        is_slow: bool = False,
    ) -> None:
        """Add a page for everyone. GET must not change anything. `is_slow`: it may take more than 10 ms.

        POST requires both the origin and this browser's form token before anything happens, else ForeignForm.
        """

        async def endpoint(request: Request) -> Response:
            posted = request.method == "POST"
            if posted:
                require_same_origin(request, self._base_url)
            visit = Visit.of(request, await read_form(request) if posted else None)
            visit = await self._arrive(visit)
            run = self._confirmation.run_post if posted else self._confirmation.run_get
            respond = partial(run, handlers["POST" if posted else "GET"], visit)  # GET: HEAD too
            is_ours = posted and has_form_token(visit.form, visit.secret)
            if posted and not is_ours:
                respond = partial(self._confirmation.interrupt, visit)
            # A form without a session writes nothing: strangers must not occupy the writer.
            is_interrupted = visit.visitor is None and "workspace_id" in request.path_params
            may_write = is_ours and not is_interrupted
            execute = self._execution.run_write if may_write else self._execution.run_read
            if is_slow or has_password(visit.form) or _SEARCHING & request.query_params.keys():
                execute = self._execution.run_slow
            return await execute(_owner(visit), respond)

        handlers = {name: handler for name, handler in (("GET", get), ("POST", post)) if handler}
        self.routes.append(Route(path, endpoint, methods=list(handlers)))

    async def _arrive(self, visit: Visit) -> Visit:
        """Return the visit with its signed-in user, whose session is kept alive unless a script refreshes a page."""
        if not visit.known:
            return visit
        address, secret = address_subject(client_of(visit.request.scope).address), visit.secret
        visitor = await self._execution.run_read(address, partial(self._sign_in.visitor, secret))
        is_used = not visit.is_background
        if visitor is not None and is_used and visitor.session.needs_touch(self._sign_in.now()):
            # As a write of its own: a read on the event loop must not wait for the lock of a writer.
            await self._execution.run_write(address, partial(self._sign_in.touch, secret))
        return replace(visit, visitor=visitor)

    def _for_member(self, handler: MemberHandler) -> Handler:
        def handle(visit: Visit) -> Response:
            member_visit = self._sessions.member_visit(visit)
            return member_visit.remember_workspace(handler(member_visit))

        return handle


def _compressed(handler: Handler) -> Handler:
    return lambda visit: compress(handler(visit), visit.request)


def _start_again(page: str, visit: MemberVisit) -> Response:
    """Lead back to where a form is: scripts leave its address in the browser, for the user to reload."""
    return see_other(f"{visit.workspace_url}{page.format(**visit.request.path_params)}")


def _owner(visit: Visit) -> str:
    """Return whose share of the server's capacity a page uses."""
    # Anyone can name any workspace in a path: only its members may use up its share.
    # And not that of the workspace's keys: a leaked key's flood must not keep its revocation waiting.
    if (member := visit.membership()) is not None:
        return f"members of {member.workspace_id}"
    return address_subject(client_of(visit.request.scope).address)


class _WithSecurityHeaders:
    """Middleware that adds the security headers to every response, errors and files included."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*begun_cookies(scope), *message["headers"], *_SECURITY_HEADERS]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_guarded)
