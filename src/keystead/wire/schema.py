"""What the JSON Schemas of all shapes share; in a file of its own because bodies and resources both need it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

INSTANT_SCHEMA: Final = {
    "type": "string",
    "format": "date-time",
    "examples": ["2027-01-31T12:00:00Z"],
}


def member(description: str, *examples: Any, **schema: Any) -> Any:
    """Describe a member in the schema: `schema` is JSON Schema (2020-12) beside what the type says."""
    return Field(description=description, examples=list(examples) or None, json_schema_extra=schema)
