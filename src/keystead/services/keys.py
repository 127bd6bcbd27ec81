"""API keys: create, see, change, revoke, rotate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from keystead.domain import keys as rules
from keystead.domain.digest import Peppers
from keystead.domain.errors import LimitReached, NotFound, RotationInProgress
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import KeyId, WorkspaceId, is_id
from keystead.domain.instants import format_instant
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.keys import (
    UNSET,
    ApiKey,
    KeyDraft,
    KeyGrant,
    KeyPatch,
    KeyStatus,
    Rotation,
    Unset,
)
from keystead.domain.plans import Quota, require_room
from keystead.domain.principals import Principal
from keystead.domain.scopes import KEYS_READ, KEYS_WRITE, ScopeCatalog
from keystead.domain.token import Token, mint
from keystead.domain.versions import IfMatch, require_match
from keystead.services.authorization import Authorization
from keystead.services.idempotency import Idempotency, Once, Run
from keystead.services.limits import tells_of_limits
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import anew
from keystead.storage.tables import events, key_counts, plans, rate_limits
from keystead.storage.tables import keys as rows

CANDIDATES: Final = 5


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key; `token` leaves once, and is None where the same request was answered before."""

    key: ApiKey
    token: Token | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Keys, newest first; `next` is the id to continue after, None at the end."""

    keys: list[ApiKey]
    next: KeyId | None
    quota: Quota


class Keys:
    """The keys of workspaces. Every method acts for a principal, within that principal's workspace."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        peppers: Peppers,
        catalog: ScopeCatalog,
        *,
        prefix: str,
        plans_url: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._peppers = peppers
        self._prefix = prefix
        self._plans_url = plans_url
        self._authorization = Authorization(database, clock)
        self._idempotency = Idempotency(database, clock)
        self.catalog = catalog

    def create(
        self,
        principal: Principal,
        draft: KeyDraft,
        origin: Origin = NO_ORIGIN,
        once: Once | None = None,
    ) -> CreatedKey:
        """A new key, if the plan has room. LimitReached, Invalid or WouldWiden otherwise."""
        principal.require(KEYS_WRITE)
        with self._idempotency.run(principal, once) as run:
            if run.result is not None:
                return CreatedKey(self._get(principal, KeyId(run.result)), None)
            try:
                with self._telling(principal, origin):
                    return self._create(principal, draft, origin, run)
            except LimitReached as full:
                full.candidates = tuple(map(_candidate, self._candidates(principal.workspace_id)))
                raise

    @anew
    def list(
        self,
        principal: Principal,
        *,
        status: KeyStatus | None = None,
        query: str = "",
        habit: HygieneFinding | None = None,
        limit: int = 50,
        before: KeyId | None = None,
    ) -> KeyPage:
        """One page of keys, newest first, and how much of the limit is used. `habit`: only those it speaks of."""
        principal.require(KEYS_READ)
        rules.check_query(query)
        workspace_id, now = principal.workspace_id, self._clock.now()
        with self._database.read(workspace_id) as tx:
            found = rows.page_of_keys(
                tx,
                workspace_id,
                now=now,
                limit=limit + 1,
                before=before,
                status=status,
                query=query,
                habit=habit,
            )
            quota = self._quota(tx, workspace_id, now)
        page = found[:limit]
        return KeyPage(page, page[-1].id if len(found) > limit else None, quota)

    def get(self, principal: Principal, key_id: KeyId) -> ApiKey:
        """One key; NotFound for an id of another workspace too."""
        principal.require(KEYS_READ)
        return self._get(principal, key_id)

    def own(self, principal: Principal) -> ApiKey:
        """The key that acts, which may see itself without any scope."""
        return self._get(principal, KeyId(principal.id))

    def require(self, principal: Principal, key_id: KeyId) -> ApiKey:
        """NotFound unless the workspace has that key: what a front door asks before it refuses a call's values."""
        return self._get(principal, key_id)

    def candidates(self, principal: Principal) -> Sequence[ApiKey]:
        """The keys that cost least to revoke, for who needs room: never used, then longest unused."""
        principal.require(KEYS_READ)
        return self._candidates(principal.workspace_id)

    @anew
    def habits(self, principal: Principal, quota: Quota | None = None) -> dict[HygieneFinding, int]:
        """How many keys each habit speaks of; habits that speak of none are absent.

        None is told of more keys than people look through: it would be read from every one of them. `quota`, as a page
        of keys has just told it, spares counting them.
        """
        principal.require(KEYS_READ)
        workspace_id, now = principal.workspace_id, self._clock.now()
        with self._database.read(workspace_id) as tx:
            used = key_counts.count_keys(tx, workspace_id, now) if quota is None else quota.used
            return rows.count_habits(tx, workspace_id, now) if used <= rows.LOOKED_AT else {}

    @anew
    def hints(self, principal: Principal, key_ids: Collection[KeyId]) -> dict[KeyId, str]:
        """The hints of these keys; ids of other workspaces are absent. Nothing is asked where there are none."""
        principal.require(KEYS_READ)
        if not key_ids:
            return {}
        with self._database.read(principal.workspace_id) as tx:
            return rows.hints_of(tx, principal.workspace_id, key_ids)

    @anew
    def predecessor(self, principal: Principal, key_id: KeyId) -> ApiKey | None:
        """The key that was rotated to this one, if any."""
        principal.require(KEYS_READ)
        with self._database.read(principal.workspace_id) as tx:
            return rows.find_predecessor(tx, principal.workspace_id, key_id)

    @anew
    def update(
        self,
        principal: Principal,
        key_id: KeyId,
        patch: KeyPatch,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> ApiKey:
        """Return the key after `patch`. If nothing changes, nothing is written, and no event."""
        with self._authorization.changing(principal, origin, KEYS_WRITE) as (tx, acting, act):
            key = self._find(tx, principal, key_id)
            rules.require_manager(acting, key)
            require_match(if_match, key.version)
            changed = rules.apply_patch(key, patch, acting, self.catalog, act.at)
            if changed != key:
                changed = replace(changed, version=key.version + 1)
                rows.update_key(tx, changed)
                names = _changed_names(key, changed)
                _record(tx, EventType.KEY_UPDATED, changed, act, changed=names)
        return changed

    @anew
    def revoke(
        self,
        principal: Principal,
        key_id: KeyId,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> ApiKey:
        """End the key, finally and immediately. Again: the same answer, no second event.

        A key may always end itself.
        """
        itself = principal.is_key and principal.id == key_id
        with self._authorization.changing(
            principal, origin, KEYS_WRITE, revokes=True, itself=itself
        ) as (tx, acting, act):
            key = self._find(tx, principal, key_id)
            rules.require_manager(acting, key)
            require_match(if_match, key.version)
            if rows.revoke_key(tx, key.workspace_id, key.id, act.at):
                key = replace(key, revoked_at=act.at)
                _record(tx, EventType.KEY_REVOKED, key, act)
        return key

    def rotate(
        self,
        principal: Principal,
        key_id: KeyId,
        *,
        overlap: timedelta = timedelta(),
        expires_at: datetime | None | Unset = UNSET,
        origin: Origin = NO_ORIGIN,
        once: Once | None = None,
    ) -> CreatedKey:
        """A successor with the same description and scopes; the old key ends now, or after the overlap."""
        principal.require(KEYS_WRITE)
        with self._idempotency.run(principal, once) as run:
            if run.result is not None:
                return CreatedKey(self._get(principal, KeyId(run.result)), None)
            with self._telling(principal, origin):
                return self._rotate(principal, key_id, overlap, expires_at, origin, run)

    def now(self) -> datetime:
        """The instant by which statuses are told."""
        return self._clock.now()

    @anew
    def _create(
        self, principal: Principal, draft: KeyDraft, origin: Origin, run: Run
    ) -> CreatedKey:
        with self._authorization.changing(principal, origin, KEYS_WRITE) as (tx, acting, act):
            granted = rules.grant(draft, acting, self.catalog, act.at)
            self._require_room(tx, principal.workspace_id, act.at)
            key, token = self._issue(tx, principal.workspace_id, granted, act)
            _record(tx, EventType.KEY_CREATED, key, act)
            run.finish(tx, key.id)
        return CreatedKey(key, token)

    @anew
    def _rotate(
        self,
        principal: Principal,
        key_id: KeyId,
        overlap: timedelta,
        expires_at: datetime | None | Unset,
        origin: Origin,
        run: Run,
    ) -> CreatedKey:
        with self._authorization.changing(principal, origin, KEYS_WRITE) as (tx, acting, act):
            old = self._find(tx, principal, key_id)
            rules.require_manager(acting, old)
            rotation = rules.plan_rotation(old, overlap, expires_at, acting, act.at)
            self._require_settled(tx, old, rotation, act.at)
            key, token = self._issue(tx, principal.workspace_id, rotation.successor, act)
            _succeed(tx, old, key, rotation, act.at)
            seconds = overlap // timedelta(seconds=1)
            told = {"rotated_to": key.id, "overlap_seconds": seconds}
            _record(tx, EventType.KEY_ROTATED, old, act, **told)
            run.finish(tx, key.id)
        return CreatedKey(key, token)

    def _telling(self, principal: Principal, origin: Origin) -> AbstractContextManager[None]:
        return tells_of_limits(
            self._database, self._clock, principal.workspace_id, principal.actor, origin
        )

    @anew
    def _candidates(self, workspace_id: WorkspaceId) -> Sequence[ApiKey]:
        """Looked for without the lock: it takes longer than what the lock is for, and binds nobody."""
        now = self._clock.now()
        with self._database.read(workspace_id) as tx:
            return rows.keys_least_used(tx, workspace_id, now, CANDIDATES)

    @anew
    def _get(self, principal: Principal, key_id: KeyId) -> ApiKey:
        with self._database.read(principal.workspace_id) as tx:
            return self._find(tx, principal, key_id)

    def _find(self, tx: Tx, principal: Principal, key_id: KeyId) -> ApiKey:
        named = is_id("key", key_id)
        key = rows.find_key(tx, principal.workspace_id, key_id) if named else None
        if key is None:
            raise NotFound("There is no such key.")
        return key

    def _issue(
        self, tx: Tx, workspace_id: WorkspaceId, granted: KeyGrant, act: Act
    ) -> tuple[ApiKey, Token]:
        token = mint(self._prefix, act.at, rows.newest_key_id(tx, workspace_id))
        key = ApiKey(
            id=token.key_id,
            workspace_id=workspace_id,
            description=granted.description,
            hint=token.hint,
            scopes=granted.scopes,
            created_at=act.at,
            created_by=act.actor,
            expires_at=granted.expires_at,
        )
        rows.insert_key(tx, key, self._peppers.seal(token))
        return key, token

    def _quota(self, tx: Tx, workspace_id: WorkspaceId, now: datetime) -> Quota:
        limit = plans.plan_of(tx, workspace_id).limits.api_keys
        return Quota(limit, key_counts.count_keys(tx, workspace_id, now))

    def _require_room(self, tx: Tx, workspace_id: WorkspaceId, now: datetime) -> None:
        """LimitReached where the plan is full. The lock is held."""
        used = key_counts.settled_count(tx, workspace_id, now)
        plan = plans.plan_of(tx, workspace_id)
        quota = Quota(plan.limits.api_keys, used)
        require_room("api_keys", quota, plan, plans_url=self._plans_url)

    def _require_settled(self, tx: Tx, old: ApiKey, rotation: Rotation, now: datetime) -> None:
        """No chains of overlaps: at most as many keys live beyond the limit as the limit counts."""
        before = rows.find_predecessor(tx, old.workspace_id, old.id)
        if before is not None and before.status(now) is KeyStatus.ACTIVE:
            raise RotationInProgress(
                "The key before this one is still in its overlap; revoke it first."
            )
        if rotation.revoke_now:
            return
        plan = plans.plan_of(tx, old.workspace_id)
        if plan.limits.api_keys is None:
            return
        allowed = max(plan.limits.api_keys, key_counts.count_keys(tx, old.workspace_id, now))
        overlapping = key_counts.count_overlapping_keys(tx, old.workspace_id, now)
        require_room(
            "overlapping_keys", Quota(allowed, overlapping), plan, plans_url=self._plans_url
        )


def _succeed(tx: Tx, old: ApiKey, successor: ApiKey, rotation: Rotation, now: datetime) -> None:
    succeeded = replace(old, rotated_to=successor.id, expires_at=rotation.old_expires_at)
    rows.update_key(tx, replace(succeeded, version=old.version + 1))
    own = rate_limits.find_key_rate(tx, old.workspace_id, old.id)
    if own is not None:
        rate_limits.set_key_rate(tx, old.workspace_id, successor.id, own)
    if rotation.revoke_now:
        rows.revoke_key(tx, old.workspace_id, old.id, now)


def _record(tx: Tx, type: EventType, key: ApiKey, act: Act, **data: object) -> None:
    told = {"description": key.description, "hint": key.hint, **data}
    events.append_event(tx, key.workspace_id, type, act, Target("key", key.id), told)


def _candidate(key: ApiKey) -> dict[str, object]:
    used = key.last_use and format_instant(key.last_use.at)
    return {
        "id": key.id,
        "description": key.description,
        "hint": key.hint,
        "last_used_at": used,
    }


def _changed_names(before: ApiKey, after: ApiKey) -> tuple[str, ...]:
    names = ("description", "scopes", "expires_at")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))
