"""Credentials of the product's own services: `<prefix>_svc_…` asks about tokens, `<prefix>_op_…` does all else too.

None is a workspace's key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from keystead.domain.ids import ID_WIDTH, CredentialId, WorkspaceId, is_id
from keystead.domain.principals import Actor, Principal, PrincipalKind, operator
from keystead.domain.text import check_line
from keystead.domain.token import Token

MAX_NAME: Final = 100


class CredentialKind(StrEnum):
    """What a credential is for; its value is the ending of the token's prefix."""

    OPERATOR = "op"
    SERVICE = "svc"


_ENDINGS: Final = frozenset(CredentialKind)


@dataclass(frozen=True, slots=True)
class Credential:
    """The record of a credential. It never contains the secret, and not its digest either."""

    id: CredentialId
    kind: CredentialKind
    name: str
    hint: str
    created_at: datetime
    created_by: Actor
    revoked_at: datetime | None = None
    revoked_by: str | None = None


class ActingCredential(NamedTuple):
    """A credential that stands, as who calls."""

    id: CredentialId
    kind: CredentialKind
    name: str

    @property
    def actor(self) -> Actor:
        """The credential as events tell of it."""
        return Actor(PrincipalKind.OPERATOR, self.id, self.name)

    def within(self, workspace_id: WorkspaceId) -> Principal:
        """Return the operator as one who acts on that workspace."""
        return operator(self.name, workspace_id, id=self.id)


class CredentialRecord(NamedTuple):
    """The row that the check of a credential reads. `revoked_at` in microseconds since 1970."""

    id: str
    name: str
    pepper_id: str
    digest: bytes
    revoked_at: int | None

    def __repr__(self) -> str:
        return f"<CredentialRecord of {self.id}>"


def check_credential_name(name: str) -> str:
    """A name for people: 1-100 characters on one line."""
    return check_line(name, "/name", MAX_NAME)


def kind_of(token: Token) -> CredentialKind | None:
    """The kind of credential that a token says it is of, by its prefix's ending; None: no credential's token."""
    ending = token.prefix.rpartition("_")[2]
    return CredentialKind(ending) if ending in _ENDINGS else None


def credential_id(token: Token, kind: CredentialKind) -> CredentialId:
    """The id of the credential of that kind to which a token belongs."""
    return CredentialId(f"{kind}_{token.key_id[-ID_WIDTH:]}")


def kind_of_id(id: str) -> CredentialKind | None:
    """The kind of which `id` has the form of a credential's id (it need not exist); None: it has none's."""
    return next((kind for kind in CredentialKind if is_id(kind, id)), None)
