"""The n-th statement or commit hangs, for every n: waits for PostgreSQL end in time, and no dead key is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from sqlalchemy import make_url, text

from keystead.domain.errors import OutcomeUnknown
from keystead.services.key_issuer import CreatedKey
from tests.support.administrator import read_behind
from tests.support.installations import (
    SandboxInstallation,
    fresh_sandbox,
    fresh_url,
    prepare,
    sandbox_on,
)
from tests.support.postgres import wait_until
from tests.support.relay import Relay, relay_to
from tests.support.sabotage import (
    MOST,
    USE_CASES,
    Saboteur,
    UseCase,
    create,
    narrow,
    revoke,
    rotate,
    sabotage,
    storage_error_of,
    verdict_of,
)

NEVER, UNANSWERED = "never arrives", "is not answered"


@dataclass
class Hanging(Saboteur):
    """A saboteur after whose step nothing comes back from PostgreSQL; whether the step arrives there is `fate`."""

    relay: Relay
    fate: str

    def harm(self, connection: Any, act: Callable[[], Any]) -> Any:
        """Do the step through a relay that carries nothing, or no answers."""
        (self.relay.withhold if self.fate == UNANSWERED else self.relay.silence)()
        return act()


@dataclass
class Stalling(Saboteur):
    """A saboteur that does the chosen step after something else."""

    meanwhile: Callable[[], None] = lambda: None

    def harm(self, connection: Any, act: Callable[[], Any]) -> Any:
        """Do something else, then the step."""
        self.meanwhile()
        return act()


@contextmanager
def relayed(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory
) -> Iterator[tuple[SandboxInstallation, Relay]]:
    """Open an installation whose every connection to PostgreSQL goes through a relay."""
    with fresh_url(request, folders, "postgresql") as url:
        prepare(url)
        with relay_to(make_url(url).port or 0) as relay:
            carried = make_url(url).set(port=relay.port)
            with sandbox_on(carried.render_as_string(hide_password=False)) as sandbox:
                yield sandbox, relay


@pytest.fixture
def on_relay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SandboxInstallation, Relay]]:
    """The same for one test."""
    with relayed(request, tmp_path_factory) as opened:
        yield opened


@pytest.mark.slow
def test_whichever_step_of_a_revocation_is_not_answered(
    on_relay: tuple[SandboxInstallation, Relay],
) -> None:
    """Success, or "unknown" and done, or refused and not done; meanwhile no other caller gets the lock (R34, R36)."""
    hang_at_each_step(*on_relay, revoke, UNANSWERED)


@pytest.mark.prove
@pytest.mark.parametrize("fate", [NEVER, UNANSWERED])
@USE_CASES
def test_whichever_step_hangs(
    on_relay: tuple[SandboxInstallation, Relay], use_case: UseCase, fate: str
) -> None:
    """The guarantee holds for every act, whether or not the step arrives."""
    hang_at_each_step(*on_relay, use_case, fate)


def hang_at_each_step(
    sandbox: SandboxInstallation, relay: Relay, use_case: UseCase, fate: str
) -> None:
    """Run the act with each of its steps hanging in turn, and then undisturbed."""
    fired, saboteur = 0, Hanging(sandbox, relay, fate)
    with sabotage(saboteur):
        for number in range(1, MOST):
            tenant = sandbox.tenant()
            live, dead = witnesses(sandbox)
            act, count = use_case(sandbox, tenant)
            before, events = count(), len(sandbox.happened(tenant))
            with saboteur.at(number):
                outcome = storage_error_of(act)
            if saboteur.fired:
                assert {verdict_of(sandbox, live), verdict_of(sandbox, dead)} == {"unavailable"}
            relay.forget()
            wait_until(partial(is_back, sandbox, live), "the database is back")
            assert [sandbox.verdict(key) for key in (live, dead)] == ["verified", "revoked"]
            wait_until(lambda: open_transactions(sandbox) == 0, "no transaction is left open")
            done = count() - before
            assert done in {0, 1}
            assert done == 1 or outcome is not None, "a success without effect"
            assert done == 0 or outcome in {None, OutcomeUnknown}, f"{outcome} with an effect"
            if use_case in {create, revoke, rotate, narrow}:
                assert len(sandbox.happened(tenant)) - events == done
            if not saboteur.fired:
                break
            fired += 1
    assert 3 <= fired < MOST - 1


@USE_CASES
def test_whichever_step_takes_its_time_in_sqlite(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, use_case: UseCase
) -> None:
    """While a statement or commit hangs in this process, verdicts continue, and are right; then it is done."""
    fired = 0
    with fresh_sandbox(request, tmp_path_factory, "sqlite") as sandbox:
        saboteur = Stalling(sandbox)
        with sabotage(saboteur):
            for number in range(1, MOST):
                tenant = sandbox.tenant()
                live, dead = witnesses(sandbox)
                act, count = use_case(sandbox, tenant)
                before = count()
                saboteur.meanwhile = partial(require_verdicts, sandbox, live, dead)
                with saboteur.at(number):
                    assert storage_error_of(act) is None
                assert count() - before == 1
                if not saboteur.fired:
                    break
                fired += 1
    assert 3 <= fired < MOST - 1


def witnesses(sandbox: SandboxInstallation) -> tuple[CreatedKey, CreatedKey]:
    """Create a live key and a dead one, in a workspace of their own."""
    tenant = sandbox.tenant()
    live, dead = sandbox.key(tenant), sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, dead.key.id)
    return live, dead


def require_verdicts(sandbox: SandboxInstallation, live: CreatedKey, dead: CreatedKey) -> None:
    """Check that each outcome is recognized, repeatedly."""
    verdicts = [verdict_of(sandbox, key) for key in (live, dead, live, dead)]
    assert verdicts == ["verified", "revoked"] * 2


def is_back(sandbox: SandboxInstallation, live: CreatedKey) -> bool:
    """Return whether there are verdicts again."""
    return verdict_of(sandbox, live) != "unavailable"


def open_transactions(sandbox: SandboxInstallation) -> int:
    """Return how many connections PostgreSQL keeps for clients that have gone."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    )
    with read_behind(sandbox.database) as tx:
        return int(tx.execute(text(query)).scalar_one())
