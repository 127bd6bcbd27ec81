"""The post: sends the digests that are due, each letter by itself."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from keystead.services.digests import Digest, Digests
from keystead.worker.mail import MailAway, Mailer, MailRefused, message_of

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("keystead.post")


class Post:
    """One worker's share of it."""

    def __init__(self, digests: Digests, mailer: Mailer, *, sender: str, base_url: str) -> None:
        self._digests, self._mailer = digests, mailer
        self._sender, self._base_url = sender, base_url

    def send_due(self) -> int:
        """Sends every digest that is due; how many were sent."""
        sent = 0
        while digests := self._digests.claim():
            sent += sum([self._sent(digest) for digest in digests])
        return sent

    def _sent(self, digest: Digest) -> bool:
        try:
            asyncio.run(self._send(digest))
        except MailAway:
            self._digests.postpone(digest)
            _log.warning("mail is away", workspace_id=digest.claimed.workspace_id)
            return False
        self._digests.settle(digest)
        return True

    async def _send(self, digest: Digest) -> None:
        once = f"{digest.claimed.workspace_id} {digest.through}"
        for letter in digest.letters:
            message = message_of(
                letter, sender=self._sender, base_url=self._base_url, once=once, now=digest.at
            )
            try:
                await self._mailer.send(message)
            except MailRefused:
                _log.warning("address refused", workspace_id=digest.claimed.workspace_id)
