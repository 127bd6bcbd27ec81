"""Introspection: what a service is told of a token that somebody sent it (RFC 7662)."""

from __future__ import annotations

from typing import NamedTuple

from keystead.domain.principals import Principal
from keystead.domain.verification import Denied
from keystead.services.verifier import Verifier
from keystead.storage.issues import Issue, IssueLookup


class ActiveToken(NamedTuple):
    """A key that stands: as who it acts, and what is told of it besides."""

    principal: Principal
    issue: Issue


class Introspection:
    """Answers as fresh as a verification: it is one. The services' own credentials are nothing that stands here."""

    def __init__(self, verifier: Verifier, issues: IssueLookup) -> None:
        self._verifier = verifier
        self._issues = issues

    async def introspect(self, text: str) -> ActiveToken | None:
        """The key of that token, if it stands. It counts as a use, whose caller nobody knows."""
        verdict = await self._verifier.verify_on_loop(text)
        if isinstance(verdict, Denied):
            return None
        issue = await self._issues.find_on_loop(verdict.principal.id)
        return None if issue is None else ActiveToken(verdict.principal, issue)
