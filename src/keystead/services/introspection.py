"""Introspection: what a service is told of a token that somebody sent it (RFC 7662)."""

from __future__ import annotations

from typing import NamedTuple

from keystead.domain.principals import Principal
from keystead.domain.verification import Denied
from keystead.services.verifier import Verifier
from keystead.storage.point_reads.by_id import Lookup
from keystead.storage.schema.verification_reads import KeyMetadata


class Standing(NamedTuple):
    """A key that stands: as who it acts, and what is told of it besides."""

    principal: Principal
    metadata: KeyMetadata


class Introspection:
    """Answers as fresh as a verification: it is one. The services' own credentials are nothing that stands here."""

    def __init__(self, verifier: Verifier, metadata: Lookup[KeyMetadata]) -> None:
        self._verifier = verifier
        self._metadata = metadata

    async def introspect(self, text: str) -> Standing | None:
        """The key of that token, if it stands. It counts as a use, whose caller nobody knows."""
        verdict = await self._verifier.verify_on_loop(text)
        if isinstance(verdict, Denied):
            return None
        metadata = await self._metadata.find_on_loop(verdict.principal.id)
        return None if metadata is None else Standing(verdict.principal, metadata)
