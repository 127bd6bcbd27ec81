"""The API application: the calls of the route table, and the reference pages."""

from __future__ import annotations

from keystead.api.dispatch import Calls
from keystead.api.openapi.reference import ReferencePages
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
        self._pages = ReferencePages(base_url, product, has_documents=has_documents).answers
        self._problems = ProblemPages(Problems(base_url, product))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method, path = scope["method"], scope["path"]
        if path == PREFIX or (path.startswith(f"{PREFIX}/") and path != f"{PREFIX}/"):
            note_route(scope, PREFIX)
            await self._problems(scope, receive, send)
        elif (page := self._pages.get(path)) is not None:
            note_route(scope, path)
            if method not in {"GET", "HEAD"}:
                raise MethodNotAllowed("GET, HEAD")
            await send_answer(send, page)
        else:
            await self._calls(scope, receive, send)
