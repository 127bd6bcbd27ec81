"""The OpenAPI 3.1 document, built from the operations and the models.

`python -m keystead.api.openapi.document` prints it in the format of openapi.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from keystead.api.openapi.gate_paths import SECURITY_SCHEMES, TAG, TAG_DESCRIPTION, gate_paths
from keystead.api.openapi.paths import HEADERS, Schemas, operation_object
from keystead.api.openapi.refusals import REFUSAL_HEADERS, examples
from keystead.api.operations import KEY, OPERATOR
from keystead.api.routes import OPERATIONS
from keystead.wire.resources import Problem

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
_SECURITY_SCHEMES: Final = {KEY: _BEARER, OPERATOR: _OPERATOR_BEARER, **SECURITY_SCHEMES}
JSON_PATHS: Final = ("/v1/", "/operator/v1/")
_METHODS: Final = ("get", "put", "post", "patch", "delete")


def describe() -> dict[str, Any]:
    """Return a new copy of the whole document."""
    schemas = Schemas(OPERATIONS, [Problem])
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        item = paths.setdefault(operation.path, {})
        item[operation.method.lower()] = operation_object(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keystead Workspace API",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths | gate_paths(),
        "components": {
            "schemas": schemas.components,
            "headers": HEADERS | REFUSAL_HEADERS,
            "examples": examples(),
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method in lower case, and operation of every JSON call; the gate's calls use forms."""
    for path, item in document["paths"].items():
        if path.startswith(JSON_PATHS):
            yield from ((path, method, item[method]) for method in _METHODS if method in item)


def to_json(document: dict[str, Any]) -> str:
    """Return the document in the format of openapi.json."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(to_json(describe()))
