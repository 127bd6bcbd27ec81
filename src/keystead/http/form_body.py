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
    """The fields of a form by name. InvalidRequest where it is none, or names a field twice (RFC 6749 section 3.1)."""
    try:
        pairs = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise InvalidRequest("The body is no form in UTF-8.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest("A field of the form stands twice.")
    return fields
