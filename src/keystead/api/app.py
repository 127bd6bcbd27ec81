"""The API application: routers, error handlers and reference pages."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route

from keystead.api.openapi.document import ROUTERS, describe
from keystead.api.openapi.reference import ReferencePages
from keystead.api.route import Gate
from keystead.http.exception_handlers import install_handlers
from keystead.http.problem_pages import ProblemPages
from keystead.http.problems import Problems
from keystead.services import Services


def create_api(services: Services, *, base_url: str) -> FastAPI:
    """Return the ASGI application of `/v1/…`, `/operator/v1/…`, and the public `/openapi.json`, `/docs`, `/problems`.

    Args:
        services: The use cases.
        base_url: The URL that clients use to reach this server.
    """
    problems = Problems(base_url)
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.gate = Gate(services)
    app.state.base_url = base_url
    install_handlers(app, problems)
    for router in ROUTERS:
        app.include_router(router)
    _add_pages(app, problems, base_url)
    return app


def _add_pages(app: FastAPI, problems: Problems, base_url: str) -> None:
    reference, pages = ReferencePages(describe(), base_url), ProblemPages(problems)
    app.router.routes += [
        Route("/openapi.json", reference.document),
        Route("/docs", reference.page),
        Route("/docs/reference.css", reference.style),
        Route("/problems", pages),
        Route("/problems/{code}", pages),
    ]
