"""HTML forms in a request's body (application/x-www-form-urlencoded), in UTF-8."""

from __future__ import annotations

from urllib.parse import parse_qsl

from keystead.domain.errors import InvalidRequest, UnsupportedMediaType

FORM = "application/x-www-form-urlencoded"


def require_form(content_type: bytes | None) -> None:
    """Raise UnsupportedMediaType unless this is a form's media type, with any parameters."""
    essence = (content_type or b"").partition(b";")[0].strip(b" \t").lower()
    if essence != FORM.encode():
        raise UnsupportedMediaType(f"Send the form as {FORM}.")


def decode_form(data: bytes, max_fields: int) -> list[tuple[str, str]]:
    """Return the fields of a form, in order. A name may be repeated.

    Raises:
        InvalidRequest: The bytes are not a form in UTF-8, or have more than `max_fields` fields.
    """
    try:
        # Strictly ASCII: a form escapes everything else, and the escapes must be UTF-8. parse_qsl counts the fields
        # before it splits them, so the limit bounds the work too.
        return parse_qsl(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=max_fields
        )
    except ValueError:
        raise InvalidRequest(
            f"The body must be a form in UTF-8 with at most {max_fields} fields."
        ) from None


def unique_fields(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Return the fields by name. InvalidRequest if a name is repeated (RFC 6749 section 3.1)."""
    form = dict(fields)
    if len(form) != len(fields):
        raise InvalidRequest("A field of the form is repeated.")
    return form
