"""Decode the API's JSON into the dataclasses of results.py, by the types of their fields.

Members that a dataclass does not have are ignored, so a newer server can add some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, date, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from keystead.client.errors import TokenLost
from keystead.client.results import CreatedKey, Introspection, Key, Workspace
from keystead.domain.instants import parse_instant
from keystead.domain.renewals import Renewal
from keystead.domain.token import Secret, Token, parse

T = TypeVar("T")
Decoder = Callable[[Any, str], Any]
"""A function of a JSON value and its path, such as `items[2].scopes`."""


class InvalidAnswer(ValueError):
    """A JSON value of another shape than expected. The text names its path and never contains the value."""


def decode(kind: type[T], value: object, path: str = "") -> T:
    """Return a JSON value as a `kind`: a dataclass of results.py, a page of them, or NoneType for no result.

    Raises InvalidAnswer; TokenLost for a created key whose token was in an earlier response.
    """
    shape: Any = kind  # to mypy, a type[T] has no hash
    result: T = _decoder(shape)(value, path)
    return result


@cache
def _decoder(kind: Any) -> Decoder:
    """Return the decoder of a type. Each is built once, so that a response costs no look at annotations."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _DECODERS:
        return _DECODERS[kind]
    if is_dataclass(origin or kind):
        return _dataclass(kind)
    if origin in {Union, UnionType}:
        return _optional(_decoder(*(each for each in arguments if each is not NoneType)))
    if origin in {list, tuple}:
        return _sequence(origin, _decoder(arguments[0]))
    if origin is Mapping:
        return _mapping(_decoder(arguments[1]))
    raise TypeError(f"{kind} has no decoder")


def _dataclass(kind: Any) -> Decoder:
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    # The type parameter of a generic page is replaced by its argument: list[T] becomes list[Key].
    hints = {
        name: hint[arguments] if getattr(hint, "__parameters__", ()) else hint
        for name, hint in get_type_hints(origin).items()
    }
    members = [
        (each.name, _decoder(hints[each.name]), each.default is each.default_factory is MISSING)
        for each in fields(origin)
    ]

    def decoded(value: Any, path: str) -> Any:
        _require(value, Mapping, path, "an object")
        dot = f"{path}." if path else ""
        values = {}
        for name, decoder, required in members:
            if name in value:
                values[name] = decoder(value[name], f"{dot}{name}")
            elif required:
                raise InvalidAnswer(f"{dot}{name} is missing")
        return origin(**values)

    return decoded


def _optional(decoder: Decoder) -> Decoder:
    return lambda value, path: None if value is None else decoder(value, path)


def _sequence(origin: Callable[[Any], Any], decoder: Decoder) -> Decoder:
    def decoded(value: Any, path: str) -> Any:
        _require(value, list, path, "a list")
        return origin(decoder(item, f"{path}[{index}]") for index, item in enumerate(value))

    return decoded


def _mapping(decoder: Decoder) -> Decoder:
    def decoded(value: Any, path: str) -> Any:
        _require(value, Mapping, path, "an object")
        return {name: decoder(member, f"{path}.{name}") for name, member in value.items()}

    return decoded


def _plain(kind: type, words: str) -> Decoder:
    def decoded(value: Any, path: str) -> Any:
        _require(value, kind, path, words)
        return value

    return decoded


def _integer(value: Any, path: str) -> int:
    # JSON knows one kind of numbers, and true is an int to Python.
    whole = value.is_integer() if isinstance(value, float) else isinstance(value, int)
    if not whole or isinstance(value, bool):
        raise InvalidAnswer(f"{path} is not an integer")
    return int(value)


def _datetime(value: Any, path: str) -> datetime:
    _require(value, str, path, "a time")
    try:
        return parse_instant(value)
    except ValueError:
        raise InvalidAnswer(f"{path} is not a time") from None


def _date(value: Any, path: str) -> date:
    _require(value, str, path, "a date")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise InvalidAnswer(f"{path} is not a date") from None


def _token(value: Any, path: str) -> Token:
    token = parse(value) if isinstance(value, str) else None
    if token is None:
        raise InvalidAnswer(f"{path} is not a token")
    return token


def _secret(value: Any, path: str) -> Secret:
    _require(value, str, path, "a text")
    return Secret(value)


def _created_key(value: Any, path: str) -> CreatedKey:
    """Decode a created key. A repeated creation is answered with null in place of the token."""
    if isinstance(value, Mapping) and "token" in value and value["token"] is None:
        raise TokenLost(decode(Key, value, path))
    key: CreatedKey = _dataclass(CreatedKey)(value, path)
    return key


def _introspection(value: Any, path: str) -> Introspection:
    """Decode an introspection response (RFC 7662 section 2.2). A token is active only for a plain `true`."""
    _require(value, Mapping, path, "an object")
    if "active" not in value:
        raise InvalidAnswer("active is missing")
    if value["active"] is not True:
        return Introspection(active=False)
    optional_seconds = _optional(_seconds)
    return Introspection(
        active=True,
        scopes=tuple(decode(str, value.get("scope"), "scope").split()),
        key_id=decode(str, value.get("client_id"), "client_id"),
        workspace=decode(Workspace, value.get("workspace"), "workspace"),
        expires_at=optional_seconds(value.get("exp"), "exp"),
        issued_at=optional_seconds(value.get("iat"), "iat"),
        networks=_sequence(tuple, _DECODERS[str])(value.get("networks", []), "networks"),
        metadata=_mapping(_DECODERS[str])(value.get("metadata", {}), "metadata"),
        renewal=_optional(_dataclass(Renewal))(value.get("renewal"), "renewal"),
    )


def _seconds(value: Any, path: str) -> datetime:
    try:
        return datetime.fromtimestamp(_integer(value, path), UTC)
    except (OverflowError, OSError, ValueError):
        raise InvalidAnswer(f"{path} is not a time in seconds") from None


def _require(value: object, kind: type, path: str, words: str) -> None:
    if not isinstance(value, kind):
        raise InvalidAnswer(f"{path or 'the response'} is not {words}")


_DECODERS: Final[dict[Any, Decoder]] = {
    Any: lambda value, _: value,
    NoneType: lambda _value, _path: None,
    str: _plain(str, "a text"),
    bool: _plain(bool, "true or false"),
    int: _integer,
    datetime: _datetime,
    date: _date,
    Token: _token,
    Secret: _secret,
    CreatedKey: _created_key,
    Introspection: _introspection,
}
