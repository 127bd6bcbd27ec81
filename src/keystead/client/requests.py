"""A request of the API as a value, and how its path and body are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypedDict, TypeVar
from urllib.parse import quote, urlencode

from keystead.client.errors import InvalidValue
from keystead.domain.documents import DocumentDraft
from keystead.domain.instants import NAIVE, format_instant, is_naive
from keystead.domain.keys import Unset
from keystead.domain.renewals import Renewal

Text = TypeVar("Text", bound=str | None)

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
PAGE_SIZE: Final = 200
"""The number of items in each page of a list that is read to its end; the largest that the server allows."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: a path below the server's URL, a query, and a body. A parameter that is None is left out.

    `repeatable` says that sending it twice has the effect of sending it once, by its nature or because of its
    `idempotency_key`. `authenticated` says that it carries the client's own token.
    """

    method: str
    path: str
    query: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    media_type: str = JSON
    idempotency_key: str | None = None
    if_match: str | None = None
    repeatable: bool = True
    authenticated: bool = True

    def __post_init__(self) -> None:
        for value in self.query.values():
            require_text(value)
        key = require_text(self.idempotency_key)
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InvalidValue("An Idempotency-Key can contain visible ASCII characters only.")

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters that are given."""
        return {name: value for name, value in self.query.items() if value is not None}

    @property
    def headers(self) -> dict[str, str]:
        """The header fields except Authorization."""
        fields = {
            "content-type": None if self.body is None else self.media_type,
            "idempotency-key": self.idempotency_key,
            "if-match": self.if_match,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent again if the first one may have arrived.

        A conditional change may not: if the first one was made, the tag no longer matches and the second is refused.
        """
        return self.repeatable and self.if_match is None

    def at(self, cursor: str) -> Request:
        """Return the request for the page of a list at `cursor`."""
        return replace(self, query={**self.query, "cursor": cursor})


class KeyFilters(TypedDict, total=False):
    """Which keys to list, and in which order: each narrows the list. Durations are whole days."""

    status: Literal["active", "expired", "revoked"] | None
    query: str
    created_by: str
    unused_for: timedelta | None
    expiring_within: timedelta | None
    outside_policy: bool
    sort: Literal["created_at", "last_used_at", "expires_at"]
    order: Literal["asc", "desc"]


def key_parameters(filters: KeyFilters, limit: int, cursor: str | None) -> dict[str, str | None]:
    """Return the parameters of a page of keys. Raises InvalidValue for a duration with a fraction of a day."""
    return {
        **{name: _parameter(name, value) for name, value in filters.items()},
        "limit": str(limit),
        "cursor": cursor,
    }


def _parameter(name: str, value: object) -> str | None:
    match value:
        case timedelta():
            if value % timedelta(days=1):
                raise InvalidValue(f"{name} must be a whole number of days.")
            return f"{value.days}d"
        case True:
            return "true"
        case False | "" | None:
            return None
        case _:
            return str(value)


def path_of(collection: str, name: str) -> str:
    """Return the path of a resource below its collection's path. Raises InvalidValue if `name` cannot be a step."""
    # A URL drops these, so that deleting the document "" would delete its whole collection.
    if name in {"", ".", ".."}:
        raise InvalidValue("An id or a name can't be empty, or only dots.")
    return f"{collection}/{quote(require_text(name), safe='')}"


def json_body(**members: object) -> bytes:
    """Return a JSON object of the members that are not UNSET. Raises InvalidValue."""
    given = {name: value for name, value in members.items() if not isinstance(value, Unset)}
    return _encode({name: _plain(name, value) for name, value in given.items()})


def form_body(**fields: str) -> bytes:
    """Return the fields of a form. Raises InvalidValue."""
    return urlencode({name: require_text(value) for name, value in fields.items()}).encode()


def document_body(document: DocumentDraft) -> bytes:
    """Return a document as a batch contains it. Raises InvalidValue, which names the document's id."""
    try:
        return json_body(id=document.id, **document_members(document))
    except InvalidValue as error:
        raise InvalidValue(f"In the document {ascii(document.id)[1:-1]}: {error}") from None


def document_members(document: DocumentDraft) -> dict[str, object]:
    """Return the members of a document that its path does not contain."""
    return {
        "text": document.text,
        "title": document.title,
        "url": document.url,
        "attributes": document.attributes,
    }


def batch_body(upsert: Iterable[DocumentDraft], delete: Iterable[str]) -> bytes:
    """Return the body of a push. Each document is encoded on its own, so that an error names its id."""
    documents = b",".join(map(document_body, upsert))
    return b'{"upsert":[' + documents + b'],"delete":' + _encode(list(delete)) + b"}"


def as_list(values: Iterable[str] | Unset) -> list[str] | Unset:
    """Return any iterable of strings as a list for json_body."""
    return values if isinstance(values, Unset) else list(values)


def require_text(text: Text) -> Text:
    """Return `text`. Raises InvalidValue for a lone surrogate, which UTF-8 cannot encode."""
    try:
        if text is not None:
            text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(
            "The text can't be sent: it contains a lone surrogate, half of a character."
        ) from None
    return text


def _plain(name: str, value: object) -> Any:
    match value:
        case datetime():
            if is_naive(value):
                raise InvalidValue(f"{name} {NAIVE}.")
            return format_instant(value)
        case Renewal():
            return {"until": _plain(f"{name}.until", value.until)}
        case Mapping():
            return dict(value)
        case _:
            return value


def _encode(value: object) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidValue("The values can't be sent: JSON cannot represent one of them.") from None
    return require_text(text).encode()
