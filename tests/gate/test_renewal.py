"""The first use of a renewed key at the gate: committed before it is answered, or 503 and 507."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from keystead.domain.principals import Principal
from keystead.domain.renewals import Renewal
from keystead.services.key_issuer import CreatedKey
from keystead.storage.engine.disk_reserve import DiskReserve
from tests.support.asgi import Response
from tests.support.clocks import NOON
from tests.support.gate import GateApplication
from tests.support.installations import SandboxInstallation, read_only, sqlite_file, text_of

HOUR = timedelta(hours=1)
Ask = Callable[[GateApplication, str], Response]
ASKS: dict[str, Ask] = {
    "forward-auth": lambda gate, token: gate.ask("/any", token),
    "forward-auth without its fast path": lambda gate, token: gate.ask(
        "/any", token, headers=[(b"x-a", b"1"), (b"x-a", b"2")]
    ),
    "introspection": lambda gate, token: gate.introspect(token, gate.service()),
    "whoami": lambda gate, token: gate.send(_whoami(token)),
}


def _whoami(token: str) -> dict[str, object]:
    from tests.support.asgi import HOST, scope_of
    from tests.support.gate import bearer

    return scope_of(path="/v1/whoami", headers=[HOST, *bearer(token)])


def renewed(sandbox: SandboxInstallation) -> tuple[Principal, CreatedKey, CreatedKey]:
    """Create a key that made a successor, which was never used."""
    tenant = sandbox.tenant()
    sandbox.clock.set(NOON - HOUR)
    old = sandbox.key(tenant, expires_at=NOON + 90 * 24 * HOUR, renewal=Renewal())
    sandbox.clock.set(NOON)
    return tenant, old, sandbox.services.renewals.renew(sandbox.principal(old))


def end_of(sandbox: SandboxInstallation, tenant: Principal, key: CreatedKey) -> object:
    """Return when the key expires."""
    return sandbox.services.keys.get(tenant, key.key.id).expires_at


@pytest.mark.parametrize("name", ASKS)
def test_the_first_use_ends_the_old_key(gate: GateApplication, name: str) -> None:
    """Whichever is asked first: when its answer is there, the old key's end is committed."""
    sandbox = gate.sandbox
    tenant, old, new = renewed(sandbox)
    answer = ASKS[name](gate, text_of(new))
    assert answer.status == 200
    assert b'"active":false' not in answer.body
    assert end_of(sandbox, tenant, old) == NOON + HOUR
    for ask in ASKS.values():
        assert ask(gate, text_of(new)).status == 200


@pytest.mark.parametrize("name", ASKS)
def test_a_first_use_that_cannot_be_written(gate: GateApplication, name: str) -> None:
    """503, never 401 and never 200; the old key works meanwhile, and the new one afterwards."""
    sandbox = gate.sandbox
    tenant, old, new = renewed(sandbox)
    others = gate.service()
    with read_only(sandbox.database):
        if name == "introspection":
            refused = gate.introspect(text_of(new), others)
            accepted = gate.introspect(text_of(old), others)
        else:
            refused, accepted = ASKS[name](gate, text_of(new)), ASKS[name](gate, text_of(old))
    assert (refused.status, accepted.status) == (503, 200)
    assert end_of(sandbox, tenant, old) == NOON + 90 * 24 * HOUR
    assert ASKS[name](gate, text_of(new)).status == 200
    assert end_of(sandbox, tenant, old) == NOON + HOUR


class _FullDisk:
    f_frsize = 1
    f_bavail = 0


# PostgreSQL's disk is not the server's.
@pytest.mark.parametrize("shared_sandbox", ["sqlite"], indirect=True)
def test_a_full_disk(gate: GateApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    """507 on SQLite while there is no room; the old key works, and can revoke itself and its successor."""
    sandbox = gate.sandbox
    tenant, old, new = renewed(sandbox)
    ask, service = ASKS["forward-auth"], gate.service()
    monkeypatch.setattr(sandbox.database, "reserve", DiskReserve(sqlite_file(sandbox)))
    monkeypatch.setattr("os.statvfs", lambda _: _FullDisk())
    assert ask(gate, text_of(new)).status == 507
    assert gate.introspect(text_of(new), service).status == 507
    assert ask(gate, text_of(old)).status == 200
    assert end_of(sandbox, tenant, old) == NOON + 90 * 24 * HOUR
    sandbox.services.keys.revoke(sandbox.principal(old), old.key.id)
    assert [sandbox.verdict(key) for key in (old, new)] == ["revoked"] * 2
