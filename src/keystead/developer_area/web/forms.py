"""Forms on their way in: the fields of a body, and the proof that the form was one of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request

from keystead.domain.errors import InvalidRequest
from keystead.domain.token import Secret
from keystead.domain.versions import IfMatch
from keystead.http.body import FORM_LIMIT, read_body, require_unencoded
from keystead.http.client import client_of
from keystead.http.form_body import decode_form, require_form

FORM_TOKEN: Final = "form_token"
VERSION: Final = "version"
_MAX_FIELDS: Final = 200
_LABEL: Final = b"keystead developer area: a form of this browser"


class ForeignForm(Exception):
    """The form did not come from a page of ours in this browser; nothing was done."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one submitted form, each with the values it was sent with, in order."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """The field's only value; empty where it was not sent. InvalidRequest where it was sent twice."""
        values = self.fields.get(name, ("",))
        if len(values) != 1:
            raise InvalidRequest(f"The field {name} was sent more than once.")
        return values[0]

    def many(self, name: str) -> tuple[str, ...]:
        """All values of a field."""
        return self.fields.get(name, ())

    def without(self, *names: str) -> Form:
        """The same without these fields."""
        return Form({name: v for name, v in self.fields.items() if name not in names})

    def fingerprint(self, *without: str) -> bytes:
        """SHA-256 of all fields but those named."""
        said = sorted((name, v) for name, v in self.fields.items() if name not in without)
        return hashlib.sha256(json.dumps(said).encode()).digest()


async def read_form(request: Request) -> Form:
    """The form in the request's body: URL-encoded UTF-8, at most 64 KiB and 200 fields."""
    require_form(request.headers.get("content-type", "").encode("latin-1"))
    require_unencoded(request.headers.raw)
    body = await read_body(request.receive, FORM_LIMIT)
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in decode_form(body, _MAX_FIELDS):
        fields[name] = (*fields.get(name, ()), value)
    return Form(fields)


def made_from(form: Form) -> IfMatch:
    """Return the condition that nothing has changed since the form was made."""
    return IfMatch.of_version(form.one(VERSION))


def form_token(secret: Secret, person: str = "") -> str:
    """What every form carries: bound to the secret in the browser's cookie, so that nothing needs to be stored.

    The secret cannot be told from it, and a new session has another one (OWASP, CSRF prevention: HMAC-based tokens).
    `person`: the id of the user to whom the form was shown, in the clear. It allows nothing: it says whose form this
    is when the session is over.
    """
    mac = hmac.digest(secret.reveal().encode(), _LABEL, "sha256")
    token = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    return f"{token}.{person}" if person else token


def has_form_token(form: Form, secret: Secret) -> bool:
    """Return whether the form carries this browser's token."""
    token = form.one(FORM_TOKEN).partition(".")[0]
    return hmac.compare_digest(token.encode(), form_token(secret).encode())


def person_of(form: Form) -> str:
    """Return the id of the user to whom the form was shown; empty when it names none."""
    return form.one(FORM_TOKEN).partition(".")[2]


def require_same_origin(request: Request, base_url: str) -> None:
    """ForeignForm unless the browser says that a page of ours sent this (Fetch Metadata, else RFC 6454 Origin).

    Under `Referrer-Policy: no-referrer` browsers send `Origin: null`, so Sec-Fetch-Site decides wherever it is sent:
    by all browsers since 2023, towards https and this machine.
    """
    said = request.headers.getlist("sec-fetch-site")
    if said:
        own = said == ["same-origin"]
    else:
        own = bool(set(request.headers.getlist("origin")) & _origins(request, base_url))
    if not own:
        raise ForeignForm


def _origins(request: Request, base_url: str) -> set[str]:
    scheme = "https" if client_of(request.scope).secure else "http"
    return {base_url, f"{scheme}://{request.headers.get('host', '')}"}
