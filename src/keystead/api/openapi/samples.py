"""Samples of values and of requests, made from an OpenAPI document's schemas and their examples."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

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
_IDS: Final = {
    "/v1/collections": "passwords",
    "/v1/keys": "key_02tcRIyrxLXTR81B3dqdOx",
    "/v1/webhooks": "wh_02tcRIyrxLXTR81B3dqdOx",
    "/v1/deliveries": "dlv_02tcRIyrxLXTR81B3dqdOx",
    "/operator/v1/workspaces": "ws_02tcRIyrxLXTR81B3dqdOx",
}
"""What stands for `{id}` in the paths below."""


def sample_of(schema: dict[str, Any], schemas: Schemas) -> Any:
    """A value that the schema describes: its first example, or one made of its members' samples."""
    match schema:
        case {"examples": [example, *_]} | {"enum": [example, *_]} | {"const": example}:
            return example
        case {"$ref": _}:
            return sample_of(schemas[named(schema)], schemas)
        case {"anyOf": [*_, last]}:
            return sample_of(last, schemas)
        case {"properties": members}:
            return {name: sample_of(member, schemas) for name, member in members.items()}
        case {"items": items}:
            return [sample_of(items, schemas)]
        case _:
            return _BY_TYPE.get(schema.get("type", ""))


def named(schema: dict[str, Any]) -> str:
    """The name of the component that a reference names."""
    reference: str = schema["$ref"]
    return reference.rpartition("/")[2]


def sample_request(call: dict[str, Any], base_url: str, schemas: Schemas) -> str:
    """The call as a curl command line; the token comes from the environment and so stays out of the history."""
    path = call["path"].replace("{name}", "handbook")
    id = next((id for root, id in _IDS.items() if path.startswith(root)), "")
    path = path.replace("{id}", id)
    lines = [f"curl -X {call['method'].upper()} {shlex.quote(base_url + path)}", f'-H "{_TOKEN}"']
    if "requestBody" in call:
        schema = call["requestBody"]["content"]["application/json"]["schema"]
        body = json.dumps(sample_of(schema, schemas), ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(lines)
