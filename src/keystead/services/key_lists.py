"""The list of keys as people use it: tabs with their counts, filters and orders, and what needs a review.

One read for one page. The API's list, `Keys.list`, has no counts and one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from keystead.domain import keys as rules
from keystead.domain.errors import InvalidCursor
from keystead.domain.ids import KeyId, is_id
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.key_lists import (
    COUNTED_KEYS,
    EXAMINED_KEYS,
    KeyCounts,
    KeyFilter,
    KeySelection,
)
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.plans import Quota
from keystead.domain.policies import Policy
from keystead.domain.principals import Actor, Principal
from keystead.domain.scopes import KEYS_READ
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import key_lists, key_pages, plans, policies
from keystead.storage.tables import keys as rows


@dataclass(frozen=True, slots=True)
class KeyListPage:
    """A page of keys at `now`, the position of the next page, and what stands around the list.

    `hints` are those of the keys' successors, `plan` is the name of the plan that has the quota.
    """

    now: datetime
    keys: list[ApiKey]
    next: str | None
    hints: dict[KeyId, str]
    quota: Quota
    plan: str
    counts: KeyCounts


class KeyLists:
    """Reads lists of keys for people."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @retry_on_conflict
    def family(self, principal: Principal, key: ApiKey) -> Sequence[ApiKey]:
        """Return the unrevoked keys of a key's family, the key included; none if it never renewed itself."""
        principal.require(KEYS_READ)
        if key.family is None:
            return []
        with self._database.read(principal.workspace_id) as tx:
            return rows.find_family(tx, principal.workspace_id, key.family)

    @retry_on_conflict
    def page(
        self, principal: Principal, wanted: KeyFilter, limit: int, after: str | None
    ) -> KeyListPage:
        """Return a page of keys after a position. Raises InvalidCursor for a position that no page had."""
        principal.require(KEYS_READ)
        rules.check_query(wanted.query)
        workspace_id, now = principal.workspace_id, self._clock.now()
        with self._database.read(workspace_id) as tx:
            policy = policies.find_layers(tx, workspace_id).effective
            read = _examined_page if wanted.is_examined else _indexed_page
            keys, position = read(tx, principal, wanted, policy, now, limit, after)
            successors = {key.rotated_to for key in keys if key.rotated_to is not None}
            plan, used = plans.plan_with_keys(tx, workspace_id, now)
            overlapping, expired, revoked = key_lists.count_ended(tx, workspace_id, now)
            # Nothing is counted beyond a number of keys that people look through: it would read every one of them.
            needing = used <= EXAMINED_KEYS and rows.count_hygiene_findings(
                tx, workspace_id, policy, now
            )
            return KeyListPage(
                now=now,
                keys=keys,
                next=position,
                hints=rows.hints_of(tx, workspace_id, successors) if successors else {},
                quota=Quota(plan.limits.api_keys, used),
                plan=plan.name,
                counts=KeyCounts(used + overlapping, expired, revoked, needing or {}),
            )

    @retry_on_conflict
    def needing(self, principal: Principal, finding: HygieneFinding) -> list[ApiKey]:
        """Return all keys with a hygiene finding, the newest COUNTED_KEYS of them."""
        principal.require(KEYS_READ)
        workspace_id, now = principal.workspace_id, self._clock.now()
        with self._database.read(workspace_id) as tx:
            policy = policies.find_layers(tx, workspace_id).effective
            wanted = KeySelection(
                KeyStatus.ACTIVE, finding=finding, outside=_outside(finding, policy)
            )
            return key_pages.page_of_keys(tx, workspace_id, wanted, now, COUNTED_KEYS)

    @retry_on_conflict
    def creators(self, principal: Principal) -> Sequence[Actor]:
        """Return who created the newest keys of the workspace, by name."""
        principal.require(KEYS_READ)
        with self._database.read(principal.workspace_id) as tx:
            return key_lists.creators(tx, principal.workspace_id)


def _indexed_page(
    tx: Tx,
    principal: Principal,
    wanted: KeyFilter,
    policy: Policy,
    now: datetime,
    limit: int,
    after: str | None,
) -> tuple[list[ApiKey], str | None]:
    """Return a page of keys, one status after the other, with the position of the next page.

    A position is the place of the status and the last id, such as `0:key_...`; without an id, the status's start.
    """
    place, before = _parse_position(after, wanted.statuses)
    keys: list[ApiKey] = []
    while True:
        # At least 1: a full page still has to know if the next status has any key.
        room = max(1, limit - len(keys))
        selection = KeySelection(
            wanted.statuses[place],
            wanted.query,
            wanted.finding,
            outside=_outside(wanted.finding, policy),
        )
        part = key_pages.page_of_keys(tx, principal.workspace_id, selection, now, room + 1, before)
        if len(keys) == limit:
            return keys, f"{place}:" if part else None
        keys += part[:room]
        if len(part) > room:
            return keys, f"{place}:{keys[-1].id}"
        place, before = place + 1, None
        if place == len(wanted.statuses):
            return keys, None


def _examined_page(
    tx: Tx,
    principal: Principal,
    wanted: KeyFilter,
    policy: Policy,
    now: datetime,
    limit: int,
    after: str | None,
) -> tuple[list[ApiKey], str | None]:
    """Return a page of a filtered or ordered list. A position is the value that orders, and the last id."""
    value, _, last = (after or "").partition(":")
    position = (
        (int(value), KeyId(last)) if value.lstrip("-").isdecimal() and is_id("key", last) else None
    )
    if after is not None and position is None:
        raise InvalidCursor
    found = key_lists.ordered_ids(
        tx, principal.workspace_id, wanted, policy, now, limit + 1, position
    )
    ids = [key_id for _, key_id in found[:limit]]
    keys = {key.id: key for key in rows.find_keys(tx, principal.workspace_id, ids)}
    end = found[limit - 1] if len(found) > limit else None
    return [keys[key_id] for key_id in ids], None if end is None else f"{end[0]}:{end[1]}"


def _outside(finding: HygieneFinding | None, policy: Policy) -> Policy | None:
    """Return the policy if the finding is about it: a selection has only what it asks for."""
    return policy if finding is HygieneFinding.OUTSIDE_POLICY else None


def _parse_position(after: str | None, statuses: Sequence[KeyStatus]) -> tuple[int, str | None]:
    place, _, before = (after or "0:").partition(":")
    if place not in map(str, range(len(statuses))):
        raise InvalidCursor
    return int(place), before or None
