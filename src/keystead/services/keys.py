"""API keys: create, list, update and revoke."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from keystead.domain import keys as rules
from keystead.domain import plans as plan_rules
from keystead.domain.errors import (
    KeysteadError,
    LimitReached,
    NotFound,
    RotationInProgress,
    Unavailable,
)
from keystead.domain.events import NO_ORIGIN, EventType, Origin
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import format_instant
from keystead.domain.key_lists import ALL_KEYS, KeySelection
from keystead.domain.keys import ApiKey, KeyDraft, KeyGrant, KeyPatch, KeyStatus
from keystead.domain.plans import Quota
from keystead.domain.policies import NO_LAYERS, Policy
from keystead.domain.principals import Principal
from keystead.domain.scopes import KEYS_READ, KEYS_WRITE, ScopeCatalog
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.workspaces import Workspace
from keystead.services.authorization import Authorization, AuthorizedAct
from keystead.services.idempotency import Idempotency, Once, Run
from keystead.services.key_ends import end_dependents, end_key, end_unused_successor
from keystead.services.key_issuer import CreatedKey, KeyIssuer, record_key, require_key
from keystead.services.paging import QuotaPage, page_of
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import key_lifecycle, key_pages, plans, policies
from keystead.storage.tables import keys as rows

CANDIDATES: Final = 5
OLDER_SERVER_STOPPED_AFTER: Final = timedelta(minutes=3)
"""A running server leaves a trace every minute, whatever its version."""
BATCH: Final = 100
"""Keys that one transaction changes: other changes of the workspace wait for no more than that."""


@dataclass(frozen=True, slots=True)
class CurrentKey:
    """The calling key, and its workspace."""

    key: ApiKey
    workspace: Workspace


class Keys:
    """The keys of workspaces. Every method acts for a principal, within that principal's workspace."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        issuer: KeyIssuer,
        catalog: ScopeCatalog,
        *,
        plans_url: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._issuer = issuer
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
        """Create a key, if the plan has room. Raises LimitReached, Invalid, WouldWiden."""
        principal.require(KEYS_WRITE)
        with self._idempotency.run(principal, once) as run:
            if run.result is not None:
                return CreatedKey(self.require(principal, KeyId(run.result)), None)
            try:
                return self._create(principal, draft, origin, run)
            except LimitReached as refusal:
                # Searched without the lock: the search takes longer than what the lock is for.
                candidates = self._candidates(principal.workspace_id)
                refusal.candidates = tuple(map(_describe_candidate, candidates))
                raise

    def create_in(self, tx: Tx, act: AuthorizedAct, draft: KeyDraft, **data: object) -> CreatedKey:
        """Create a key within an open change. `data` goes to its event. Raises what `create` does."""
        granted, newest = self.grant_in(tx, act, draft)
        key, token = self._issuer.issue(tx, act.principal.workspace_id, granted, act, newest)
        record_key(tx, EventType.KEY_CREATED, key, act, metadata=key.metadata, **data)
        return CreatedKey(key, token)

    def grant_in(
        self, tx: Tx, act: AuthorizedAct, draft: KeyDraft
    ) -> tuple[KeyGrant, KeyId | None]:
        """Return the attributes of the key that `create_in` would create, and the workspace's newest key."""
        room = plans.room_for_key(tx, act.principal.workspace_id, act.at)
        granted = rules.grant(draft, act.principal, self.catalog, room.policy, act.at)
        if granted.networks:
            _require_upgraded(tx, act)
        quota = Quota(room.plan.limits.api_keys, room.used)
        plan_rules.require_room("api_keys", quota, room.plan, plans_url=self._plans_url)
        return granted, room.newest

    @retry_on_conflict
    def list(
        self,
        principal: Principal,
        wanted: KeySelection = ALL_KEYS,
        *,
        outside_policy: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> QuotaPage[ApiKey, str]:
        """Return one page of the wanted keys, and the use of the limit. InvalidCursor for a malformed position.

        `outside_policy`: only keys that the workspace's policy would not allow as they are.
        """
        principal.require(KEYS_READ)
        rules.check_query(wanted.query)
        workspace_id, now = principal.workspace_id, self._clock.now()
        with self._database.read(workspace_id) as tx:
            if outside_policy:
                wanted = replace(wanted, outside=policies.find_layers(tx, workspace_id).effective)
            keys = key_pages.page_of_keys(tx, workspace_id, wanted, now, limit + 1, after)
            quota = self._quota(tx, workspace_id, now)
        page = page_of(keys, limit, lambda key: key_pages.position_of(key, wanted.sort))
        return page.with_quota(quota)

    @retry_on_conflict
    def quota(self, principal: Principal) -> Quota:
        """Return the limit of active keys with its use."""
        principal.require(KEYS_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            return self._quota(tx, principal.workspace_id, self._clock.now())

    def get(self, principal: Principal, key_id: KeyId) -> ApiKey:
        """Return one key. Raises NotFound, also for an id of another workspace."""
        principal.require(KEYS_READ)
        return self.require(principal, key_id)

    @retry_on_conflict
    def whoami(self, principal: Principal) -> CurrentKey:
        """Return the calling key with its workspace. A key may see itself without any scope."""
        with self._database.read_once(principal.workspace_id) as tx:
            own = rows.find_key_with_workspace(tx, principal.workspace_id, KeyId(principal.id))
        return CurrentKey(*NotFound.unless(own, "key"))

    @retry_on_conflict
    def require(self, principal: Principal, key_id: KeyId) -> ApiKey:
        """Return the key, without a check of scopes. Raises NotFound, which comes before Invalid values."""
        with self._database.read_once(principal.workspace_id) as tx:
            return require_key(tx, principal.workspace_id, key_id)

    def candidates(self, principal: Principal) -> Sequence[ApiKey]:
        """Return the keys that are safest to revoke: never used, then longest unused."""
        principal.require(KEYS_READ)
        return self._candidates(principal.workspace_id)

    @retry_on_conflict
    def hints(self, principal: Principal, key_ids: Collection[KeyId]) -> dict[KeyId, str]:
        """Return the hints of these keys; ids of other workspaces are absent."""
        principal.require(KEYS_READ)
        if not key_ids:
            return {}
        with self._database.read_once(principal.workspace_id) as tx:
            return rows.hints_of(tx, principal.workspace_id, key_ids)

    @retry_on_conflict
    def predecessor(self, principal: Principal, key_id: KeyId) -> ApiKey | None:
        """Return the key that was rotated to this one, if any."""
        principal.require(KEYS_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            return rows.find_predecessor(tx, principal.workspace_id, key_id)

    @retry_on_conflict
    def update(
        self,
        principal: Principal,
        key_id: KeyId,
        patch: KeyPatch,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> ApiKey:
        """Change the key by `patch`. If nothing changes, nothing is written, and there is no event."""
        principal.require(KEYS_WRITE)
        revokes = self._narrows(principal, key_id, patch)
        with self._authorization.changing(principal, origin, KEYS_WRITE, revokes=revokes) as (
            tx,
            act,
        ):
            key = require_key(tx, principal.workspace_id, key_id)
            rules.require_manager(act.principal, key)
            require_match(if_match, key.version)
            layers = policies.find_layers(tx, key.workspace_id) if patch.may_extend else NO_LAYERS
            return self._patch(tx, key, patch, layers.effective, act)

    @retry_on_conflict
    def revoke(
        self,
        principal: Principal,
        key_id: KeyId,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
        *,
        family: bool = False,
    ) -> ApiKey:
        """Revoke the key, irreversibly and immediately. Again: the same answer, no second event.

        A key may always revoke itself. `family`: also the keys that it made of itself, and those that made it.
        """
        own_key = principal.is_key and principal.id == key_id and not family
        with self._authorization.changing(
            principal, origin, KEYS_WRITE, revokes=True, own_key=own_key
        ) as (tx, act):
            key = require_key(tx, principal.workspace_id, key_id)
            rules.require_manager(act.principal, key)
            require_match(if_match, key.version)
            ended = end_key(tx, key, act)
            if family and key.family is not None:
                for member in rows.find_family(tx, key.workspace_id, key.family):
                    end_key(tx, member, act)
        return ended

    @retry_on_conflict
    def select(self, principal: Principal, key_ids: Collection[KeyId]) -> Sequence[ApiKey]:
        """Return these keys, in their order, for a change of all of them.

        Raises:
            NotFound: One of them doesn't exist, or belongs to another workspace.
            Forbidden: The principal may not change one of them.
        """
        principal.require(KEYS_WRITE)
        with self._database.read(principal.workspace_id) as tx:
            return _managed(tx, principal, key_ids)

    def revoke_many(
        self, principal: Principal, key_ids: Sequence[KeyId], origin: Origin = NO_ORIGIN
    ) -> int:
        """Revoke these keys, with one transaction for each BATCH of them and one event for each key.

        Nothing is revoked if one is not of the workspace: see `select`. Returns how many were not revoked before.
        """
        self.select(principal, key_ids)
        return sum(self._revoke_batch(principal, ids, origin) for ids in _batches(key_ids))

    def expire_many(
        self,
        principal: Principal,
        key_ids: Sequence[KeyId],
        expires_at: datetime,
        origin: Origin = NO_ORIGIN,
    ) -> int:
        """Set the expiry of those keys that are active, in batches like `revoke_many`. Returns how many changed."""
        self.select(principal, key_ids)
        return sum(
            self._expire_batch(principal, ids, expires_at, origin) for ids in _batches(key_ids)
        )

    def now(self) -> datetime:
        """Return the time that statuses are derived from."""
        return self._clock.now()

    @retry_on_conflict
    def _create(
        self, principal: Principal, draft: KeyDraft, origin: Origin, run: Run
    ) -> CreatedKey:
        with self._authorization.changing(principal, origin, KEYS_WRITE, keeps_access=True) as (
            tx,
            act,
        ):
            created = self.create_in(tx, act, draft)
            run.finish(tx, created.key.id)
        return created

    @retry_on_conflict
    def _revoke_batch(self, principal: Principal, key_ids: Sequence[KeyId], origin: Origin) -> int:
        with self._authorization.changing(principal, origin, KEYS_WRITE, revokes=True) as (tx, act):
            keys = _managed(tx, act.principal, key_ids)
            revoked = rows.revoke_keys(tx, principal.workspace_id, key_ids, act.at)
            for key in keys:
                if key.id in revoked:
                    ended = replace(key, revoked_at=act.at)
                    record_key(tx, EventType.KEY_REVOKED, ended, act)
                    end_dependents(tx, ended, act)
        return len(revoked)

    @retry_on_conflict
    def _expire_batch(
        self,
        principal: Principal,
        key_ids: Sequence[KeyId],
        expires_at: datetime,
        origin: Origin,
    ) -> int:
        patch, changed = KeyPatch(expires_at=expires_at), 0
        with self._authorization.changing(principal, origin, KEYS_WRITE) as (tx, act):
            policy = policies.find_layers(tx, principal.workspace_id).effective
            # The oldest first: a key that was renewed must not outlive its successor in between.
            for key in sorted(_managed(tx, act.principal, key_ids), key=lambda key: key.id):
                if key.status(act.at) is KeyStatus.ACTIVE:
                    changed += self._patch(tx, key, patch, policy, act) != key
        return changed

    @retry_on_conflict
    def _candidates(self, workspace_id: WorkspaceId) -> Sequence[ApiKey]:
        now = self._clock.now()
        with self._database.read_once(workspace_id) as tx:
            return rows.keys_least_used(tx, workspace_id, now, CANDIDATES)

    def _patch(
        self, tx: Tx, key: ApiKey, patch: KeyPatch, policy: Policy, act: AuthorizedAct
    ) -> ApiKey:
        """Return the key after the patch. If nothing changes, nothing is written, and there is no event."""
        changed = rules.apply_patch(key, patch, act.principal, self.catalog, policy, act.at)
        if changed.networks != key.networks and changed.networks:
            _require_upgraded(tx, act)
        if changed != key:
            changed = replace(changed, version=key.version + 1)
            _require_outliving(tx, key, changed, act.at)
            rows.update_key(tx, changed)
            names = _changed_names(key, changed)
            record_key(
                tx, EventType.KEY_UPDATED, changed, act, changed=names, metadata=changed.metadata
            )
            if rules.restricts(key, changed):
                # It has what the key had; the key may renew again, for one that is as restricted.
                end_unused_successor(tx, changed, act)
        return changed

    def _narrows(self, principal: Principal, key_id: KeyId, patch: KeyPatch) -> bool:
        """Return whether the patch would take away access, so that it may use the reserved disk space.

        Read before the lock, which is what needs to know. Whatever refuses the patch is raised under the lock.
        """
        if not patch.may_narrow:
            return False
        key, policy = self.require(principal, key_id), NO_LAYERS.effective
        try:
            now = self._clock.now()
            changed = rules.apply_patch(key, patch, principal, self.catalog, policy, now)
        except KeysteadError:
            return False
        return rules.narrows(key, changed)

    def _quota(self, tx: Tx, workspace_id: WorkspaceId, now: datetime) -> Quota:
        plan, used = plans.plan_with_keys(tx, workspace_id, now)
        return Quota(plan.limits.api_keys, used)


def _require_upgraded(tx: Tx, act: AuthorizedAct) -> None:
    """Raise Unavailable while a server runs that would accept a key from outside of its networks."""
    seen_at = key_lifecycle.older_server_seen_at(tx)
    if seen_at is not None and act.at - seen_at < OLDER_SERVER_STOPPED_AFTER:
        raise Unavailable(
            "A server of the version before still runs, and would accept the key from anywhere. Networks can be set"
            " three minutes after the last one has stopped."
        )


def _managed(tx: Tx, principal: Principal, key_ids: Collection[KeyId]) -> Sequence[ApiKey]:
    """Return these keys, in their order. NotFound if one is missing, Forbidden if the principal may not manage one."""
    found = {key.id: key for key in rows.find_keys(tx, principal.workspace_id, key_ids)}
    keys = [NotFound.unless(found.get(key_id), "key") for key_id in key_ids]
    for key in keys:
        rules.require_manager(principal, key)
    return keys


def _batches(key_ids: Sequence[KeyId]) -> Iterator[Sequence[KeyId]]:
    return (key_ids[start : start + BATCH] for start in range(0, len(key_ids), BATCH))


def _require_outliving(tx: Tx, key: ApiKey, changed: ApiKey, now: datetime) -> None:
    """Raise RotationInProgress if a renewed key that was never used would end before the key that it replaces.

    Two keys would work, one after the other, and neither count toward the limit.
    """
    if key.replaces is None or not rules.outlives(key.expires_at, changed.expires_at):
        return
    old = rows.find_key(tx, key.workspace_id, key.replaces)
    is_left = old is not None and old.status(now) is KeyStatus.ACTIVE
    if old is not None and is_left and rules.outlives(old.expires_at, changed.expires_at):
        raise RotationInProgress(
            f"The key that renewed itself to this one, {old.hint}, still works: revoke it first."
        )


def _describe_candidate(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "description": key.description,
        "hint": key.hint,
        "last_used_at": key.last_use and format_instant(key.last_use.at),
    }


def _changed_names(before: ApiKey, after: ApiKey) -> tuple[str, ...]:
    names = ("description", "scopes", "expires_at", "networks", "metadata", "renewal", "stored_in")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))
