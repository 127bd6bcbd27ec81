"""After a rotation: the early end of a silent key, what is reported of one that is still sent, and a restore."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.bootstrap.restoration import _make_safe
from keystead.domain.errors import Invalid
from keystead.domain.events import EventType
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.renewals import Renewal
from keystead.domain.revocation_log import RevocationEntry, entry_of, format_entries, parse_entries
from keystead.services.key_issuer import CreatedKey
from keystead.services.key_lifecycle import KeyLifecycle
from keystead.services.quiet_ends import QuietEnds
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, text_of

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
OPERATOR = Actor(PrincipalKind.OPERATOR, "tests", "tests")


def rotate(
    sandbox: SandboxInstallation, tenant: Principal, quiet: timedelta | None = 2 * HOUR
) -> tuple[CreatedKey, CreatedKey]:
    """Rotate a key with an overlap of a day."""
    old = sandbox.key(tenant)
    rotations = sandbox.services.rotations
    return old, rotations.rotate(tenant, old.key.id, overlap=DAY, quiet=quiet)


def use(sandbox: SandboxInstallation, *keys: CreatedKey, address: str = "192.0.2.7") -> None:
    """Call with these keys, and write it down."""
    for key in keys:
        sandbox.services.verifier.verify(text_of(key), address=address)
    sandbox.flush()


def look(sandbox: SandboxInstallation) -> None:
    """Run the searches of one server."""
    KeyLifecycle(sandbox.database, sandbox.clock).run()


def has_ended(sandbox: SandboxInstallation, tenant: Principal, key: CreatedKey) -> bool:
    """Look for silent keys, and return whether this one is revoked."""
    QuietEnds(sandbox.database, sandbox.clock).run()
    return sandbox.services.keys.get(tenant, key.key.id).revoked_at is not None


def test_a_silent_key_ends_early(sandbox: SandboxInstallation) -> None:
    """Once its successor was used and it was silent for that long, and a minute: revoked by the system."""
    tenant = sandbox.tenant()
    old, new = rotate(sandbox, tenant)
    use(sandbox, old, new)
    sandbox.clock.set(NOON + 2 * HOUR + MINUTE - timedelta(microseconds=1))
    assert not has_ended(sandbox, tenant, old)
    sandbox.clock.advance(microseconds=1)
    assert has_ended(sandbox, tenant, old)
    event = sandbox.events(tenant)[-1]
    assert (str(event.type), event.actor.kind, event.data["reason"]) == (
        "key.revoked",
        "system",
        "quiet",
    )
    assert sandbox.verdict(old) == "revoked"


def test_each_use_starts_the_silence_anew(sandbox: SandboxInstallation) -> None:
    """A key that is still in use keeps its overlap."""
    tenant = sandbox.tenant()
    old, new = rotate(sandbox, tenant)
    use(sandbox, new)
    for _ in range(4):
        sandbox.clock.advance(hours=2)
        use(sandbox, old)
        sandbox.clock.advance(minutes=1)
        assert not has_ended(sandbox, tenant, old)


def test_an_unused_successor_ends_nothing(sandbox: SandboxInstallation) -> None:
    """However long the old key is silent, it waits for its successor's first use; without the option it stays."""
    tenant = sandbox.tenant()
    old, _ = rotate(sandbox, tenant)
    other, used = rotate(sandbox, tenant, quiet=None)
    use(sandbox, used)
    sandbox.clock.advance(hours=20)
    assert not has_ended(sandbox, tenant, old)
    assert not has_ended(sandbox, tenant, other)


def test_many_servers_end_it_once(sandbox: SandboxInstallation) -> None:
    """Two servers that look at the same time write one event."""
    tenant = sandbox.tenant()
    old, new = rotate(sandbox, tenant)
    use(sandbox, new)
    sandbox.clock.advance(hours=3)
    ends = [QuietEnds(each.database, sandbox.clock) for each in (sandbox, sandbox.another())]
    suspects = [each._batch("") for each in ends]
    assert (tenant.workspace_id, old.key.id) in suspects[0]
    assert [each._end((tenant.workspace_id, old.key.id)) for each in ends] == [True, False]
    assert sandbox.happened(tenant).count("key.revoked") == 1


@pytest.mark.parametrize("seconds", [3_599, 86_400])
def test_the_bounds_of_the_silence(sandbox: SandboxInstallation, seconds: int) -> None:
    """An hour at least, and less than the overlap."""
    tenant = sandbox.tenant()
    with pytest.raises(Invalid):
        rotate(sandbox, tenant, quiet=timedelta(seconds=seconds))


# --- a rotated key that is still sent ---


def test_a_rotated_key_that_is_still_sent(sandbox: SandboxInstallation) -> None:
    """`key.reused`, not `key.refused`: once a day and network, /24 or /64."""
    tenant = sandbox.tenant()
    look(sandbox)
    old, new = rotate(sandbox, tenant)
    use(sandbox, new)
    sandbox.clock.advance(days=1)
    for address in ("192.0.2.7", "192.0.2.99", "198.51.100.7", "2001:db8::1", "2001:db8::2"):
        use(sandbox, old, address=address)
        look(sandbox)
        sandbox.clock.advance(seconds=61)
    seen = [event for event in sandbox.events(tenant) if event.type.startswith("key.re")]
    reused = [event for event in seen if event.type == "key.reused"]
    assert [event.data["address"] for event in reused] == [
        "192.0.2.7",
        "198.51.100.7",
        "2001:db8::1",
    ]
    assert {event.data["rotated_to"] for event in reused} == {new.key.id}
    assert "key.refused" not in {str(event.type) for event in seen}
    sandbox.clock.advance(days=1)
    use(sandbox, old)
    look(sandbox)
    assert sandbox.happened(tenant).count("key.reused") == 4


def test_the_owner_gets_an_email_immediately(own_sandbox: SandboxInstallation) -> None:
    """Also on a day that had its digest already."""
    sandbox, services = own_sandbox, own_sandbox.services
    workspace = services.workspaces.create(
        "Acme", plan_id="scale", owner="Ada", email="ada@acme.example"
    )
    tenant = Principal(
        PrincipalKind.OPERATOR,
        "tests",
        "tests",
        workspace.id,
        sandbox.tenant().scopes,
    )
    digests = services.notification_digests
    for wait in (timedelta(), HOUR):
        sandbox.clock.advance(wait)
        old = sandbox.key(tenant, renewal=Renewal())
        sandbox.clock.advance(seconds=1)
        principal = sandbox.principal(old)
        sandbox.verify(services.renewals.renew(principal))
        with pytest.raises(Exception, match="renewed itself already"):
            services.renewals.renew(principal)
        (digest,) = digests.claim()
        (email,) = digest.emails
        assert "replaced by its successor" in email.text
        assert digests.note(digest, email)
        digests.settle(digest)


# --- a restored backup ---


def test_a_restore_completes_a_renewal(sandbox: SandboxInstallation) -> None:
    """The backup has a successor that was never used; the log, that it was: the old key ends, and the new one works."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, renewal=Renewal())
    sandbox.clock.advance(seconds=1)
    new = sandbox.services.renewals.renew(sandbox.principal(old))
    redone = _redo(sandbox, tenant, old, str(new.key.id))
    assert redone == {"renewals completed": 1}
    assert sandbox.services.keys.get(tenant, old.key.id).expires_at == sandbox.clock.now() + HOUR
    assert sandbox.verdict(new) == "verified"


def test_a_restore_without_the_successor_revokes(sandbox: SandboxInstallation) -> None:
    """The backup is older than the renewal: the old key is revoked, as one whose changes are unknown."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, renewal=Renewal())
    assert _redo(sandbox, tenant, old, "key_0000000000000000000000") == {"keys revoked": 1}
    assert sandbox.verdict(old) == "revoked"


def test_the_log_has_the_first_use(sandbox: SandboxInstallation) -> None:
    """The entry of a first use names the successor, and survives the log's form."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, renewal=Renewal())
    sandbox.clock.advance(seconds=1)
    new = sandbox.services.renewals.renew(sandbox.principal(old))
    sandbox.verify(new)
    entry = entry_of(sandbox.events(tenant)[-1])
    assert entry is not None
    assert (entry.target_id, entry.detail) == (old.key.id, new.key.id)
    assert [each.detail for each in parse_entries(format_entries([entry]))] == [entry.detail]


def test_a_renewal_alone_revokes_nothing(sandbox: SandboxInstallation) -> None:
    """Until its first use the old key works on, so a restored backup from before the renewal keeps it too."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, renewal=Renewal())
    sandbox.clock.advance(seconds=1)
    sandbox.services.renewals.renew(sandbox.principal(old))
    assert entry_of(sandbox.events(tenant)[-1]) is None


def _redo(
    sandbox: SandboxInstallation, tenant: Principal, key: CreatedKey, detail: str
) -> dict[str, int]:
    entry = RevocationEntry(
        NOON, EventType.KEY_UPDATED, tenant.workspace_id, 10**6, key.key.id, detail
    )
    redone, _ = _make_safe(sandbox.installation, [entry], OPERATOR, hold=False)
    return {name: number for name, number in redone.done.items() if "s " in name and number}
