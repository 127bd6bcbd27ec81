"""Rotations of API keys: a successor takes the place of a key, which ends now or after an overlap."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from keystead.domain import plans as plan_rules
from keystead.domain import rotations as rules
from keystead.domain.errors import RotationInProgress
from keystead.domain.events import NO_ORIGIN, EventType, Origin
from keystead.domain.ids import KeyId
from keystead.domain.keys import UNSET, ApiKey, KeyStatus, Unset, require_manager
from keystead.domain.plans import Quota
from keystead.domain.principals import Principal
from keystead.domain.rotations import Rotation
from keystead.domain.scopes import KEYS_WRITE
from keystead.services.authorization import Authorization
from keystead.services.idempotency import Idempotency, Once, Run
from keystead.services.key_issuer import CreatedKey, KeyIssuer, record_key, require_key
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import key_counts, plans, policies
from keystead.storage.tables import keys as rows


class Rotations:
    """The rotations of a workspace's keys. Every method acts for a principal, within that principal's workspace."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        issuer: KeyIssuer,
        *,
        plans_url: str | None = None,
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._plans_url = plans_url
        self._authorization = Authorization(database, clock)
        self._idempotency = Idempotency(database, clock)

    def rotate(
        self,
        principal: Principal,
        key_id: KeyId,
        *,
        overlap: timedelta = timedelta(),
        quiet: timedelta | None = None,
        expires_at: datetime | None | Unset = UNSET,
        origin: Origin = NO_ORIGIN,
        once: Once | None = None,
    ) -> CreatedKey:
        """Create a successor with the same attributes. The old key ends now, or after the overlap.

        `quiet`: it ends earlier, once its successor was used and it was silent for so long itself.
        """
        principal.require(KEYS_WRITE)
        with self._idempotency.run(principal, once) as run:
            if run.result is not None:
                return self._finished(principal, KeyId(run.result))
            return self._rotate(principal, key_id, overlap, quiet, expires_at, origin, run)

    @retry_on_conflict
    def _finished(self, principal: Principal, key_id: KeyId) -> CreatedKey:
        with self._database.read_once(principal.workspace_id) as tx:
            return CreatedKey(require_key(tx, principal.workspace_id, key_id), None)

    @retry_on_conflict
    def _rotate(
        self,
        principal: Principal,
        key_id: KeyId,
        overlap: timedelta,
        quiet: timedelta | None,
        expires_at: datetime | None | Unset,
        origin: Origin,
        run: Run,
    ) -> CreatedKey:
        with self._authorization.changing(principal, origin, KEYS_WRITE) as (tx, act):
            old = require_key(tx, principal.workspace_id, key_id)
            require_manager(act.principal, old)
            policy = policies.find_layers(tx, principal.workspace_id).effective
            rotation = rules.plan_rotation(
                old, overlap, expires_at, act.principal, policy, act.at, quiet
            )
            self._require_no_chain(tx, old, rotation, act.at)
            newest = rows.newest_key_id(tx, principal.workspace_id)
            key, token = self._issuer.issue(
                tx, principal.workspace_id, rotation.successor, act, newest
            )
            _succeed(tx, old, key, rotation, act.at)
            seconds = overlap // timedelta(seconds=1)
            record_key(
                tx, EventType.KEY_ROTATED, old, act, rotated_to=key.id, overlap_seconds=seconds
            )
            run.finish(tx, key.id)
        return CreatedKey(key, token)

    def _require_no_chain(self, tx: Tx, old: ApiKey, rotation: Rotation, now: datetime) -> None:
        """Raise RotationInProgress, or LimitReached for too many overlaps.

        During an overlap both keys live but count as one. So at most twice the limit's number of keys can be active.
        """
        predecessor = rows.find_predecessor(tx, old.workspace_id, old.id)
        if predecessor is not None and predecessor.status(now) is KeyStatus.ACTIVE:
            raise RotationInProgress(
                "The key before this one is still in its overlap; revoke it first."
            )
        if rotation.revoke_now:
            return
        plan, used = plans.plan_with_keys(tx, old.workspace_id, now)
        if plan.limits.api_keys is None:
            return
        quota = Quota(
            max(plan.limits.api_keys, used),
            key_counts.count_overlapping_keys(tx, old.workspace_id, now),
        )
        plan_rules.require_room("overlapping_keys", quota, plan, plans_url=self._plans_url)


def _succeed(tx: Tx, old: ApiKey, successor: ApiKey, rotation: Rotation, now: datetime) -> None:
    quiet = None if rotation.quiet is None else rotation.quiet // timedelta(seconds=1)
    succeeded = replace(
        old, rotated_to=successor.id, expires_at=rotation.old_expires_at, quiet_seconds=quiet
    )
    rows.update_key(tx, replace(succeeded, version=old.version + 1))
    plans.copy_key_rate(tx, old.workspace_id, old.id, successor.id)
    if rotation.revoke_now:
        rows.revoke_key(tx, old.workspace_id, old.id, now)
