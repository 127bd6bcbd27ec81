"""A document's attributes: JSON that its owner defines, within bounds, and kept as it was sent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from keystead.domain.text import UNSTORABLE, is_storable

MAX_ATTRIBUTES_BYTES: Final = 16 * 1024
MAX_ATTRIBUTES_DEPTH: Final = 8
_INTEGERS = range(-(2**63), 2**63)


def attributes_fault(attributes: Mapping[str, Any]) -> str | None:
    """What is wrong with `attributes`, or None.

    They are an object of at most 16 KiB (compact JSON in UTF-8), objects and arrays nesting at most 8 deep, itself
    being the first. Looks level by level, so that no nesting, however deep, exhausts the stack.
    """
    if not isinstance(attributes, dict):
        return "must be an object"
    level: list[dict[str, Any] | list[Any]] = [attributes]
    for _ in range(MAX_ATTRIBUTES_DEPTH):
        values = [value for container in level for value in _members(container)]
        fault = next((fault for value in values if (fault := _value_fault(value))), None)
        if fault:
            return fault
        level = [value for value in values if isinstance(value, dict | list)]
    if level:
        return f"must nest objects and arrays at most {MAX_ATTRIBUTES_DEPTH} deep"
    return _size_fault(attributes)


def _members(container: dict[str, Any] | list[Any]) -> Iterator[Any]:
    if isinstance(container, dict):
        yield from container
        yield from container.values()
    else:
        yield from container


def _value_fault(value: object) -> str | None:
    match value:
        case str():
            return None if is_storable(value) else UNSTORABLE
        case bool() | None | dict() | list():
            return None
        case int():
            return None if value in _INTEGERS else "must not hold an integer beyond 64 bits"
        case float():
            return None if math.isfinite(value) else "must hold finite numbers only"
    return "must be JSON"


def _size_fault(attributes: Mapping[str, Any]) -> str | None:
    written = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))
    if len(written.encode()) > MAX_ATTRIBUTES_BYTES:
        return f"must be at most {MAX_ATTRIBUTES_BYTES:,} bytes of compact JSON in UTF-8"
    return None
