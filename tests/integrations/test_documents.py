"""What a host application shows of Keystead: its OpenAPI document, CORS, and the pages that problems link to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import APIKeyHeader
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from keystead.integrations import Principal, connect
from keystead.integrations.asgi import KeysteadMiddleware
from keystead.integrations.fastapi import protect, require
from keystead.integrations.starlette import authentication, requires
from keystead.testing import Scopes, embedded, fake_keystead

Reader = Annotated[Principal, Depends(require("reports:read"))]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The OpenAPI document of an application with each kind of operation."""
    app = FastAPI()
    protect(app, fake_keystead({}))
    router = APIRouter(prefix="/v1", dependencies=[Depends(require("reports:write"))])

    @router.post("/reports", responses={401: {"description": "Our own words."}})
    def write(principal: Reader) -> str:
        return principal.id

    @app.get("/reports")
    def read(principal: Reader) -> str:
        return principal.id

    @app.get("/me")
    def whoami(principal: Annotated[Principal, Depends(require())]) -> str:
        return principal.id

    @app.get("/other")
    def other(key: Annotated[str, Depends(APIKeyHeader(name="X-Other"))]) -> str:
        return key

    @app.get("/open")
    def anyone() -> str:
        return "welcome"

    app.include_router(router)
    with TestClient(app) as client:
        first: dict[str, Any] = client.get("/openapi.json").json()
        assert client.get("/openapi.json").json() == first
        return first


def test_the_document_of_fastapi_lists_the_scopes(document: dict[str, Any]) -> None:
    """Each operation names the scopes of all its dependencies under one bearer scheme; others stay as they are."""
    security = {
        path: operation.get("security")
        for path, item in document["paths"].items()
        for operation in item.values()
    }
    assert security == {
        "/v1/reports": [{"KeysteadKey": ["reports:read", "reports:write"]}],
        "/reports": [{"KeysteadKey": ["reports:read"]}],
        "/me": [{"KeysteadKey": []}],
        "/other": [{"APIKeyHeader": []}],
        "/open": None,
    }
    schemes = document["components"]["securitySchemes"]
    assert schemes.keys() == {"KeysteadKey", "APIKeyHeader"}
    assert (schemes["KeysteadKey"]["type"], schemes["KeysteadKey"]["scheme"]) == ("http", "bearer")


def test_the_document_of_fastapi_lists_the_refusals(document: dict[str, Any]) -> None:
    """401 and 503 are in each guarded operation, 403 if it has a scope; the application's own words stay."""
    refusals = {
        path: sorted(set(operation["responses"]) & {"401", "403", "503"})
        for path, item in document["paths"].items()
        for operation in item.values()
    }
    assert refusals == {
        "/v1/reports": ["401", "403", "503"],
        "/reports": ["401", "403", "503"],
        "/me": ["401", "503"],
        "/other": [],
        "/open": [],
    }
    responses = document["paths"]["/reports"]["get"]["responses"]
    content = responses["403"]["content"]["application/problem+json"]
    name = content["schema"]["$ref"].removeprefix("#/components/schemas/")
    problem = document["components"]["schemas"][name]
    refused = fake_keystead({}).problems.internal
    assert set(problem["required"]) == {"type", "title", "status", "detail", "code"}
    assert all(f'"{member}"'.encode() in refused.body for member in problem["required"])
    written = document["paths"]["/v1/reports"]["post"]["responses"]["401"]
    assert written == {"description": "Our own words."}


CORS: dict[str, Any] = {
    "allow_origins": ["https://app.example"],
    "allow_headers": ["Authorization"],
}
GUARD = fake_keystead({"reader": Scopes(["reports:read"])})


def _asgi() -> Any:
    return CORSMiddleware(KeysteadMiddleware(PlainTextResponse("reports"), GUARD), **CORS)


def _starlette() -> Any:
    @requires("reports:read")
    async def reports(request: Any) -> PlainTextResponse:
        return PlainTextResponse("reports")

    middleware = [Middleware(CORSMiddleware, **CORS), authentication(GUARD)]
    return Starlette(routes=[Route("/", reports)], middleware=middleware)


def _fastapi() -> Any:
    app = FastAPI()
    protect(app, GUARD)
    app.add_middleware(CORSMiddleware, **CORS)

    @app.get("/")
    async def reports(principal: Reader) -> str:
        return "reports"

    return app


@pytest.mark.parametrize("build", [_asgi, _starlette, _fastapi])
def test_a_browser_gets_past_the_preflight_and_reads_refusals(build: Any) -> None:
    """In the documented order the preflight passes without a key, and a refusal can be read by the page."""
    origin = {"origin": CORS["allow_origins"][0]}
    asks = {
        "access-control-request-method": "GET",
        "access-control-request-headers": "Authorization",
    }
    client = TestClient(build())
    assert client.options("/", headers=origin | asks).status_code == 200
    for token, status in (("reader", 200), ("unknown", 401)):
        answer = client.get("/", headers=origin | {"authorization": f"Bearer {token}"})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == origin["origin"]


def test_links_to_this_machine_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`connect` warns if problems link to loopback, in process and at a server, and not with a `public_url`."""
    with embedded(tmp_path) as keystead:
        monkeypatch.setenv("KEYSTEAD_SERVICE_TOKEN", keystead.create_key("plan:read"))
    monkeypatch.delenv("KEYSTEAD_PUBLIC_URL", raising=False)
    public = "https://keys.example.com"
    database = f"sqlite:///{tmp_path / 'keystead.db'}"
    for to, public_url, warns in (
        (database, None, True),
        (database, public, False),
        ("http://127.0.0.1:8080", None, True),
        ("http://127.0.0.1:8080", public, False),
        ("https://keys.example.com", None, False),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "keystead"):
            guard = connect(to, public_url=public_url)
        messages = [str(record.msg) for record in caplog.records]
        assert any("problems link to this machine" in line for line in messages) == warns, to
        if not warns:
            assert guard.problems.address == f"{public}/problems"
