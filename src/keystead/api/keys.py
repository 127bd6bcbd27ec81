"""API keys: create, see, change, revoke, rotate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response

from keystead.api import bodies
from keystead.api.bodies import KeyChange, NewKey, NewRotation
from keystead.api.listing import Cursor, Limit, next_cursor, page_of
from keystead.api.route import Call, CurrentCall, WorkspaceRoute, needs, tag
from keystead.domain.errors import (
    IdempotencyInProgress,
    IdempotencyMismatch,
    InsufficientScope,
    InvalidCursor,
    KeyExpired,
    KeyRevoked,
    LimitReached,
    RotationInProgress,
    WouldWiden,
)
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyStatus
from keystead.domain.scopes import KEYS_READ, KEYS_WRITE
from keystead.services import keys as service
from keystead.services.idempotency import Once
from keystead.wire.resources import CreatedKey, Key, KeyList, Quota


class KeyRoute(WorkspaceRoute):
    """A route about keys: `id` in its path is a key's."""

    def find(self, call: Call, named: Mapping[str, str]) -> int | None:
        """Return the key's version."""
        if "id" not in named:
            return None
        return call.services.keys.require(call.principal, KeyId(named["id"])).version


_Id = Annotated[str, Path(description="The key's id.", examples=["key_02tcRIyrxLXTR81B3dqdOx"])]

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=KeyRoute)


@router.post(
    "",
    operation_id="keys_create",
    summary="Create a key",
    status_code=201,
    **needs(
        KEYS_WRITE,
        LimitReached,
        WouldWiden,
        IdempotencyInProgress,
        IdempotencyMismatch,
        once=True,
        tagged=True,
    ),
)
def create_key(call: CurrentCall, body: NewKey, response: Response) -> CreatedKey:
    """A new key. Its token is in this answer and nowhere else, ever: keep it before you close the connection.

    A key hands out no more than it holds: scopes within its own, an end no later than its own.
    """
    once = _once(call, body)
    created = call.services.keys.create(call.principal, body.draft(), call.origin, once)
    return _created(call, created, response)


@router.get(
    "",
    operation_id="keys_list",
    summary="List keys",
    **needs(KEYS_READ, InvalidCursor),
)
def list_keys(
    call: CurrentCall,
    status: Annotated[
        KeyStatus | None, Query(description="Only keys of this status; omitted: all.")
    ] = None,
    query: Annotated[
        str | None,
        Query(description="Part of the description, or the exact id, or the token's last four."),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> KeyList:
    """All keys of the workspace, newest first, the ended ones too; and how many more the plan allows."""
    page = page_of(call, str, limit, cursor, status=status, query=query)
    keys = call.services.keys
    before = None if page.after is None else KeyId(page.after)
    found = keys.list(
        call.principal, status=status, query=query or "", limit=page.limit, before=before
    )
    now = keys.now()
    return KeyList(
        items=[Key.of(key, now) for key in found.items],
        next_cursor=next_cursor(page, found.next),
        quota=Quota.of(found.quota),
    )


@router.get("/{id}", operation_id="keys_get", summary="See a key", **needs(KEYS_READ, tagged=True))
def get_key(call: CurrentCall, id: _Id, response: Response) -> Key:
    """One key, whatever became of it."""
    key = call.services.keys.get(call.principal, KeyId(id))
    tag(response, key.version)
    return Key.of(key, call.services.keys.now())


@router.patch(
    "/{id}",
    operation_id="keys_update",
    summary="Change a key",
    **needs(
        KEYS_WRITE,
        KeyRevoked,
        KeyExpired,
        RotationInProgress,
        WouldWiden,
        if_match=True,
        tagged=True,
    ),
)
def update_key(call: CurrentCall, id: _Id, body: KeyChange, response: Response) -> Key:
    """Describe it anew, change its end, take scopes away. Effective from the next request that the key makes."""
    keys = call.services.keys
    key = keys.update(call.principal, KeyId(id), body.patch(), call.origin, call.if_match)
    tag(response, key.version)
    return Key.of(key, keys.now())


@router.delete(
    "/{id}",
    operation_id="keys_revoke",
    summary="Revoke a key",
    status_code=204,
    **needs(None, InsufficientScope, if_match=True),
)
def revoke_key(call: CurrentCall, id: _Id) -> None:
    """Ends the key at once and for good; again, the answer is the same. The row stays, for the record.

    Needs `keys:write`, unless a key ends itself.
    """
    call.services.keys.revoke(call.principal, KeyId(id), call.origin, call.if_match)


@router.post(
    "/{id}/rotate",
    operation_id="keys_rotate",
    summary="Rotate a key",
    status_code=201,
    **needs(
        KEYS_WRITE,
        LimitReached,
        KeyRevoked,
        KeyExpired,
        RotationInProgress,
        WouldWiden,
        IdempotencyInProgress,
        IdempotencyMismatch,
        once=True,
        tagged=True,
    ),
)
def rotate_key(
    call: CurrentCall,
    id: _Id,
    response: Response,
    body: Annotated[NewRotation, Body(default_factory=NewRotation)],
) -> CreatedKey:
    """A successor with the same description and scopes. The old key ends now, or lives on for the overlap.

    In its overlap the old key takes no place of the plan's limit, so that rotation works when the plan is full.
    """
    created = call.services.keys.rotate(
        call.principal,
        KeyId(id),
        overlap=body.overlap,
        expires_at=body.sent("expires_at"),
        origin=call.origin,
        once=_once(call, body),
    )
    return _created(call, created, response)


def _created(call: Call, created: service.CreatedKey, response: Response) -> CreatedKey:
    key, token = created.key, created.token
    response.headers["location"] = f"/v1/keys/{key.id}"
    tag(response, key.version)
    shown = token and token.reveal()
    return CreatedKey.of(key, call.services.keys.now(), token=shown)


def _once(call: Call, body: bodies.Body) -> Once | None:
    """The Idempotency-Key and what it stands for: the path and the members that were sent, however spelled.

    Only digests are kept: the text is the client's, who might have taken a token for it.
    """
    if call.once is None:
        return None
    meaning = f"{call.path}\n{body.model_dump_json(exclude_unset=True)}"
    name = hashlib.sha256(call.once.encode()).hexdigest()
    return Once(name, hashlib.sha256(meaning.encode()).digest())
