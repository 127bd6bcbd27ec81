"""The API reference: an OpenAPI document for tools and a page for people, without scripts, for each of both APIs."""

from __future__ import annotations

import json
import shlex
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from keystead.api.openapi.document import DOCUMENTS, operations
from keystead.http.asgi import Answer, Header

_CACHE: Final[Header] = (b"cache-control", b"public, max-age=300")
_POLICY: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)

PATHS: Final = frozenset(
    {
        "/docs/reference.css",
        *(f"{root}/{name}" for root in DOCUMENTS for name in ("openapi.json", "docs")),
    }
)


class ReferencePages:
    """The public reference pages, rendered together. `base_url` is the server's URL for clients."""

    def __init__(self, base_url: str, *, has_documents: bool = True) -> None:
        style = (files("keystead.api") / "static" / "reference.css").read_bytes()
        self.answers = {"/docs/reference.css": _answer(style, b"text/css; charset=utf-8")}
        for root, describe in DOCUMENTS.items():
            document = describe(base_url, has_documents=has_documents)
            text = json.dumps(document, separators=(",", ":")).encode()
            page = render(document, f"{root}/openapi.json").encode()
            self.answers[f"{root}/openapi.json"] = _answer(text, b"application/json")
            self.answers[f"{root}/docs"] = _answer(page, b"text/html; charset=utf-8", _POLICY)


def _answer(body: bytes, media_type: bytes, *headers: Header) -> Answer:
    return Answer(200, ((b"content-type", media_type), _CACHE, *headers), body)


def render(document: dict[str, Any], path: str) -> str:
    """Render an OpenAPI document, which is served at that path, as an HTML page."""
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
        path=path,
        calls=calls,
        schemas=schemas,
        request_of=lambda call: sample_request(call, document["servers"][0]["url"], schemas),
    )


def _markdown(text: str) -> str:
    return str(MarkdownIt("commonmark", {"html": False}).render(text))


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


Schemas = dict[str, Any]

_BY_TYPE: Final[dict[str, Any]] = {
    "integer": 0,
    "number": 0,
    "boolean": True,
    "null": None,
    "object": {},
    "string": "…",
}
_TOKEN: Final = "Authorization: Bearer $KEYSTEAD_TOKEN"


def sample_of(schema: dict[str, Any], schemas: Schemas) -> Any:
    """Return a valid value: the schema's first example, or one built from its members' samples."""
    match schema:
        case {"examples": [example, *_]} | {"enum": [example, *_]} | {"const": example}:
            return example
        case {"$ref": _}:
            return sample_of(schemas[name_of(schema)], schemas)
        case {"anyOf": [*_, last]}:
            return sample_of(last, schemas)
        case {"properties": members}:
            return {name: sample_of(member, schemas) for name, member in members.items()}
        case {"items": items}:
            return [sample_of(items, schemas)]
        case _:
            return _BY_TYPE.get(schema.get("type", ""))


def name_of(schema: dict[str, Any]) -> str:
    """Return the name of the component that a `$ref` points to."""
    reference: str = schema["$ref"]
    return reference.rpartition("/")[2]


def sample_request(call: dict[str, Any], server: str, schemas: Schemas) -> str:
    """Return the call as a curl command. The token comes from the environment, to stay out of the shell's history."""
    path = call["path"]
    for parameter in call.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", sample_of(parameter["schema"], schemas))
    lines = [f"curl -X {call['method'].upper()} {shlex.quote(server + path)}", f'-H "{_TOKEN}"']
    if "requestBody" in call:
        schema = call["requestBody"]["content"]["application/json"]["schema"]
        body = json.dumps(sample_of(schema, schemas), ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(lines)
