"""A small protected product per framework, and requests to it without a network."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import flask
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead.integrations import Guard, Principal
from keystead.integrations import asgi as asgi_integration
from keystead.integrations import fastapi as fastapi_integration
from keystead.integrations import flask as flask_integration
from keystead.integrations import starlette as starlette_integration
from keystead.integrations import wsgi as wsgi_integration
from tests.support.callers import REQUIRED, ClientRequest, ClientResponse

Ask = Callable[[ClientRequest], ClientResponse]


@dataclass
class Product:
    """The principals that a product has served, in order."""

    served: list[Principal] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)


Build = Callable[[Guard, Product], Ask]


def asgi(guard: Guard, product: Product) -> Ask:
    """Build with the ASGI middleware."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        product.served.append(scope["keystead"])
        product.claims += [name.decode() for name, _ in scope["headers"]]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return over_asgi(asgi_integration.KeysteadMiddleware(app, guard, REQUIRED))


def wsgi(guard: Guard, product: Product) -> Ask:
    """Build with the WSGI middleware."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        product.served.append(environ["keystead.principal"])
        product.claims += [name for name in environ if name.startswith("HTTP_")]
        start_response("200 OK", [])
        return [b"{}"]

    return over_wsgi(wsgi_integration.KeysteadMiddleware(app, guard, REQUIRED))


def starlette(guard: Guard, product: Product) -> Ask:
    """Build with the authentication backend and the decorator."""

    @starlette_integration.requires(REQUIRED)
    async def endpoint(request: Request) -> Response:
        product.served.append(request.user.principal)
        return JSONResponse({})

    middleware = [starlette_integration.authentication(guard)]
    return over_asgi(Starlette(routes=[Route("/", endpoint)], middleware=middleware))


def fastapi(guard: Guard, product: Product) -> Ask:
    """Build with the dependency."""
    app = FastAPI()
    fastapi_integration.protect(app, guard)

    @app.get("/")
    async def endpoint(
        principal: Annotated[Principal, Depends(fastapi_integration.require(REQUIRED))],
    ) -> dict[str, str]:
        product.served.append(principal)
        return {}

    return over_asgi(app)


def flask_views(guard: Guard, product: Product) -> Ask:
    """Build with the decorator."""
    app = flask.Flask("product")
    flask_integration.Keystead(app, guard)

    @app.get("/")
    @flask_integration.require(REQUIRED)
    def view() -> dict[str, str]:
        product.served.append(flask_integration.current_principal())
        return {}

    return over_wsgi(app)


def django(guard: Guard, product: Product) -> Ask:
    """Build with the middleware and the decorator, under WSGI."""
    return _in_django(guard, product, "/view", lambda: over_wsgi(WSGIHandler(), "/view"))


def django_on_loop(guard: Guard, product: Product) -> Ask:
    """Build the same under ASGI, with an asynchronous view."""
    return _in_django(
        guard, product, "/view-on-loop", lambda: over_asgi(ASGIHandler(), "/view-on-loop")
    )


def rest_framework(guard: Guard, product: Product) -> Ask:
    """Build with the authentication class and the permission, without the middleware."""
    return _in_django(
        guard, product, "/rest", lambda: over_wsgi(WSGIHandler(), "/rest"), middleware=False
    )


PRODUCTS: Final[dict[str, Build]] = {
    "asgi": asgi,
    "wsgi": wsgi,
    "starlette": starlette,
    "fastapi": fastapi,
    "flask": flask_views,
    "django": django,
    "django on a loop": django_on_loop,
    "rest framework": rest_framework,
}


def over_asgi(app: Any, path: str = "/") -> Ask:
    """Send requests as an ASGI server does."""

    def ask(client_request: ClientRequest) -> ClientResponse:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": client_request.query.encode(),
            "headers": [(b"host", b"product.test"), *client_request.fields],
            "client": (client_request.peer, 4711),
            "server": ("product.test", 80),
        }
        return asyncio.run(_response_of(app, scope))

    return ask


async def _response_of(app: Any, scope: dict[str, Any]) -> ClientResponse:
    sent: list[Any] = []
    was_received = False

    async def receive() -> dict[str, Any]:
        nonlocal was_received
        if was_received:
            await asyncio.sleep(3600)
        was_received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    fields = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return ClientResponse(sent[0]["status"], fields.get("www-authenticate"), body)


def over_wsgi(app: Any, path: str = "/") -> Ask:
    """Send requests as a WSGI server does: repeated fields are joined by a comma."""

    def ask(client_request: ClientRequest) -> ClientResponse:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": client_request.query,
            "SERVER_NAME": "product.test",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "product.test",
            "REMOTE_ADDR": client_request.peer,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in client_request.fields:
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
        started: list[Any] = []
        body = b"".join(app(environ, lambda *arguments: started.append(arguments)))
        fields = {name.lower(): value for name, value in started[0][1]}
        return ClientResponse(int(started[0][0].split()[0]), fields.get("www-authenticate"), body)

    return ask


def _in_django(
    guard: Guard, product: Product, path: str, build: Callable[[], Ask], *, middleware: bool = True
) -> Ask:
    from tests.support import django_project as django_site

    django_site.begin()
    chosen = ["keystead.integrations.django.KeysteadMiddleware"] if middleware else []

    def ask(client_request: ClientRequest) -> ClientResponse:
        with override_settings(KEYSTEAD=guard, MIDDLEWARE=chosen), django_site.serving(product):
            return build()(client_request)

    return ask
