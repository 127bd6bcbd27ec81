"""The Developer area as one application: its routes, its guards, and the headers of all its answers."""

from __future__ import annotations

from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keystead.developer_area.confirm_email import ConfirmEmail
from keystead.developer_area.keys import KeyPages
from keystead.developer_area.people.account import AccountPages
from keystead.developer_area.people.invitations import Door, InvitationPages
from keystead.developer_area.people.members import MemberPages
from keystead.developer_area.sign_in.confirmation import Confirmation, Handler, renewed_cookies
from keystead.developer_area.sign_in.session import Sessions, Visit
from keystead.developer_area.web.brand import Brand
from keystead.developer_area.web.error_pages import Refusals
from keystead.developer_area.web.forms import has_form_token, read_form, require_same_origin
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.webhook_changes import WebhookChanges
from keystead.developer_area.webhooks.deliveries import DeliveryPages
from keystead.developer_area.webhooks.views import WebhookDesk, WebhookPages
from keystead.developer_area.workspace.activity import EventPages
from keystead.developer_area.workspace.collections import CollectionPages
from keystead.developer_area.workspace.notifications import NoticePages
from keystead.developer_area.workspace.plans import PlanPages
from keystead.developer_area.workspace.quick_start import QuickStart
from keystead.domain.confirmations import PATH as CONFIRM_EMAIL
from keystead.domain.throttle import address_subject
from keystead.http.asgi import App, Header, Message, Receive, Scope, Send
from keystead.http.client import client_of
from keystead.services import Services
from keystead.services.concurrency import FairThreadPool

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing inline, nothing foreign, never framed."""

_GUARDS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


def create_developer_area(
    services: Services,
    *,
    base_url: str,
    plans_url: str | None = None,
    brand: Brand = Brand(),  # noqa: B008 - immutable
) -> App:
    """The ASGI application of all pages, to stand behind `http.stack.Stack`.

    `base_url`: where people and code reach this server, without a slash at the end. `plans_url`: where customers
    change their plan. `brand`: the product that the pages show themselves as; ValueError where it cannot be read.
    """
    render = Renderer(brand)
    sessions = Sessions(services, render)
    keys = KeyPages(services, render, sessions, base_url=base_url, plans_url=plans_url)
    collections = CollectionPages(
        services, render, sessions, base_url=base_url, plans_url=plans_url
    )
    desk = WebhookDesk(services, render, sessions, plans_url=plans_url)
    webhooks, change, deliveries = WebhookPages(desk), WebhookChanges(desk), DeliveryPages(desk)
    notices = NoticePages(services, render, sessions)
    activity = EventPages(services, render, sessions)
    quick_start = QuickStart(services, render, sessions, base_url=base_url)
    plans = PlanPages(services, render, sessions, plans_url=plans_url)
    confirmation = Confirmation(services, render, sessions)
    confirm_email = ConfirmEmail(services, render)
    account = AccountPages(services, render, sessions)
    members = MemberPages(services, render, sessions)
    invitations = InvitationPages(services, render, sessions, base_url=base_url)
    door = Door(services, render, sessions)
    doors = _Doors(base_url, sessions, confirmation)
    of_account, of_members = "/w/{workspace_id}/account", "/w/{workspace_id}/members"
    of_keys = "/w/{workspace_id}/keys"
    one_key = f"{of_keys}/{{key_id}}"
    of_collections = "/w/{workspace_id}/collections"
    of_webhooks = "/w/{workspace_id}/webhooks"
    one_webhook = f"{of_webhooks}/{{webhook_id}}"
    one_collection = f"{of_collections}/{{name}}"
    routes = [
        doors.route("/", see=sessions.home),
        doors.route("/sign-in", see=sessions.sign_in_page, act=sessions.sign_in),
        doors.route(CONFIRM_EMAIL, see=confirm_email.look, act=confirm_email.confirm),
        doors.route("/sign-out", act=sessions.sign_out),
        doors.route("/w/{workspace_id}/confirm", act=confirmation.confirm),
        doors.route("/w/{workspace_id}/resume", see=confirmation.resume),
        doors.route(of_keys, see=keys.all.show, act=keys.new.create),
        doors.route(f"{of_keys}/new", see=keys.new.ask),
        doors.route(one_key, see=keys.one.show),
        doors.route(f"{one_key}/edit", see=keys.change.ask_to_edit, act=keys.change.edit),
        doors.route(f"{one_key}/rotate", see=keys.change.ask_to_rotate, act=keys.change.rotate),
        doors.route(f"{one_key}/revoke", see=keys.end.ask, act=keys.end.revoke),
        doors.route(of_collections, see=collections.index, act=collections.create),
        doors.route("/w/{workspace_id}/new-collection", see=collections.new),
        doors.route(one_collection, see=collections.collection),
        doors.route(
            f"{one_collection}/delete", see=collections.ask_to_delete, act=collections.delete
        ),
        doors.route(f"{one_collection}/documents/{{id}}", see=collections.document),
        doors.route(f"{one_collection}/documents/{{id}}/text", see=collections.text),
        doors.route(of_webhooks, see=webhooks.index, act=webhooks.create),
        doors.route(f"{of_webhooks}/new", see=webhooks.new),
        doors.route(one_webhook, see=webhooks.show),
        doors.route(f"{one_webhook}/edit", see=change.ask_to_edit, act=change.edit),
        doors.route(f"{one_webhook}/status", act=change.switch),
        doors.route(f"{one_webhook}/test", act=change.test),
        doors.route(f"{one_webhook}/rotate-secret", see=change.ask_to_rotate, act=change.rotate),
        doors.route(f"{one_webhook}/delete", see=change.ask_to_delete, act=change.delete),
        doors.route(f"{one_webhook}/deliveries/{{delivery_id}}", see=deliveries.show),
        doors.route(
            f"{one_webhook}/deliveries/{{delivery_id}}/redeliver", act=deliveries.redeliver
        ),
        doors.route("/w/{workspace_id}/notices", see=notices.index, act=notices.choose),
        doors.route("/w/{workspace_id}/activity", see=activity.index),
        doors.route("/w/{workspace_id}/activity.csv", see=activity.as_csv),
        doors.route("/w/{workspace_id}/activity.jsonl", see=activity.as_json_lines),
        doors.route("/w/{workspace_id}/quick-start", see=quick_start.index),
        doors.route("/w/{workspace_id}/plan", see=plans.index),
        doors.route(of_account, see=account.index),
        doors.route(f"{of_account}/name", act=account.rename),
        doors.route(f"{of_account}/email", act=account.change_email),
        doors.route(f"{of_account}/time-zone", act=account.set_time_zone),
        doors.route(f"{of_account}/password", see=account.password, act=account.change_password),
        doors.route(f"{of_account}/sessions/end-others", act=account.end_other_sessions),
        doors.route(f"{of_account}/sessions/{{session_id}}/end", act=account.end_session),
        doors.route(of_members, see=members.index),
        doors.route(f"{of_members}/leave", see=members.ask_to_leave, act=members.leave),
        doors.route(
            f"{of_members}/workspace-name", see=members.ask_for_name, act=members.rename_workspace
        ),
        doors.route(f"{of_members}/invitations", see=invitations.index, act=invitations.invite),
        doors.route(f"{of_members}/invitations/new", see=invitations.new),
        doors.route(
            f"{of_members}/invitations/{{invitation_id}}/revoke",
            see=invitations.ask_to_revoke,
            act=invitations.revoke,
        ),
        doors.route(
            f"{of_members}/{{user_id}}/role", see=members.ask_for_role, act=members.change_role
        ),
        doors.route(
            f"{of_members}/{{user_id}}/remove", see=members.ask_to_remove, act=members.remove
        ),
        doors.route("/invitation", see=door.look, act=door.come_in),
        Route("/static/{digest}/{name}", render.assets.serve),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    Refusals(render).install(app)
    return _Guarded(app)


PAGES: Final = 12
"""Pages that one process makes at the same time, of which each workspace has its share."""
STRANGERS: Final = 64
"""Those of everybody else, of which each address has its share. Most wait for the slow hash of a password."""


class _Doors:
    """Routes to pages and acts. Handlers run on threads, where services may wait for the database."""

    def __init__(self, base_url: str, sessions: Sessions, confirmation: Confirmation) -> None:
        self._base_url = base_url
        self._sessions = sessions
        self._confirmation = confirmation
        self._pages = FairThreadPool(PAGES, "page")
        self._strangers = FairThreadPool(STRANGERS, "stranger")

    def route(self, path: str, *, see: Handler | None = None, act: Handler | None = None) -> Route:
        """`see` looks and changes nothing (GET); `act` changes something (POST), only from a form of ours.

        ForeignForm before anything is done, unless both proofs hold: the origin, and the token of this browser.
        """

        async def endpoint(request: Request) -> Response:
            posted = request.method == "POST"
            if posted:
                require_same_origin(request, self._base_url)
            visit = Visit.of(request, await read_form(request) if posted else None)
            handle = self._confirmation.act if posted else self._confirmation.look
            make = partial(handle, handlers["POST" if posted else "GET"], visit)  # GET: HEAD too
            if posted and not has_form_token(visit.form, visit.secret):
                make = partial(self._confirmation.interrupted, visit)
            workspace_id = request.path_params.get("workspace_id")

            def enter() -> Response | None:
                """Return the answer, or None for a member, whose page has a place of the workspace's."""
                # A stranger may name any workspace: only its members use up its share.
                if workspace_id is not None and self._sessions.is_of_member(visit):
                    return None
                return make()

            address = address_subject(client_of(request.scope).address)
            answer = await self._strangers.run(address, enter)
            return await self._pages.run(workspace_id, make) if answer is None else answer

        handlers = {name: handler for name, handler in (("GET", see), ("POST", act)) if handler}
        return Route(path, endpoint, methods=list(handlers))


class _Guarded:
    """Puts the guards on every answer, errors and files included."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                renewed = renewed_cookies(scope)
                message = {**message, "headers": [*renewed, *message["headers"], *_GUARDS]}
            await send(message)

        await self._app(scope, receive, guarded)
