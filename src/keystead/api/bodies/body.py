"""The base of request bodies. The domain checks the values; the schemas only describe its rules (lengths, patterns)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from keystead.domain.instants import format_instant, parse_instant
from keystead.domain.keys import (
    UNSET,
)
from keystead.domain.workspaces import MAX_NAME
from keystead.wire.schema import Instant, member


def _without_defaults(schema: dict[str, Any]) -> None:
    for described in schema["properties"].values():
        described.pop("default", None)


class Body(BaseModel):
    """A request body of strict types without unknown members. Descriptions say what an omitted member means."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra=_without_defaults,
    )

    def sent(self, name: str) -> Any:
        """Return the member's value, or UNSET if it was omitted."""
        return getattr(self, name) if name in self.model_fields_set else UNSET


def _read_instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 time, as a string")  # noqa: TRY004 - what pydantic catches
    return parse_instant(value)


SentInstant = Annotated[
    Instant, PlainValidator(_read_instant), PlainSerializer(format_instant, return_type=str)
]


def display_name(description: str, example: str) -> Any:
    """Describe a name that people read."""
    return member(description, example, minLength=1, maxLength=MAX_NAME)
