"""Keys: created, read, changed, revoked; and the callers who may."""

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
from keystead.domain.key_lists import KeySelection
from keystead.domain.keys import KeyDraft, KeyPatch, KeyStatus, KeyUse
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, KEYS_READ, KEYS_WRITE, Scopes
from keystead.domain.token import parse
from keystead.domain.workspaces import Role
from keystead.services.idempotency import Once
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, text_of
from tests.support.people import acting, member_of

HOUR = timedelta(hours=1)
ABSENT = KeyId("key_0000000000000000000000")


def _member(
    sandbox: SandboxInstallation, tenant: Principal, role: Role, name: str = "Ada"
) -> Principal:
    return acting(member_of(sandbox, tenant, role, name))


# --- created ---


def test_a_created_key_is_whole(sandbox: SandboxInstallation) -> None:
    """A created key is as requested, its token parses as that key's, and a get returns the same."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, "data-warehouse sync", expires_at=NOON + HOUR, scopes=[KEYS_READ])
    key, token = created.key, parse(text_of(created))
    assert token is not None
    assert (key.id, key.hint) == (token.key_id, token.hint)
    assert (key.description, key.expires_at) == ("data-warehouse sync", NOON + HOUR)
    assert (key.scopes, key.created_at) == (Scopes([KEYS_READ]), NOON)
    assert key.created_by == tenant.actor
    assert (key.revoked_at, key.rotated_to, key.last_use) == (None, None, None)
    assert key.status(NOON) is KeyStatus.ACTIVE
    assert sandbox.services.keys.get(tenant, key.id) == key


def test_a_created_key_is_recorded(sandbox: SandboxInstallation) -> None:
    """A creation is recorded with its actor, key, time and origin."""
    tenant = sandbox.tenant()
    origin = Origin("192.0.2.7", "req_7")
    created = sandbox.services.keys.create(tenant, KeyDraft("sync"), origin)
    event = sandbox.events(tenant)[-1]
    assert (event.type, event.target.type, event.target.id) == (
        "key.created",
        "key",
        created.key.id,
    )
    assert (event.actor, event.origin, event.occurred_at) == (tenant.actor, origin, NOON)
    assert event.data["hint"] == created.key.hint


def test_descriptions_need_not_differ(sandbox: SandboxInstallation) -> None:
    """Two keys may have the same description; their ids and hints differ."""
    tenant = sandbox.tenant()
    one, other = sandbox.key(tenant, "sync"), sandbox.key(tenant, "sync")
    assert one.key.id != other.key.id
    assert text_of(one) != text_of(other)


def test_ids_follow_creation(sandbox: SandboxInstallation) -> None:
    """Keys are listed newest first in the order of creation, also if the clock stands still or runs back."""
    tenant = sandbox.tenant()
    ids = [sandbox.key(tenant).key.id for _ in range(20)]
    sandbox.clock.set(NOON - timedelta(days=30))
    ids += [sandbox.key(tenant).key.id for _ in range(5)]
    assert ids == sorted(ids)
    assert sandbox.ids(tenant) == ids[::-1]


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
def test_a_refused_key_leaves_nothing(sandbox: SandboxInstallation, draft: dict[str, Any]) -> None:
    """A refused creation leaves no key, no event and no use of the limit."""
    tenant = sandbox.tenant()
    before = sandbox.events(tenant)
    with pytest.raises(Invalid):
        sandbox.services.keys.create(tenant, KeyDraft(**{"description": "sync", **draft}))
    assert sandbox.ids(tenant) == []
    assert sandbox.events(tenant) == before


def test_no_key_without_keys_write(sandbox: SandboxInstallation) -> None:
    """A key without `keys:write` creates, changes, rotates and revokes no key, with `*` or not; nor does a viewer."""
    tenant = sandbox.tenant()
    target = sandbox.key(tenant).key.id
    keys = sandbox.services.keys
    acts: list[Callable[[Principal], object]] = [
        lambda nobody: keys.create(nobody, KeyDraft("child")),
        lambda nobody: keys.update(nobody, target, KeyPatch("other")),
        lambda nobody: sandbox.services.rotations.rotate(nobody, target),
        lambda nobody: keys.revoke(nobody, target),
    ]
    for nobody in (sandbox.caller(tenant, EVERYTHING), _member(sandbox, tenant, Role.VIEWER)):
        for act in acts:
            with pytest.raises(InsufficientScope):
                act(nobody)
    assert sandbox.happened(tenant) == ["key.created"] * 2


def test_reading_needs_keys_read(sandbox: SandboxInstallation) -> None:
    """Listing and reading keys requires `keys:read`, or `*`."""
    tenant = sandbox.tenant()
    blind = sandbox.caller(tenant, "documents:read", KEYS_WRITE)
    with pytest.raises(InsufficientScope):
        sandbox.services.keys.list(blind)
    with pytest.raises(InsufficientScope):
        sandbox.services.keys.get(blind, KeyId(blind.id))
    seeing = sandbox.caller(tenant, EVERYTHING)
    assert len(sandbox.services.keys.list(seeing).items) == 2


def test_a_key_sees_itself(sandbox: SandboxInstallation) -> None:
    """A key without any reading scope still sees itself, and only itself."""
    tenant = sandbox.tenant()
    blind = sandbox.caller(tenant, "documents:read")
    assert sandbox.services.keys.whoami(blind).key.id == blind.id


def test_wider_children_are_refused(sandbox: SandboxInstallation) -> None:
    """A key can't create one that is wider or lives longer than itself, through any method (R55)."""
    tenant = sandbox.tenant()
    keys = sandbox.services.keys
    maker = sandbox.caller(tenant, KEYS_WRITE, "documents:read", expires_at=NOON + HOUR)
    wide = sandbox.key(tenant, scopes=["documents:read", "documents:write"])
    attempts: list[Callable[[], object]] = [
        lambda: keys.create(maker, KeyDraft("c", scopes=[EVERYTHING])),
        lambda: keys.create(maker, KeyDraft("c", scopes=["documents:write"])),
        lambda: keys.create(maker, KeyDraft("c", expires_at=NOON + 2 * HOUR)),
        lambda: keys.create(maker, KeyDraft("c", expires_at=None)),
        lambda: sandbox.services.rotations.rotate(maker, wide.key.id),
        lambda: sandbox.services.rotations.rotate(maker, wide.key.id, expires_at=NOON + HOUR / 2),
        lambda: keys.update(maker, wide.key.id, KeyPatch("mine")),
        lambda: keys.update(maker, KeyId(maker.id), KeyPatch(expires_at=None)),
        lambda: keys.update(maker, KeyId(maker.id), KeyPatch(expires_at=NOON + 2 * HOUR)),
    ]
    before = sandbox.keys(tenant)
    for attempt in attempts:
        with pytest.raises(WouldWiden):
            attempt()
    assert sandbox.keys(tenant) == before


def test_what_a_key_passes_on(sandbox: SandboxInstallation) -> None:
    """A key created by a key has its scopes without `keys:write`, its expiry, and its id as the creator."""
    tenant = sandbox.tenant()
    maker = sandbox.caller(tenant, KEYS_WRITE, "documents:read", expires_at=NOON + HOUR)
    child = sandbox.services.keys.create(maker, KeyDraft("child")).key
    assert (child.scopes, child.expires_at) == (Scopes(["documents:read"]), NOON + HOUR)
    assert (child.created_by.kind, child.created_by.id) == ("key", maker.id)


# --- read ---


def test_another_workspaces_key_does_not_exist(sandbox: SandboxInstallation) -> None:
    """Every method answers for a key of another workspace exactly as for one that never existed (R48)."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    foreign = sandbox.key(other).key.id
    keys = sandbox.services.keys
    methods: list[Callable[[KeyId], object]] = [
        lambda id: keys.get(tenant, id),
        lambda id: keys.require(tenant, id),
        lambda id: keys.update(tenant, id, KeyPatch("mine")),
        lambda id: keys.update(tenant, id, KeyPatch("")),
        lambda id: keys.revoke(tenant, id),
        lambda id: sandbox.services.rotations.rotate(tenant, id),
        lambda id: sandbox.services.rotations.rotate(tenant, id, overlap=timedelta(days=9)),
    ]
    for act in methods:
        refusals = []
        for id in (foreign, ABSENT, KeyId("nonsense"), KeyId("key_\x00"), KeyId("key_\ud800")):
            with pytest.raises(NotFound) as refused:
                act(id)
            refusals.append((type(refused.value), refused.value.args, refused.value.extras()))
        assert len({str(refusal) for refusal in refusals}) == 1
    assert sandbox.happened(other) == ["key.created"]
    assert sandbox.happened(tenant) == []


def test_lists_keep_to_the_workspace(sandbox: SandboxInstallation) -> None:
    """A list, its search and its count know nothing of other workspaces (R49)."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    mine = sandbox.key(tenant, "shared words").key.id
    foreign = sandbox.key(other, "shared words").key
    assert sandbox.ids(tenant) == [mine]
    assert sandbox.ids(tenant, query="shared") == [mine]
    assert sandbox.ids(tenant, query=foreign.id) == []
    assert sandbox.ids(tenant, query=foreign.hint[-4:]) in ([], [mine])
    assert sandbox.used(tenant) == 1


def test_status_and_quota(sandbox: SandboxInstallation) -> None:
    """Status is derived from the time; expired and revoked keys are listed and do not count."""
    tenant = sandbox.tenant(limit=5)
    active, expiring, ended = (
        sandbox.key(tenant),
        sandbox.key(tenant, expires_at=NOON + HOUR),
        sandbox.key(tenant),
    )
    sandbox.services.keys.revoke(tenant, ended.key.id)
    assert sandbox.ids(tenant, status=KeyStatus.ACTIVE) == [expiring.key.id, active.key.id]
    assert sandbox.used(tenant) == 2
    sandbox.clock.advance(HOUR)
    assert sandbox.ids(tenant, status=KeyStatus.ACTIVE) == [active.key.id]
    assert sandbox.ids(tenant, status=KeyStatus.EXPIRED) == [expiring.key.id]
    assert sandbox.ids(tenant, status=KeyStatus.REVOKED) == [ended.key.id]
    assert sandbox.ids(tenant) == [ended.key.id, expiring.key.id, active.key.id]
    quota = sandbox.services.keys.list(tenant).quota
    assert sandbox.services.keys.quota(tenant) == quota
    assert (quota.limit, quota.used) == (5, 1)


def test_search(sandbox: SandboxInstallation) -> None:
    """A search finds a part of the description in any case, the exact id, or the last four characters of the token."""
    tenant = sandbox.tenant()
    match = sandbox.key(tenant, "Data-Warehouse 100% sync_a\\b")
    sandbox.key(tenant, "other")
    for query in ("warehouse", "DATA-", "100%", "%", "c_a", "_", "\\", match.key.id):
        assert sandbox.ids(tenant, query=query) == [match.key.id], query
    assert match.key.id in sandbox.ids(tenant, query=text_of(match)[-4:])
    for query in ("ware%sample", "sync.a", match.key.id[:-1], "x" * 200, "100$"):
        assert sandbox.ids(tenant, query=query) == [], query


@pytest.mark.parametrize("query", ["x" * 201, "a\x00", "\ud800", "a\nb"])
def test_searches_that_cannot_be(sandbox: SandboxInstallation, query: str) -> None:
    """A search for a text that no description can have is refused, and is never a database error."""
    with pytest.raises(Invalid):
        sandbox.services.keys.list(sandbox.tenant(), KeySelection(query=query))


# --- changed ---


def test_a_change_is_kept_and_recorded(sandbox: SandboxInstallation) -> None:
    """A change appears in a get, in the search and in the next verification, and names its fields in one event."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, "old words", scopes=["documents:read", "documents:write"])
    patch = KeyPatch("new words", NOON + HOUR, ["documents:read"])
    changed = sandbox.services.keys.update(tenant, created.key.id, patch)
    assert sandbox.services.keys.get(tenant, created.key.id) == changed
    assert sandbox.ids(tenant, query="new words") == [created.key.id]
    assert sandbox.ids(tenant, query="old words") == []
    assert sandbox.verdict(created, "documents:write") == "insufficient_scope"
    assert sandbox.verdict(created, "documents:read") == "verified"
    sandbox.clock.advance(HOUR)
    assert sandbox.verdict(created) == "expired"
    assert sandbox.happened(tenant) == ["key.created", "key.updated"]
    assert sandbox.events(tenant)[-1].data["changed"] == ["description", "scopes", "expires_at"]


def test_no_difference_no_event(sandbox: SandboxInstallation) -> None:
    """A patch that changes nothing writes nothing."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, expires_at=NOON + HOUR).key
    for patch in (KeyPatch(), KeyPatch(key.description, key.expires_at, list(key.scopes))):
        assert sandbox.services.keys.update(tenant, key.id, patch) == key
    assert sandbox.happened(tenant) == ["key.created"]


def test_ended_keys_stay_ended(sandbox: SandboxInstallation) -> None:
    """No change makes a revoked or an expired key valid again (R33)."""
    tenant = sandbox.tenant()
    revoked, expired = sandbox.key(tenant), sandbox.key(tenant, expires_at=NOON + HOUR)
    sandbox.services.keys.revoke(tenant, revoked.key.id)
    sandbox.clock.advance(HOUR)
    keys, later = sandbox.services.keys, NOON + 9 * HOUR
    for id, refusal in ((revoked.key.id, KeyRevoked), (expired.key.id, KeyExpired)):
        for patch in (KeyPatch(expires_at=later), KeyPatch(expires_at=None)):
            with pytest.raises(refusal):
                keys.update(tenant, id, patch)
        with pytest.raises(refusal):
            sandbox.services.rotations.rotate(tenant, id)
        with pytest.raises(refusal):
            sandbox.services.rotations.rotate(tenant, id, overlap=HOUR)
    keys.update(tenant, expired.key.id, KeyPatch("still described"))
    keys.revoke(tenant, expired.key.id)
    keys.revoke(tenant, revoked.key.id)
    assert (sandbox.verdict(revoked), sandbox.verdict(expired)) == ("revoked", "revoked")
    assert sandbox.used(tenant) == 0


def test_roles(sandbox: SandboxInstallation) -> None:
    """A developer changes, rotates and revokes the keys that they created, an admin every key."""
    tenant = sandbox.tenant()
    keys = sandbox.services.keys
    ada, bo = (
        _member(sandbox, tenant, Role.DEVELOPER, "Ada"),
        _member(sandbox, tenant, Role.DEVELOPER, "Bo"),
    )
    own = keys.create(ada, KeyDraft("ada's")).key.id
    for act in (
        lambda: keys.update(bo, own, KeyPatch("mine")),
        lambda: sandbox.services.rotations.rotate(bo, own),
        lambda: keys.revoke(bo, own),
    ):
        with pytest.raises(Forbidden):
            act()
    keys.update(ada, own, KeyPatch("still ada's"))
    successor = sandbox.services.rotations.rotate(ada, own).key.id
    keys.update(_member(sandbox, tenant, Role.ADMIN, "Cy"), successor, KeyPatch("cy's words"))
    keys.revoke(ada, successor)


# --- revoked ---


def test_revocation_is_immediate_and_once(sandbox: SandboxInstallation) -> None:
    """From the response on the key is refused; a second revocation has the same response and leaves no second event."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    assert sandbox.verdict(created) == "verified"
    first = sandbox.services.keys.revoke(tenant, created.key.id)
    assert sandbox.verdict(created) == "revoked"
    sandbox.clock.advance(HOUR)
    again = sandbox.services.keys.revoke(tenant, created.key.id)
    assert first == again == sandbox.services.keys.get(tenant, created.key.id)
    assert again.revoked_at == NOON
    assert sandbox.happened(tenant) == ["key.created", "key.revoked"]


def test_revocation_on_another_server(sandbox: SandboxInstallation) -> None:
    """A key revoked through one server is refused by another from the next verification on (R29)."""
    tenant = sandbox.tenant()
    other = sandbox.another()
    for _ in range(10):
        created = sandbox.key(tenant)
        assert not hasattr(other.services.verifier.verify(text_of(created)), "reason")
        sandbox.services.keys.revoke(tenant, created.key.id)
        assert getattr(other.services.verifier.verify(text_of(created)), "reason", "") == "revoked"


def test_a_key_ends_itself(sandbox: SandboxInstallation) -> None:
    """Every key may revoke itself, without any scope, and no other key."""
    tenant = sandbox.tenant()
    created, other = sandbox.key(tenant, scopes=["documents:read"]), sandbox.key(tenant)
    itself = sandbox.principal(created)
    with pytest.raises(InsufficientScope):
        sandbox.services.keys.revoke(itself, other.key.id)
    sandbox.services.keys.revoke(itself, created.key.id)
    assert (sandbox.verdict(created), sandbox.verdict(other)) == ("revoked", "verified")
    assert sandbox.events(tenant)[-1].actor.id == created.key.id


def test_any_key_is_revoked_by_a_key_manager(sandbox: SandboxInstallation) -> None:
    """A key with `keys:write` revokes any key of its workspace, wider ones too."""
    tenant = sandbox.tenant()
    wide = sandbox.key(tenant, scopes=[EVERYTHING, KEYS_WRITE])
    sandbox.services.keys.revoke(sandbox.caller(tenant, KEYS_WRITE), wide.key.id)
    assert sandbox.verdict(wide) == "revoked"


# --- secrets and use ---


def test_no_token_is_kept(sandbox: SandboxInstallation) -> None:
    """Neither key, page, event nor refusal contains a token or a digest."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    with read_behind(sandbox.database) as tx:
        digest = (
            tx.execute(schema.api_keys.select().where(schema.api_keys.c.id == created.key.id))
            .one()
            .digest
        )
    shown = [created, sandbox.keys(tenant), sandbox.events(tenant), sandbox.services]
    try:
        sandbox.services.keys.get(tenant, KeyId(text_of(created)))
    except KeysteadError as refused:
        shown.append(refused)
    for text in map(repr, shown):
        assert text_of(created)[-20:] not in text
        assert text_of(created)[26:69] not in text
        assert digest.hex() not in text
        assert repr(digest)[2:-1] not in text


def test_last_use_is_shown(sandbox: SandboxInstallation) -> None:
    """A key's last use appears after a flush: its time, its address, its client."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    sandbox.services.verifier.verify(text_of(created), address="192.0.2.1", agent="curl/8")
    assert sandbox.services.keys.get(tenant, created.key.id).last_use is None
    sandbox.services.usage.flush()
    used = KeyUse(NOON, "192.0.2.1", "curl/8")
    assert sandbox.services.keys.get(tenant, created.key.id).last_use == used
    assert sandbox.keys(tenant)[0].last_use == used


# --- a key that ends while its request runs ---


@pytest.mark.parametrize("end", ["revoked", "expired", "suspended", "narrowed"])
def test_a_key_does_not_go_on_in_its_children(sandbox: SandboxInstallation, end: str) -> None:
    """A request that began before its key ended, and continues after, creates, changes and rotates nothing."""
    tenant = sandbox.tenant()
    keys = sandbox.services.keys
    created = sandbox.key(tenant, scopes=[KEYS_READ, KEYS_WRITE], expires_at=NOON + HOUR)
    target = sandbox.key(tenant, scopes=[KEYS_READ], expires_at=NOON + HOUR)
    verified = sandbox.principal(created)
    match end:
        case "revoked":
            keys.revoke(tenant, created.key.id)
        case "expired":
            sandbox.clock.advance(HOUR)
        case "suspended":
            sandbox.services.workspaces.suspend(tenant.workspace_id)
        case "narrowed":
            keys.update(tenant, created.key.id, KeyPatch(scopes=[KEYS_READ]))
    before = sandbox.keys(tenant), sandbox.events(tenant)
    acts: list[Callable[[], object]] = [
        lambda: keys.create(verified, KeyDraft("child", scopes=[KEYS_READ])),
        lambda: keys.create(verified, KeyDraft("child"), once=Once("once", bytes(32))),
        lambda: sandbox.services.rotations.rotate(verified, created.key.id),
        lambda: keys.update(verified, target.key.id, KeyPatch("mine")),
        lambda: keys.revoke(verified, target.key.id),
    ]
    for act in acts:
        with pytest.raises(InsufficientScope if end == "narrowed" else InvalidToken):
            act()
    assert (sandbox.keys(tenant), sandbox.events(tenant)) == before


def test_a_child_is_within_what_its_maker_is_by_now(sandbox: SandboxInstallation) -> None:
    """A key that was narrowed or shortened during its request creates a child within its present bounds."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, scopes=[KEYS_READ, KEYS_WRITE])
    verified = sandbox.principal(created)
    sandbox.services.keys.update(
        tenant, created.key.id, KeyPatch(expires_at=NOON + HOUR, scopes=[KEYS_WRITE])
    )
    with pytest.raises(WouldWiden):
        sandbox.services.keys.create(verified, KeyDraft("child", NOON + HOUR, [KEYS_READ]))
    with pytest.raises(WouldWiden):
        sandbox.services.keys.create(verified, KeyDraft("child", None, [KEYS_WRITE]))


def test_a_key_that_ends_itself_twice(sandbox: SandboxInstallation) -> None:
    """Two requests of a key to revoke itself both succeed, and leave one event."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    itself = sandbox.principal(created)
    ended = [sandbox.services.keys.revoke(itself, created.key.id) for _ in range(2)]
    assert ended[0] == ended[1]
    assert sandbox.happened(tenant) == ["key.created", "key.revoked"]


def test_pages_while_keys_are_made(sandbox: SandboxInstallation) -> None:
    """A list read page by page returns each key once, also while others are created and revoked."""
    tenant = sandbox.tenant()
    ids = [sandbox.key(tenant, f"key {number}").key.id for number in range(9)]
    seen: list[KeyId] = []
    before = None
    while not seen or before is not None:
        page = sandbox.services.keys.list(tenant, limit=2, after=before)
        seen, before = seen + [key.id for key in page.items], page.next
        sandbox.key(tenant, "later")
        sandbox.services.keys.revoke(tenant, ids[len(seen) % len(ids)])
    assert seen == ids[::-1]
