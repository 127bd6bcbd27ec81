"""Who acts, as they are under the lock of a change and not as they were when they were let in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from keystead.domain.errors import InvalidToken
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyStatus
from keystead.domain.principals import Principal
from keystead.domain.roles import ROLE_SCOPES
from keystead.services import membership
from keystead.storage import keys, workspaces
from keystead.storage.database import Tx


def acting_now(tx: Tx, principal: Principal, now: datetime, *scopes: str) -> Principal:
    """The principal as it is now, with these scopes. InvalidToken or InsufficientScope where it is no more.

    A key that ended or was narrowed a moment ago makes nothing that outlives it: no other keys, no webhooks.
    """
    if principal.role is not None:
        return _member_now(tx, principal, *scopes)
    if not principal.is_key:
        return principal
    key = keys.find_key(tx, principal.workspace_id, KeyId(principal.id))
    workspace = workspaces.find_workspace(tx, principal.workspace_id)
    if key is None or key.status(now) is not KeyStatus.ACTIVE:
        raise InvalidToken
    if workspace is None or workspace.suspended_at is not None:
        raise InvalidToken
    acting = replace(principal, scopes=key.scopes, expires_at=key.expires_at)
    return _with_scopes(acting, scopes)


def _member_now(tx: Tx, principal: Principal, *scopes: str) -> Principal:
    acting = membership.acting_now(tx, principal)
    held = ROLE_SCOPES[acting.role] if acting.role else acting.scopes
    return _with_scopes(replace(acting, scopes=held), scopes)


def _with_scopes(acting: Principal, scopes: Iterable[str]) -> Principal:
    for scope in scopes:
        acting.require(scope)
    return acting
