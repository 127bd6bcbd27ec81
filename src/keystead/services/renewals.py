"""Renewals: a key makes its own successor, which takes its place with its first use.

Until then the answer with the new token may have been lost. So the old key works on as it did, and when it asks again
the successor that was never used is revoked and another one made.
"""

from __future__ import annotations

from dataclasses import replace

from keystead.domain.errors import KeysteadError, NotRenewable, RotationInProgress
from keystead.domain.events import NO_ORIGIN, EventType, Origin
from keystead.domain.ids import KeyId
from keystead.domain.key_lifecycle import reuse_event
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.policies import Policy
from keystead.domain.principals import Principal
from keystead.domain.rotations import RENEWALS, plan_renewal, require_slow
from keystead.services.authorization import Authorization, AuthorizedAct
from keystead.services.key_ends import end_key
from keystead.services.key_issuer import CreatedKey, KeyIssuer, record_key, require_key
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import key_lifecycle, plans, policies
from keystead.storage.tables import keys as rows


class Renewals:
    """The renewals of keys by themselves."""

    def __init__(self, database: Database, clock: Clock, issuer: KeyIssuer) -> None:
        self._database = database
        self._clock = clock
        self._issuer = issuer
        self._authorization = Authorization(database, clock)

    def renew(self, principal: Principal, origin: Origin = NO_ORIGIN) -> CreatedKey:
        """Create the successor of the calling key. The old key ends some time after the successor's first use.

        Raises:
            NotRenewable: The key has no such permission, or its successor would not outlive it.
            RotationInProgress: The successor is in use, others rotated the key, or its predecessor works.
            AgainstPolicy: The policy requires an expiry and gives none.
            RateLimited: The keys of this family were renewed too often.
        """
        renewed = self._renew(principal, origin)
        if isinstance(renewed, KeysteadError):
            raise renewed
        return renewed

    @retry_on_conflict
    def require_renewable(self, principal: Principal) -> ApiKey:
        """Return the calling key. Raises NotRenewable, which comes before what is wrong with the request."""
        with self._database.read(principal.workspace_id) as tx:
            key = require_key(tx, principal.workspace_id, KeyId(principal.id))
            plan_renewal(key, _policy_of(tx, key), self._clock.now())
        return key

    @retry_on_conflict
    def _renew(self, principal: Principal, origin: Origin) -> CreatedKey | RotationInProgress:
        if not principal.is_key:
            raise NotRenewable("Only a key can renew itself.")
        with self._authorization.changing(principal, origin) as (tx, act):
            old = require_key(tx, principal.workspace_id, KeyId(principal.id))
            granted = plan_renewal(old, _policy_of(tx, old), act.at)
            if (refusal := _heal(tx, old, act)) is not None:
                # Returned, not raised: the event about it is committed.
                return refusal
            _require_no_chain(tx, old, act)
            family = old.family or old.id
            require_slow(rows.latest_renewals(tx, old.workspace_id, family, RENEWALS), act.at)
            newest = rows.newest_key_id(tx, old.workspace_id)
            key, token = self._issuer.issue(tx, old.workspace_id, granted, act, newest, of=old)
            rows.update_key(tx, replace(old, family=family, rotated_to=key.id))
            plans.copy_key_rate(tx, old.workspace_id, old.id, key.id)
            record_key(tx, EventType.KEY_ROTATED, old, act, rotated_to=key.id, renewed=True)
        return CreatedKey(key, token)


def _policy_of(tx: Tx, key: ApiKey) -> Policy:
    return policies.find_layers(tx, key.workspace_id).effective


def _heal(tx: Tx, old: ApiKey, act: AuthorizedAct) -> RotationInProgress | None:
    """Revoke the successor if it was never used: its token was lost. Returns the refusal if it is in use."""
    if old.rotated_to is None:
        return None
    successor = require_key(tx, old.workspace_id, old.rotated_to)
    if successor.replaces == old.id:
        end_key(tx, successor, act, reason="renewed_again")
        return None
    if old.family is not None and successor.family == old.family:
        record_reuse(tx, old, act)
        return RotationInProgress(
            "This key renewed itself already, and its successor is in use. If you don't have the"
            " successor's token, another client has this one: revoke both."
        )
    return RotationInProgress("This key was rotated already; use its successor.")


def _require_no_chain(tx: Tx, old: ApiKey, act: AuthorizedAct) -> None:
    predecessor = rows.find_predecessor(tx, old.workspace_id, old.id)
    if predecessor is not None and predecessor.status(act.at) is KeyStatus.ACTIVE:
        raise RotationInProgress("The key before this one still works; wait until it has ended.")


def record_reuse(tx: Tx, key: ApiKey, act: AuthorizedAct) -> None:
    """Record that a key was sent whose successor is in use: once a day and network."""
    event = reuse_event(key, act.origin.address, act.at)
    if key_lifecycle.note_notice(tx, key.workspace_id, key.id, event.kind, event.dedup_key, act.at):
        record_key(tx, event.type, key, act, **event.data)
