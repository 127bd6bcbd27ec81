"""Credentials of the product's own services: made, listed, revoked by who runs the installation; verified."""

from __future__ import annotations

from dataclasses import replace

from keystead.domain.credentials import (
    Credential,
    CredentialKind,
    check_credential_name,
    credential_id,
)
from keystead.domain.digest import Peppers
from keystead.domain.errors import InvalidToken, NotFound, Unavailable
from keystead.domain.ids import CredentialId, is_id
from keystead.domain.principals import Actor
from keystead.domain.token import Token, mint, parse
from keystead.storage import credentials as rows
from keystead.storage.clock import Clock
from keystead.storage.database import Database

OPERATOR = CredentialKind.OPERATOR
from keystead.storage.purposes import Purpose


class Credentials:
    """What operators' services authenticate with; never a workspace's key, nor the reverse."""

    def __init__(self, database: Database, clock: Clock, peppers: Peppers, *, prefix: str) -> None:
        self._database = database
        self._clock = clock
        self._peppers = peppers
        self._prefix = prefix

    def create(self, name: str, actor: Actor) -> tuple[Credential, Token]:
        """A credential and its token, which leaves once."""
        check_credential_name(name)
        now = self._clock.now()
        token = mint(f"{self._prefix}_{OPERATOR}", now)
        id = credential_id(token, OPERATOR)
        credential = Credential(id, OPERATOR, name, token.hint, now, actor)
        with self._database.write_across(Purpose.OPERATOR) as tx:
            rows.insert_credential(tx, credential, self._peppers.seal(token))
        return credential, token

    def list(self) -> list[Credential]:
        """Every credential, revoked ones too, newest first."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            return rows.all_credentials(tx)

    def revoke(self, credential_id: CredentialId, actor: Actor) -> Credential:
        """Ends the credential, finally and at once. Again: the same answer."""
        with self._database.write_across(Purpose.OPERATOR) as tx:
            named = is_id(OPERATOR, credential_id)
            found = rows.find_credential(tx, credential_id) if named else None
            if found is None:
                raise NotFound("There is no such credential.")
            if found.revoked_at is None:
                now = self._clock.now()
                rows.revoke_credential(tx, credential_id, now, actor.name)
                found = replace(found, revoked_at=now, revoked_by=actor.name)
            return found

    def verify(self, text: str) -> Credential:
        """The operator's credential that `text` is the token of. InvalidToken for whatever else it is.

        Unavailable where this server lacks the pepper of a living one.
        """
        token = parse(text)
        if token is None:
            raise InvalidToken
        with self._database.read_across(Purpose.OPERATOR) as tx:
            found = rows.find_sealed(tx, credential_id(token, OPERATOR))
        if found is None or found[0].revoked_at is not None:
            raise InvalidToken
        credential, digest = found
        if digest.pepper_id not in self._peppers:
            raise Unavailable("This server lacks a pepper that credentials were made with.")
        if not self._peppers.match(token, digest.pepper_id, digest.value):
            raise InvalidToken
        return credential
