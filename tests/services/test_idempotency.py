"""Idempotency-Key: the same request twice creates one key, and its token is stored nowhere."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import pytest

from keystead.domain.errors import (
    IdempotencyInProgress,
    IdempotencyMismatch,
    Invalid,
    KeysteadError,
    LimitReached,
)
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE
from keystead.services.idempotency import Idempotency, Once
from keystead.services.key_issuer import CreatedKey
from tests.support.installations import SandboxInstallation

MINUTE = timedelta(minutes=1)
DAY = timedelta(hours=24)
BODY = sha256(b"one").digest()
OTHER_BODY = sha256(b"other").digest()
ONCE = Once("retry-1", BODY)


def _create(
    sandbox: SandboxInstallation, who: Principal, once: Once = ONCE, description: str = "sync"
) -> CreatedKey:
    return sandbox.services.keys.create(who, KeyDraft(description), once=once)


def _idempotency(sandbox: SandboxInstallation) -> Idempotency:
    return Idempotency(sandbox.database, sandbox.clock)


def test_the_same_again(sandbox: SandboxInstallation) -> None:
    """The same request again returns the same key without its token, and creates no second key or event."""
    tenant = sandbox.tenant()
    first, again = _create(sandbox, tenant), _create(sandbox, tenant)
    assert first.token is not None
    assert again == CreatedKey(first.key, None)
    assert sandbox.ids(tenant) == [first.key.id]
    assert sandbox.happened(tenant) == ["key.created"]


def test_a_rotation_again(sandbox: SandboxInstallation) -> None:
    """The same rotation again returns the same successor, though the old key has ended since."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant)
    rotate = sandbox.services.rotations.rotate
    first = rotate(tenant, old.key.id, once=ONCE)
    assert rotate(tenant, old.key.id, once=ONCE) == CreatedKey(first.key, None)
    assert sandbox.happened(tenant) == ["key.created", "key.rotated"]


def test_another_body(sandbox: SandboxInstallation) -> None:
    """The same Idempotency-Key with another body is refused, before and after the first has ended."""
    tenant = sandbox.tenant()
    _create(sandbox, tenant)
    with pytest.raises(IdempotencyMismatch):
        _create(sandbox, tenant, Once("retry-1", OTHER_BODY))
    with (
        _idempotency(sandbox).run(tenant, Once("running", BODY)),
        pytest.raises(IdempotencyMismatch),
    ):
        _create(sandbox, tenant, Once("running", OTHER_BODY))
    assert len(sandbox.ids(tenant)) == 1


def test_in_progress(sandbox: SandboxInstallation) -> None:
    """While the first request runs, the same one is refused; afterwards the Idempotency-Key is free again."""
    tenant = sandbox.tenant()
    with _idempotency(sandbox).run(tenant, ONCE):
        with pytest.raises(IdempotencyInProgress):
            _create(sandbox, tenant)
        sandbox.clock.advance(MINUTE - timedelta(microseconds=1))
        with pytest.raises(IdempotencyInProgress):
            _create(sandbox, tenant)


def test_many_at_once(sandbox: SandboxInstallation) -> None:
    """Of 50 concurrent equal requests one creates a key; the others return that key or are refused for now (R41)."""
    tenant = sandbox.tenant()
    other = sandbox.another()

    def attempt(number: int) -> str:
        keys = (sandbox.services if number % 2 else other.services).keys
        try:
            return str(keys.create(tenant, KeyDraft("sync"), once=ONCE).key.id)
        except IdempotencyInProgress:
            return "in progress"

    with ThreadPoolExecutor(25) as pool:
        outcomes = set(pool.map(attempt, range(50)))
    assert len(sandbox.ids(tenant)) == 1
    assert outcomes - {"in progress"} == set(sandbox.ids(tenant))


def test_an_abandoned_request_is_taken_over(sandbox: SandboxInstallation) -> None:
    """A request whose server died holds its Idempotency-Key for a minute; then the same request runs again."""
    tenant = sandbox.tenant()
    dying = _idempotency(sandbox).run(tenant, ONCE)
    dying.__enter__()
    sandbox.clock.advance(MINUTE)
    created = _create(sandbox, tenant)
    assert _create(sandbox, tenant) == CreatedKey(created.key, None)
    assert sandbox.ids(tenant) == [created.key.id]


def test_a_slow_request_that_was_taken_over_makes_nothing(sandbox: SandboxInstallation) -> None:
    """A request that wakes up after another took it over creates no second key, and leaves the other's result alone."""
    tenant = sandbox.tenant()
    created: list[CreatedKey] = []
    slow = _idempotency(sandbox).run(tenant, ONCE)
    run = slow.__enter__()
    sandbox.clock.advance(MINUTE)
    created.append(_create(sandbox, tenant))
    with (
        sandbox.database.write(tenant.workspace_id) as tx,
        pytest.raises(IdempotencyInProgress) as late,
    ):
        run.finish(tx, "key_late")
    with pytest.raises(IdempotencyInProgress):
        slow.gen.throw(late.value)
    assert _create(sandbox, tenant) == CreatedKey(created[0].key, None)
    assert sandbox.ids(tenant) == [created[0].key.id]


def test_a_refused_request_frees_its_key(sandbox: SandboxInstallation) -> None:
    """A refused request may be sent again, also with another body, under the same Idempotency-Key."""
    tenant = sandbox.tenant(limit=1)
    full = sandbox.key(tenant)
    for refusal, description in ((LimitReached, "sync"), (Invalid, "")):
        with pytest.raises(refusal):
            _create(sandbox, tenant, description=description)
    sandbox.services.keys.revoke(tenant, full.key.id)
    assert _create(sandbox, tenant, Once("retry-1", OTHER_BODY)).token is not None


def test_a_failed_request_frees_its_key(sandbox: SandboxInstallation) -> None:
    """A request that failed may be sent again immediately."""
    tenant = sandbox.tenant()
    with pytest.raises(RuntimeError), _idempotency(sandbox).run(tenant, ONCE):
        raise RuntimeError
    assert _create(sandbox, tenant).token is not None


def test_callers_and_workspaces_are_apart(sandbox: SandboxInstallation) -> None:
    """Each caller has Idempotency-Keys of its own, also those of one workspace (R41)."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    child = sandbox.caller(tenant, EVERYTHING, KEYS_WRITE)
    keys = [_create(sandbox, who) for who in (tenant, child, other)]
    assert all(key.token is not None for key in keys)
    assert len({key.key.id for key in keys}) == 3
    with pytest.raises(IdempotencyMismatch):
        _create(sandbox, child, Once("retry-1", OTHER_BODY))


def test_forgotten_after_a_day(sandbox: SandboxInstallation) -> None:
    """A result is kept for 24 hours; the same request later is a new one."""
    tenant = sandbox.tenant()
    first = _create(sandbox, tenant)
    sandbox.clock.advance(DAY)
    assert _create(sandbox, tenant).key.id == first.key.id
    sandbox.clock.advance(microseconds=1)
    second = _create(sandbox, tenant)
    assert second.token is not None
    assert sandbox.ids(tenant) == [second.key.id, first.key.id]


def test_rights_come_first(sandbox: SandboxInstallation) -> None:
    """A caller that may not create keys learns nothing of what an Idempotency-Key created."""
    tenant = sandbox.tenant()
    _create(sandbox, tenant)
    nobody = sandbox.caller(tenant, EVERYTHING)
    with pytest.raises(KeysteadError, match="keys:write"):
        _create(sandbox, nobody)


def test_waiting_requests_do_not_block_others(sandbox: SandboxInstallation) -> None:
    """A request in progress holds no lock: other creations in the workspace go on meanwhile."""
    tenant = sandbox.tenant()
    begun, go_on = threading.Event(), threading.Event()

    def linger() -> None:
        with _idempotency(sandbox).run(tenant, ONCE):
            begun.set()
            go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        lingering = pool.submit(linger)
        assert begun.wait(30)
        assert sandbox.key(tenant).token is not None
        go_on.set()
        lingering.result()
