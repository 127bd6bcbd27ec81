"""Credentials of the product's own services, which are not API keys of a workspace.

`<prefix>_svc_…` introspects tokens; `<prefix>_op_…` operates the installation too.
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
    """What a credential is for; the value is the suffix of its token's prefix."""

    OPERATOR = "op"
    SERVICE = "svc"


_SUFFIXES: Final = frozenset(CredentialKind)


@dataclass(frozen=True, slots=True)
class Credential:
    """The record of a credential. It contains neither the secret nor its digest."""

    id: CredentialId
    kind: CredentialKind
    name: str
    hint: str
    created_at: datetime
    created_by: Actor
    revoked_at: datetime | None = None
    revoked_by: str | None = None


class ActingCredential(NamedTuple):
    """A verified credential, as the caller of a request."""

    id: CredentialId
    kind: CredentialKind
    name: str

    @property
    def actor(self) -> Actor:
        """Return the credential as events name it."""
        return Actor(PrincipalKind.OPERATOR, self.id, self.name)

    def within(self, workspace_id: WorkspaceId) -> Principal:
        """Return the operator as a principal within one workspace."""
        return operator(self.name, workspace_id, id=self.id)


class CredentialRecord(NamedTuple):
    """The row that verification reads of a credential. `revoked_at` in microseconds since 1970."""

    id: str
    name: str
    pepper_id: str
    digest: bytes
    revoked_at: int | None

    def __repr__(self) -> str:
        return f"<CredentialRecord of {self.id}>"


def check_credential_name(name: str) -> str:
    """Return `name`. Invalid unless it is 1-100 characters on one line."""
    return check_line(name, "/name", MAX_NAME)


def kind_of(token: Token) -> CredentialKind | None:
    """Return the kind of credential by the suffix of the token's prefix; None for any other token."""
    suffix = token.prefix.rpartition("_")[2]
    return CredentialKind(suffix) if suffix in _SUFFIXES else None


def credential_id(token: Token, kind: CredentialKind) -> CredentialId:
    """Return the id of the credential to which a token of that kind belongs."""
    return CredentialId(f"{kind}_{token.key_id[-ID_WIDTH:]}")


def kind_of_id(id: str) -> CredentialKind | None:
    """Return the kind of credential by the form of its id (it need not exist); None for any other text."""
    return next((kind for kind in CredentialKind if is_id(kind, id)), None)
