"""The API reference: an OpenAPI document for tools and a page for people, for each of both APIs.

A page is complete without scripts. Its own script adds a search, tabs, and requests with a key that it never stores.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from keystead.api.openapi.document import DOCUMENTS, operations
from keystead.api.openapi.samples import body_of, name_of, sample_of, samples_of
from keystead.domain.product import OURS, Product
from keystead.http.asgi import Answer, Header

_CACHE: Final[Header] = (b"cache-control", b"public, max-age=300")
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src {requests}; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_STATIC: Final = {"reference.css": b"text/css; charset=utf-8", "reference.js": b"text/javascript"}
_HIDDEN: Final[Header] = (b"x-robots-tag", b"noindex")

PATHS: Final = frozenset(
    {
        *(f"/docs/{name}" for name in _STATIC),
        *(f"{root}/{name}" for root in DOCUMENTS for name in ("openapi.json", "docs")),
    }
)


class ReferencePages:
    """The public reference pages, rendered together. `base_url` is the server's URL for clients.

    The operator's page stands apart: no page of the customers' leads to it, and it makes no requests.
    """

    def __init__(
        self, base_url: str, product: Product = OURS, *, has_documents: bool = True
    ) -> None:
        folder = files("keystead.api") / "static"
        self.answers = {
            f"/docs/{name}": _answer((folder / name).read_bytes(), kind)
            for name, kind in _STATIC.items()
        }
        for root, describe in DOCUMENTS.items():
            document = describe(base_url, product, has_documents=has_documents)
            text = json.dumps(document, separators=(",", ":")).encode()
            page = render(document, root, product).encode()
            policy = _POLICY.format(requests="'none'" if root else "'self'").encode()
            head: list[Header] = [_HIDDEN] if root else []
            self.answers[f"{root}/openapi.json"] = _answer(text, b"application/json", *head)
            head.append((b"content-security-policy", policy))
            self.answers[f"{root}/docs"] = _answer(page, b"text/html; charset=utf-8", *head)


def _answer(body: bytes, media_type: bytes, *headers: Header) -> Answer:
    return Answer(200, ((b"content-type", media_type), _CACHE, *headers), body)


def render(document: dict[str, Any], root: str, product: Product) -> str:
    """Render an OpenAPI document, which is served below that path, as an HTML page."""
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
        "body_sample": lambda call: _to_json(body_of(call, schemas)),
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
        root=root,
        product=product,
        calls=calls,
        schemas=schemas,
        samples_of=lambda call: samples_of(call, document["servers"][0]["url"], product, schemas),
    )


def _markdown(text: str) -> str:
    return str(MarkdownIt("commonmark", {"html": False}).render(text))


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
