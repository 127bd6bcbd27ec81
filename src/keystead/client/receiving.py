"""Verifying what a webhook receives (Standard Webhooks 1.0), with Python's standard library alone."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from keystead.client.decoding import decode
from keystead.client.errors import ClientError
from keystead.client.results import Event

TOLERANCE: Final = timedelta(minutes=5)
_PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"


class UnverifiedWebhook(ClientError):
    """A request that the owner of the secret did not sign, or signed too long ago. Answer it with 400."""


def verify_webhook(
    secret: str, body: bytes, headers: Mapping[str, str], *, now: datetime | None = None
) -> Event:
    """Return the event of a webhook's request. Process each `id` once: the same event may arrive again.

    Args:
        secret: The webhook's signing secret, `whsec_...`.
        body: The bytes as they arrived, not parsed and written again.
        headers: The request's header fields; names in any case.
        now: The time; by default the clock's.

    Raises:
        UnverifiedWebhook: The signature or a header field is missing or wrong, or more than five minutes off.
        ValueError: `secret` is malformed.
    """
    key = _key(secret)
    fields = {name.lower(): value for name, value in headers.items()}
    id, time, signatures = (
        fields.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    digest = hmac.digest(key, f"{id}.{time}.".encode() + body, "sha256")
    expected = _VERSION.encode() + b64encode(digest)
    # While a secret is being rotated there are two signatures. All are compared, each in constant time.
    matches = [hmac.compare_digest(expected, each.encode()) for each in signatures.split(" ")]
    if not any(matches):
        raise UnverifiedWebhook("The signature is missing or wrong.")
    # Digits only from here on: the timestamp is signed.
    sent_at = datetime.fromtimestamp(int(time), UTC)
    if abs((now or datetime.now(UTC)) - sent_at) > TOLERANCE:
        raise UnverifiedWebhook("The request was signed more than five minutes ago, or ahead.")
    return decode(Event, json.loads(body)["data"])


def _key(secret: str) -> bytes:
    key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    if not key or not secret.startswith(_PREFIX):
        raise ValueError("a webhook's secret begins with whsec_")
    return key
