"""Samples of values and requests for the reference page: with curl, with our SDK, or with Python alone."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final, NamedTuple

from keystead.api.openapi.sdk_samples import SDK_CALLS
from keystead.domain.product import Product
from keystead.wire.code_samples import SampleCall, python_calls

Schemas = dict[str, Any]

_BY_TYPE: Final[dict[str, Any]] = {
    "integer": 0,
    "number": 0,
    "boolean": True,
    "null": None,
    "object": {},
    "string": "…",
}


class Sample(NamedTuple):
    """Code for one call: the name of its language or tool, and the code."""

    name: str
    code: str


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


def body_of(call: dict[str, Any], schemas: Schemas) -> Any:
    """Return a valid body of the call; None if it takes none."""
    if "requestBody" not in call:
        return None
    return sample_of(call["requestBody"]["content"]["application/json"]["schema"], schemas)


def samples_of(
    call: dict[str, Any], server: str, product: Product, schemas: Schemas
) -> list[Sample]:
    """Return the call with curl and in Python. The token comes from the environment, out of the shell's history."""
    path = call["path"]
    for parameter in call.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", sample_of(parameter["schema"], schemas))
    sample = SampleCall(call["method"].upper(), server + path, body_of(call, schemas))
    sdk = None if product.is_named else SDK_CALLS.get(call["operationId"])
    python = python_calls(product.variable, sample) if sdk is None else sdk.code(server)
    return [Sample("curl", _curl(sample, product.variable)), Sample("Python", python)]


def _curl(call: SampleCall, variable: str) -> str:
    token = f"Authorization: Bearer ${variable}"
    lines = [f"curl -X {call.method} {shlex.quote(call.url)}", f'-H "{token}"']
    if call.body is not None:
        body = json.dumps(call.body, ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(lines)
