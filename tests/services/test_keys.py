"""Keys: created, seen, changed, revoked; and who may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.errors import (
    Forbidden,
    InsufficientScope,
    Invalid,
    InvalidToken,
    KeyExpired,
    KeyRevoked,
    KeysteadError,
    NotFound,
    WouldWiden,
)
from keystead.domain.events import Origin
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft, KeyPatch, KeyStatus, KeyUse
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, KEYS_READ, KEYS_WRITE, Scopes
from keystead.domain.token import parse
from keystead.domain.workspaces import Role
from keystead.services.idempotency import Once
from keystead.storage.schema import tables as schema
from tests.behind import read_behind
from tests.clocks import NOON
from tests.installations import Ground, text_of
from tests.people import acting, member_of

HOUR = timedelta(hours=1)
ABSENT = KeyId("key_0000000000000000000000")


def _member(ground: Ground, tenant: Principal, role: Role, name: str = "Ada") -> Principal:
    return acting(member_of(ground, tenant, role, name))


# --- created ---


def test_a_created_key_is_whole(ground: Ground) -> None:
    """A created key is what was asked for, its token reads as that key's, and a get answers the same."""
    tenant = ground.tenant()
    created = ground.key(tenant, "data-warehouse sync", expires_at=NOON + HOUR, scopes=[KEYS_READ])
    key, token = created.key, parse(text_of(created))
    assert token is not None
    assert (key.id, key.hint) == (token.key_id, token.hint)
    assert (key.description, key.expires_at) == ("data-warehouse sync", NOON + HOUR)
    assert (key.scopes, key.created_at) == (Scopes([KEYS_READ]), NOON)
    assert key.created_by == tenant.actor
    assert (key.revoked_at, key.rotated_to, key.last_use) == (None, None, None)
    assert key.status(NOON) is KeyStatus.ACTIVE
    assert ground.services.keys.get(tenant, key.id) == key


def test_a_created_key_is_recorded(ground: Ground) -> None:
    """A creation is recorded with its actor, key, time and origin."""
    tenant = ground.tenant()
    origin = Origin("192.0.2.7", "req_7")
    created = ground.services.keys.create(tenant, KeyDraft("sync"), origin)
    event = ground.events(tenant)[-1]
    assert (event.type, event.target.type, event.target.id) == (
        "key.created",
        "key",
        created.key.id,
    )
    assert (event.actor, event.origin, event.occurred_at) == (tenant.actor, origin, NOON)
    assert event.data["hint"] == created.key.hint


def test_descriptions_need_not_differ(ground: Ground) -> None:
    """Two keys may have the same description; their ids and hints differ."""
    tenant = ground.tenant()
    one, other = ground.key(tenant, "sync"), ground.key(tenant, "sync")
    assert one.key.id != other.key.id
    assert text_of(one) != text_of(other)


def test_ids_follow_creation(ground: Ground) -> None:
    """Keys are listed newest first in the order they were made in, also where the clock stands still or runs back."""
    tenant = ground.tenant()
    made = [ground.key(tenant).key.id for _ in range(20)]
    ground.clock.set(NOON - timedelta(days=30))
    made += [ground.key(tenant).key.id for _ in range(5)]
    assert made == sorted(made)
    assert ground.ids(tenant, limit=7) == made[::-1]


@pytest.mark.parametrize(
    "draft",
    [
        {"description": ""},
        {"description": "x" * 201},
        {"description": "a\x00b"},
        {"description": "a\ud800b"},
        {"expires_at": NOON},
        {"scopes": []},
        {"scopes": ["nothing:known"]},
    ],
    ids=str,
)
def test_a_refused_key_leaves_nothing(ground: Ground, draft: dict[str, Any]) -> None:
    """A refused creation leaves no key, no event and no use of the limit."""
    tenant = ground.tenant()
    before = ground.events(tenant)
    with pytest.raises(Invalid):
        ground.services.keys.create(tenant, KeyDraft(**{"description": "sync", **draft}))
    assert ground.ids(tenant) == []
    assert ground.events(tenant) == before


def test_no_key_without_keys_write(ground: Ground) -> None:
    """A key without `keys:write` makes, changes, rotates and ends no key, `*` or not; nor does a viewer."""
    tenant = ground.tenant()
    target = ground.key(tenant).key.id
    keys = ground.services.keys
    acts: list[Callable[[Principal], object]] = [
        lambda nobody: keys.create(nobody, KeyDraft("child")),
        lambda nobody: keys.update(nobody, target, KeyPatch("other")),
        lambda nobody: keys.rotate(nobody, target),
        lambda nobody: keys.revoke(nobody, target),
    ]
    for nobody in (ground.caller(tenant, EVERYTHING), _member(ground, tenant, Role.VIEWER)):
        for act in acts:
            with pytest.raises(InsufficientScope):
                act(nobody)
    assert ground.happened(tenant) == ["key.created"] * 2


def test_reading_needs_keys_read(ground: Ground) -> None:
    """Listing and reading keys takes `keys:read`, or `*`."""
    tenant = ground.tenant()
    blind = ground.caller(tenant, "documents:read", KEYS_WRITE)
    with pytest.raises(InsufficientScope):
        ground.services.keys.list(blind)
    with pytest.raises(InsufficientScope):
        ground.services.keys.get(blind, KeyId(blind.id))
    seeing = ground.caller(tenant, EVERYTHING)
    assert len(ground.services.keys.list(seeing).items) == 2


def test_a_key_sees_itself(ground: Ground) -> None:
    """A key without any reading scope still sees itself, and itself only."""
    tenant = ground.tenant()
    blind = ground.caller(tenant, "documents:read")
    assert ground.services.keys.whoami(blind).key.id == blind.id


def test_wider_children_are_refused(ground: Ground) -> None:
    """A key can't create one that is wider or lives longer than itself, through any method (R55)."""
    tenant = ground.tenant()
    keys = ground.services.keys
    maker = ground.caller(tenant, KEYS_WRITE, "documents:read", expires_at=NOON + HOUR)
    wide = ground.key(tenant, scopes=["documents:read", "documents:write"])
    attempts: list[Callable[[], object]] = [
        lambda: keys.create(maker, KeyDraft("c", scopes=[EVERYTHING])),
        lambda: keys.create(maker, KeyDraft("c", scopes=["documents:write"])),
        lambda: keys.create(maker, KeyDraft("c", expires_at=NOON + 2 * HOUR)),
        lambda: keys.create(maker, KeyDraft("c", expires_at=None)),
        lambda: keys.rotate(maker, wide.key.id),
        lambda: keys.rotate(maker, wide.key.id, expires_at=NOON + HOUR / 2),
        lambda: keys.update(maker, wide.key.id, KeyPatch("mine")),
        lambda: keys.update(maker, KeyId(maker.id), KeyPatch(expires_at=None)),
        lambda: keys.update(maker, KeyId(maker.id), KeyPatch(expires_at=NOON + 2 * HOUR)),
    ]
    before = ground.keys(tenant)
    for attempt in attempts:
        with pytest.raises(WouldWiden):
            attempt()
    assert ground.keys(tenant) == before


def test_what_a_key_passes_on(ground: Ground) -> None:
    """A key created by a key has its scopes without `keys:write`, its expiry, and its id as the creator."""
    tenant = ground.tenant()
    maker = ground.caller(tenant, KEYS_WRITE, "documents:read", expires_at=NOON + HOUR)
    child = ground.services.keys.create(maker, KeyDraft("child")).key
    assert (child.scopes, child.expires_at) == (Scopes(["documents:read"]), NOON + HOUR)
    assert (child.created_by.kind, child.created_by.id) == ("key", maker.id)


# --- seen ---


def test_another_workspaces_key_is_none(ground: Ground) -> None:
    """Every method answers for a key of another workspace exactly as for one that never existed (R48)."""
    tenant, other = ground.tenant(), ground.tenant()
    foreign = ground.key(other).key.id
    keys = ground.services.keys
    methods: list[Callable[[KeyId], object]] = [
        lambda id: keys.get(tenant, id),
        lambda id: keys.require(tenant, id),
        lambda id: keys.update(tenant, id, KeyPatch("mine")),
        lambda id: keys.update(tenant, id, KeyPatch("")),
        lambda id: keys.revoke(tenant, id),
        lambda id: keys.rotate(tenant, id),
        lambda id: keys.rotate(tenant, id, overlap=timedelta(days=9)),
    ]
    for act in methods:
        told = []
        for id in (foreign, ABSENT, KeyId("nonsense"), KeyId("key_\x00"), KeyId("key_\ud800")):
            with pytest.raises(NotFound) as refused:
                act(id)
            told.append((type(refused.value), refused.value.args, refused.value.extras()))
        assert len({str(one) for one in told}) == 1
    assert ground.happened(other) == ["key.created"]
    assert ground.happened(tenant) == []


def test_lists_keep_to_the_workspace(ground: Ground) -> None:
    """A list, its search and its count know nothing of other workspaces (R49)."""
    tenant, other = ground.tenant(), ground.tenant()
    mine = ground.key(tenant, "shared words").key.id
    foreign = ground.key(other, "shared words").key
    assert ground.ids(tenant) == [mine]
    assert ground.ids(tenant, query="shared") == [mine]
    assert ground.ids(tenant, query=foreign.id) == []
    assert ground.ids(tenant, query=foreign.hint[-4:]) in ([], [mine])
    assert ground.used(tenant) == 1


def test_status_and_quota(ground: Ground) -> None:
    """Status is derived from now; expired and revoked keys are listed and do not count."""
    tenant = ground.tenant(limit=5)
    active, expiring, ended = (
        ground.key(tenant),
        ground.key(tenant, expires_at=NOON + HOUR),
        ground.key(tenant),
    )
    ground.services.keys.revoke(tenant, ended.key.id)
    assert ground.ids(tenant, status=KeyStatus.ACTIVE) == [expiring.key.id, active.key.id]
    assert ground.used(tenant) == 2
    ground.clock.advance(HOUR)
    assert ground.ids(tenant, status=KeyStatus.ACTIVE) == [active.key.id]
    assert ground.ids(tenant, status=KeyStatus.EXPIRED) == [expiring.key.id]
    assert ground.ids(tenant, status=KeyStatus.REVOKED) == [ended.key.id]
    assert ground.ids(tenant) == [ended.key.id, expiring.key.id, active.key.id]
    quota = ground.services.keys.list(tenant).quota
    assert ground.services.keys.quota(tenant) == quota
    assert (quota.limit, quota.used) == (5, 1)


def test_search(ground: Ground) -> None:
    """A search finds a part of the description in any case, the exact id, or the last four characters of the token."""
    tenant = ground.tenant()
    one = ground.key(tenant, "Data-Warehouse 100% sync_a\\b")
    ground.key(tenant, "other")
    for query in ("warehouse", "DATA-", "100%", "%", "c_a", "_", "\\", one.key.id):
        assert ground.ids(tenant, query=query) == [one.key.id], query
    assert one.key.id in ground.ids(tenant, query=text_of(one)[-4:])
    for query in ("ware%house", "sync.a", one.key.id[:-1], "x" * 200, "100$"):
        assert ground.ids(tenant, query=query) == [], query


@pytest.mark.parametrize("query", ["x" * 201, "a\x00", "\ud800", "a\nb"])
def test_searches_that_cannot_be(ground: Ground, query: str) -> None:
    """A search for what no description can hold is refused, and never an error of the database's."""
    with pytest.raises(Invalid):
        ground.services.keys.list(ground.tenant(), query=query)


# --- changed ---


def test_a_change_is_kept_and_recorded(ground: Ground) -> None:
    """A change is seen by a get, by the search and by the next verification, and names its fields in one event."""
    tenant = ground.tenant()
    created = ground.key(tenant, "old words", scopes=["documents:read", "documents:write"])
    patch = KeyPatch("new words", NOON + HOUR, ["documents:read"])
    changed = ground.services.keys.update(tenant, created.key.id, patch)
    assert ground.services.keys.get(tenant, created.key.id) == changed
    assert ground.ids(tenant, query="new words") == [created.key.id]
    assert ground.ids(tenant, query="old words") == []
    assert ground.verdict(created, "documents:write") == "insufficient_scope"
    assert ground.verdict(created, "documents:read") == "verified"
    ground.clock.advance(HOUR)
    assert ground.verdict(created) == "expired"
    assert ground.happened(tenant) == ["key.created", "key.updated"]
    assert ground.events(tenant)[-1].data["changed"] == ["description", "scopes", "expires_at"]


def test_no_difference_no_event(ground: Ground) -> None:
    """A patch that changes nothing writes nothing."""
    tenant = ground.tenant()
    key = ground.key(tenant, expires_at=NOON + HOUR).key
    for patch in (KeyPatch(), KeyPatch(key.description, key.expires_at, list(key.scopes))):
        assert ground.services.keys.update(tenant, key.id, patch) == key
    assert ground.happened(tenant) == ["key.created"]


def test_ended_keys_stay_ended(ground: Ground) -> None:
    """No change, and nothing else, makes a revoked or an expired key valid again (R33)."""
    tenant = ground.tenant()
    revoked, expired = ground.key(tenant), ground.key(tenant, expires_at=NOON + HOUR)
    ground.services.keys.revoke(tenant, revoked.key.id)
    ground.clock.advance(HOUR)
    keys, later = ground.services.keys, NOON + 9 * HOUR
    for id, refusal in ((revoked.key.id, KeyRevoked), (expired.key.id, KeyExpired)):
        for patch in (KeyPatch(expires_at=later), KeyPatch(expires_at=None)):
            with pytest.raises(refusal):
                keys.update(tenant, id, patch)
        with pytest.raises(refusal):
            keys.rotate(tenant, id)
        with pytest.raises(refusal):
            keys.rotate(tenant, id, overlap=HOUR)
    keys.update(tenant, expired.key.id, KeyPatch("still described"))
    keys.revoke(tenant, expired.key.id)
    keys.revoke(tenant, revoked.key.id)
    assert (ground.verdict(revoked), ground.verdict(expired)) == ("revoked", "revoked")
    assert ground.used(tenant) == 0


def test_roles(ground: Ground) -> None:
    """A developer changes, rotates and ends the keys that they made, an admin every key."""
    tenant = ground.tenant()
    keys = ground.services.keys
    ada, bo = (
        _member(ground, tenant, Role.DEVELOPER, "Ada"),
        _member(ground, tenant, Role.DEVELOPER, "Bo"),
    )
    own = keys.create(ada, KeyDraft("ada's")).key.id
    for act in (
        lambda: keys.update(bo, own, KeyPatch("mine")),
        lambda: keys.rotate(bo, own),
        lambda: keys.revoke(bo, own),
    ):
        with pytest.raises(Forbidden):
            act()
    keys.update(ada, own, KeyPatch("still ada's"))
    successor = keys.rotate(ada, own).key.id
    keys.update(_member(ground, tenant, Role.ADMIN, "Cy"), successor, KeyPatch("cy's words"))
    keys.revoke(ada, successor)


# --- revoked ---


def test_revocation_is_immediate_and_once(ground: Ground) -> None:
    """From the answer on the key is refused; a second revocation has the same answer and leaves no second event."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    assert ground.verdict(created) == "verified"
    first = ground.services.keys.revoke(tenant, created.key.id)
    assert ground.verdict(created) == "revoked"
    ground.clock.advance(HOUR)
    again = ground.services.keys.revoke(tenant, created.key.id)
    assert first == again == ground.services.keys.get(tenant, created.key.id)
    assert again.revoked_at == NOON
    assert ground.happened(tenant) == ["key.created", "key.revoked"]


def test_revocation_on_another_server(ground: Ground) -> None:
    """A key revoked through one server is refused by another from the next verification on (R29)."""
    tenant = ground.tenant()
    other = ground.another()
    for _ in range(10):
        created = ground.key(tenant)
        assert not hasattr(other.services.verifier.verify(text_of(created)), "reason")
        ground.services.keys.revoke(tenant, created.key.id)
        assert getattr(other.services.verifier.verify(text_of(created)), "reason", "") == "revoked"


def test_a_key_ends_itself(ground: Ground) -> None:
    """Every key may revoke itself, without any scope, and no other key."""
    tenant = ground.tenant()
    created, other = ground.key(tenant, scopes=["documents:read"]), ground.key(tenant)
    itself = ground.principal(created)
    with pytest.raises(InsufficientScope):
        ground.services.keys.revoke(itself, other.key.id)
    ground.services.keys.revoke(itself, created.key.id)
    assert (ground.verdict(created), ground.verdict(other)) == ("revoked", "verified")
    assert ground.events(tenant)[-1].actor.id == created.key.id


def test_any_key_is_revoked_by_a_key_manager(ground: Ground) -> None:
    """A key with `keys:write` revokes any key of its workspace, wider ones too."""
    tenant = ground.tenant()
    wide = ground.key(tenant, scopes=[EVERYTHING, KEYS_WRITE])
    ground.services.keys.revoke(ground.caller(tenant, KEYS_WRITE), wide.key.id)
    assert ground.verdict(wide) == "revoked"


# --- kept ---


def test_no_token_is_kept(ground: Ground) -> None:
    """Neither key, page, event nor refusal contains a token or a digest."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    with read_behind(ground.database) as tx:
        digest = (
            tx.execute(schema.api_keys.select().where(schema.api_keys.c.id == created.key.id))
            .one()
            .digest
        )
    shown = [created, ground.keys(tenant), ground.events(tenant), ground.services]
    try:
        ground.services.keys.get(tenant, KeyId(text_of(created)))
    except KeysteadError as refused:
        shown.append(refused)
    for text in map(repr, shown):
        assert text_of(created)[-20:] not in text
        assert text_of(created)[26:69] not in text
        assert digest.hex() not in text
        assert repr(digest)[2:-1] not in text


def test_last_use_is_shown(ground: Ground) -> None:
    """A key's last use appears after a flush: when, from where, by what."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    ground.services.verifier.verify(text_of(created), address="192.0.2.1", agent="curl/8")
    assert ground.services.keys.get(tenant, created.key.id).last_use is None
    ground.services.usage.flush()
    used = KeyUse(NOON, "192.0.2.1", "curl/8")
    assert ground.services.keys.get(tenant, created.key.id).last_use == used
    assert ground.keys(tenant)[0].last_use == used


# --- a key that ends while it asks ---


@pytest.mark.parametrize("end", ["revoked", "expired", "suspended", "narrowed"])
def test_a_key_does_not_go_on_in_its_children(ground: Ground, end: str) -> None:
    """What a key asked for before its end and what would be done after it is not done: no child, change or rotation."""
    tenant = ground.tenant()
    keys = ground.services.keys
    created = ground.key(tenant, scopes=[KEYS_READ, KEYS_WRITE], expires_at=NOON + HOUR)
    target = ground.key(tenant, scopes=[KEYS_READ], expires_at=NOON + HOUR)
    verified = ground.principal(created)
    match end:
        case "revoked":
            keys.revoke(tenant, created.key.id)
        case "expired":
            ground.clock.advance(HOUR)
        case "suspended":
            ground.services.workspaces.suspend(tenant.workspace_id)
        case "narrowed":
            keys.update(tenant, created.key.id, KeyPatch(scopes=[KEYS_READ]))
    before = ground.keys(tenant), ground.events(tenant)
    acts: list[Callable[[], object]] = [
        lambda: keys.create(verified, KeyDraft("child", scopes=[KEYS_READ])),
        lambda: keys.create(verified, KeyDraft("child"), once=Once("once", bytes(32))),
        lambda: keys.rotate(verified, created.key.id),
        lambda: keys.update(verified, target.key.id, KeyPatch("mine")),
        lambda: keys.revoke(verified, target.key.id),
    ]
    for act in acts:
        with pytest.raises(InsufficientScope if end == "narrowed" else InvalidToken):
            act()
    assert (ground.keys(tenant), ground.events(tenant)) == before


def test_a_child_is_within_what_its_maker_is_by_now(ground: Ground) -> None:
    """A key that was narrowed or shortened while it asked makes a child within what it is now."""
    tenant = ground.tenant()
    created = ground.key(tenant, scopes=[KEYS_READ, KEYS_WRITE])
    verified = ground.principal(created)
    ground.services.keys.update(
        tenant, created.key.id, KeyPatch(expires_at=NOON + HOUR, scopes=[KEYS_WRITE])
    )
    with pytest.raises(WouldWiden):
        ground.services.keys.create(verified, KeyDraft("child", NOON + HOUR, [KEYS_READ]))
    with pytest.raises(WouldWiden):
        ground.services.keys.create(verified, KeyDraft("child", None, [KEYS_WRITE]))


def test_a_key_that_ends_itself_twice(ground: Ground) -> None:
    """Two requests of a key to end itself are both answered, and leave one event."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    itself = ground.principal(created)
    ended = [ground.services.keys.revoke(itself, created.key.id) for _ in range(2)]
    assert ended[0] == ended[1]
    assert ground.happened(tenant) == ["key.created", "key.revoked"]


def test_pages_while_keys_are_made(ground: Ground) -> None:
    """A list read page by page returns each key once, also while others are created and revoked."""
    tenant = ground.tenant()
    made = [ground.key(tenant, f"key {number}").key.id for number in range(9)]
    seen: list[KeyId] = []
    before = None
    while not seen or before is not None:
        page = ground.services.keys.list(tenant, limit=2, before=before)
        seen, before = seen + [key.id for key in page.items], page.next
        ground.key(tenant, "later")
        ground.services.keys.revoke(tenant, made[len(seen) % len(made)])
    assert seen == made[::-1]
