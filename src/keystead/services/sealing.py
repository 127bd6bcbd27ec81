"""Secrets that must be read again, encrypted: AES-256-GCM under a key derived from a pepper. Hazmat.

A webhook's secret signs, so a one-way digest can't take its place. The database alone reveals none of them.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.domain.digest import Pepper, Peppers
from keystead.domain.ids import WebhookId, WorkspaceId
from keystead.domain.webhooks import WebhookEndpoint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
"""Standard Webhooks 1.0 allows 24-64 random bytes."""
_PURPOSE: Final = "keystead sealing 1"
_NONCE_BYTES: Final = 12


class Unsealable(Exception):
    """The pepper of a sealed text is missing, or the text was sealed for another place."""


class Sealed(NamedTuple):
    """What is stored of a text: the pepper's id, and nonce, ciphertext and tag as bytes."""

    pepper_id: str
    value: bytes

    def __repr__(self) -> str:
        return f"<Sealed under {self.pepper_id}>"


class Sealing:
    """Encryption under the current pepper. `place` binds a text to its row: elsewhere it doesn't open."""

    def __init__(self, peppers: Peppers) -> None:
        self._peppers = peppers

    def seal(self, text: bytes, place: str) -> Sealed:
        """Return what to store of `text`."""
        nonce = os.urandom(_NONCE_BYTES)
        pepper = self._peppers.current
        return Sealed(pepper.id, nonce + _cipher(pepper).encrypt(nonce, text, place.encode()))

    def open(self, sealed: Sealed, place: str) -> bytes:
        """Return the text. Raises Unsealable."""
        from cryptography.exceptions import InvalidTag

        pepper = self._peppers.get(sealed.pepper_id)
        if pepper is None:
            raise Unsealable(f"The pepper {sealed.pepper_id} is missing.")
        nonce, ciphertext = sealed.value[:_NONCE_BYTES], sealed.value[_NONCE_BYTES:]
        try:
            return _cipher(pepper).decrypt(nonce, ciphertext, place.encode())
        except InvalidTag:
            raise Unsealable("The sealed text was not sealed for this place.") from None


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """A webhook's signing secret, the previous one, and the values of its custom headers. No repr shows them."""

    current: str = field(repr=False)
    before: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def rotated(self) -> WebhookSecrets:
        """Return them with a fresh secret, and the present one as the previous."""
        return replace(self, current=mint_secret(), before=self.current)

    def signing(self, endpoint: WebhookEndpoint, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign now: the new one, and during a rotation's overlap the previous one too."""
        until = endpoint.secret_overlap_until
        overlaps = self.before is not None and until is not None and now < until
        return (self.current, str(self.before)) if overlaps else (self.current,)


def mint_secret() -> str:
    """Return a fresh secret of 256 bits from the operating system's CSPRNG."""
    return PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode("ascii")


def seal_secrets(sealing: Sealing, secrets: WebhookSecrets, place: str) -> Sealed:
    """Return what to store of a webhook's secrets."""
    fields = {
        "current": secrets.current,
        "before": secrets.before,
        "headers": dict(secrets.headers),
    }
    return sealing.seal(json.dumps(fields).encode(), place)


def open_secrets(sealing: Sealing, sealed: Sealed, place: str) -> WebhookSecrets:
    """Return the secrets of a webhook's row. Raises Unsealable."""
    return WebhookSecrets(**json.loads(sealing.open(sealed, place)))


def place_of(workspace_id: WorkspaceId, webhook_id: WebhookId) -> str:
    """Return what binds sealed secrets to their row."""
    return f"webhook {workspace_id} {webhook_id}"


def _cipher(pepper: Pepper) -> AESGCM:
    # Imported by the first webhook: the library takes a process 6 MB.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(pepper.derive(_PURPOSE))
