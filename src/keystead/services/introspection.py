"""Introspection: what a service is told of a token that somebody sent it (RFC 7662)."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.domain.ids import KeyId
from keystead.domain.principals import Principal
from keystead.domain.verification import Denied
from keystead.services.verifier import Verifier
from keystead.storage.database import Database
from keystead.storage.issues import Issue, find_issue


@dataclass(frozen=True, slots=True)
class Standing:
    """A key that stands: as who it acts, and what is told of it besides."""

    principal: Principal
    issue: Issue


class Introspection:
    """Answers as fresh as a verification: it is one. The services' own credentials are nothing that stands here."""

    def __init__(self, database: Database, verifier: Verifier) -> None:
        self._database = database
        self._verifier = verifier

    def introspect(self, text: str) -> Standing | None:
        """The key of that token, if it stands. It counts as a use, whose caller nobody knows."""
        verdict = self._verifier.verify(text)
        if isinstance(verdict, Denied):
            return None
        principal = verdict.principal
        with self._database.read(principal.workspace_id) as tx:
            issue = find_issue(tx, principal.workspace_id, KeyId(principal.id))
        return None if issue is None else Standing(principal, issue)
