"""Networks, metadata and renewal of keys: the callers who may set them, and what a change of them does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.errors import (
    DiskFull,
    Invalid,
    KeyExpired,
    KeyRevoked,
    KeysteadError,
    ReauthenticationRequired,
    WouldWiden,
)
from keystead.domain.events import Origin
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, KeyDraft, KeyPatch
from keystead.domain.networks import ANYWHERE, Networks
from keystead.domain.principals import Principal
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import KEYS_READ, KEYS_WRITE
from keystead.domain.sessions import REAUTHENTICATION_AGE
from keystead.domain.workspaces import Role
from keystead.storage.engine.disk_reserve import DiskReserve
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, sqlite_file
from tests.support.people import acting, member_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OFFICE = ["10.1.0.0/16", "2001:db8::/32"]
DESK = ["10.1.2.0/24"]
MAKER = (KEYS_READ, KEYS_WRITE, "documents:read")
ENDLESS = Renewal()
AT_A_DESK = Origin("10.1.2.3")


def _maker(sandbox: SandboxInstallation, tenant: Principal, **chosen: Any) -> Principal:
    """Return a key that manages keys, as a principal with what its row has."""
    key = sandbox.key(tenant, scopes=MAKER, **chosen).key
    return Principal.of_key(
        key.id,
        key.description,
        key.workspace_id,
        key.scopes,
        key.expires_at,
        networks=key.networks,
        renewal=key.renewal,
    )


def _refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except KeysteadError as refusal:
        return refusal.code
    return ""


# --- networks ---


def test_a_key_passes_on_its_networks(sandbox: SandboxInstallation) -> None:
    """Omitted networks are the caller's: a key's own, and anywhere for a person and an operator."""
    tenant = sandbox.tenant()
    keys, maker = sandbox.services.keys, _maker(sandbox, tenant, networks=OFFICE)
    assert list(keys.create(maker, KeyDraft("child"), AT_A_DESK).key.networks) == OFFICE
    assert list(keys.create(maker, KeyDraft("desk", networks=DESK), AT_A_DESK).key.networks) == DESK
    person = acting(member_of(sandbox, tenant, Role.DEVELOPER, "Ada"))
    assert keys.create(person, KeyDraft("theirs", scopes=["plan:read"])).key.networks == ANYWHERE
    named = keys.create(person, KeyDraft("named", scopes=["plan:read"], networks=["192.0.2.1"])).key
    assert named.networks == Networks("192.0.2.1/32")
    assert keys.update(person, named.id, KeyPatch(networks=[])).networks == ANYWHERE
    assert keys.get(tenant, named.id).networks == ANYWHERE


def test_a_key_never_grants_networks_beyond_its_own(sandbox: SandboxInstallation) -> None:
    """Creating, changing and rotating: named or kept, networks lie within the caller's, or it is `would-widen`."""
    tenant = sandbox.tenant()
    services, maker = sandbox.services, _maker(sandbox, tenant, networks=OFFICE)
    keys, rotate = services.keys, services.rotations.rotate
    own, free = (
        keys.create(who, KeyDraft("x", scopes=[KEYS_READ]), AT_A_DESK) for who in (maker, tenant)
    )
    acts: Mapping[str, Callable[[], object]] = {
        "create anywhere": lambda: keys.create(maker, KeyDraft("x", networks=[]), AT_A_DESK),
        "create elsewhere": lambda: keys.create(
            maker, KeyDraft("x", networks=["192.0.2.0/24"]), AT_A_DESK
        ),
        "create wider": lambda: keys.create(
            maker, KeyDraft("x", networks=["10.0.0.0/8"]), AT_A_DESK
        ),
        "widen itself": lambda: keys.update(
            maker, KeyId(maker.id), KeyPatch(networks=[]), AT_A_DESK
        ),
        "widen another": lambda: keys.update(
            maker, own.key.id, KeyPatch(networks=["::/0"]), AT_A_DESK
        ),
        "change one from anywhere": lambda: keys.update(
            maker, free.key.id, KeyPatch("mine"), AT_A_DESK
        ),
        "rotate one from anywhere": lambda: rotate(maker, free.key.id, origin=AT_A_DESK),
    }
    before = sandbox.happened(tenant)
    for name, act in acts.items():
        assert _refusal(act) == "would-widen", name
    assert sandbox.happened(tenant) == before
    narrowed = keys.update(maker, own.key.id, KeyPatch(networks=DESK), AT_A_DESK)
    assert list(narrowed.networks) == DESK
    assert list(rotate(maker, own.key.id, origin=AT_A_DESK).key.networks) == DESK


def test_the_networks_that_count_are_those_under_the_lock(sandbox: SandboxInstallation) -> None:
    """A key that was verified before its networks and renewal were narrowed grants only what it still has."""
    tenant = sandbox.tenant()
    keys, stale = sandbox.services.keys, _maker(sandbox, tenant, networks=OFFICE, renewal=ENDLESS)
    keys.update(tenant, KeyId(stale.id), KeyPatch(networks=DESK, renewal=None))
    assert (
        _refusal(lambda: keys.create(stale, KeyDraft("x", networks=OFFICE), AT_A_DESK))
        == "would-widen"
    )
    assert (
        _refusal(lambda: keys.create(stale, KeyDraft("x", renewal=ENDLESS), AT_A_DESK))
        == "would-widen"
    )
    assert list(keys.create(stale, KeyDraft("x"), AT_A_DESK).key.networks) == DESK


# --- metadata ---


def test_metadata_is_merged_and_told_in_events(sandbox: SandboxInstallation) -> None:
    """Events of creation and change have the metadata; a change names what changed; null removes a member."""
    tenant = sandbox.tenant()
    keys = sandbox.services.keys
    key = sandbox.key(tenant, metadata={"customer": "42", "team": "it"}).key
    changed = keys.update(tenant, key.id, KeyPatch(metadata={"team": None, "region": "eu"}))
    assert (
        changed.metadata == {"customer": "42", "region": "eu"} == keys.get(tenant, key.id).metadata
    )
    created, updated = (e.data for e in sandbox.events(tenant) if e.target.id == key.id)
    assert created["metadata"] == {"customer": "42", "team": "it"}
    assert (updated["metadata"], updated["changed"]) == (dict(changed.metadata), ["metadata"])
    assert changed.version == key.version + 1


# --- renewal ---


def test_a_key_grants_only_the_renewal_that_it_has(sandbox: SandboxInstallation) -> None:
    """To others and to itself: no later than its own, never from nothing, and not by rotating a renewable key."""
    tenant = sandbox.tenant()
    keys, rotate = sandbox.services.keys, sandbox.services.rotations.rotate
    plain, brief = (_maker(sandbox, tenant, renewal=r) for r in (None, Renewal(NOON + 9 * DAY)))
    renewable = sandbox.key(tenant, scopes=[KEYS_READ], renewal=ENDLESS).key
    later, sooner = Renewal(NOON + 10 * DAY), Renewal(NOON + 9 * DAY)
    for act in (
        lambda: keys.create(plain, KeyDraft("x", renewal=sooner)),
        lambda: keys.update(plain, KeyId(plain.id), KeyPatch(renewal=ENDLESS)),
        lambda: keys.create(brief, KeyDraft("x", renewal=later)),
        lambda: keys.create(brief, KeyDraft("x", renewal=ENDLESS)),
        lambda: keys.update(brief, KeyId(brief.id), KeyPatch(renewal=later)),
        lambda: rotate(plain, renewable.id),
        lambda: rotate(brief, renewable.id),
    ):
        with pytest.raises(WouldWiden):
            act()
    child = keys.create(brief, KeyDraft("child", renewal=sooner)).key
    assert child.renewal == sooner
    assert keys.create(brief, KeyDraft("omitted")).key.renewal is None
    assert keys.update(plain, renewable.id, KeyPatch("a label")).renewal == ENDLESS
    assert keys.update(plain, renewable.id, KeyPatch(renewal=None)).renewal is None


def test_a_renewal_is_read_like_an_expiry(sandbox: SandboxInstallation) -> None:
    """Fractions are cut off, the past is refused, and the same end again changes nothing, even after it."""
    tenant, clock = sandbox.tenant(), sandbox.clock
    keys, half = sandbox.services.keys, timedelta(milliseconds=500)
    key = sandbox.key(tenant, renewal=Renewal(clock.now() + HOUR + half)).key
    assert key.renewal == Renewal(NOON + HOUR)
    for until in (NOON, NOON - HOUR, NOON + half):
        with pytest.raises(Invalid) as refused:
            keys.update(tenant, key.id, KeyPatch(renewal=Renewal(until)))
        assert [error.pointer for error in refused.value.errors] == ["/renewal/until"]
    clock.set(NOON + 2 * HOUR)
    assert keys.update(tenant, key.id, KeyPatch(renewal=Renewal(NOON + HOUR + half))) == key
    clock.set(NOON)


def test_a_member_proves_a_renewal_without_end(sandbox: SandboxInstallation) -> None:
    """Creating, changing and rotating a key that may renew itself for ever asks for a recent sign-in; others don't."""
    tenant, until = sandbox.tenant(), Renewal(NOON + 30 * DAY)
    keys, rotate = sandbox.services.keys, sandbox.services.rotations.rotate
    member = member_of(sandbox, tenant, Role.ADMIN, "Ada")
    recent, late = acting(member, NOON), acting(member, NOON - REAUTHENTICATION_AGE)
    draft = KeyDraft("x", NOON + DAY, ["plan:read"], renewal=ENDLESS)
    key = keys.create(late, replace(draft, renewal=until)).key
    acts: list[Callable[[Principal], object]] = [
        lambda who: keys.create(who, draft),
        lambda who: keys.update(who, key.id, KeyPatch(renewal=ENDLESS)),
        lambda who: rotate(who, key.id, overlap=HOUR),
    ]
    for act in acts:
        with pytest.raises(ReauthenticationRequired):
            act(late)
        act(recent)
    assert keys.update(late, key.id, KeyPatch(renewal=None)).renewal is None


# --- all three ---


def test_a_successor_has_them_too(sandbox: SandboxInstallation) -> None:
    """A rotation copies networks, metadata and renewal, with and without an overlap."""
    tenant = sandbox.tenant()
    members: dict[str, Any] = {"metadata": {"customer": "42"}, "renewal": Renewal(NOON + DAY)}
    for overlap in (timedelta(), HOUR):
        old = sandbox.key(tenant, networks=OFFICE, **members).key
        new = sandbox.services.rotations.rotate(tenant, old.id, overlap=overlap).key
        for key in (old, new, sandbox.services.keys.get(tenant, new.id)):
            assert (list(key.networks), key.metadata, key.renewal) == (OFFICE, *members.values())


def test_the_same_members_are_no_change(sandbox: SandboxInstallation) -> None:
    """Networks in another order or form, and members that are there already: no event, no version."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, networks=OFFICE, metadata={"a": "1"}, renewal=ENDLESS).key
    same = KeyPatch(
        networks=["2001:DB8::/32", "10.1.0.0/16", "10.1.0.0/16"],
        metadata={"a": "1", "b": None},
        renewal=ENDLESS,
    )
    assert sandbox.services.keys.update(tenant, key.id, same) == key
    assert sandbox.happened(tenant) == ["key.created"]


def test_ended_keys_keep_their_access(sandbox: SandboxInstallation) -> None:
    """An expired key's metadata can change, its networks and renewal can't; a revoked key can't change at all."""
    tenant, keys = sandbox.tenant(), sandbox.services.keys
    expired, revoked = (sandbox.key(tenant, expires_at=NOON + HOUR).key.id for _ in range(2))
    keys.revoke(tenant, revoked)
    sandbox.clock.set(NOON + HOUR)
    label = KeyPatch(metadata={"why": "old"})
    assert keys.update(tenant, expired, label).metadata == {"why": "old"}
    for patch in (KeyPatch(networks=DESK), KeyPatch(renewal=Renewal(NOON + DAY))):
        with pytest.raises(KeyExpired):
            keys.update(tenant, expired, patch)
    for patch in (label, KeyPatch(networks=DESK), KeyPatch(renewal=None)):
        with pytest.raises(KeyRevoked):
            keys.update(tenant, revoked, patch)
    sandbox.clock.set(NOON)


NARROWING = {
    "scopes": KeyPatch(scopes=["documents:read"]),
    "networks": KeyPatch(networks=DESK),
    "renewal": KeyPatch(renewal=None),
    "renewal's end": KeyPatch(renewal=Renewal(NOON + DAY)),
    "expiry": KeyPatch(expires_at=NOON + DAY),
}
OTHERS = {
    "description": KeyPatch("other"),
    "metadata": KeyPatch(metadata={"a": "1"}),
    "wider networks": KeyPatch(networks=["10.0.0.0/8", "2001:db8::/32"]),
    "anywhere": KeyPatch(networks=[]),
    "longer": KeyPatch(expires_at=NOON + 3 * DAY),
    "a longer renewal": KeyPatch(renewal=ENDLESS),
}


@pytest.mark.parametrize("own_sandbox", ["sqlite"], indirect=True)
def test_a_narrowing_change_uses_the_reserved_disk_space(
    own_sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk what takes away access is done like a revocation, and nothing else is (R31)."""
    tenant, keys = own_sandbox.tenant(), own_sandbox.services.keys

    def key() -> ApiKey:
        return own_sandbox.key(
            tenant,
            expires_at=NOON + 2 * DAY,
            scopes=["documents:read", "plan:read"],
            networks=OFFICE,
            renewal=Renewal(NOON + 2 * DAY),
        ).key

    narrowed, others = {name: key() for name in NARROWING}, key()
    last = own_sandbox.key(tenant).key
    own_sandbox.database.reserve = DiskReserve(sqlite_file(own_sandbox))
    monkeypatch.setattr("os.statvfs", lambda _: _FullDisk())
    keys.revoke(tenant, last.id)
    for name, patch in OTHERS.items():
        with pytest.raises(DiskFull):
            keys.update(tenant, others.id, patch)
        assert keys.get(tenant, others.id) == others, name
    for name, patch in NARROWING.items():
        assert keys.update(tenant, narrowed[name].id, patch) != narrowed[name], name


class _FullDisk:
    f_frsize = 1
    f_bavail = 0
