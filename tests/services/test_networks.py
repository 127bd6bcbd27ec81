"""The networks of keys: refusals that owners see, changes under way, and upgrades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from keystead.domain.errors import InvalidToken, Unavailable
from keystead.domain.events import Origin
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.verification import DenialReason, Denied, Verified
from keystead.services.key_lifecycle import KeyLifecycle
from keystead.storage.engine.roles import Purpose
from keystead.storage.schema.tables import watermarks
from keystead.storage.tables.key_lifecycle import find_watermark, move_watermark
from tests.support.installations import SandboxInstallation, text_of

INSIDE, OUTSIDE = "192.0.2.7", "198.51.100.7"
NETWORKS = ["192.0.2.0/24"]


def test_a_refusal_is_shown_to_the_owner(sandbox: SandboxInstallation) -> None:
    """Among the refused callers, with the reason; it is neither a use nor a part of the key's rate."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, networks=NETWORKS)
    verify = sandbox.services.verifier.verify
    for address in (OUTSIDE, None, OUTSIDE):
        verdict = verify(text_of(key), address=address, agent="curl/8", source=address)
        assert verdict == Denied(DenialReason.NETWORK, key.key.id, tenant.workspace_id)
    sandbox.flush()
    callers = sandbox.services.usage.callers(tenant, key.key.id)
    assert {(c.caller.reason, c.caller.address, c.times) for c in callers} == {
        (DenialReason.NETWORK, OUTSIDE, 2),
        (DenialReason.NETWORK, "", 1),
    }
    assert sandbox.services.keys.get(tenant, key.key.id).last_use is None


def test_narrowing_takes_effect_with_its_answer(sandbox: SandboxInstallation) -> None:
    """On every server, also for a key that is cached; so does widening."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant)
    servers = (sandbox.services, sandbox.another().services)
    for networks, admitted in (([], True), (NETWORKS, False), (["0.0.0.0/0"], True)):
        servers[0].keys.update(tenant, key.key.id, KeyPatch(networks=networks))
        for server in servers:
            for source in (OUTSIDE, INSIDE, OUTSIDE):
                verdict = server.verifier.verify(text_of(key), source=source)
                assert isinstance(verdict, Verified) == (admitted or source == INSIDE)


def test_a_change_under_way_is_refused(sandbox: SandboxInstallation) -> None:
    """A key whose networks exclude its caller by now changes nothing, although it was verified before."""
    tenant = sandbox.tenant()
    caller = sandbox.caller(tenant, "*", "keys:write")
    keys = sandbox.services.keys
    keys.update(tenant, KeyId(caller.id), KeyPatch(networks=NETWORKS))
    draft = KeyDraft("late", scopes=["plan:read"])
    for address in (OUTSIDE, None):
        with pytest.raises(InvalidToken):
            keys.create(caller, draft, Origin(address))
    assert keys.create(caller, draft, Origin(INSIDE)).key.networks.text == NETWORKS[0]


@contextmanager
def older_server(sandbox: SandboxInstallation, name: str) -> Iterator[Any]:
    """Yield what a running server of revision 0002 does every minute."""
    mark: str | None = None

    def work() -> None:
        nonlocal mark
        with sandbox.database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            before, mark = mark, f"{sandbox.clock.microseconds():020}"
            assert move_watermark(tx, name, before, mark, sandbox.clock.now())

    yield work
    with sandbox.database.write_across(Purpose.WORKER, keeps_access=True) as tx:
        tx.execute(delete(watermarks).where(watermarks.c.name == name))


@pytest.mark.parametrize("scan", ["ends in 0", "refusals"])
def test_networks_wait_for_the_last_older_server(sandbox: SandboxInstallation, scan: str) -> None:
    """A server of the revision before would ignore them: none are set while it runs, and for minutes afterwards."""
    tenant = sandbox.tenant()
    keys = sandbox.services.keys
    free, old = sandbox.key(tenant), sandbox.key(tenant, networks=NETWORKS)
    with older_server(sandbox, scan) as work:
        for _ in range(5):
            work()
            for seconds in (0, 59):
                sandbox.clock.advance(seconds=seconds)
                with pytest.raises(Unavailable, match="version before"):
                    sandbox.key(tenant, networks=NETWORKS)
                with pytest.raises(Unavailable, match="version before"):
                    keys.update(tenant, free.key.id, KeyPatch(networks=NETWORKS))
        sandbox.key(tenant)
        keys.update(tenant, old.key.id, KeyPatch(networks=NETWORKS, description="kept"))
        keys.update(tenant, old.key.id, KeyPatch(networks=[]))
        sandbox.clock.advance(seconds=120)
        with pytest.raises(Unavailable):
            sandbox.key(tenant, networks=NETWORKS)
        sandbox.clock.advance(seconds=1)
        assert sandbox.key(tenant, networks=NETWORKS).key.networks
        assert keys.update(tenant, free.key.id, KeyPatch(networks=NETWORKS)).networks


def test_servers_of_this_revision_do_not_delay_networks(sandbox: SandboxInstallation) -> None:
    """Their scans have other names."""
    KeyLifecycle(sandbox.database, sandbox.clock).run()
    with sandbox.database.read_across(Purpose.WORKER) as tx:
        row = find_watermark(tx, "expiring in 0")
    assert row is not None
    assert sandbox.clock.now() - row[1] < timedelta(minutes=1)
    assert sandbox.key(sandbox.tenant(), networks=NETWORKS).key.networks
