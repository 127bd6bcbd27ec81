"""Submitted forms: their fields, and the proof that one of our pages in this browser sent them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request

from keystead.developer_area.web.error_pages import ForeignForm
from keystead.domain.errors import InvalidRequest
from keystead.domain.token import Secret
from keystead.domain.versions import IfMatch
from keystead.http.body import FORM_LIMIT, read_body, require_unencoded
from keystead.http.client import client_of
from keystead.http.form_body import decode_form, require_form
from keystead.services.idempotency import Once

FORM_TOKEN: Final = "form_token"
VERSION: Final = "version"
ONCE: Final = "once"
_MAX_FIELDS: Final = 200
_TOKEN_LABEL: Final = b"keystead developer area: a form of this browser"
_NONCE_BYTES: Final = 16
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a submitted form, each with its values in order."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """Return the field's only value, empty if absent. InvalidRequest if it was sent twice."""
        values = self.fields.get(name, ("",))
        if len(values) != 1:
            raise InvalidRequest(f"The field {name} was sent more than once.")
        return values[0]

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a field."""
        return self.fields.get(name, ())

    def without(self, *names: str) -> Form:
        """Return the form without these fields."""
        return Form({name: v for name, v in self.fields.items() if name not in names})

    def fingerprint(self, *without: str) -> bytes:
        """Return the SHA-256 of all fields except `without`."""
        return hashlib.sha256(
            json.dumps(sorted(self.without(*without).fields.items())).encode()
        ).digest()


async def read_form(request: Request) -> Form:
    """Decode the form in the request's body: URL-encoded UTF-8, at most 64 KiB and 200 fields."""
    require_form(request.headers.get("content-type", "").encode("latin-1"))
    require_unencoded(request.headers.raw)
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in decode_form(await read_body(request.receive, FORM_LIMIT), _MAX_FIELDS):
        fields[name] = (*fields.get(name, ()), value)
    return Form(fields)


def form_version(form: Form) -> IfMatch:
    """Return the condition that the resource still has the version that the form was rendered from."""
    return IfMatch.of_version(form.one(VERSION))


def new_nonce() -> str:
    """Return a form's nonce: what it does is done once, however often the form arrives."""
    return secrets.token_urlsafe(_NONCE_BYTES)


def form_once(form: Form) -> Once:
    """Return the form's nonce as an idempotency key. InvalidRequest without one."""
    nonce = form.one(ONCE)
    if not _NONCE.fullmatch(nonce):
        raise InvalidRequest("The form is incomplete.")
    return Once(f"form:{nonce}", form.fingerprint(ONCE, FORM_TOKEN))


def form_token(secret: Secret, user_id: str = "") -> str:
    """Return a CSRF token of a browser's forms: an HMAC of the secret in its cookie, so the server stores nothing.

    The token doesn't reveal the secret, and a new session has new ones (OWASP, CSRF prevention: HMAC-based tokens).
    No two are alike, so that the length of a compressed page reveals nothing of them (BREACH).
    `user_id` is part of it, and appended in the clear: it shows whose form this is after the session has ended.
    """
    token = _token_of(secret, user_id, new_nonce())
    return f"{token}.{user_id}" if user_id else token


def has_form_token(form: Form, secret: Secret) -> bool:
    """Return whether the form carries this browser's token."""
    token = form.one(FORM_TOKEN).partition(".")[0]
    expected = _token_of(secret, form_owner(form), token.partition("~")[0])
    return hmac.compare_digest(token.encode(), expected.encode())


def _token_of(secret: Secret, user_id: str, nonce: str) -> str:
    label = _TOKEN_LABEL + f"{nonce}.{user_id}".encode()
    mac = hmac.digest(secret.reveal().encode(), label, "sha256")
    return f"{nonce}~{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def form_owner(form: Form) -> str:
    """Return the id of the user who was shown the form; empty if it names no user."""
    return form.one(FORM_TOKEN).partition(".")[2]


def require_same_origin(request: Request, base_url: str) -> None:
    """Raise ForeignForm unless a page of ours sent this (Fetch Metadata, else RFC 6454 Origin)."""
    # Under `Referrer-Policy: no-referrer` browsers send `Origin: null`, so Sec-Fetch-Site decides when present:
    # all browsers since 2023 send it to https and to localhost.
    fetch_site = request.headers.getlist("sec-fetch-site")
    if fetch_site:
        is_own = fetch_site == ["same-origin"]
    else:
        is_own = bool(set(request.headers.getlist("origin")) & _own_origins(request, base_url))
    if not is_own:
        raise ForeignForm


def _own_origins(request: Request, base_url: str) -> set[str]:
    scheme = "https" if client_of(request.scope).secure else "http"
    return {base_url, f"{scheme}://{request.headers.get('host', '')}"}
