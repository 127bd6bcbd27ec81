"""The Developer area as one application: its routes, its guards, and the headers of all its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keystead.developer_area.brand import Brand
from keystead.developer_area.forms import read_form, require_form_token, require_same_origin
from keystead.developer_area.keys import KeyPages
from keystead.developer_area.plans import PlanPages
from keystead.developer_area.refusals import Refusals
from keystead.developer_area.render import Renderer
from keystead.developer_area.session import Sessions, Visit
from keystead.http.asgi import App, Header, Message, Receive, Scope, Send
from keystead.services import Services

Handler = Callable[[Visit], Response]

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
    plans = PlanPages(services, render, sessions, plans_url=plans_url)
    doors = _Doors(base_url)
    of_keys = "/w/{workspace_id}/keys"
    routes = [
        doors.route("/", see=sessions.home),
        doors.route("/sign-in", see=sessions.sign_in_page, act=sessions.sign_in),
        doors.route("/sign-out", act=sessions.sign_out),
        doors.route(of_keys, see=keys.index, act=keys.create),
        doors.route(f"{of_keys}/new", see=keys.new),
        doors.route(f"{of_keys}/{{key_id}}/revoke", see=keys.ask_to_revoke, act=keys.revoke),
        doors.route("/w/{workspace_id}/plan", see=plans.index),
        Route("/static/{digest}/{name}", render.assets.serve),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    Refusals(render).install(app)
    return _Guarded(app)


class _Doors:
    """Routes to pages and acts. Handlers run in the thread pool, where services may wait for the database."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def route(self, path: str, *, see: Handler | None = None, act: Handler | None = None) -> Route:
        """`see` looks and changes nothing (GET); `act` changes something (POST), only from a form of ours."""

        async def endpoint(request: Request) -> Response:
            if request.method == "POST":
                return await run_in_threadpool(handlers["POST"], await self._own_form(request))
            return await run_in_threadpool(handlers["GET"], Visit.of(request))

        handlers = {name: handler for name, handler in (("GET", see), ("POST", act)) if handler}
        return Route(path, endpoint, methods=list(handlers))

    async def _own_form(self, request: Request) -> Visit:
        """The visit with its form; ForeignForm before anything is done, unless both proofs hold."""
        require_same_origin(request, self._base_url)
        visit = Visit.of(request, await read_form(request))
        require_form_token(visit.form, visit.secret)
        return visit


class _Guarded:
    """Puts the guards on every answer, errors and files included."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_GUARDS]}
            await send(message)

        await self._app(scope, receive, guarded)
