"""Building blocks of all shapes: their base class, times, and descriptions in the JSON Schema."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

INSTANT_SCHEMA: Final = {
    "type": "string",
    "format": "date-time",
    "examples": ["2027-01-31T12:00:00Z"],
}
Instant = Annotated[datetime, WithJsonSchema(INSTANT_SCHEMA)]
"""An aware UTC time. pydantic writes it as `format_instant` does, without a call of Python for each."""


def member(description: str, *examples: Any, **schema: Any) -> Any:
    """Describe a member in the schema: `schema` is JSON Schema (2020-12) in addition to the type."""
    return Field(description=description, examples=list(examples) or None, json_schema_extra=schema)


NextCursor = Annotated[
    str | None, member("The `cursor` of the next page. Null: this is the last page.")
]


class Resource(BaseModel):
    """The base of all responses. Every member is present, and null if it has no value."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)

    def to_json(self) -> bytes:
        """Return the JSON text, in one pass."""
        return self.__pydantic_serializer__.to_json(self)
