"""What both OAuth calls of the gate share: their form, which holds `token`, and the members of their refusals."""

from __future__ import annotations

from typing import Final

from keystead.domain.errors import InvalidRequest, InvalidToken, KeysteadError, Unauthenticated
from keystead.http.asgi import Receive, Scope
from keystead.http.body import KIB, read_body, require_unencoded
from keystead.http.form_body import decode_form, require_form
from keystead.http.problems import STATUS, Problems

MAX_BODY: Final = 64 * KIB

_ERRORS: Final = {
    401: "invalid_client",
    403: "unauthorized_client",
    429: "temporarily_unavailable",
    500: "server_error",
    503: "temporarily_unavailable",
    507: "server_error",
}
"""The `error` of RFC 6749 (sections 4.1.2.1 and 5.2) by status; everything else is `invalid_request`."""
_CREDENTIAL: Final = {
    Unauthenticated.code: {
        "title": "This needs a service credential",
        "detail": "Send a service credential in the Authorization field: `Bearer <token>`, or HTTP Basic with its id"
        " and its token.",
    },
    InvalidToken.code: {
        "detail": "The service credential is malformed, unknown or revoked. API keys are not accepted here."
    },
}


class OAuthProblems(Problems):
    """Problems that carry RFC 6749's `error` as well, and name the credential that services have."""

    def body(self, error: KeysteadError) -> dict[str, object]:
        """The members of the problem, then `error`, which OAuth clients read."""
        word = _ERRORS.get(STATUS[error.code], "invalid_request")
        return super().body(error) | _CREDENTIAL.get(error.code, {}) | {"error": word}


async def read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The form of a request, `token` being there. TooLarge, UnsupportedMediaType or InvalidRequest."""
    fields = dict(scope["headers"])
    length = fields.get(b"content-length")
    data = await read_body(receive, MAX_BODY, int(length) if length else None)
    if data:
        require_unencoded(scope["headers"])
        require_form(fields.get(b"content-type"))
    form = decode_form(data)
    if not form.get("token"):
        raise InvalidRequest("The form needs the field `token`.")
    return form
