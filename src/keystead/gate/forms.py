"""The form that both OAuth calls of the gate take: `token=…`, and perhaps a hint that says nothing here."""

from __future__ import annotations

from keystead.domain.errors import InvalidRequest
from keystead.http.asgi import Receive, Scope
from keystead.http.body import KIB, read_body
from keystead.http.form_body import decode_form, require_form

MAX_BODY = 64 * KIB


async def read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The form of a request, `token` being there. TooLarge, UnsupportedMediaType or InvalidRequest."""
    fields = dict(scope["headers"])
    length = fields.get(b"content-length")
    data = await read_body(receive, MAX_BODY, int(length) if length else None)
    if data:
        require_form(fields.get(b"content-type"))
    form = decode_form(data)
    if not form.get("token"):
        raise InvalidRequest("The form needs the field `token`.")
    return form
