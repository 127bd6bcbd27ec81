"""Sample values and requests, from the schemas of an OpenAPI document and their examples."""

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
"""The sample for `{id}` in the paths below each root."""


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


def sample_request(call: dict[str, Any], base_url: str, schemas: Schemas) -> str:
    """Return the call as a curl command. The token comes from the environment, to stay out of the shell's history."""
    path = call["path"].replace("{name}", "handbook")
    id = next((id for root, id in _IDS.items() if path.startswith(root)), "")
    path = path.replace("{id}", id)
    lines = [f"curl -X {call['method'].upper()} {shlex.quote(base_url + path)}", f'-H "{_TOKEN}"']
    if "requestBody" in call:
        schema = call["requestBody"]["content"]["application/json"]["schema"]
        body = json.dumps(sample_of(schema, schemas), ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(lines)
