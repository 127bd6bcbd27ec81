"""The two OpenAPI 3.1 documents, built from the operations and the models: the workspace API and the operator API.

`python -m keystead.api.openapi.document FOLDER` writes them as the repository has them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from keystead.api.openapi import device_login
from keystead.api.openapi.gate import (
    SECURITY_SCHEMES,
    TAG,
    TAG_DESCRIPTION,
    bearer,
    gate_paths,
    revocation_paths,
)
from keystead.api.openapi.operations import HEADERS, Schemas, operation_object
from keystead.api.openapi.refusals import REFUSAL_HEADERS, examples
from keystead.api.openapi.webhooks import PARAMETERS, webhooks
from keystead.api.operations import KEY, OPERATOR
from keystead.api.routes import OPERATIONS, TAGS_OF_DOCUMENTS
from keystead.domain.plans import OF_DOCUMENTS
from keystead.domain.product import OURS, Product
from keystead.wire.resources import Problem
from keystead.wire.webhooks import WebhookPayload

EXAMPLE: Final = "https://keys.example.com"
"""The server in the files of the repository. A server names itself."""

_WORKSPACE_TAGS: Final = {
    "workspaces": "The calling key and its workspace.",
    "keys": "API keys. The token is shown once, on creation; revoking takes effect immediately.",
    "usage": "How often the keys were used.",
    "plan": "The workspace's plan, its limits and their use.",
    "collections": "Named sets of documents.",
    "documents": "Texts with attributes: push them one by one or in batches, and search them by words.",
    "events": "The audit log of the workspace.",
    "webhooks": "Events sent to your URLs, signed as in Standard Webhooks 1.0.",
}
_OPERATOR_TAGS: Final = {
    "managed workspaces": "The product's tenants and their plans.",
    "workspace keys": "The keys of a workspace, with the bodies, rules and codes of `/v1/keys`.",
    "rate limits": "Rate limits of single workspaces and keys, in place of the plan's.",
    "members": "The people of a workspace.",
    "plans": "The plans of this installation.",
    "credentials": "What your own services and operators authenticate with.",
    "usage": "How often the keys of each workspace were used, for billing.",
    "feed": "All events of all workspaces and of the installation, in one order.",
    "portal sessions": "Sign users in to the Developer area without a second account.",
    TAG: TAG_DESCRIPTION,
}
_SCHEMES: Final = {
    KEY: bearer(
        "<prefix>_<key id>_<secret>", "A workspace's API key, with the scope that the call needs."
    ),
    OPERATOR: bearer(
        "<prefix>_op_<id>_<secret>",
        "An operator's credential. A workspace's key doesn't work here, and this credential works nowhere else.",
    ),
}
_LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
_JSON_PATHS: Final = ("/v1/", "/operator/v1/")
_METHODS: Final = ("get", "put", "post", "patch", "delete")
_MOST_OF_31_BITS: Final = 2**31 - 1


def workspace_document(
    server: str = EXAMPLE, product: Product = OURS, *, has_documents: bool = True
) -> dict[str, Any]:
    """Return the document of the workspace API, for a product's customers.

    Signing in at a terminal is described under our own name only: it is what our command line and our SDK do.

    Args:
        server: The URL that clients use to reach it.
        product: The product that it is a part of.
        has_documents: Whether it has the document store.
    """
    hidden = () if has_documents else TAGS_OF_DOCUMENTS
    tags = {tag: text for tag, text in _WORKSPACE_TAGS.items() if tag not in hidden}
    paths = revocation_paths()
    if not product.is_named:
        tags[device_login.TAG] = device_login.TAG_DESCRIPTION
        paths |= device_login.device_login_paths()
    about = _About("workspace", KEY, tags, server, product)
    document = _document(about, paths, Problem, WebhookPayload)
    _hide_quotas(document, has_documents)
    document["webhooks"] = webhooks(has_documents=has_documents)
    document["components"]["parameters"] = PARAMETERS
    sized: dict[str, Any] = _sized(document)
    return sized


def operator_document(
    server: str = EXAMPLE, product: Product = OURS, *, has_documents: bool = True
) -> dict[str, Any]:
    """Return the document of the operator API and the gate. The arguments are those of `workspace_document`."""
    about = _About("operator", OPERATOR, _OPERATOR_TAGS, server, product)
    document = _document(about, gate_paths(), Problem)
    _hide_quotas(document, has_documents)
    document["components"]["securitySchemes"] |= {KEY: _SCHEMES[KEY], **SECURITY_SCHEMES}
    sized: dict[str, Any] = _sized(document)
    return sized


DOCUMENTS: Final = {"": workspace_document, "/operator": operator_document}
"""Both documents, by the path below which a server has them."""


class _About(NamedTuple):
    """Which document it is: its name, the security scheme of its operations, its tags, its server and product."""

    name: str
    security: str
    tags: Mapping[str, str]
    server: str
    product: Product


def _document(about: _About, more_paths: Mapping[str, Any], *models: type) -> dict[str, Any]:
    """Return what both documents have, about the operations with that security scheme and further paths."""
    name, security, tags, server, product = about
    operations = [each for each in OPERATIONS if each.security == security and each.tag in tags]
    schemas = Schemas(operations, models)
    paths: dict[str, Any] = {}
    for each in operations:
        item = paths.setdefault(each.path, {})
        item[each.method.lower()] = operation_object(each, schemas)
    paths |= more_paths
    text, headers = json.dumps(paths), HEADERS | REFUSAL_HEADERS
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{product.name} {name.capitalize()} API",
            "version": "1",
            "description": f"{_text(name)}\n{_text('common')}",
            **({} if product.is_named else {"license": _LICENSE}),
        },
        "servers": [{"url": server}],
        "tags": [{"name": tag, "description": text} for tag, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": {k: v for k, v in headers.items() if f'/headers/{k}"' in text},
            "examples": examples(),
            "securitySchemes": {security: _SCHEMES[security]},
        },
    }


def _hide_quotas(document: dict[str, Any], has_documents: bool) -> None:
    """Remove the quotas of the document store, unless there is one."""
    properties = document["components"]["schemas"]["Quotas"]["properties"]
    for name in () if has_documents else OF_DOCUMENTS:
        del properties[name]


def _sized(node: Any) -> Any:
    """Return a copy that marks integers without a bound of 31 bits: clients in typed languages would use 32."""
    if isinstance(node, list):
        return [_sized(each) for each in node]
    if not isinstance(node, dict):
        return node
    copy = {name: _sized(each) for name, each in node.items()}
    if node.get("type") == "integer" and node.get("maximum", sys.maxsize) > _MOST_OF_31_BITS:
        copy["format"] = "int64"
    return copy


def _text(name: str) -> str:
    return (files("keystead.api.openapi") / f"{name}.md").read_text(encoding="utf-8")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method in lower case, and operation of every JSON call; the gate's calls use forms."""
    for path, item in document["paths"].items():
        if path.startswith(_JSON_PATHS):
            yield from ((path, method, item[method]) for method in _METHODS if method in item)


def write(folder: Path) -> None:
    """Write both documents into the folder, as the repository has them."""
    for root, describe in DOCUMENTS.items():
        text = json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"
        path = folder / f"openapi{root.replace('/', '-')}.json"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
