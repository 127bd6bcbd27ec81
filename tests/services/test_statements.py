"""How many transactions and statements a use case takes: each is counted, so that none returns unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, event

from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE
from keystead.services import Services
from keystead.services.idempotency import Once
from tests.support.installations import SandboxInstallation

LOCK = "SELECT workspaces.id \nFROM workspaces \nWHERE workspaces.id = "
"""How a write locks its workspace, on PostgreSQL; what a transaction itself executes is counted elsewhere."""
_words = count(1)


@dataclass
class Counted:
    """What ran: transactions, and the statements within them."""

    transactions: int = 0
    statements: list[str] = field(default_factory=list)


@contextmanager
def counting(sandbox: SandboxInstallation) -> Iterator[Counted]:
    """Count what runs during the block."""
    counted, engine, pool = Counted(), sandbox.database.engine, sandbox.database.pool
    take = pool.take

    def taken() -> Connection:
        counted.transactions += 1
        return take()

    def executed(_: Any, __: Any, sql: str, *___: Any) -> None:
        verb = sql.split(maxsplit=1)[0]
        is_own = verb in {"INSERT", "UPDATE", "DELETE"} or (verb == "SELECT" and "FROM" in sql)
        if is_own and not sql.startswith(LOCK):
            counted.statements.append(sql)

    event.listen(engine, "before_cursor_execute", executed)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool, "take", taken)
            yield counted
    finally:
        event.remove(engine, "before_cursor_execute", executed)


@dataclass(frozen=True)
class Caller:
    """A key that acts, and another key of its workspace."""

    services: Services
    principal: Principal
    other: KeyId


@pytest.fixture
def caller(sandbox: SandboxInstallation) -> Caller:
    """A key with every scope, in a workspace with three keys and a limit."""
    tenant = sandbox.tenant(limit=100)
    principal = sandbox.caller(tenant, EVERYTHING, KEYS_WRITE)
    sandbox.key(tenant)
    return Caller(sandbox.services, principal, sandbox.key(tenant).key.id)


COSTS: dict[str, tuple[Callable[[Caller], object], int, int]] = {
    "whoami": (lambda c: c.services.keys.whoami(c.principal), 1, 1),
    "plan": (lambda c: c.services.plans.use(c.principal), 1, 1),
    "key": (lambda c: c.services.keys.get(c.principal, c.other), 1, 1),
    "keys": (lambda c: c.services.keys.list(c.principal, limit=2), 1, 2),
    "next keys": (lambda c: c.services.keys.list(c.principal, limit=2, after=c.other), 1, 2),
    "events": (lambda c: c.services.events.list(c.principal), 1, 1),
    "webhooks": (lambda c: c.services.webhooks.list(c.principal), 1, 2),
    # The caller's rights; plan, use and newest id; the key; the event's number; the event.
    "creation": (lambda c: c.services.keys.create(c.principal, KeyDraft("x")), 1, 5),
    # The caller's rights, the key, the change, the event's number, the event.
    "change": (
        lambda c: c.services.keys.update(c.principal, c.other, KeyPatch(f"d{next(_words)}")),
        1,
        5,
    ),
    "no change": (lambda c: c.services.keys.update(c.principal, c.other, KeyPatch()), 1, 2),
    "revocation": (lambda c: c.services.keys.revoke(c.principal, c.other), 1, 5),
    # As a revocation, without a check of the caller's rights.
    "its own end": (lambda c: c.services.keys.revoke(c.principal, KeyId(c.principal.id)), 1, 4),
    # The caller's rights, the key, the policy, its predecessor, the newest id, the successor, the old key, its rate
    # limit, the old key's end, the event's number, the event.
    "rotation": (lambda c: c.services.rotations.rotate(c.principal, c.other), 1, 11),
    # As a creation; and the claim: delete old ones, look for one, replace it (two statements), complete it.
    "creation with an Idempotency-Key": (
        lambda c: c.services.keys.create(
            c.principal, KeyDraft("x"), once=Once(f"k{next(_words)}", bytes(32))
        ),
        2,
        10,
    ),
}


@pytest.mark.parametrize("name", COSTS)
def test_what_a_use_case_runs(sandbox: SandboxInstallation, caller: Caller, name: str) -> None:
    """Every use case of a client runs in one transaction, with as few statements as it needs."""
    act, transactions, statements = COSTS[name]
    with counting(sandbox) as counted:
        act(caller)
    ran = "\n\n".join(counted.statements)
    assert (counted.transactions, len(counted.statements)) == (transactions, statements), ran
