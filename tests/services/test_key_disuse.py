"""The end of unused keys, if the policy says so: announced, 14 days ahead, and never after a use."""

from __future__ import annotations

from datetime import timedelta

from keystead.domain.instants import format_instant
from keystead.domain.policies import NO_POLICY, Policy
from keystead.domain.principals import Principal
from keystead.services.key_disuse import KeyDisuse
from keystead.storage.engine.roles import Purpose
from keystead.storage.tables import key_lifecycle
from tests.support.installations import SandboxInstallation
from tests.support.people import PRODUCT

DAY = timedelta(days=1)
ENDING = Policy(end_unused_days=60)


def _set(sandbox: SandboxInstallation, tenant: Principal, policy: Policy) -> None:
    policies = sandbox.services.policies
    policies.replace_operators(tenant.workspace_id, policy, PRODUCT.actor)


def _walk(sandbox: SandboxInstallation, days: int = 1) -> None:
    """Let so many days pass, and look at all keys after each of them."""
    for _ in range(days):
        sandbox.clock.advance(DAY)
        KeyDisuse(sandbox.database, sandbox.clock).run()


def test_a_key_ends_when_its_notice_said(own_sandbox: SandboxInstallation) -> None:
    """The notice names the end two weeks ahead; then the key is refused, by the system and with the reason."""
    sandbox, tenant = own_sandbox, own_sandbox.tenant()
    _walk(sandbox)
    _set(sandbox, tenant, ENDING)
    idle = sandbox.key(tenant)
    ends_at = sandbox.clock.now() + 60 * DAY
    _walk(sandbox, 46)
    *_, notice = sandbox.events(tenant)
    assert (notice.type, notice.target.id) == ("key.unused", idle.key.id)
    assert (notice.data["ends_at"], notice.data["days"]) == (format_instant(ends_at), 46)
    _walk(sandbox, 14)
    assert sandbox.services.keys.get(tenant, idle.key.id).revoked_at is None
    _walk(sandbox)
    assert sandbox.verdict(idle) == "revoked"
    *_, end = sandbox.events(tenant)
    assert (end.type, end.data["reason"]) == ("key.revoked", "unused")
    assert (end.actor.kind, end.target.id) == ("system", idle.key.id)
    _walk(sandbox, 3)
    assert sandbox.events(tenant)[-1] == end


def test_a_use_after_the_notice_saves_the_key(own_sandbox: SandboxInstallation) -> None:
    """A use in between starts again: the key ends only after the whole time again, and a notice of its own."""
    sandbox, tenant = own_sandbox, own_sandbox.tenant()
    _set(sandbox, tenant, ENDING)
    key = sandbox.key(tenant)
    _walk(sandbox, 55)
    assert sandbox.verdict(key) == "verified"
    sandbox.flush()
    _walk(sandbox, 59)
    assert sandbox.services.keys.get(tenant, key.key.id).revoked_at is None
    announced = [
        event.data["ends_at"] for event in sandbox.events(tenant) if event.data.get("ends_at")
    ]
    assert len(announced) == 2
    _walk(sandbox, 2)
    assert sandbox.services.keys.get(tenant, key.key.id).revoked_at is not None


def test_a_new_policy_ends_no_key_without_notice(own_sandbox: SandboxInstallation) -> None:
    """Keys that are long unused get 14 days from the notice on, also those older than the policy."""
    sandbox, tenant = own_sandbox, own_sandbox.tenant()
    key = sandbox.key(tenant)
    _walk(sandbox, 200)
    _set(sandbox, tenant, ENDING)
    _walk(sandbox, 14)
    assert sandbox.services.keys.get(tenant, key.key.id).revoked_at is None
    _walk(sandbox, 2)
    assert sandbox.services.keys.get(tenant, key.key.id).revoked_at is not None


def test_other_workspaces_keep_their_keys(own_sandbox: SandboxInstallation) -> None:
    """A policy binds the keys of its workspace alone, and ends none once it is withdrawn."""
    sandbox = own_sandbox
    tenant, other, spared = sandbox.tenant(), sandbox.tenant(), sandbox.tenant()
    keys = {each.workspace_id: (each, sandbox.key(each).key.id) for each in (tenant, other, spared)}
    _set(sandbox, tenant, ENDING)
    _set(sandbox, spared, ENDING)
    _walk(sandbox, 50)
    _set(sandbox, spared, NO_POLICY)
    _walk(sandbox, 12)
    revoked = {
        each.workspace_id
        for each, key_id in keys.values()
        if sandbox.services.keys.get(each, key_id).revoked_at is not None
    }
    assert revoked == {tenant.workspace_id}


def test_a_restored_database_gives_notice_again(own_sandbox: SandboxInstallation) -> None:
    """What a backup announced ends no key in the restored database: 14 days begin with a notice of its own."""
    sandbox, tenant = own_sandbox, own_sandbox.tenant()
    _set(sandbox, tenant, ENDING)
    key = sandbox.key(tenant)
    _walk(sandbox, 59)
    with sandbox.database.write_across(Purpose.WORKER, keeps_access=True) as tx:
        key_lifecycle.forget_announced_ends(tx)
    _walk(sandbox, 14)
    assert sandbox.services.keys.get(tenant, key.key.id).revoked_at is None
    _walk(sandbox, 2)
    assert sandbox.services.keys.get(tenant, key.key.id).revoked_at is not None


def test_two_servers_end_a_key_once(own_sandbox: SandboxInstallation) -> None:
    """Two servers that walk at the same time write one notice and one end."""
    sandbox, tenant = own_sandbox, own_sandbox.tenant()
    _set(sandbox, tenant, ENDING)
    sandbox.key(tenant)
    for _ in range(62):
        sandbox.clock.advance(DAY)
        for _ in range(2):
            KeyDisuse(sandbox.database, sandbox.clock).run()
    types = [str(event.type) for event in sandbox.events(tenant)]
    assert types.count("key.revoked") == 1
    assert types.count("key.unused") == 3  # after 30, 46 and 60 days
