"""HTML forms in a request's body (application/x-www-form-urlencoded), held to what OAuth says of them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from keystead.domain.errors import InvalidRequest, UnsupportedMediaType

MAX_FIELDS = 20
FORM = "application/x-www-form-urlencoded"


def require_form(content_type: bytes | None) -> None:
    """UnsupportedMediaType unless that is a form's media type; its parameters say nothing here."""
    essence = (content_type or b"").partition(b";")[0].strip(b" \t").lower()
    if essence != FORM.encode():
        raise UnsupportedMediaType(f"Send a form: {FORM}.")


def decode_form(data: bytes) -> dict[str, str]:
    """Return the fields of a form by name. InvalidRequest if one is sent twice (RFC 6749 section 3.1)."""
    pairs = decode_fields(data, MAX_FIELDS)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest("A field of the form stands twice.")
    return fields


def decode_fields(data: bytes, max_fields: int) -> list[tuple[str, str]]:
    """Return the fields of a form in order. InvalidRequest unless it is URL-encoded UTF-8."""
    try:
        return parse_qsl(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=max_fields
        )
    except ValueError:
        raise InvalidRequest("The body is no form in UTF-8.") from None
