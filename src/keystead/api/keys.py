"""Calls of API keys: create, list, get, update, revoke, rotate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final, Literal

from keystead.api.bodies.body import Body
from keystead.api.bodies.keys import KeyChange, NewKey, NewRotation
from keystead.api.calls import Call, page_of
from keystead.api.operations import PAGED, Operations, Reply, in_path, in_query
from keystead.api.usage import PERIOD
from keystead.domain.errors import (
    AgainstPolicy,
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
from keystead.domain.key_lists import DAYS_PATTERN, KeySelection, KeySort, parse_days
from keystead.domain.keys import KeyStatus
from keystead.domain.scopes import KEYS_READ, KEYS_WRITE
from keystead.domain.usage import period_of
from keystead.services import key_issuer as service
from keystead.services.idempotency import Once
from keystead.wire.resources import CreatedKey, Key, KeyList, Quota
from keystead.wire.usage import DayUsageList


def _version(call: Call, path: Mapping[str, str]) -> int:
    return call.services.keys.require(call.principal, KeyId(path["id"])).version


KEYS: Final = Operations(
    "/v1/keys",
    "keys",
    path_parameters=(in_path("id", "The key's id.", "key_02tcRIyrxLXTR81B3dqdOx"),),
    find_version=_version,
)
_NO_BODY: Final = NewRotation()
_DAYS: Final = {"type": "string", "pattern": f"^{DAYS_PATTERN}$"}


class Order(StrEnum):
    """The direction of a sorted list."""

    ASCENDING = "asc"
    DESCENDING = "desc"


@KEYS.call(
    "POST",
    "",
    "Create a key",
    KEYS_WRITE,
    statuses=(201,),
    refusals=(
        LimitReached,
        WouldWiden,
        IdempotencyInProgress,
        IdempotencyMismatch,
        AgainstPolicy,
    ),
    idempotent=True,
    has_etag=True,
)
def create_key(call: Call, body: NewKey) -> Reply[CreatedKey]:
    """Create a key. This response is the only one that contains its token: store it immediately.

    A key can only create keys within its own scopes that expire no later than itself.
    """
    created = call.services.keys.create(
        call.principal, body.draft(), call.origin, _once(call, body)
    )
    return created_reply(call, created)


@KEYS.call(
    "GET",
    "",
    "List keys",
    KEYS_READ,
    refusals=(InvalidCursor,),
    query=(
        in_query("status", "Only keys of this status. Omitted: all.", KeyStatus),
        in_query(
            "query",
            "A part of the description, the exact id, or the token's last four characters.",
        ),
        in_query("created_by", "Only keys that the key, member or operator with this id created."),
        in_query(
            "unused_for",
            "Only keys without a use for so long, such as `30d`; a key that was never used counts from its creation.",
            schema=_DAYS,
        ),
        in_query(
            "expiring_within",
            "Only active keys that expire within this time, such as `14d`.",
            schema=_DAYS,
        ),
        in_query(
            "outside_policy",
            "`true`: only keys that the workspace's policy would not allow as they are. Omitted: all.",
            Literal["true"],
        ),
        in_query(
            "sort",
            "What orders the list, by the values at the time of each page; ids decide between equal values."
            " Never used comes before every use, never expiring after every expiry. Omitted: `created_at`.",
            KeySort,
        ),
        in_query("order", "`asc`: the lowest value first. Omitted: `desc`.", Order),
        *PAGED,
    ),
)
def list_keys(
    call: Call,
    status: KeyStatus | None = None,
    query: str | None = None,
    created_by: str | None = None,
    unused_for: str | None = None,
    expiring_within: str | None = None,
    outside_policy: Literal["true"] | None = None,
    sort: KeySort = KeySort.CREATED_AT,
    order: Order = Order.DESCENDING,
    limit: str | None = None,
    cursor: str | None = None,
) -> Reply[KeyList]:
    """Return the workspace's keys, newest first, expired and revoked ones included, and the quota of keys.

    All filters combine. A cursor continues the list with the same filters and order.
    """
    wanted = KeySelection(
        status,
        query or "",
        created_by=created_by or "",
        unused_for=_days("unused_for", unused_for),
        expiring_within=_days("expiring_within", expiring_within),
        sort=sort,
        ascending=order is Order.ASCENDING,
    )
    page = page_of(
        call,
        str,
        limit,
        cursor,
        status=status,
        query=query,
        created_by=created_by,
        unused_for=unused_for,
        expiring_within=expiring_within,
        outside_policy=outside_policy,
        sort=sort,
        order=order,
    )
    keys = call.services.keys
    rows = keys.list(
        call.principal,
        wanted,
        outside_policy=outside_policy is not None,
        limit=page.limit,
        after=page.after,
    )
    now = keys.now()
    answer = KeyList(
        items=[Key.of(key, now) for key in rows.items],
        next_cursor=page.next_cursor(rows.next),
        quota=Quota.of(rows.quota),
    )
    return Reply(answer)


@KEYS.call("GET", "/{id}", "Get a key", KEYS_READ, has_etag=True)
def get_key(call: Call, id: str) -> Reply[Key]:
    """Return a key, also if it is expired or revoked."""
    key = call.services.keys.get(call.principal, KeyId(id))
    return Reply(Key.of(key, call.services.keys.now()), key.version)


@KEYS.call(
    "PATCH",
    "/{id}",
    "Update a key",
    KEYS_WRITE,
    refusals=(KeyRevoked, KeyExpired, RotationInProgress, WouldWiden, AgainstPolicy),
    if_match=True,
    has_etag=True,
)
def update_key(call: Call, id: str, body: KeyChange) -> Reply[Key]:
    """Change a key's description or expiry, or remove scopes. Takes effect with the key's next request."""
    keys = call.services.keys
    key = keys.update(call.principal, KeyId(id), body.patch(), call.origin, call.if_match)
    return Reply(Key.of(key, keys.now()), key.version)


@KEYS.call(
    "DELETE",
    "/{id}",
    "Revoke a key",
    statuses=(204,),
    refusals=(InsufficientScope,),
    query=(
        in_query(
            "family",
            "Also revoke the keys that renewed themselves to this one, and those that it renewed itself to.",
            bool,
        ),
    ),
    if_match=True,
    revokes=True,
)
def revoke_key(call: Call, id: str, family: bool = False) -> Reply[None]:
    """Revoke the key immediately. This can't be undone. Repeating the call returns the same response.

    A key may revoke itself; any other needs `keys:write`. Revoked keys stay in the list. A successor that the key made
    of itself and that was never used ends with it.
    """
    keys = call.services.keys
    keys.revoke(call.principal, KeyId(id), call.origin, call.if_match, family=family)
    return Reply(None)


@KEYS.call(
    "POST",
    "/{id}/rotate",
    "Rotate a key",
    KEYS_WRITE,
    statuses=(201,),
    refusals=(
        LimitReached,
        KeyRevoked,
        KeyExpired,
        RotationInProgress,
        WouldWiden,
        IdempotencyInProgress,
        IdempotencyMismatch,
        AgainstPolicy,
    ),
    idempotent=True,
    has_etag=True,
)
def rotate_key(call: Call, id: str, body: NewRotation = _NO_BODY) -> Reply[CreatedKey]:
    """Create a successor with the same description and scopes. The old key stops working now or after the overlap.

    During the overlap the old key doesn't count toward the plan's limit, so you can rotate keys at the limit.
    """
    created = call.services.rotations.rotate(
        call.principal,
        KeyId(id),
        overlap=body.overlap,
        quiet=body.quiet,
        expires_at=body.sent("expires_at"),
        origin=call.origin,
        once=_once(call, body),
    )
    return created_reply(call, created)


@KEYS.call(
    "GET",
    "/{id}/usage",
    "Get the use of a key",
    KEYS_READ,
    query=PERIOD,
)
def get_key_usage(
    call: Call, id: str, from_: str | None = None, to: str | None = None
) -> Reply[DayUsageList]:
    """Return the requests of a key on each day of a period, also if it is expired or revoked.

    The numbers are exact. Requests of the last two seconds may be missing.
    """
    reports = call.services.usage_reports
    period = period_of(from_, to, reports.today())
    return Reply(DayUsageList.of(reports.of_key(call.principal, KeyId(id), period)))


def _days(name: str, text: str | None) -> timedelta | None:
    return None if text is None else parse_days(text, f"query:{name}")


def created_reply(call: Call, created: service.CreatedKey) -> Reply[CreatedKey]:
    """Return the response with a new key, and its token if it has not left yet."""
    key, token = created.key, created.token
    shape = CreatedKey.of(key, call.services.keys.now(), token=token and token.reveal())
    return Reply(shape, key.version, f"{call.root}/keys/{key.id}")


def _once(call: Call, body: Body) -> Once | None:
    """Return the digests of the Idempotency-Key and of the request; None without the header."""
    if call.idempotency_key is None:
        return None
    # Only digests are stored: a client might send a token as its Idempotency-Key.
    meaning = f"{call.path}\n{body.model_dump_json(exclude_unset=True)}"
    name = hashlib.sha256(call.idempotency_key.encode()).hexdigest()
    return Once(name, hashlib.sha256(meaning.encode()).digest())
