"""JSON bodies, read strictly (RFC 8259, and RFC 7493 where that one leaves a choice): one text, one meaning."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from keystead.domain.errors import (
    FieldError,
    Invalid,
    InvalidRequest,
    KeysteadError,
    TooLarge,
    UnsupportedMediaType,
)

MAX_DEPTH = 32
"""How deep arrays and objects may nest."""

MAX_VALUES = 10_000
"""Values and member names of a body, unless the call sets another bound."""

# A string, the begin of an array or object, or a number or literal: each is one value, or one member's name. Every
# alternative takes what it has begun (possessive), an unfinished string included, so no byte is read twice.
_VALUE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[^\s"\[\]{}:,]++', re.DOTALL)
_INTEGERS = range(-(2**63), 2**63)
_TOO_DEEP = f"Arrays and objects nest at most {MAX_DEPTH} deep."
_TOO_LARGE = "An integer has at most 64 bits."

M = TypeVar("M", bound=BaseModel)


def require_json(content_type: str | None) -> None:
    """UnsupportedMediaType unless the Content-Type is application/json; its charset, if named, is UTF-8."""
    media_type, *parameters = (content_type or "").lower().split(";")
    if media_type.strip(" \t") != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.")
    for parameter in parameters:
        name, _, value = parameter.strip(" \t").partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType("Send the body in UTF-8.")


def decode_json(data: bytes, max_values: int = MAX_VALUES) -> Any:
    """The value that the JSON text `data` writes, in UTF-8 without a byte order mark.

    TooLarge for more than `max_values` values and member names, before one of them is built. InvalidRequest for what
    is not JSON at all (NaN and trailing bytes too). Invalid, with a pointer, for JSON that does not mean the same
    everywhere or cannot be kept: a name twice in an object, a lone surrogate, NUL in a string, an integer beyond 64
    bits, a number beyond a double, nesting over MAX_DEPTH.
    """
    if next(islice(_VALUE.finditer(data), max_values, None), None) is not None:
        raise TooLarge(f"The body has over {max_values:,} values and member names.")
    try:
        value = json.loads(_text(data), object_pairs_hook=_object, parse_constant=_not_json)
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON, at character {error.pos}.") from None
    except RecursionError:
        raise Invalid.field("", _TOO_DEEP) from None
    except ValueError:  # more digits than Python is willing to read
        raise Invalid.field("", _TOO_LARGE) from None
    if (fault := _fault(value, 0)) is not None:
        raise Invalid.field(body_pointer(fault.path), fault.sentence)
    return value


def decode_model(model: type[M], data: bytes, max_values: int = MAX_VALUES) -> M:
    """`data` as a `model`, types strict; Invalid with one entry per refused field, and all that decode_json refuses.

    The text is parsed once. So a model's fields are of JSON's own types, or read from them by the model itself.
    """
    value = decode_json(data, max_values)
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        raise invalid_of(error.errors(include_url=False)) from None


class _Repeating(dict[str, Any]):
    """An object in which a name stood more than once."""

    name = ""


class _Fault(NamedTuple):
    path: tuple[str | int, ...]
    sentence: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    counts = Counter(name for name, _ in pairs)
    repeating = _Repeating(members)
    repeating.name = next(name for name, count in counts.items() if count > 1)
    return repeating


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")  # given bytes, json would guess UTF-16 and UTF-32
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8, at byte {error.start}.") from None


def _not_json(constant: str) -> NoReturn:
    raise InvalidRequest(f"{constant} is not JSON.")


def _fault(value: Any, depth: int) -> _Fault | None:
    if isinstance(value, str):
        return _text_fault(value)
    if isinstance(value, dict | list):
        return _Fault((), _TOO_DEEP) if depth == MAX_DEPTH else _fault_inside(value, depth + 1)
    if type(value) is int and value not in _INTEGERS:
        return _Fault((), _TOO_LARGE)
    if isinstance(value, float) and math.isinf(value):
        return _Fault((), "The number is too large.")
    return None


def _fault_inside(value: dict[str, Any] | list[Any], depth: int) -> _Fault | None:
    if isinstance(value, _Repeating):
        return _Fault((value.name,), "This name stands more than once.")
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for name, member in members:
        fault = (_text_fault(name) if isinstance(name, str) else None) or _fault(member, depth)
        if fault is not None:
            return _Fault((name, *fault.path), fault.sentence)
    return None


def _text_fault(text: str) -> _Fault | None:
    if "\0" in text:
        return _Fault((), "The character NUL is not allowed.")
    if not text.isascii() and not _is_unicode(text):
        return _Fault((), "A surrogate stands alone; that is no character.")
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


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
