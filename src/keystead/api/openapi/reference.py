"""The API reference: /openapi.json for tools, and the page /docs for people, without scripts."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from starlette.requests import Request
from starlette.responses import Response

from keystead.api.openapi.document import operations
from keystead.api.openapi.samples import name_of, sample_of, sample_request

_CACHE: Final = "public, max-age=300"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class ReferencePages:
    """The public reference pages, rendered once at startup. `base_url` is the server's URL for clients."""

    def __init__(self, document: dict[str, Any], base_url: str) -> None:
        self._document = json.dumps(document, separators=(",", ":")).encode()
        self._page = render(document, base_url).encode()
        self._style = (files("keystead.api") / "static" / "reference.css").read_bytes()

    async def document(self, _request: Request) -> Response:
        """Return the OpenAPI document."""
        return _response(self._document, "application/json")

    async def page(self, _request: Request) -> Response:
        """Return the document as an HTML page."""
        response = _response(self._page, "text/html; charset=utf-8")
        response.headers["content-security-policy"] = _POLICY
        return response

    async def style(self, _request: Request) -> Response:
        """Return the page's style sheet."""
        return _response(self._style, "text/css; charset=utf-8")


def _response(body: bytes, media_type: str) -> Response:
    return Response(body, headers={"content-type": media_type, "cache-control": _CACHE})


def render(document: dict[str, Any], base_url: str) -> str:
    """Render an OpenAPI document as an HTML page."""
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
        "named": name_of,
        "sample": lambda schema: _to_json(sample_of(schema, schemas)),
        "body_schema": lambda body: schemas[name_of(body["content"]["application/json"]["schema"])],
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


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
