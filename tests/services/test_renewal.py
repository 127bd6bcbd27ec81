"""Renewal: a key makes its own successor, a lost answer heals, and with the successor's first use the old key ends."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.errors import (
    InvalidToken,
    NotRenewable,
    RateLimited,
    RotationInProgress,
)
from keystead.domain.events import Origin
from keystead.domain.keys import ApiKey, KeyPatch, KeyStatus
from keystead.domain.principals import Principal
from keystead.domain.renewals import Renewal
from keystead.domain.verification import Denied, Verified
from keystead.services.key_issuer import CreatedKey
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, text_of

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIFE = 90 * DAY
END = NOON - DAY + LIFE
"""When a key of `job_key` expires that was made at noon."""


def job_key(sandbox: SandboxInstallation, tenant: Principal, **chosen: Any) -> CreatedKey:
    """Create the key of a job, a day ago: 90 days, one scope, and renewal without end."""
    now = sandbox.clock.now()
    named = {"scopes": ["documents:read"], "expires_at": now - DAY + LIFE, "renewal": Renewal()}
    sandbox.clock.set(now - DAY)
    try:
        return sandbox.key(tenant, "job", **(named | chosen))
    finally:
        sandbox.clock.set(now)


def renew(sandbox: SandboxInstallation, key: CreatedKey) -> CreatedKey:
    """Renew with the key's own token."""
    return sandbox.services.renewals.renew(sandbox.principal(key))


def row(sandbox: SandboxInstallation, tenant: Principal, key: CreatedKey) -> ApiKey:
    """Return the key as it is now."""
    return sandbox.services.keys.get(tenant, key.key.id)


def active(sandbox: SandboxInstallation, tenant: Principal) -> set[str]:
    """Return the ids of the keys that are active."""
    return set(sandbox.ids(tenant, status=KeyStatus.ACTIVE))


def test_the_successor_is_as_the_key_is(sandbox: SandboxInstallation) -> None:
    """It has the same attributes, creator and rate limit, and the same lifetime, counted from now."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant, networks=["10.0.0.0/8"], metadata={"customer": "42"})
    sandbox.services.key_rates.set(tenant, old.key.id, 77)
    sandbox.clock.set(NOON + 30 * DAY)
    principal = _unverified(tenant, old)
    new = sandbox.services.renewals.renew(principal, Origin("10.1.2.3"))
    assert new.token is not None
    for name in ("description", "scopes", "networks", "metadata", "renewal", "created_by"):
        assert getattr(new.key, name) == getattr(old.key, name)
    assert new.key.expires_at == NOON + 30 * DAY + LIFE
    assert sandbox.services.key_rates.get(tenant, new.key.id)[0] == 77


def test_the_event_names_the_key_as_actor(sandbox: SandboxInstallation) -> None:
    """A renewal is one event, `key.rotated` with the key as actor."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    assert sandbox.happened(tenant) == ["key.created", "key.rotated"]
    event = sandbox.events(tenant)[-1]
    assert (event.actor.kind, event.actor.id, event.target.id) == ("key", old.key.id, old.key.id)
    assert (event.data["rotated_to"], event.data["renewed"]) == (new.key.id, True)


def test_until_first_use_the_old_key_keeps_all(sandbox: SandboxInstallation) -> None:
    """Before the successor is used the old key has its own expiry; with the first use it ends an hour later."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    sandbox.clock.set(NOON + DAY)
    assert (sandbox.verdict(old), row(sandbox, tenant, old).expires_at) == (
        "verified",
        END,
    )
    before = row(sandbox, tenant, old).version
    assert sandbox.verdict(new) == "verified"
    event = sandbox.events(tenant)[-1]
    assert (str(event.type), event.target.id, event.actor.id) == (
        "key.updated",
        old.key.id,
        new.key.id,
    )
    assert (event.data["changed"], event.data["successor_used"]) == (["expires_at"], new.key.id)
    assert row(sandbox, tenant, old).expires_at == NOON + DAY + HOUR
    assert row(sandbox, tenant, old).version == before + 1
    sandbox.clock.set(NOON + DAY + HOUR - timedelta(microseconds=1))
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("verified", "verified")
    assert row(sandbox, tenant, old).expires_at == NOON + DAY + HOUR
    sandbox.clock.advance(microseconds=1)
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("expired", "verified")


def test_a_refused_use_is_not_the_first(sandbox: SandboxInstallation) -> None:
    """A verification that is refused for a scope leaves the old key as it was."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    assert sandbox.verdict(new, "keys:write") == "insufficient_scope"
    assert row(sandbox, tenant, old).expires_at == END


def test_it_never_ends_later_than_by_itself(sandbox: SandboxInstallation) -> None:
    """A key whose own expiry is nearer than the overlap keeps its expiry."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant, expires_at=NOON + 2 * HOUR)
    sandbox.clock.set(NOON + HOUR + timedelta(minutes=30))
    assert sandbox.verdict(renew(sandbox, old)) == "verified"
    assert row(sandbox, tenant, old).expires_at == NOON + 2 * HOUR


def test_another_server_takes_the_first_use(sandbox: SandboxInstallation) -> None:
    """Whichever server is asked first commits it, and every other one knows."""
    tenant = sandbox.tenant()
    other = sandbox.another().services.verifier
    old = job_key(sandbox, tenant)
    assert isinstance(other.verify(text_of(old)), Verified)  # its cache, if any, knows the key
    new = renew(sandbox, old)
    assert isinstance(other.verify(text_of(new)), Verified)
    assert row(sandbox, tenant, old).expires_at == NOON + HOUR
    sandbox.clock.set(NOON + HOUR)
    assert sandbox.verdict(old) == "expired"
    assert isinstance(other.verify(text_of(old)), Denied)


def test_an_event_loop_commits_it_too(sandbox: SandboxInstallation) -> None:
    """The verification of a task, and introspection, commit the first use as that of a thread does."""
    tenant = sandbox.tenant()
    for verify in (
        sandbox.services.verifier.verify_on_loop,
        sandbox.services.introspection.introspect,
    ):
        old = job_key(sandbox, tenant)
        new = renew(sandbox, old)
        assert asyncio.run(verify(text_of(new)))
        assert row(sandbox, tenant, old).expires_at == NOON + HOUR


def test_many_first_uses_at_the_same_time(sandbox: SandboxInstallation) -> None:
    """Concurrent first requests are all accepted, and one of them ends the old key."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    verifiers = [server.services.verifier for server in (sandbox, sandbox.another())]
    with ThreadPoolExecutor(8) as threads:
        verdicts = threads.map(lambda n: verifiers[n % 2].verify(text_of(new)), range(40))
        assert all(isinstance(verdict, Verified) for verdict in verdicts)
    assert row(sandbox, tenant, old).version == old.key.version + 1


# --- a lost answer ---


def test_a_lost_answer_heals(sandbox: SandboxInstallation) -> None:
    """Asked again, the successor that was never used is revoked and another is made; two are active at most."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    lost = [renew(sandbox, old) for _ in range(3)]
    new = renew(sandbox, old)
    assert active(sandbox, tenant) == {old.key.id, new.key.id}
    assert [sandbox.verdict(key) for key in lost] == ["revoked"] * 3
    assert row(sandbox, tenant, old).rotated_to == new.key.id
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("verified", "verified")
    reasons = [e.data.get("reason") for e in sandbox.events(tenant) if e.type == "key.revoked"]
    assert reasons == ["renewed_again"] * 3


def test_once_it_was_used_the_old_key_cannot_renew(sandbox: SandboxInstallation) -> None:
    """409, and the owner learns once a day and network that the old token is still sent."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    sandbox.verify(new)
    holder = sandbox.principal(old)
    for address in ("192.0.2.7", "192.0.2.9", "198.51.100.1", "2001:db8::1", "2001:db8::2", None):
        with pytest.raises(RotationInProgress):
            sandbox.services.renewals.renew(holder, Origin(address))
    reused = [e for e in sandbox.events(tenant) if e.type == "key.reused"]
    assert [e.data["address"] for e in reused] == ["192.0.2.7", "198.51.100.1", "2001:db8::1", None]
    assert {e.target.id for e in reused} == {old.key.id}
    assert active(sandbox, tenant) == {old.key.id, new.key.id}


def test_what_somebody_else_rotated_cannot_renew(sandbox: SandboxInstallation) -> None:
    """A key that another principal rotated gets 409, without an alarm."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = sandbox.services.rotations.rotate(tenant, old.key.id, overlap=HOUR)
    with pytest.raises(RotationInProgress):
        renew(sandbox, old)
    assert "key.reused" not in sandbox.happened(tenant)
    assert new.key.renewal == Renewal()


def test_what_renewed_itself_cannot_be_rotated(sandbox: SandboxInstallation) -> None:
    """Neither the key nor its successor is rotated by others while both are active."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    for key in (old, new):
        with pytest.raises(RotationInProgress):
            sandbox.services.rotations.rotate(tenant, key.key.id)


def test_a_successor_waits_for_the_end_of_the_old_key(sandbox: SandboxInstallation) -> None:
    """No more than two of a family are active: the next renewal waits until the first key has ended."""
    tenant = sandbox.tenant()
    first = job_key(sandbox, tenant)
    second = renew(sandbox, first)
    sandbox.verify(second)
    sandbox.clock.set(NOON + HOUR / 2)
    with pytest.raises(RotationInProgress):
        renew(sandbox, second)
    sandbox.clock.set(NOON + HOUR)
    third = renew(sandbox, second)
    assert active(sandbox, tenant) == {second.key.id, third.key.id}
    assert {row(sandbox, tenant, k).family for k in (first, second, third)} == {first.key.id}


def test_at_most_ten_an_hour(sandbox: SandboxInstallation) -> None:
    """The eleventh renewal of a family within an hour is refused, and says how long to wait."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    for _ in range(10):
        renew(sandbox, old)
        sandbox.clock.advance(minutes=1)
    with pytest.raises(RateLimited) as refused:
        renew(sandbox, old)
    assert refused.value.retry_after == 50 * 60
    assert len(active(sandbox, tenant)) == 2
    sandbox.clock.set(NOON + HOUR)
    assert sandbox.verdict(renew(sandbox, old)) == "verified"


def test_one_of_many_at_the_same_time(sandbox: SandboxInstallation) -> None:
    """Of concurrent renewals of one key the last one's token works, and two keys are active."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    principal = sandbox.principal(old)
    servers = [sandbox, sandbox.another()]
    with ThreadPoolExecutor(4) as threads:
        made = list(
            threads.map(lambda n: servers[n % 2].services.renewals.renew(principal), range(8))
        )
    verdicts = [sandbox.verdict(key) for key in made]
    assert sorted(verdicts) == ["revoked"] * 7 + ["verified"]
    assert len(active(sandbox, tenant)) == 2


# --- who may ---


def test_only_a_key_that_may(sandbox: SandboxInstallation) -> None:
    """Without the permission, after its end, and for no lifetime beyond its own: not renewable."""
    tenant = sandbox.tenant()
    plain = job_key(sandbox, tenant, renewal=None)
    with pytest.raises(NotRenewable):
        renew(sandbox, plain)
    with pytest.raises(NotRenewable):
        sandbox.services.renewals.renew(tenant)
    bounded = job_key(sandbox, tenant, renewal=Renewal(END))
    sandbox.clock.set(NOON + DAY)
    with pytest.raises(NotRenewable):  # the successor would end at the same second
        renew(sandbox, bounded)
    removed = job_key(sandbox, tenant)
    sandbox.services.keys.update(tenant, removed.key.id, KeyPatch(renewal=None))
    with pytest.raises(NotRenewable):
        renew(sandbox, removed)


def test_the_successor_ends_with_the_permission(sandbox: SandboxInstallation) -> None:
    """`until` clips the lifetime."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant, renewal=Renewal(END + 10 * DAY))
    sandbox.clock.set(NOON + 80 * DAY)
    assert renew(sandbox, old).key.expires_at == END + 10 * DAY


def test_a_key_that_never_expires(sandbox: SandboxInstallation) -> None:
    """Its successor never expires either, and the key itself ends an hour after the first use."""
    tenant = sandbox.tenant(limit=1)
    old = job_key(sandbox, tenant, expires_at=None)
    new = renew(sandbox, old)
    assert new.key.expires_at is None
    assert sandbox.verdict(new) == "verified"
    assert row(sandbox, tenant, old).expires_at == NOON + HOUR
    ending = job_key(sandbox, sandbox.tenant(), expires_at=None, renewal=Renewal(NOON + DAY))
    with pytest.raises(NotRenewable):
        renew(sandbox, ending)


def test_an_ended_key_cannot(sandbox: SandboxInstallation) -> None:
    """A key that was revoked meanwhile renews nothing, whatever was verified before."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    principal = sandbox.principal(old)
    sandbox.services.keys.revoke(tenant, old.key.id)
    with pytest.raises(InvalidToken):
        sandbox.services.renewals.renew(principal)


# --- the limit ---


def test_never_refused_for_a_limit(sandbox: SandboxInstallation) -> None:
    """At the limit and above it a renewal works, and takes no place: the old key gives its own."""
    tenant = sandbox.tenant(limit=2)
    keys = [job_key(sandbox, tenant) for _ in range(2)]
    sandbox.limit(tenant, 1)
    made = [renew(sandbox, key) for key in keys]
    assert sandbox.used(tenant) == 2
    assert [sandbox.verdict(key) for key in made] == ["verified"] * 2
    assert (sandbox.used(tenant), len(active(sandbox, tenant))) == (2, 4)


def test_the_place_goes_back(sandbox: SandboxInstallation) -> None:
    """When a successor that was never used is revoked, the old key counts again, and may renew itself again."""
    tenant = sandbox.tenant(limit=1)
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    sandbox.services.keys.revoke(tenant, new.key.id)
    assert (sandbox.used(tenant), row(sandbox, tenant, old).rotated_to) == (1, None)
    assert active(sandbox, tenant) == {old.key.id}
    assert sandbox.verdict(renew(sandbox, old)) == "verified"


def test_no_more_than_twice_the_limit(sandbox: SandboxInstallation) -> None:
    """Revoking the successors gains no keys: beyond so many overlaps a key ends with the first use."""
    tenant = sandbox.tenant(limit=2)
    for _ in range(5):
        old = job_key(sandbox, tenant)
        new = renew(sandbox, old)
        sandbox.verify(new)
        sandbox.services.keys.revoke(tenant, new.key.id)
        assert len(active(sandbox, tenant)) <= 4
    assert len(active(sandbox, tenant)) == 2


def test_a_successor_does_not_end_before_the_key_it_replaces(sandbox: SandboxInstallation) -> None:
    """Else the old key would work on without a place; both may be set to the same end, in any order."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    keys = sandbox.services.keys
    with pytest.raises(RotationInProgress):
        keys.update(tenant, new.key.id, KeyPatch(expires_at=NOON + DAY))
    assert keys.expire_many(tenant, [new.key.id, old.key.id], NOON + DAY) == 2


# --- ends ---


def test_revoking_a_key_ends_its_unused_successor(sandbox: SandboxInstallation) -> None:
    """One by one, by the key itself, or with others: a successor that was never used ends too, with an event."""
    tenant = sandbox.tenant()
    keys = sandbox.services.keys
    for revoke in (
        lambda key: keys.revoke(tenant, key.key.id),
        lambda key: keys.revoke(_unverified(tenant, key), key.key.id),
        lambda key: keys.revoke_many(tenant, [key.key.id]),
    ):
        old = job_key(sandbox, tenant)
        new = renew(sandbox, old)
        revoke(old)
        assert [sandbox.verdict(key) for key in (old, new)] == ["revoked"] * 2
        assert sandbox.events(tenant)[-1].target.id == new.key.id
    assert active(sandbox, tenant) == set()


def test_a_used_successor_lives_on(sandbox: SandboxInstallation) -> None:
    """Revoking the old key early leaves its successor, which is in use."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    sandbox.verify(new)
    sandbox.services.keys.revoke(tenant, old.key.id)
    assert sandbox.verdict(new) == "verified"


def test_revoking_the_family(sandbox: SandboxInstallation) -> None:
    """All keys that renewed themselves to one, or that it renewed itself to, end together, and no others."""
    tenant = sandbox.tenant()
    for place in (0, 1):
        other, old = job_key(sandbox, tenant), job_key(sandbox, tenant)
        new = renew(sandbox, old)
        sandbox.verify(new)
        sandbox.services.keys.revoke(tenant, (old, new)[place].key.id, family=True)
        assert [sandbox.verdict(key) for key in (old, new)] == ["revoked"] * 2
        assert sandbox.verdict(other) == "verified"


# --- a first use that cannot be accepted ---


def test_a_revoked_successor_ends_nothing(sandbox: SandboxInstallation) -> None:
    """A successor that was revoked before its first use is refused, and the old key stays as it is."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    principal = _unverified(tenant, new)
    sandbox.services.keys.revoke(tenant, new.key.id)
    # As by a server that read it before it was revoked.
    assert not sandbox.services.first_uses.commit(principal, new.key.id)
    assert sandbox.verdict(new) == "revoked"
    assert row(sandbox, tenant, old).expires_at == END


def test_a_suspended_workspace_commits_nothing(sandbox: SandboxInstallation) -> None:
    """A first use that is not accepted, because the workspace was suspended, ends nothing."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    sandbox.services.workspaces.suspend(tenant.workspace_id)
    assert not sandbox.services.first_uses.commit(_unverified(tenant, new), new.key.id)
    assert sandbox.verdict(new) == "suspended"
    sandbox.services.workspaces.resume(tenant.workspace_id)
    assert row(sandbox, tenant, old).expires_at == END


def test_the_old_key_may_be_gone(sandbox: SandboxInstallation) -> None:
    """A successor is used for the first time after the old key has expired: nothing is left to end."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant, expires_at=NOON + HOUR)
    sandbox.clock.set(NOON + HOUR - timedelta(minutes=1))
    new = renew(sandbox, old)
    sandbox.clock.set(NOON + HOUR)
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("expired", "verified")
    assert row(sandbox, tenant, old).expires_at == NOON + HOUR


def _unverified(tenant: Principal, key: CreatedKey) -> Principal:
    """Return the key's principal without a verification."""
    return Principal.of_key(
        key.key.id, key.key.description, tenant.workspace_id, key.key.scopes, key.key.expires_at
    )


@pytest.mark.parametrize(
    "patch",
    [
        KeyPatch(networks=["10.0.0.0/8"]),
        KeyPatch(scopes=["documents:read"]),
        KeyPatch(renewal=None),
    ],
    ids=["networks", "scopes", "renewal"],
)
def test_what_is_taken_from_a_key_its_unused_successor_loses_too(
    sandbox: SandboxInstallation, patch: KeyPatch
) -> None:
    """The successor that has not been used yet ends: it still has what the key had."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant, scopes=["documents:read", "plan:read"])
    new = renew(sandbox, old)
    sandbox.services.keys.update(tenant, old.key.id, patch)
    assert sandbox.verdict(new) == "revoked"
    assert row(sandbox, tenant, old).status(sandbox.clock.now()) == "active"
    assert sandbox.happened(tenant)[-2:] == ["key.updated", "key.revoked"]


def test_another_description_leaves_the_unused_successor(sandbox: SandboxInstallation) -> None:
    """A change that takes nothing away ends nothing."""
    tenant = sandbox.tenant()
    old = job_key(sandbox, tenant)
    new = renew(sandbox, old)
    sandbox.services.keys.update(tenant, old.key.id, KeyPatch(description="nightly"))
    assert sandbox.verdict(new) == "verified"
