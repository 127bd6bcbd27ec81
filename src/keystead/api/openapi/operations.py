"""Each operation as OpenAPI describes it: parameters, body, responses, and the scopes that it needs in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from keystead.api.openapi.refusals import references, refusals_of
from keystead.api.operations import (
    EXPIRES_HEADER,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    KEY,
    Operation,
    Parameter,
    Place,
)

HEADERS: Final = {
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
_DONE: Final = {
    200: "OK.",
    201: "Created.",
    202: "Accepted.",
    204: "Done. The response has no body.",
}
_Use = tuple[Any, JsonSchemaMode]


class Schemas:
    """The JSON Schemas of everything that these operations and these models use, each model once, as a component."""

    def __init__(self, operations: Iterable[Operation], models: Iterable[type]) -> None:
        uses: list[_Use] = [(model, "validation") for model in models]
        for operation in operations:
            uses += _uses(operation)
        adapters = [(type, mode, TypeAdapter(type)) for type, mode in dict.fromkeys(uses)]
        self._of, definitions = TypeAdapter.json_schemas(
            adapters, ref_template="#/components/schemas/{model}"
        )
        self.components: dict[str, Any] = definitions["$defs"]
        for schema in self.components.values():
            for member in schema.get("properties", {}).values():
                member.pop("title", None)

    def of(self, type: Any, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        """Return the schema of a type; of a model, the reference to its component."""
        return self._of[type, mode]


def _uses(operation: Operation) -> Iterator[_Use]:
    for parameter in _parameters(operation):
        yield parameter.type, "validation"
    if operation.body is not None:
        yield operation.body, "validation"
    if operation.answer is not None:
        yield operation.answer, "serialization"


def operation_object(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    """Return the operation as the document describes it."""
    described: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"{operation.description}\n\n**Needs** {_need(operation)}.",
        "operationId": operation.name,
        "security": [{operation.security: list(operation.scopes)}],
    }
    if parameters := [_parameter(parameter, schemas) for parameter in _parameters(operation)]:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "description": f"At most {operation.max_body:,} bytes with {operation.max_values:,} values"
            " and member names.",
            "content": {"application/json": {"schema": schemas.of(operation.body)}},
        }
    done = {str(status): _done(operation, status, schemas) for status in operation.statuses}
    return {**described, "responses": done | refusals_of(operation)}


def _need(operation: Operation) -> str:
    if operation.security != KEY:
        return "an operator's credential, `<prefix>_op_…`"
    names = " and ".join(f"`{scope}`" for scope in operation.scopes)
    return f"the scope {names}" if names else "a live key with any scope"


def _parameters(operation: Operation) -> Iterator[Parameter]:
    yield from operation.path_parameters
    yield from operation.query
    if operation.idempotent:
        yield IDEMPOTENCY_KEY
    if operation.if_match:
        yield IF_MATCH


def _parameter(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    schema = {**schemas.of(parameter.type), **(parameter.schema or {})}
    if parameter.examples:
        schema["examples"] = list(parameter.examples)
    return {
        "name": parameter.name,
        "in": str(parameter.place),
        "required": parameter.place is Place.PATH,
        "description": parameter.description,
        "schema": schema,
    }


def _done(operation: Operation, status: int, schemas: Schemas) -> dict[str, Any]:
    response = {
        "description": _DONE[status],
        "headers": references("headers", _headers(operation, status)),
    }
    if operation.answer is not None:
        schema = schemas.of(operation.answer, "serialization")
        response["content"] = {"application/json": {"schema": schema}}
    if operation.streams is not None:
        response["content"] = {operation.streams: {"schema": {"type": "string"}}}
    return response


def _headers(operation: Operation, status: int) -> Iterator[str]:
    """Yield the names of the headers of a successful response."""
    if operation.security == KEY:
        yield EXPIRES_HEADER
    if operation.has_etag:
        yield "ETag"
    if status == 201 and operation.is_located:
        yield "Location"
