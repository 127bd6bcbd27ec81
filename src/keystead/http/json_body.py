"""JSON bodies, read strictly (RFC 8259; RFC 7493 decides what it leaves open), and refusals with JSON pointers."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from keystead.domain.errors import (
    FieldError,
    Invalid,
    InvalidRequest,
    TooLarge,
    UnsupportedMediaType,
)
from keystead.domain.text import is_storable

MAX_DEPTH = 32
"""Levels of nested arrays and objects."""
MAX_VALUES = 10_000
"""Values and member names of a body, unless the call sets another limit."""
MAX_ENTRIES = 100
"""Entries of `errors` in one answer, so that a body of a million wrong values gets a small one."""
MAX_PARAMETERS = 20
"""Refused query parameters in one answer: more than any call takes."""

_LONGEST_NAME = 64
_SHOWN_OF_LONGER = 20

# A string, the start of an array or object, or a number or literal: each is one value, or one member's name. Every
# alternative is possessive, an unfinished string included, so no byte is read twice.
_VALUE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[^\s"\[\]{}:,]++', re.DOTALL)
_INTEGERS = range(-(2**63), 2**63)
_TOO_DEEP = f"Arrays and objects nest at most {MAX_DEPTH} deep."
_TOO_LARGE = "An integer has at most 64 bits."

Location = Iterable[str | int]
M = TypeVar("M", bound=BaseModel)


def require_json(content_type: str | None) -> None:
    """Raise UnsupportedMediaType unless the Content-Type is application/json, in UTF-8 if it names a charset."""
    media_type, *parameters = (content_type or "").lower().split(";")
    if media_type.strip(" \t") != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.")
    for parameter in parameters:
        name, _, value = parameter.strip(" \t").partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType("Send the body in UTF-8.")


def decode_json(data: bytes, max_values: int = MAX_VALUES) -> Any:
    """Return the value of the JSON text `data`, in UTF-8 without a byte order mark.

    Raises:
        TooLarge: There are more than `max_values` values and member names. Counted before any of them is built.
        InvalidRequest: The text is not JSON (NaN and trailing bytes included).
        Invalid: JSON that not every program reads alike, or that cannot be stored, with a pointer: a repeated name, a
            lone surrogate, NUL in a string, an integer over 64 bits, a number over a double, nesting over MAX_DEPTH.
    """
    # An object in Python takes many times its text, so the values are counted in the bytes first.
    if next(islice(_VALUE.finditer(data), max_values, None), None) is not None:
        raise TooLarge(f"The body has over {max_values:,} values and member names.")
    try:
        text = data.decode()  # given bytes, json would guess UTF-16 and UTF-32
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8, at byte {error.start}.") from None
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
    """Return `data` as a `model`, with strict types. Raises like `decode_json`, and Invalid with all refused fields.

    The text is parsed once, so a model's fields have JSON's own types, or the model itself converts them.
    """
    value = decode_json(data, max_values)
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        shown = error.errors(include_url=False)[:MAX_ENTRIES]
        raise Invalid(
            [FieldError(body_pointer(each["loc"]), sentence_of(each)) for each in shown]
        ) from None


def body_pointer(location: Location) -> str:
    """Return the JSON pointer (RFC 6901) of `location` in the body, `""` for the whole body.

    A name that is too long to be one of ours is cut: it may be a secret that was pasted into the wrong place.
    """
    return "".join(f"/{_escape(_cut(str(part)))}" for part in location)


def query_pointer(name: str) -> str:
    """Return the pointer of a query parameter, such as `query:limit`; a name too long to be one of ours is cut."""
    return f"query:{_cut(name)}"


def sentence_of(error: Mapping[str, Any]) -> str:
    """Return what is wrong, for one of pydantic's `errors()`. It never quotes a value."""
    sentence = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return sentence  # our own text: it never quotes a value, though its example may contain one
    # Some of pydantic's messages quote the input, such as the tag of a union; an answer never does.
    inputs = (error.get("input"), error.get("ctx", {}).get("tag"))
    if any(isinstance(value, str) and len(value) > 3 and value in sentence for value in inputs):
        return "This value is not allowed."
    return sentence


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_SHOWN_OF_LONGER]}…"


class _Repeating(dict[str, Any]):
    """An object with a repeated name. json's hook cannot report where it is, so the check of the tree does."""

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


def _refuse_constant(constant: str) -> NoReturn:
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
        return _Fault((value.name,), "This name is repeated.")
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for name, member in members:
        fault = (_text_fault(name) if isinstance(name, str) else None) or _fault(member, depth)
        if fault is not None:
            return _Fault((name, *fault.path), fault.sentence)
    return None


def _text_fault(text: str) -> _Fault | None:
    if "\0" in text:
        return _Fault((), "The character NUL is not allowed.")
    # isascii first: most texts are, and a call for each string of a large body would show.
    if text.isascii() or is_storable(text):
        return None
    return _Fault((), "A lone surrogate is not a character.")
