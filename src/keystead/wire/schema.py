"""Building blocks of all shapes: their base class, times, and descriptions in the JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, dataclass_transform

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, WithJsonSchema

INSTANT_SCHEMA: Final = {
    "type": "string",
    "format": "date-time",
    "examples": ["2027-01-31T12:00:00Z"],
}
Instant = Annotated[datetime, WithJsonSchema(INSTANT_SCHEMA)]
"""An aware UTC time. pydantic writes it as `format_instant` does, without a call of Python for each."""


class AsText:
    """Has pydantic write a StrEnum as the text that it is. Asking it for its value calls Python for each member."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Return the schema of the StrEnum with that serialization."""
        return {**handler(source), "serialization": {"type": "str"}}


def member(description: str, *examples: Any, **schema: Any) -> Any:
    """Describe a member in the schema: `schema` is JSON Schema (2020-12) in addition to the type."""
    return Field(description=description, examples=list(examples) or None, json_schema_extra=schema)


NextCursor = Annotated[
    str | None, member("The `cursor` of the next page. Null: this is the last page.")
]


@dataclass_transform(kw_only_default=True)
class Resource:
    """The base of all responses. Every member is present, and null if it has no value.

    A subclass is a dataclass that pydantic describes and writes. Nothing is validated: our own domain made the values,
    and checking them again took longer than writing them.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True)(cls)

    def to_json(self) -> bytes:
        """Return the JSON text, in one pass."""
        return _adapters[type(self)].serializer.to_json(self)

    def to_members(self) -> dict[str, Any]:
        """Return the members with JSON's own types."""
        members: dict[str, Any] = _adapters[type(self)].dump_python(self, mode="json")
        return members


class _Adapters(dict[type, TypeAdapter[Any]]):
    """What pydantic knows of each shape, built when it is needed first."""

    def __missing__(self, shape: type) -> TypeAdapter[Any]:
        """Build the adapter of a shape."""
        adapter: TypeAdapter[Any] = TypeAdapter(shape)
        self[shape] = adapter
        return adapter


_adapters = _Adapters()
