"""The API's description for tools and for people: /openapi.json, and /docs made from it, without a line of script."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from starlette.requests import Request
from starlette.responses import Response

from keystead.api.openapi.document import operations
from keystead.api.openapi.samples import named, sample_of, sample_request

_CACHE: Final = "public, max-age=300"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class ReferencePages:
    """Endpoints that answer the same to everybody; made once, at start. `base_url` is where the server is reached."""

    def __init__(self, document: dict[str, Any], base_url: str) -> None:
        self._document = json.dumps(document, separators=(",", ":")).encode()
        self._page = render(document, base_url).encode()
        self._style = (files("keystead.api") / "static" / "reference.css").read_bytes()

    async def document(self, _request: Request) -> Response:
        """The OpenAPI document."""
        return _answer(self._document, "application/json")

    async def page(self, _request: Request) -> Response:
        """The document as a page to read."""
        response = _answer(self._page, "text/html; charset=utf-8")
        response.headers["content-security-policy"] = _POLICY
        return response

    async def style(self, _request: Request) -> Response:
        """The page's style sheet."""
        return _answer(self._style, "text/css; charset=utf-8")


def _answer(body: bytes, media_type: str) -> Response:
    return Response(body, headers={"content-type": media_type, "cache-control": _CACHE})


def render(document: dict[str, Any], base_url: str) -> str:
    """The page that shows an OpenAPI document."""
    pages = Environment(
        loader=PackageLoader("keystead.api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    schemas = document["components"]["schemas"]
    pages.filters |= {
        "markdown": _markdown,
        "named": named,
        "sample": lambda schema: _written(sample_of(schema, schemas)),
        "body_schema": lambda body: schemas[named(body["content"]["application/json"]["schema"])],
    }
    listed = list(operations(document))
    calls = {
        tag["name"]: [
            {**operation, "path": path, "method": method}
            for path, method, operation in listed
            if tag["name"] in operation["tags"]
        ]
        for tag in document["tags"]
    }
    return pages.get_template("reference.html").render(
        document=document,
        calls=calls,
        schemas=schemas,
        request_of=lambda call: sample_request(call, base_url, schemas),
    )


def _markdown(text: str) -> str:
    return str(MarkdownIt("commonmark", {"html": False}).render(text))


def _written(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
