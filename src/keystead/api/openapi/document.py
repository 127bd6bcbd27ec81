"""The OpenAPI 3.1 document: FastAPI's description of the routes, and what all routes share.

`python -m keystead.api.openapi.document` prints it in the format of openapi.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from fastapi.openapi.utils import get_openapi

from keystead.api import collections, documents, events, keys, operator, webhooks, workspaces
from keystead.api.openapi.gate_paths import SECURITY_SCHEMES, TAG, TAG_DESCRIPTION, gate_paths
from keystead.api.openapi.refusals import REFUSAL_HEADERS, examples, references, responses_of
from keystead.api.operator import LOCATED, OPERATOR
from keystead.api.route import BODY_VALUES, EXPIRES_HEADER, HAS_ETAG, MAX_BODY, PROBLEMS, SECURITY
from keystead.domain.errors import RateLimited
from keystead.wire.resources import Problem

ROUTERS: Final = (
    workspaces.router,
    keys.router,
    collections.router,
    documents.router,
    events.router,
    webhooks.router,
    webhooks.deliveries,
    operator.router,
    operator.plans_router,
    operator.portal_router,
)

_DESCRIPTION = """\
API keys, collections, documents, events and webhooks of a workspace. A key belongs to one workspace, and its calls
see only that workspace. Calls below `/operator/v1` are for the product's backend: workspaces, their plans, and links
that sign users in.

**Credentials.** Every call sends an API key as `Authorization: Bearer <token>`, and nowhere else
([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)). Each call names the scope that its key must have. `*` contains
all scopes except `keys:write`. Calls below `/operator/v1` send an operator's credential in the same way. Neither kind
of credential works in place of the other.

**Errors** are problems ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): `code` is for programs, `detail` for
people, and `type` is a page that says what to do. Keystead checks a request in this order: 400 for its head; 401; 403
for the scope; 413, 415 and 400 for the body's size, type and syntax; 404; then 409 or 422. An id of another workspace
gets exactly the same response as an id that never existed.

**Requests.** Bodies are JSON in UTF-8. Unknown members, repeated names in an object, unknown query parameters and
repeated parameters are refused with 422.

**Lists** take `limit` and `cursor`, and return `items` and `next_cursor`. A cursor works only for its list with its
filters. While you follow cursors, no item is repeated, and items added meanwhile are left out.

**Times** are RFC 3339. Send any offset; responses are in UTC with `Z`.

**Responses** must not be cached. If the calling key expires within 14 days, successful responses have the header
`Keystead-Key-Expires`.
"""
_TAGS: Final = {
    "workspaces": "The calling key and its workspace.",
    "keys": "API keys. The token is shown once, on creation; revoking takes effect immediately.",
    "plan": "The workspace's plan, its limits and their use.",
    "collections": "Named sets of documents.",
    "documents": "Texts with attributes: push them one by one or in batches, and search them by words.",
    "events": "The audit log of the workspace.",
    "webhooks": "Events sent to your URLs, signed as in Standard Webhooks 1.0.",
    "managed workspaces": "For the product's backend: its tenants and their plans.",
    "plans": "For the product's backend: the plans of this installation.",
    "portal sessions": "For the product's backend: sign users in to the Developer area without a second account.",
    TAG: TAG_DESCRIPTION,
}
_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "<prefix>_<key id>_<secret>",
    "description": "A workspace's API key, with the scope that the call needs.",
}
_OPERATOR_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "<prefix>_op_<id>_<secret>",
    "description": "An operator's credential, created by `keystead credentials create`. A workspace's key doesn't"
    " work here, and this credential works nowhere else.",
}
_HEADERS: Final = {
    EXPIRES_HEADER: {
        "description": "When the calling key expires, if that is within 14 days.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "ETag": {
        "description": "The version of the resource. Send it back as `If-Match`.",
        "schema": {"type": "string", "examples": ['"3"']},
    },
    "Location": {
        "description": "The path of the created resource.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
}
_DONE: Final = {"200": "OK.", "201": "Created.", "204": "Done. The response has no body."}
JSON_PATHS: Final = ("/v1/", "/operator/v1/")
_METHODS: Final = ("get", "put", "post", "patch", "delete")


def describe() -> dict[str, Any]:
    """Return a new copy of the whole document."""
    document = get_openapi(
        title="Keystead Workspace API",
        version="1",
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=[route for router in ROUTERS for route in router.routes],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    for path, method, operation in operations(document):
        _complete(path, method, operation)
    _complete_components(document["components"])
    document["paths"] |= gate_paths()
    # FastAPI's model of OpenAPI turns every bound into a float; whole ones become integers again.
    whole: dict[str, Any] = json.loads(json.dumps(document), parse_float=_number)
    return whole


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method in lower case, and operation of every JSON call; the gate's calls use forms."""
    for path, item in document["paths"].items():
        if not path.startswith(JSON_PATHS):
            continue
        yield from ((path, method, item[method]) for method in _METHODS if method in item)


def to_json(document: dict[str, Any]) -> str:
    """Return the document in the format of openapi.json."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    operation["description"] += f"\n\n**Needs** {_need(operation)}."
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    codes, max_body = operation.pop(PROBLEMS), operation.pop(MAX_BODY)
    max_values = operation.pop(BODY_VALUES)
    if _is_for_keys(operation):
        codes = [*codes, RateLimited.code]
    located, has_etag = operation.pop(LOCATED, True), operation.pop(HAS_ETAG)
    if "requestBody" in operation:
        operation["requestBody"]["description"] = (
            f"At most {max_body:,} bytes with {max_values:,} values and member names."
        )
    done = {code: answer for code, answer in operation["responses"].items() if code in _DONE}
    for status, response in done.items():
        names = _headers(operation, located=located and status == "201", has_etag=has_etag)
        response |= {"description": _DONE[status], "headers": references("headers", names)}
    operation["responses"] = done | responses_of(path, method, operation, codes)


def _need(operation: dict[str, Any]) -> str:
    if not _is_for_keys(operation):
        return "an operator's credential, `<prefix>_op_…`"
    scopes = operation["security"][0][SECURITY]
    names = " and ".join(f"`{scope}`" for scope in scopes)
    return f"the scope {names}" if scopes else "a live key with any scope"


def _headers(operation: dict[str, Any], *, located: bool, has_etag: bool) -> Iterator[str]:
    """Yield the names of the headers of a successful response."""
    if _is_for_keys(operation):
        yield EXPIRES_HEADER
    if has_etag:
        yield "ETag"
    if located:
        yield "Location"


def _is_for_keys(operation: dict[str, Any]) -> bool:
    return SECURITY in operation["security"][0]


def _complete_components(components: dict[str, Any]) -> None:
    schemas = components["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
    for framework_owned in ("HTTPValidationError", "ValidationError"):
        schemas.pop(framework_owned)
    for schema in schemas.values():
        for member in schema.get("properties", {}).values():
            member.pop("title", None)
    components["securitySchemes"] = {
        SECURITY: _BEARER,
        OPERATOR: _OPERATOR_BEARER,
        **SECURITY_SCHEMES,
    }
    components["headers"] = _HEADERS | REFUSAL_HEADERS
    components["examples"] = examples()


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter, which may be absent but never null."""
    options = [option for option in schema.pop("anyOf", ()) if option != {"type": "null"}]
    schema.pop("title", None)
    return {**options[0], **schema} if options else schema


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


if __name__ == "__main__":
    sys.stdout.write(to_json(describe()))
