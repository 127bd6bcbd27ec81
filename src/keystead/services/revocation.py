"""Revocation by whoever holds the token (RFC 7009): the token itself is the proof that it may be ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from keystead.domain.digest import Peppers
from keystead.domain.errors import NotFound, RateLimited, Unavailable
from keystead.domain.events import Origin
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.principals import Principal, of_key
from keystead.domain.scopes import Scopes
from keystead.domain.throttle import REVOCATION, revocation_subject
from keystead.domain.token import parse
from keystead.domain.verification import KeyRecord
from keystead.services.keys import Keys
from keystead.services.throttle import Throttle
from keystead.storage.point_reads.by_id import Lookup


class Revocation:
    """Ends keys for strangers, who learn nothing of what they sent: neither whose it was nor whether it stood."""

    def __init__(
        self, lookup: Lookup[KeyRecord], peppers: Peppers, keys: Keys, throttle: Throttle
    ) -> None:
        self._lookup = lookup
        self._peppers = peppers
        self._keys = keys
        self._throttle = throttle

    def revoke(self, text: str, origin: Origin) -> None:
        """Ends the key whose token that is, if it is one's; by the event, the key did it itself.

        RateLimited where its address sends too many. A key that has ended is ended again: should the first to do so
        have died in the middle, this one goes to the end of it.
        """
        with self._counted(origin.address):
            holder = self._holder(text)
        if holder is not None:
            with suppress(NotFound):
                self._keys.revoke(holder, KeyId(holder.id), origin)

    @contextmanager
    def _counted(self, address: str | None) -> Iterator[None]:
        """Every token counts, good or not, so that the count tells nothing of it either."""
        try:
            with self._throttle.attempt({revocation_subject(address): REVOCATION}):
                yield
        except RateLimited as refused:
            seconds = refused.retry_after
            raise RateLimited(
                seconds, f"Too many tokens came from your address: wait {seconds} seconds."
            ) from None

    def _holder(self, text: str) -> Principal | None:
        """The key of that token, whatever its state. Unavailable where this server lacks the pepper of a living one."""
        token = parse(text)
        record = None if token is None else self._lookup.find(token.key_id)
        if token is None or record is None:
            return None
        if record.pepper_id not in self._peppers and record.revoked_at is None:
            raise Unavailable("This server lacks a pepper that keys were made with.")
        if not self._peppers.match(token, record.pepper_id, record.digest):
            return None
        return of_key(
            token.key_id,
            record.description,
            WorkspaceId(record.workspace_id),
            Scopes.parse(record.scopes),
            None,
        )
