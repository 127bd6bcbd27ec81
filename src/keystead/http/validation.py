"""Refused values: where they stand (JSON pointers, RFC 6901) and what is said about them, without repeating any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from keystead.domain.errors import FieldError, Invalid, InvalidRequest, KeysteadError

MAX_ENTRIES = 100
"""Refused values that one answer names: a body of millions of wrong ones is not answered with as many sentences."""

MAX_PARAMETERS = 20
"""Refused query parameters that one answer names: more than any call takes."""

_LONGEST_NAME = 64
_SHOWN_OF_LONGER = 20
_PARAMETER_PLACES = frozenset({"query", "path", "header", "cookie"})

Location = Iterable[str | int]


def body_pointer(location: Location) -> str:
    """The JSON pointer of `location` in the body, `""` for the whole body.

    A member name that is too long to be one of ours is cut: it may be a secret that was pasted in the wrong place.
    """
    return "".join(f"/{_segment(str(part))}" for part in location)


def request_pointer(location: Location) -> str:
    """The pointer of FastAPI's `loc`: `("body", "title")` is `/title`, `("query", "limit")` is `query:limit`."""
    place, *path = location
    if place in _PARAMETER_PLACES:
        return f"{place}:{'.'.join(_cut(str(part)) for part in path)}"
    return body_pointer(path)


def invalid_of(
    errors: Sequence[Mapping[str, Any]], pointer: Callable[[Location], str] = body_pointer
) -> KeysteadError:
    """The refusal that pydantic's `errors()` amount to: Invalid with the first, InvalidRequest where it is no JSON."""
    if any(error["type"] == "json_invalid" for error in errors):
        return InvalidRequest("The body is not JSON.")
    shown = errors[:MAX_ENTRIES]
    return Invalid([FieldError(pointer(error["loc"]), _sentence(error)) for error in shown])


def _sentence(error: Mapping[str, Any]) -> str:
    sentence = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return sentence  # our own words, which quote nothing, though a value may be a part of their example
    # Some of pydantic's messages quote what was sent, such as the tag of a union; an answer never does.
    sent = (error.get("input"), error.get("ctx", {}).get("tag"))
    if any(isinstance(value, str) and len(value) > 3 and value in sentence for value in sent):
        return "This value is not allowed."
    return sentence


def _segment(name: str) -> str:
    return _cut(name).replace("~", "~0").replace("/", "~1")


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_SHOWN_OF_LONGER]}…"
