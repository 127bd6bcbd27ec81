"""What an endpoint keeps to itself: its signing secrets and the values of its own headers. Hazmat.

Standard Webhooks 1.0: a secret is `whsec_` and the base64 of 24-64 random bytes.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from keystead.domain.ids import WebhookId, WorkspaceId
from keystead.domain.webhooks import WebhookEndpoint
from keystead.services.sealing import Sealed, Sealing

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """The secret that signs, the one before it, the values of the endpoint's own headers. No repr shows them."""

    current: str = field(repr=False)
    before: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def rotated(self) -> WebhookSecrets:
        """With a fresh secret; the present one becomes the one before."""
        return replace(self, current=mint_secret(), before=self.current)

    def signing(self, endpoint: WebhookEndpoint, now: datetime) -> tuple[str, ...]:
        """The secrets that sign at that instant: two during the overlap of a rotation, the new one first."""
        until = endpoint.secret_overlap_until
        overlaps = self.before is not None and until is not None and now < until
        return (self.current, str(self.before)) if overlaps else (self.current,)


def mint_secret() -> str:
    """A fresh secret of 256 bits from the operating system's CSPRNG."""
    return PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode("ascii")


def seal_secrets(sealing: Sealing, secrets: WebhookSecrets, place: str) -> Sealed:
    """What to store of them."""
    told = {"current": secrets.current, "before": secrets.before, "headers": dict(secrets.headers)}
    return sealing.seal(json.dumps(told).encode(), place)


def open_secrets(sealing: Sealing, sealed: Sealed, place: str) -> WebhookSecrets:
    """The secrets of a row. Unsealable where the pepper is gone or the row is another."""
    return WebhookSecrets(**json.loads(sealing.open(sealed, place)))


def place_of(workspace_id: WorkspaceId, webhook_id: WebhookId) -> str:
    """What binds sealed secrets to their row."""
    return f"webhook {workspace_id} {webhook_id}"
