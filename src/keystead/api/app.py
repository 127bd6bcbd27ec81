"""The API application: the calls of the route table, and the reference pages."""

from __future__ import annotations

import asyncio
from functools import partial

from keystead.api.dispatch import Calls
from keystead.api.openapi.reference import PATHS, ReferencePages
from keystead.api.routes import operations_of
from keystead.domain.product import OURS, Product
from keystead.http.asgi import Receive, Scope, Send, send_answer
from keystead.http.client import note_route
from keystead.http.problem_pages import PREFIX, ProblemPages
from keystead.http.problems import MethodNotAllowed, Problems
from keystead.services import Services


class Api:
    """The ASGI application of `/v1/…`, `/operator/v1/…`, and the public documents, `/docs` and `/problems`.

    It raises every refusal: the stack around it answers them.
    """

    def __init__(self, services: Services, *, base_url: str, product: Product = OURS) -> None:
        """Prepare all calls. `base_url` is the URL that clients use to reach this server."""
        has_documents = services.keys.catalog.has_documents
        operations = operations_of(has_documents=has_documents)
        self._calls = Calls(operations, services, base_url)
        self._reference = partial(ReferencePages, base_url, product, has_documents=has_documents)
        self._pages: asyncio.Future[ReferencePages] | None = None
        self._problems = ProblemPages(Problems(base_url, product))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method, path = scope["method"], scope["path"]
        if path == PREFIX or (path.startswith(f"{PREFIX}/") and path != f"{PREFIX}/"):
            note_route(scope, PREFIX)
            await self._problems(scope, receive, send)
        elif path in PATHS:
            note_route(scope, path)
            if method not in {"GET", "HEAD"}:
                raise MethodNotAllowed("GET, HEAD")
            pages = await self._rendered()
            await send_answer(send, pages.answers[path])
        else:
            await self._calls(scope, receive, send)

    async def _rendered(self) -> ReferencePages:
        """Return the reference pages, which the first request of a process has rendered in a thread.

        Rendering takes longer than all else that a process does before it serves. If it failed, the next request
        has it done again.
        """
        if self._pages is None or _has_failed(self._pages):
            self._pages = asyncio.ensure_future(asyncio.to_thread(self._reference))
        return await asyncio.shield(self._pages)


def _has_failed(pages: asyncio.Future[ReferencePages]) -> bool:
    return pages.done() and (pages.cancelled() or pages.exception() is not None)
