"""Credentials of the product's own services: `<prefix>_op_…` acts as an operator; none is a workspace's key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from keystead.domain.ids import ID_WIDTH, CredentialId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.text import check_line
from keystead.domain.token import Token

MAX_NAME: Final = 100


class CredentialKind(StrEnum):
    """What a credential is for; its value is the ending of the token's prefix."""

    OPERATOR = "op"


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

    @property
    def actor(self) -> Actor:
        """The credential as events tell of it."""
        return Actor(PrincipalKind.OPERATOR, self.id, self.name)


def check_credential_name(name: str) -> str:
    """A name for people: 1-100 characters on one line."""
    return check_line(name, "/name", MAX_NAME)


def credential_id(token: Token, kind: CredentialKind) -> CredentialId:
    """The id of the credential of that kind to which a token belongs."""
    return CredentialId(f"{kind}_{token.key_id[-ID_WIDTH:]}")
