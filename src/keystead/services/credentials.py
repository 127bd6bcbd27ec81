"""Credentials of the product's own services, managed by the operator."""

from __future__ import annotations

from dataclasses import replace

from keystead.domain.credentials import (
    Credential,
    CredentialKind,
    check_credential_name,
    credential_id,
    kind_of_id,
)
from keystead.domain.digest import Peppers
from keystead.domain.errors import NotFound
from keystead.domain.events import NO_ORIGIN, Act, InstallationEventType, Origin, Target
from keystead.domain.ids import CredentialId
from keystead.domain.principals import Actor
from keystead.domain.token import Token, mint
from keystead.services.authorization import Authorization
from keystead.services.paging import Page, page_of
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import credentials as rows
from keystead.storage.tables.events import append_installation_event


class Credentials:
    """What the product's services authenticate with; never a workspace's key, nor the reverse."""

    def __init__(self, database: Database, clock: Clock, peppers: Peppers, *, prefix: str) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._peppers = peppers
        self._prefix = prefix

    @retry_on_conflict
    def create(
        self,
        name: str,
        actor: Actor,
        kind: CredentialKind = CredentialKind.OPERATOR,
        origin: Origin = NO_ORIGIN,
    ) -> tuple[Credential, Token]:
        """Create a credential. Returns it with its token, which leaves once."""
        check_credential_name(name)
        now = self._clock.now()
        token = mint(f"{self._prefix}_{kind}", now)
        id = credential_id(token, kind)
        credential = Credential(id, kind, name, token.hint, now, actor)
        with self._authorization.operating(actor, origin, keeps_access=True) as (tx, act):
            rows.insert_credential(tx, credential, self._peppers.seal(token))
            _record(tx, InstallationEventType.CREDENTIAL_CREATED, credential, act)
        return credential, token

    @retry_on_conflict
    def list(self) -> list[Credential]:
        """Return every credential, revoked ones too, newest first."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            return rows.all_credentials(tx)

    @retry_on_conflict
    def page(self, *, limit: int, before: str | None = None) -> Page[Credential, str]:
        """Return one page of credentials, newest first, after the position `before` of another page."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            credentials = rows.page_of_credentials(tx, limit=limit + 1, before=before)
        return page_of(credentials, limit, lambda credential: credential.id.rpartition("_")[2])

    @retry_on_conflict
    def revoke(
        self,
        credential_id: CredentialId,
        actor: Actor,
        origin: Origin = NO_ORIGIN,
        *,
        created: bool = False,
    ) -> Credential:
        """Revoke the credential, irreversibly and immediately. Again: the same answer.

        `created`: also those that it created, and that these created, and so on.
        """
        with self._authorization.operating(actor, origin, revokes=True) as (tx, act):
            is_credential_id = kind_of_id(credential_id) is not None
            row = rows.find_credential(tx, credential_id) if is_credential_id else None
            revoked = _revoke(tx, NotFound.unless(row, "credential"), act)
            creators = [credential_id] if created else []
            for creator in creators:
                # Only now: the revocation has waited for credentials that the creator was just creating.
                for credential in rows.credentials_created_by(tx, creator):
                    _revoke(tx, credential, act)
                    creators.append(credential.id)
            return revoked


def _revoke(tx: Tx, credential: Credential, act: Act) -> Credential:
    if credential.revoked_at is not None:
        return credential
    rows.revoke_credential(tx, credential.id, act.at, act.actor.name)
    revoked = replace(credential, revoked_at=act.at, revoked_by=act.actor.name)
    _record(tx, InstallationEventType.CREDENTIAL_REVOKED, revoked, act)
    return revoked


def _record(tx: Tx, type: InstallationEventType, credential: Credential, act: Act) -> None:
    data = {
        "name": credential.name,
        "kind": credential.kind.name.lower(),
        "hint": credential.hint,
    }
    append_installation_event(tx, type, act, Target("credential", credential.id), data)
