"""Every call that the two OpenAPI documents describe, and the shapes of both."""

from __future__ import annotations

from typing import Any, Final

from keystead.api.openapi.document import operations, operator_document, workspace_document
from keystead.api.openapi.samples import sample_of

DOCUMENTS: Final = {
    "openapi.json": workspace_document(),
    "openapi-operator.json": operator_document(),
}
"""By their names in the repository."""

CALLS: Final = [call for document in DOCUMENTS.values() for call in operations(document)]
"""Path, method in lower case, and operation."""

OPERATIONS: Final = {operation["operationId"]: operation for _, _, operation in CALLS}

SCHEMAS: Final[dict[str, Any]] = {
    name: schema
    for document in DOCUMENTS.values()
    for name, schema in document["components"]["schemas"].items()
}


def sample_body(operation: dict[str, Any]) -> Any:
    """Return a valid body for the operation; None if it takes none."""
    if "requestBody" not in operation:
        return None
    media = operation["requestBody"]["content"]["application/json"]
    return sample_of(media["schema"], SCHEMAS)
