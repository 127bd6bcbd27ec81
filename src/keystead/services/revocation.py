"""Revocation by the holder of a token (RFC 7009): the token itself is the proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from keystead.domain.digest import Peppers
from keystead.domain.errors import NotFound, RateLimited
from keystead.domain.events import Origin
from keystead.domain.ids import KeyId
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.domain.throttle import REVOCATION, revocation_subject
from keystead.domain.token import parse
from keystead.domain.verification import KeyRecord
from keystead.services.keys import Keys
from keystead.services.throttle import Throttle
from keystead.services.verifier import require_pepper
from keystead.storage.point_reads.by_id import Lookup


class Revocation:
    """Revokes keys for strangers, who don't learn whether the token was a key's."""

    def __init__(
        self, lookup: Lookup[KeyRecord], peppers: Peppers, keys: Keys, throttle: Throttle
    ) -> None:
        self._lookup = lookup
        self._peppers = peppers
        self._keys = keys
        self._throttle = throttle

    def revoke(self, text: str, origin: Origin) -> None:
        """Revoke the key of that token, if it is one. The event's actor is the key.

        Raises:
            RateLimited: The address sends too many tokens.
            Unavailable: The database doesn't answer, or this server lacks the pepper of an active key.
        """
        with self._counted(origin.address):
            key = self._key_of(text)
        if key is not None:
            # A key that has ended is revoked again: if the first request died before its answer, this one
            # waits for the same commit.
            with suppress(NotFound):
                self._keys.revoke(key, KeyId(key.id), origin)

    @contextmanager
    def _counted(self, address: str | None) -> Iterator[None]:
        """Count every token, good or not, so that the count reveals nothing either."""
        try:
            with self._throttle.attempt({revocation_subject(address): REVOCATION}):
                yield
        except RateLimited as refusal:
            seconds = refusal.retry_after
            raise RateLimited(
                seconds, f"Too many tokens came from your address: wait {seconds} seconds."
            ) from None

    def _key_of(self, text: str) -> Principal | None:
        """Return the principal of that token's key, whether it is active or not."""
        token = parse(text)
        record = None if token is None else self._lookup.find(token.key_id)
        if token is None or record is None:
            return None
        if not self._peppers.match(token, record.pepper_id, record.digest):
            if record.revoked_at is None:
                require_pepper(self._peppers, record.pepper_id)
            return None
        scopes = Scopes.parse(record.scopes)
        return Principal.of_key(token.key_id, record.description, record.workspace_id, scopes)
