"""Authorization of changes: open the transaction, take the lock, then read again which rights the caller still has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.credentials import kind_of_id
from keystead.domain.errors import Forbidden, InvalidToken, LimitReached, StorageError
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import CredentialId, KeyId, UserId, WorkspaceId
from keystead.domain.principals import Actor, Principal, PrincipalKind, system
from keystead.domain.roles import ROLE_SCOPES, Permission
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import credentials, events, keys, workspaces

LIMIT_EVENT_INTERVAL: Final = timedelta(hours=1)
"""The least time between two `limit.reached` events of one limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedAct(Act):
    """An act in an open change. `principal` has the rights that were read under the lock."""

    principal: Principal


class Authorization:
    """The way into every change of a workspace or of the installation."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def changing(
        self,
        principal: Principal,
        origin: Origin = NO_ORIGIN,
        *scopes: str,
        revokes: bool = False,
        keeps_access: bool = False,
        own_key: bool = False,
    ) -> Iterator[tuple[Tx, AuthorizedAct]]:
        """Open a change of the principal's workspace, under the workspace's lock.

        Args:
            principal: The caller, with the rights it had when it was verified.
            origin: The source of the request, for the record.
            scopes: What the change needs: scopes, or a member's permissions.
            revokes: Whether it revokes access; such a change may use the reserved disk space.
            keeps_access: Whether it changes nothing that a verification reads: see `Database.write`.
            own_key: Whether a key revokes itself. Its token is the proof (RFC 7009), so nothing else is checked.

        Raises:
            InvalidToken: The key or the credential was revoked or expired, the workspace is suspended, or the key's
                networks no longer contain the caller.
            InsufficientScope: A scope is missing; Forbidden for a member.
        """
        needed = () if own_key else scopes
        # A caller that lacks the right never queues for the lock, so it delays no other change.
        _require(principal, *needed)
        with (
            self.reporting_limits(principal.workspace_id, principal.actor, origin),
            self._database.write(
                principal.workspace_id, revokes=revokes, keeps_access=keeps_access
            ) as tx,
        ):
            now = self._clock.now()
            # The caller may have lost its rights while it waited for the lock. Without this second check a key
            # that was just revoked could still create another one, which keeps working.
            current = principal if own_key else _reread(tx, principal, origin, now)
            _require(current, *needed)
            yield tx, AuthorizedAct(principal.actor, now, origin, principal=current)

    @contextmanager
    def operating(
        self,
        actor: Actor,
        origin: Origin = NO_ORIGIN,
        locks: WorkspaceId | None = None,
        *,
        revokes: bool = False,
        keeps_access: bool = False,
    ) -> Iterator[tuple[Tx, Act]]:
        """Open a change of the installation, or a change of the workspace `locks` by an operator.

        Raises:
            InvalidToken: The calling credential was revoked.
        """
        with self._database.write_across(
            Purpose.OPERATOR, locks, revokes=revokes, keeps_access=keeps_access
        ) as tx:
            _require_credential(tx, actor.id)
            yield tx, Act(actor, self._clock.now(), origin)

    @contextmanager
    def reporting_limits(
        self, workspace_id: WorkspaceId, actor: Actor, origin: Origin
    ) -> Iterator[None]:
        """Record an event `limit.reached` when the change inside raises LimitReached, and raise it again."""
        try:
            yield
        except LimitReached as refusal:
            # The refused transaction is rolled back by now, so the event needs one of its own.
            with suppress(StorageError):
                self._record_limit(workspace_id, refusal, Act(actor, self._clock.now(), origin))
            raise

    @retry_on_conflict
    def _record_limit(self, workspace_id: WorkspaceId, refusal: LimitReached, act: Act) -> None:
        # Look before locking: a caller that hits the limit all day long must not delay other changes.
        with self._database.read(workspace_id) as tx:
            if _is_limit_recorded(tx, workspace_id, refusal, act.at):
                return
        # As the system: the refused caller was authorized already, under the lock that refused it.
        with self.changing(system(workspace_id), keeps_access=True) as (tx, _):
            if not _is_limit_recorded(tx, workspace_id, refusal, act.at):
                target = Target("limit", refusal.name)
                data = {"limit": refusal.limit, "used": refusal.used, "plan": refusal.plan}
                events.append_event(tx, workspace_id, EventType.LIMIT_REACHED, act, target, data)


def _is_limit_recorded(
    tx: Tx, workspace_id: WorkspaceId, refusal: LimitReached, now: datetime
) -> bool:
    newest = events.page_of_events(
        tx, workspace_id, limit=1, types=(EventType.LIMIT_REACHED,), target_id=refusal.name
    )
    return bool(newest) and now - newest[0].occurred_at < LIMIT_EVENT_INTERVAL


def _require(principal: Principal, *scopes: str) -> None:
    for scope in scopes:
        if isinstance(scope, Permission):
            principal.require_permission(scope)
        else:
            principal.require(scope)


def _reread(tx: Tx, principal: Principal, origin: Origin, now: datetime) -> Principal:
    match principal.kind:
        case PrincipalKind.KEY:
            return _reread_key(tx, principal, origin, now)
        case PrincipalKind.MEMBER:
            return _reread_member(tx, principal)
        case PrincipalKind.OPERATOR:
            _require_credential(tx, principal.id)
            return principal
        case PrincipalKind.SYSTEM:
            return principal


def _reread_key(tx: Tx, principal: Principal, origin: Origin, now: datetime) -> Principal:
    access = keys.find_access(tx, principal.workspace_id, KeyId(principal.id))
    if access is None or access.has_ended(now) or not access.networks.contains(origin.address):
        raise InvalidToken
    return replace(
        principal,
        scopes=access.scopes,
        expires_at=access.expires_at,
        networks=access.networks,
        renewal=access.renewal,
    )


def _reread_member(tx: Tx, principal: Principal) -> Principal:
    role = workspaces.find_role(tx, principal.workspace_id, UserId(principal.id))
    if role is None:
        raise Forbidden(Permission.READ, "You are no longer a member of this workspace.")
    return replace(principal, role=role, scopes=ROLE_SCOPES[role])


def _require_credential(tx: Tx, id: str) -> None:
    """Raise InvalidToken if the id is a revoked credential's. The command line acts under the name of an account."""
    if kind_of_id(id) is None:
        return
    if not credentials.hold_credential(tx, CredentialId(id)):
        raise InvalidToken
