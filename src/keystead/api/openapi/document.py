"""The OpenAPI 3.1 document: what FastAPI knows of the routes, and what is the same for all of them.

`python -m keystead.api.openapi.document` prints it as openapi.json holds it.
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
from keystead.api.route import (
    BODY_VALUES,
    EXPIRES_HEADER,
    MAX_BODY,
    PROBLEMS,
    SECURITY,
    TAGGED,
)
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
API keys, collections and documents of one workspace: the one that the key belongs to. And, below `/operator/v1`, the
calls of the product's own services: its workspaces, their plans, and links that sign its users in.

**Credentials.** Every call carries an API key, as `Authorization: Bearer <token>` and nowhere else
([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)). A call names the scope that its key must hold. `*` holds all but
`keys:write`. Calls below `/operator/v1` carry an operator's credential in the same way; neither works in the other's
place.

**Refusals** are problems ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): `code` is for programs, `detail` for
people, and `type` is a page that says what to do. They come in this order: 400 for the request's head; 401; 403 for
the scope; 413, 415 and 400 for the body's size, type and syntax; 404; then 409 or 422. An id of another workspace is
answered exactly like one that never existed.

**Requests.** Bodies are JSON in UTF-8. Unknown members, a name twice in an object, unknown query parameters and a
parameter sent twice are refused with 422: nothing is ever half understood.

**Lists** take `limit` and `cursor`, and answer `items` and `next_cursor`. A cursor belongs to its list with its
filters; following cursors, nothing comes twice, and what was added meanwhile is left out.

**Instants** are RFC 3339. Sent with any offset, they are answered in UTC with `Z`.

**Answers** are never to be cached. A good one to a key that ends within 14 days carries `Keystead-Key-Expires`.
"""
_TAGS: Final = {
    "workspaces": "Who calls, and for which workspace.",
    "keys": "API keys: created once, revoked at once. A key never contains its token.",
    "plan": "What the workspace's plan allows, and what is used of it.",
    "collections": "Named sets of documents.",
    "documents": "Texts with attributes, pushed singly or in batches, found by their words.",
    "events": "What happened, to what, by whom.",
    "webhooks": "Events sent to receivers of the workspace's choice, signed as Standard Webhooks 1.0 says.",
    "managed workspaces": "For the product's backend: its tenants, and the plans that a billing system puts them on.",
    "plans": "For the product's backend: what there is to be on.",
    "portal sessions": "For the product's backend: its users reach the Developer area without a second account.",
    TAG: TAG_DESCRIPTION,
}
_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "<prefix>_<key id>_<secret>",
    "description": "An API key of the workspace. The scope that a call needs stands beside it.",
}
_OPERATOR_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "<prefix>_op_<id>_<secret>",
    "description": "An operator's credential, made by `keystead credentials create`. No workspace's key works here, and"
    " this works nowhere else.",
}
_HEADERS: Final = {
    EXPIRES_HEADER: {
        "description": "When the calling key ends, if that is within 14 days.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "ETag": {
        "description": "The version of what can be edited; send it back as `If-Match`.",
        "schema": {"type": "string", "examples": ['"3"']},
    },
    "Location": {
        "description": "The path of what was made.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
}
_DONE: Final = {"200": "Done.", "201": "Made.", "204": "Done; there is nothing to say."}
JSON_PATHS: Final = ("/v1/", "/operator/v1/")
_METHODS: Final = ("get", "put", "post", "patch", "delete")


def describe() -> dict[str, Any]:
    """The whole document, made anew."""
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
    # The framework's own model of OpenAPI makes every bound a float; a bound that is whole is written so.
    whole: dict[str, Any] = json.loads(json.dumps(document), parse_float=_number)
    return whole


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method in lower case, and operation, of each call that speaks JSON: those of the gate speak OAuth."""
    for path, item in document["paths"].items():
        if not path.startswith(JSON_PATHS):
            continue
        yield from ((path, method, item[method]) for method in _METHODS if method in item)


def written(document: dict[str, Any]) -> str:
    """The document as openapi.json holds it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    operation["description"] += f"\n\n**Needs** {_need(operation)}."
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    own, max_body = operation.pop(PROBLEMS), operation.pop(MAX_BODY)
    max_values = operation.pop(BODY_VALUES)
    if _is_for_keys(operation):
        own = [*own, RateLimited.code]
    located, tagged = operation.pop(LOCATED, True), operation.pop(TAGGED)
    if "requestBody" in operation:
        operation["requestBody"]["description"] = (
            f"At most {max_body:,} bytes, and {max_values:,} values and member names."
        )
    done = {code: answer for code, answer in operation["responses"].items() if code in _DONE}
    for status, response in done.items():
        named = _headers(operation, located=located and status == "201", tagged=tagged)
        response |= {"description": _DONE[status], "headers": references("headers", named)}
    operation["responses"] = done | responses_of(path, method, operation, own)


def _need(operation: dict[str, Any]) -> str:
    if not _is_for_keys(operation):
        return "an operator's credential, `<prefix>_op_…`"
    scopes = operation["security"][0][SECURITY]
    named = " and ".join(f"`{scope}`" for scope in scopes)
    return f"the scope {named}" if scopes else "a live key, of any scope"


def _headers(operation: dict[str, Any], *, located: bool, tagged: bool) -> Iterator[str]:
    """The headers of a good answer."""
    if _is_for_keys(operation):
        yield EXPIRES_HEADER
    if tagged:
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
    """A parameter may be absent, but it is never null."""
    options = [option for option in schema.pop("anyOf", ()) if option != {"type": "null"}]
    schema.pop("title", None)
    return {**options[0], **schema} if options else schema


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


if __name__ == "__main__":
    sys.stdout.write(written(describe()))
