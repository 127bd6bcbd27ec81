"""Real conflicts: with serializable transactions and in deadlocks on PostgreSQL, each use case takes effect once.

SQLite runs the same races; there the other callers wait, and nothing conflicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from threading import Barrier
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from keystead.domain.errors import (
    IdempotencyInProgress,
    Invalid,
    KeysteadError,
    LimitReached,
    StorageError,
    Unavailable,
)
from keystead.domain.keys import KeyDraft
from keystead.domain.passwords import Password
from keystead.domain.principals import Principal
from keystead.domain.throttle import account_subject
from keystead.domain.users import fold_email
from keystead.domain.webhooks import WebhookDraft
from keystead.domain.workspaces import Role
from keystead.services.idempotency import Once
from keystead.storage import database, retry
from keystead.storage.engine import connections as engines
from keystead.storage.engine import errors
from keystead.storage.engine.liveness import ImpatientConnection
from keystead.storage.schema import tables as schema
from keystead.storage.tables import throttles
from tests.support.administrator import read_behind
from tests.support.installations import (
    ENGINES,
    SandboxInstallation,
    fresh_url,
    prepare,
    sandbox_on,
    text_of,
)
from tests.support.people import (
    RIGHT,
    WRONG,
    People,
    PeopleServices,
    acting,
    acting_operator,
    email_of,
)
from tests.support.postgres import wait_until
from tests.support.row_security import as_owner

AT_ONCE = 6
SERIALIZATION, DEADLOCK = "40001", "40P01"
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@dataclass
class Strict:
    """An installation whose PostgreSQL is serializable by default, with its refusals so far, by SQLSTATE."""

    sandbox: SandboxInstallation
    refused: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what PostgreSQL refuses in this process, sent by SQLAlchemy or by a query on the driver."""
        translate = errors.storage_error

        def note(error: BaseException | None) -> StorageError | None:
            self.refused[errors.driver_code(error)] += 1
            return translate(error)

        with pytest.MonkeyPatch.context() as patch:
            for module in (errors, database):
                patch.setattr(module, "storage_error", note)
            yield

    def race(self, acts: Sequence[Callable[[], object]], *statements: str) -> list[Any]:
        """Run all acts at the same time. Returns what each returned or raised.

        On PostgreSQL another caller has the rows first: it does `held`, waits until all are waiting, and commits.
        """
        together = Barrier(len(acts))

        def run(act: Callable[[], object]) -> object:
            together.wait(30)
            try:
                return act()
            except KeysteadError as refusal:
                return refusal

        before = self.refused[SERIALIZATION]
        with ThreadPoolExecutor(len(acts)) as pool, self._held(statements) as release:
            running = [pool.submit(run, act) for act in acts]
            release(len(acts))
            ended = [each.result(60) for each in running]
        if not self.sandbox.database.is_sqlite:
            assert self.refused[SERIALIZATION] - before >= len(acts)
        return ended

    @contextmanager
    def _held(self, statements: Sequence[str]) -> Iterator[Callable[[int], None]]:
        if self.sandbox.database.is_sqlite:
            yield lambda _: None
            return
        with (
            psycopg.connect(as_owner(self.sandbox.url)) as first,
            psycopg.connect(as_owner(self.sandbox.url), autocommit=True) as watching,
        ):
            first.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            for statement in statements:
                first.execute(statement)

            def release(waiting: int) -> None:
                wait_until(
                    lambda: watching.execute(_WAITING).fetchone() == (waiting,), "all are waiting"
                )
                first.commit()

            yield release


def touch(tenant: Principal) -> str:
    """Change only the version of the workspace's row, which is what a snapshot conflicts on."""
    return f"UPDATE workspaces SET name = name WHERE id = '{tenant.workspace_id}'"


@contextmanager
def strict_on(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, engine: str
) -> Iterator[Strict]:
    """Open a fresh installation on a strict database of that engine, where locks are waited for as long as it takes."""
    with fresh_url(request, folders, engine) as url:
        prepare(url)
        if engine == "postgresql":
            with psycopg.connect(as_owner(url), autocommit=True) as owner:
                name = owner.info.dbname
                owner.execute(
                    f"ALTER DATABASE {name} SET default_transaction_isolation = serializable"
                )
                owner.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '2500ms'")
        with pytest.MonkeyPatch.context() as patch:
            for name in ("lock_timeout", "statement_timeout"):
                patch.setitem(engines.TIMEOUTS, name, "60s")
            patch.setattr(ImpatientConnection, "patience", 62.0)
            with sandbox_on(url) as sandbox:
                strict = Strict(sandbox)
                with strict.counting():
                    yield strict


@pytest.fixture(scope="module", params=ENGINES)
def strict(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Strict]:
    """One installation for all tests of the file, once on each engine."""
    with strict_on(request, tmp_path_factory, request.param) as opened:
        yield opened


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer waits: a slow machine must not fail the test."""
    monkeypatch.setattr(retry, "SECONDS", 60.0)


@pytest.fixture
def people(strict: Strict) -> People:
    """The users of the installation."""
    return People(strict.sandbox)


def kinds(ended: Sequence[object]) -> Counter[type]:
    """Return how often each kind of outcome came."""
    return Counter(type(outcome) for outcome in ended)


def test_the_limit_is_exact(strict: Strict) -> None:
    """Of creations that all conflict as many succeed as there is room, and the others get the limit's refusal."""
    sandbox = strict.sandbox
    tenant = sandbox.tenant(limit=3)
    ended = strict.race([lambda: sandbox.key(tenant)] * AT_ONCE, touch(tenant))
    assert kinds(ended)[LimitReached] == AT_ONCE - 3
    assert len({outcome.key.id for outcome in ended if not isinstance(outcome, LimitReached)}) == 3
    assert len(sandbox.ids(tenant)) == sandbox.used(tenant) == 3
    assert sandbox.happened(tenant) == ["key.created"] * 3
    events = sandbox.events(tenant)
    assert [str(event.type) for event in events].count("limit.reached") == 1
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_one_try_is_not_enough(strict: Strict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without retries the same race is refused, without an effect: so the other tests do exercise the retries."""
    sandbox = strict.sandbox
    tenant = sandbox.tenant(limit=AT_ONCE)
    monkeypatch.setattr(retry, "PAUSES", ())
    ended = strict.race([lambda: sandbox.key(tenant)] * AT_ONCE, touch(tenant))
    refused = kinds(ended)[Unavailable]
    assert refused == (0 if sandbox.database.is_sqlite else AT_ONCE)
    assert len(sandbox.ids(tenant)) == len(sandbox.happened(tenant)) == AT_ONCE - refused


def test_an_idempotency_key_holds(strict: Strict) -> None:
    """Many identical requests at the same time create one key, and show its token once."""
    sandbox = strict.sandbox
    tenant, once = sandbox.tenant(), Once("once", sha256(b"the same request").digest())
    ask = lambda: sandbox.services.keys.create(tenant, KeyDraft("sync"), once=once)  # noqa: E731
    ended = strict.race([ask] * AT_ONCE, touch(tenant))
    keys = [outcome for outcome in ended if not isinstance(outcome, IdempotencyInProgress)]
    assert {outcome.key.id for outcome in keys} == set(sandbox.ids(tenant))
    assert sum(outcome.token is not None for outcome in keys) == 1
    assert sandbox.happened(tenant) == ["key.created"]


def test_one_successor(strict: Strict) -> None:
    """A key that many rotate at the same time has one successor, reported once."""
    sandbox = strict.sandbox
    tenant = sandbox.tenant()
    old, hour = sandbox.key(tenant).key, timedelta(hours=1)
    rotate = lambda: sandbox.services.rotations.rotate(tenant, old.id, overlap=hour)  # noqa: E731
    ended = strict.race([rotate] * AT_ONCE, touch(tenant))
    assert sum(not isinstance(outcome, KeysteadError) for outcome in ended) == 1
    assert len(sandbox.ids(tenant)) == 2
    assert sandbox.happened(tenant) == ["key.created", "key.rotated"]


def test_one_open_invitation_and_one_member(strict: Strict, people: People) -> None:
    """Of concurrent invitations of one email one stays open; of users of its link concurrently one joins."""
    owner = people.owner()
    tenant, email = acting_operator(owner.workspace_id), f"guest.of.{email_of(owner)}"
    invite = lambda: people.invitations.invite(acting(owner), email, Role.ADMIN)[0]  # noqa: E731
    links = strict.race([invite] * AT_ONCE, touch(tenant))
    assert len(people.events(owner.workspace_id, "member.invited")) == AT_ONCE
    assert len(people.events(owner.workspace_id, "member.invitation_revoked")) == AT_ONCE - 1
    standing = [link for link in links if _opens(people, link)]
    accept = lambda: people.invitations.accept(standing[0], "Bo", Password(RIGHT))  # noqa: E731
    ended = strict.race([accept] * AT_ONCE, touch(tenant))
    assert len(standing) == 1
    refused = kinds(ended)
    # On SQLite one may wait too long for the writer's turn on a busy machine: it joins no more than the others.
    assert refused[Invalid] + refused[Unavailable] == AT_ONCE - 1
    assert refused[Invalid] >= 1
    assert len(people.members.list(tenant).items) == 2


def _opens(people: People, link: Any) -> bool:
    try:
        people.invitations.find(link)
    except Invalid:
        return False
    return True


@pytest.mark.parametrize("engine", ENGINES)
def test_one_first_workspace(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: str
) -> None:
    """Servers that start on an empty installation at the same time create one first workspace between them."""
    with strict_on(request, tmp_path_factory, engine) as strict:
        servers = [strict.sandbox.another() for _ in range(AT_ONCE)]
        ended = strict.race(
            [server.services.workspaces.first for server in servers],
            "LOCK TABLE plans IN SHARE ROW EXCLUSIVE MODE",
            "UPDATE plans SET name = name",
        )
        assert len({outcome.workspace_id for outcome in ended}) == 1
        assert strict.sandbox.count(schema.workspaces) == strict.sandbox.count(schema.users) == 1
        (owner,) = {outcome.workspace_id for outcome in ended}
        assert len(strict.sandbox.events(acting_operator(owner))) == 2


def test_uses_are_added_up_once(strict: Strict) -> None:
    """Servers that flush uses of the same key at the same time lose none and count none twice."""
    sandbox = strict.sandbox
    tenant = sandbox.tenant()
    key = sandbox.key(tenant)
    sandbox.verify(key)
    sandbox.flush()
    servers = [sandbox.another() for _ in range(3)]
    for server in servers:
        for _ in range(7):
            server.services.verifier.verify(text_of(key))
    row = f"UPDATE key_use SET last_used_ip = last_used_ip WHERE key_id = '{key.key.id}'"
    assert strict.race([server.services.usage.flush for server in servers], row) == [1, 1, 1]
    used = sandbox.requests(tenant, key.key.id)
    assert list(used.values()) == [1 + 3 * 7]


def test_wrong_passwords_are_counted_once(strict: Strict, people: People) -> None:
    """Concurrent guesses at one account are as many failures as there were guesses."""
    owner = people.owner()
    people.give_password(owner)
    email, subject = email_of(owner), account_subject(fold_email(email_of(owner)))

    def guess() -> None:
        people.sign_in.with_password(email, Password(WRONG), people.origin())

    with pytest.raises(Invalid):
        guess()
    row = f"UPDATE throttles SET failures = failures WHERE subject = '{subject}'"
    ended = strict.race([guess] * 3, row)
    assert kinds(ended)[Invalid] == 3
    with read_behind(strict.sandbox.database) as tx:
        assert throttles.find_failures(tx, [subject])[subject].count == 4


def test_a_delivery_is_claimed_once(strict: Strict) -> None:
    """A queue that changes just before its claim is claimed once, and no other worker gets what was leased."""
    sandbox = strict.sandbox
    tenant = sandbox.tenant()
    draft = WebhookDraft("CRM", "https://example.com/hooks", ("*",))
    webhook = sandbox.services.webhooks.create(tenant, draft)
    sandbox.key(tenant)
    row = f"UPDATE webhook_queues SET due_at = due_at WHERE webhook_id = '{webhook.endpoint.id}'"
    with interloper(sandbox, "SKIP LOCKED", row):
        first = sandbox.services.deliveries.claim(endpoints=500, messages=10)
    assert [batch.endpoint.id for batch in first].count(webhook.endpoint.id) == 1
    second = sandbox.services.deliveries.claim(endpoints=500, messages=10)
    assert webhook.endpoint.id not in {batch.endpoint.id for batch in second}


@contextmanager
def interloper(sandbox: SandboxInstallation, at: str, does: str) -> Iterator[None]:
    """Commit another caller's change just before the first statement with those words; only on PostgreSQL."""
    done = sandbox.database.is_sqlite

    def interlope(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal done
        if at in statement and not done:
            done = True
            with psycopg.connect(as_owner(sandbox.url)) as other:
                other.execute(does)

    event.listen(sandbox.database.engine, "before_cursor_execute", interlope)
    try:
        yield
    finally:
        event.remove(sandbox.database.engine, "before_cursor_execute", interlope)
    assert done


@pytest.fixture
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Strict]:
    """A strict PostgreSQL."""
    with strict_on(request, tmp_path_factory, "postgresql") as opened:
        yield opened


def test_a_deadlock_is_retried(served: Strict) -> None:
    """The transaction that PostgreSQL cancels to resolve a deadlock runs again, and takes effect once."""
    sandbox = served.sandbox
    tenant = sandbox.tenant()
    before = len(sandbox.events(tenant))
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(as_owner(sandbox.url)) as other,
        psycopg.connect(as_owner(sandbox.url), autocommit=True) as watching,
    ):
        other.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        other.execute("SET deadlock_timeout = '1h'")  # PostgreSQL thus always cancels the other one
        other.execute("LOCK TABLE plans IN SHARE ROW EXCLUSIVE MODE")
        running = pool.submit(sandbox.limit, tenant, 7)
        wait_until(lambda: watching.execute(_WAITING).fetchone() == (1,), "the plan is waited for")
        other.execute(touch(tenant))
        other.commit()
        running.result(60)
    assert served.refused[DEADLOCK] >= 1
    assert len(sandbox.events(tenant)) == before + 1
    assert sandbox.services.plans.of_workspace(tenant.workspace_id).overrides == {"api_keys": 7}


def test_one_session_for_a_link(strict: Strict, people: People) -> None:
    """A one-time link that two clients redeem at the same time begins one session."""
    other, owner = PeopleServices(strict.sandbox), people.owner()
    link, _ = people.sign_in.make_link(owner)
    acts = [lambda: people.sign_in.redeem(link), lambda: other.sign_in.redeem(link)]
    ended = strict.race(acts, "UPDATE sign_in_links SET used_at = used_at")
    assert kinds(ended)[Invalid] == 1
