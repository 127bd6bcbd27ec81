"""Metadata of keys: labels such as `customer=42`, for the product to see who calls. No access depends on it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from keystead.domain.errors import FieldError, Invalid
from keystead.domain.text import is_one_line

MAX_MEMBERS: Final = 20
MAX_BYTES: Final = 2_048
NAME_PATTERN: Final = r"[A-Za-z0-9_.\-]{1,40}"

Metadata = Mapping[str, str]
_NAME: Final = re.compile(NAME_PATTERN)


def check_metadata(metadata: Mapping[str, str]) -> Metadata:
    """Return a copy of `metadata`, in the order of names. Invalid unless it keeps all rules, with its errors' places.

    It has at most MAX_MEMBERS members and MAX_BYTES as compact JSON; names match NAME_PATTERN, values are one line.
    """
    # Lengths first: neither an error nor a further check grows with a stranger's body.
    if len(metadata) > MAX_MEMBERS:
        raise Invalid.field("/metadata", f"must have at most {MAX_MEMBERS} members")
    if not all(map(_NAME.fullmatch, metadata)):
        raise Invalid.field(
            "/metadata", "must have names of 1-40 letters, digits, underscores, dots and hyphens"
        )
    errors = [
        FieldError(f"/metadata/{name}", "must be on one line, without control characters")
        for name, value in metadata.items()
        if not is_one_line(value)
    ]
    if errors:
        raise Invalid(errors)
    checked = dict(sorted(metadata.items()))
    if len(compact_json(checked)) > MAX_BYTES:
        raise Invalid.field("/metadata", f"must have at most {MAX_BYTES:,} bytes as JSON")
    return checked


def merge_metadata(metadata: Metadata, changes: Mapping[str, str | None]) -> Metadata:
    """Return `metadata` with these changes; None removes a member. Invalid if the result isn't metadata."""
    merged = {**metadata, **changes}
    return check_metadata({name: value for name, value in merged.items() if value is not None})


def compact_json(metadata: Metadata) -> bytes:
    """Return the metadata as JSON in UTF-8, without spaces."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()
