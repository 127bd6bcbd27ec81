"""Routes of API keys: create, list, get, update, revoke, rotate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response
from typing_extensions import override

from keystead.api import bodies
from keystead.api.bodies import KeyChange, NewKey, NewRotation
from keystead.api.route import (
    Call,
    CurrentCall,
    Cursor,
    Limit,
    WorkspaceRoute,
    needs,
    next_cursor,
    page_of,
    set_etag,
)
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
    """A route of keys; `id` in its path is a key's id."""

    @override
    def find_version(self, call: Call, path: Mapping[str, str]) -> int | None:
        if "id" not in path:
            return None
        return call.services.keys.require(call.principal, KeyId(path["id"])).version


_Id = Annotated[str, Path(description="The key's id.", examples=["key_02tcRIyrxLXTR81B3dqdOx"])]

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=KeyRoute)


@router.post(
    "",
    summary="Create a key",
    status_code=201,
    **needs(
        KEYS_WRITE,
        LimitReached,
        WouldWiden,
        IdempotencyInProgress,
        IdempotencyMismatch,
        idempotent=True,
        has_etag=True,
    ),
)
def keys_create(call: CurrentCall, body: NewKey, response: Response) -> CreatedKey:
    """Create a key. This response is the only one that contains its token: store it immediately.

    A key can only create keys within its own scopes that expire no later than itself.
    """
    created = call.services.keys.create(
        call.principal, body.draft(), call.origin, _once(call, body)
    )
    return _created(call, created, response)


@router.get("", summary="List keys", **needs(KEYS_READ, InvalidCursor))
def keys_list(
    call: CurrentCall,
    status: Annotated[
        KeyStatus | None, Query(description="Only keys of this status. Omitted: all.")
    ] = None,
    query: Annotated[
        str | None,
        Query(
            description="A part of the description, the exact id, or the token's last four characters."
        ),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> KeyList:
    """Return the workspace's keys, newest first, expired and revoked ones included, and the quota of keys."""
    page = page_of(call, str, limit, cursor, status=status, query=query)
    keys = call.services.keys
    before = None if page.after is None else KeyId(page.after)
    rows = keys.list(
        call.principal, status=status, query=query or "", limit=page.limit, before=before
    )
    now = keys.now()
    return KeyList(
        items=[Key.of(key, now) for key in rows.items],
        next_cursor=next_cursor(page, rows.next),
        quota=Quota.of(rows.quota),
    )


@router.get("/{id}", summary="Get a key", **needs(KEYS_READ, has_etag=True))
def keys_get(call: CurrentCall, id: _Id, response: Response) -> Key:
    """Return a key, also if it is expired or revoked."""
    key = call.services.keys.get(call.principal, KeyId(id))
    set_etag(response, key.version)
    return Key.of(key, call.services.keys.now())


@router.patch(
    "/{id}",
    summary="Update a key",
    **needs(
        KEYS_WRITE,
        KeyRevoked,
        KeyExpired,
        RotationInProgress,
        WouldWiden,
        if_match=True,
        has_etag=True,
    ),
)
def keys_update(call: CurrentCall, id: _Id, body: KeyChange, response: Response) -> Key:
    """Change a key's description or expiry, or remove scopes. Takes effect with the key's next request."""
    keys = call.services.keys
    key = keys.update(call.principal, KeyId(id), body.patch(), call.origin, call.if_match)
    set_etag(response, key.version)
    return Key.of(key, keys.now())


@router.delete(
    "/{id}",
    summary="Revoke a key",
    status_code=204,
    **needs(None, InsufficientScope, if_match=True),
)
def keys_revoke(call: CurrentCall, id: _Id) -> None:
    """Revoke the key immediately. This can't be undone. Repeating the call returns the same response.

    A key may revoke itself; any other needs `keys:write`. Revoked keys stay in the list.
    """
    call.services.keys.revoke(call.principal, KeyId(id), call.origin, call.if_match)


@router.post(
    "/{id}/rotate",
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
        idempotent=True,
        has_etag=True,
    ),
)
def keys_rotate(
    call: CurrentCall,
    id: _Id,
    response: Response,
    body: Annotated[NewRotation, Body(default_factory=NewRotation)],
) -> CreatedKey:
    """Create a successor with the same description and scopes. The old key stops working now or after the overlap.

    During the overlap the old key doesn't count toward the plan's limit, so you can rotate keys at the limit.
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
    set_etag(response, key.version)
    return CreatedKey.of(key, call.services.keys.now(), token=token and token.reveal())


def _once(call: Call, body: bodies.Body) -> Once | None:
    """Return the digests of the Idempotency-Key and of the request; None without the header."""
    if call.idempotency_key is None:
        return None
    # Only digests are stored: a client might send a token as its Idempotency-Key.
    meaning = f"{call.path}\n{body.model_dump_json(exclude_unset=True)}"
    name = hashlib.sha256(call.idempotency_key.encode()).hexdigest()
    return Once(name, hashlib.sha256(meaning.encode()).digest())
