"""Authorization of changes: opening one takes the lock, then reads again which rights the caller still has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from keystead.domain.credentials import kind_of_id
from keystead.domain.errors import Forbidden, InvalidToken
from keystead.domain.events import NO_ORIGIN, Act, Origin
from keystead.domain.ids import CredentialId, KeyId, UserId, WorkspaceId
from keystead.domain.keys import KeyStatus
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.roles import ROLE_SCOPES, Permission
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.tables import credentials, keys, workspaces


class Change(NamedTuple):
    """An open change: its transaction, the principal as it is under the lock, and the act to record."""

    tx: Tx
    acting: Principal
    act: Act


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
        itself: bool = False,
    ) -> Iterator[Change]:
        """Open a change of the principal's workspace, under the workspace's lock.

        Args:
            principal: The caller, with the rights it had when it was let in.
            origin: The source of the request, for the record.
            scopes: What the change needs: scopes, or a member's permissions.
            revokes: Whether it takes access away; such a change may use the reserved disk space.
            itself: Whether a key ends itself. Its token is the proof (RFC 7009), so nothing else is checked.

        Raises:
            InvalidToken: The key or the credential has ended, or the workspace is suspended.
            InsufficientScope: A scope is missing; Forbidden for a member.
        """
        needed = () if itself else scopes
        # A caller that lacks the right holds up no other change.
        _require(principal, *needed)
        with self._database.write(principal.workspace_id, ends=revokes) as tx:
            now = self._clock.now()
            # The principal may have lost its rights while it waited for the lock: a key that was revoked
            # a moment ago would live on in the keys that it makes now.
            acting = principal if itself else _as_now(tx, principal, now)
            _require(acting, *needed)
            yield Change(tx, acting, Act(principal.actor, now, origin))

    @contextmanager
    def operating(
        self,
        actor: Actor,
        origin: Origin = NO_ORIGIN,
        locks: WorkspaceId | None = None,
        *,
        revokes: bool = False,
    ) -> Iterator[tuple[Tx, Act]]:
        """Open a change of the installation, or of the workspace `locks` by its operator.

        Raises:
            InvalidToken: The credential that acts was revoked.
        """
        with self._database.write_across(Purpose.OPERATOR, locks, ends=revokes) as tx:
            _require_credential(tx, actor.id)
            yield tx, Act(actor, self._clock.now(), origin)


def _require(principal: Principal, *scopes: str) -> None:
    for scope in scopes:
        if isinstance(scope, Permission):
            principal.require_permission(scope)
        else:
            principal.require(scope)


def _as_now(tx: Tx, principal: Principal, now: datetime) -> Principal:
    match principal.kind:
        case PrincipalKind.KEY:
            return _key_now(tx, principal, now)
        case PrincipalKind.MEMBER:
            return _member_now(tx, principal)
        case PrincipalKind.OPERATOR:
            _require_credential(tx, principal.id)
            return principal
        case PrincipalKind.SYSTEM:
            return principal


def _key_now(tx: Tx, principal: Principal, now: datetime) -> Principal:
    key = keys.find_key(tx, principal.workspace_id, KeyId(principal.id))
    workspace = workspaces.find_workspace(tx, principal.workspace_id)
    if key is None or key.status(now) is not KeyStatus.ACTIVE:
        raise InvalidToken
    if workspace is None or workspace.suspended_at is not None:
        raise InvalidToken
    return replace(principal, scopes=key.scopes, expires_at=key.expires_at)


def _member_now(tx: Tx, principal: Principal) -> Principal:
    member = workspaces.find_member(tx, principal.workspace_id, UserId(principal.id))
    if member is None:
        raise Forbidden(Permission.READ, "You are no longer a member of this workspace.")
    return replace(principal, role=member.role, scopes=ROLE_SCOPES[member.role])


def _require_credential(tx: Tx, id: str) -> None:
    """Refuse a revoked credential. The command line acts under the name of an account instead."""
    if kind_of_id(id) is None:
        return
    if not credentials.hold_credential(tx, CredentialId(id)):
        raise InvalidToken
