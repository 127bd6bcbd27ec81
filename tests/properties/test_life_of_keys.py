"""Key lifecycles on both engines and in a model, next to each other: equal answers after every step (E26)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keystead.domain.errors import KeysteadError
from keystead.domain.keys import UNSET, KeyDraft, KeyPatch, KeyStatus
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.services.key_issuer import CreatedKey
from tests.support.clocks import NOON
from tests.support.installations import ENGINES, SandboxInstallation, fresh_sandbox

SCOPES = ("documents:read", "documents:write", "keys:read")
SETS = st.frozensets(st.sampled_from(SCOPES), min_size=1)
LIVES = st.sampled_from([None, 10, 100])
WORDS = st.sampled_from(["sync", "Sync job", "50%", "500", "a_b", "a-b"])
QUERIES = ("sync", "50%", "B", "a_b", "none")
STATUSES = ("active", "expired", "revoked")
PLACES = st.integers(0, 50)


# --- the model: the rules of a key's lifecycle, in a page ---


@dataclass
class Key:
    """A key of the model; times are seconds since the beginning, and a key's name is its place."""

    description: str
    scopes: frozenset[str]
    created: int
    ends: int | None
    revoked: bool = False
    successor: int | None = None
    noted: int | None = None
    shown: int | None = None


@dataclass
class Model:
    """A workspace of the model."""

    limit: int
    now: int = 0
    suspended: bool = False
    keys: list[Key] = field(default_factory=list)
    acts: list[tuple[str, int]] = field(default_factory=list)

    def status(self, key: Key) -> str:
        """Return the status: revoked before expired before active."""
        if key.revoked:
            return "revoked"
        return "expired" if key.ends is not None and key.ends <= self.now else "active"

    def active(self, successor: bool | None = None) -> list[Key]:
        """Return the active keys: all, or only those with or without a successor."""
        keys = [key for key in self.keys if self.status(key) == "active"]
        if successor is None:
            return keys
        return [key for key in keys if (key.successor is not None) == successor]

    def create(self, description: str, life: int | None, scopes: frozenset[str]) -> str:
        """Create a key, if there is room."""
        if not self.has_room():
            return "limit-reached"
        return self._add(
            Key(description, scopes, self.now, life and self.now + life), "key.created"
        )

    def rotate(self, place: int, overlap: int, life: int | None | str) -> str:
        """Create a successor; the old key ends."""
        old = self.keys[place]
        before = [key for key in self.active() if key.successor == place]
        counted, overlapping = self.active(successor=False), self.active(successor=True)
        if self.status(old) != "active":
            return f"key-{self.status(old)}"
        if old.successor is not None or before:
            return "rotation-in-progress"
        if overlap and len(overlapping) >= max(self.limit, len(counted)):
            return "limit-reached"
        if life == "same":
            life = old.ends and old.ends - old.created
        assert not isinstance(life, str)
        ends = life and self.now + life
        self._add(Key(old.description, old.scopes, self.now, ends), "key.rotated", place)
        old.successor = len(self.keys) - 1
        old.revoked = not overlap
        if overlap:
            old.ends = min(filter(None, [old.ends, self.now + overlap]))
        return "ok"

    def revoke(self, place: int) -> str:
        """Revoke a key; a second time, do nothing."""
        if not self.keys[place].revoked:
            self.keys[place].revoked = True
            self.acts.append(("key.revoked", place))
        return "ok"

    def patch(self, place: int, change: dict[str, Any]) -> str:
        """Change the description, the expiry, or the scopes to fewer."""
        key = self.keys[place]
        after = {
            name: change.get(name, getattr(key, name)) for name in ("description", "scopes", "ends")
        }
        grown = key.ends is not None and (after["ends"] is None or after["ends"] > key.ends)
        if key.revoked:
            return "key-revoked"
        if not after["scopes"] <= key.scopes:
            return "would-widen"
        if (after["scopes"], after["ends"]) != (key.scopes, key.ends):
            if self.status(key) == "expired":
                return "key-expired"
            if key.successor is not None and grown:
                return "rotation-in-progress"
        if after != {name: getattr(key, name) for name in after}:
            self.acts.append(("key.updated", place))
        key.description, key.scopes, key.ends = after["description"], after["scopes"], after["ends"]
        return "ok"

    def verify(self, place: int, scope: str) -> str:
        """Return the verdict on the key's token."""
        key = self.keys[place]
        if self.status(key) != "active":
            return self.status(key)
        if self.suspended:
            return "suspended"
        if scope not in key.scopes:
            return "insufficient_scope"
        key.noted = self.now
        return "verified"

    def has_room(self) -> bool:
        """Return whether another key fits."""
        return len(self.active(successor=False)) < self.limit

    def rotatable(self) -> list[int]:
        """Return the places of keys that may have a successor."""
        keys = enumerate(self.keys)
        overlapped = [key.successor for key in self.active()]
        free = self.active(successor=False)
        return [place for place, key in keys if key in free and place not in overlapped]

    def coming_ends(self) -> list[int]:
        """Return when active keys will expire."""
        return [key.ends for key in self.active() if key.ends is not None]

    def flush(self) -> None:
        """Show the uses that were noted."""
        for key in self.keys:
            key.shown, key.noted = key.noted if key.noted is not None else key.shown, None

    def _add(self, key: Key, act: str, about: int | None = None) -> str:
        self.keys.append(key)
        self.acts.append((act, len(self.keys) - 1 if about is None else about))
        return "ok"


# --- the product on one engine, with the model's methods ---


class Product:
    """One workspace of an installation."""

    def __init__(self, sandbox: SandboxInstallation, limit: int) -> None:
        self.sandbox = sandbox
        self.tenant: Principal = sandbox.tenant(limit)
        self.made: list[CreatedKey] = []

    def create(self, description: str, life: int | None, scopes: frozenset[str]) -> str:
        """Create a key, like the model."""
        ends = None if life is None else self.sandbox.clock.now() + timedelta(seconds=life)
        draft = KeyDraft(description, ends, sorted(scopes))
        return self._made(lambda: self.sandbox.services.keys.create(self.tenant, draft))

    def rotate(self, place: int, overlap: int, life: int | None | str) -> str:
        """Rotate a key, like the model."""
        ends: Any = life
        if life == "same":
            ends = UNSET
        elif isinstance(life, int):
            ends = self.sandbox.clock.now() + timedelta(seconds=life)
        id, spared = self.made[place].key.id, timedelta(seconds=overlap)
        rotations = self.sandbox.services.rotations
        return self._made(
            lambda: rotations.rotate(self.tenant, id, overlap=spared, expires_at=ends)
        )

    def revoke(self, place: int) -> str:
        """Revoke a key, like the model."""
        id = self.made[place].key.id
        return _outcome(lambda: self.sandbox.services.keys.revoke(self.tenant, id))

    def patch(self, place: int, change: dict[str, Any]) -> str:
        """Change a key, like the model."""
        fields = dict(change)
        if "ends" in fields:
            ends = fields.pop("ends")
            fields["expires_at"] = None if ends is None else NOON + timedelta(seconds=ends)
        id, patch = self.made[place].key.id, KeyPatch(**fields)
        return _outcome(lambda: self.sandbox.services.keys.update(self.tenant, id, patch))

    def verify(self, place: int, scope: str) -> str:
        """Verify a token, like the model."""
        return self.sandbox.verdict(self.made[place], scope)

    def operate(self, act: str | int) -> None:
        """Operate the workspace, like the state machine."""
        workspaces, id = self.sandbox.services.workspaces, self.tenant.workspace_id
        match act:
            case int():
                self.sandbox.limit(self.tenant, act)
            case "suspend":
                workspaces.suspend(id)
            case "resume":
                workspaces.resume(id)
            case "flush":
                self.sandbox.flush()
            case _:
                self.sandbox.restart()

    def listed(self, status: str | None = None, query: str = "") -> list[tuple[Any, ...]]:
        """Return what a list shows of the keys, page by page, the newest first."""
        wanted = None if status is None else KeyStatus(status)
        places = {created.key.id: place for place, created in enumerate(self.made)}
        return [
            (
                places[key.id],
                key.description,
                key.scopes,
                _seconds(key.expires_at),
                str(key.status(self.sandbox.clock.now())),
                None if key.rotated_to is None else places[key.rotated_to],
                _seconds(key.last_use and key.last_use.at),
            )
            for key in self.sandbox.keys(self.tenant, status=wanted, query=query, limit=8)
        ]

    def acts(self) -> list[tuple[str, int]]:
        """Return the acts by type and key."""
        places = {str(created.key.id): place for place, created in enumerate(self.made)}
        events = [e for e in self.sandbox.events(self.tenant) if e.target.type == "key"]
        return [(str(event.type), places[event.target.id]) for event in events]

    def _made(self, make: Callable[[], CreatedKey]) -> str:
        def keep() -> None:
            self.made.append(make())

        return _outcome(keep)


def _outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except KeysteadError as refused:
        return refused.code
    return "ok"


def _seconds(instant: Any) -> int | None:
    return None if instant is None else round((instant - NOON).total_seconds())


# --- comparison ---


class LifeOfKeys(RuleBasedStateMachine):
    """A state machine that does everything three times, and compares."""

    def __init__(self, sandboxes: list[SandboxInstallation]) -> None:
        super().__init__()
        for sandbox in sandboxes:
            sandbox.clock.set(NOON)
        self.model = Model(limit=4)
        self.most = 4
        self.steps = 0
        self.products = [Product(sandbox, limit=4) for sandbox in sandboxes]

    def agree(self, act: Callable[[Any], str]) -> None:
        """Check that all three answers are equal."""
        expected = act(self.model)
        note(f"-> {expected}")
        for product in self.products:
            assert act(product) == expected, product.sandbox.url

    @initialize(keys=st.lists(st.tuples(WORDS, LIVES, SETS), min_size=2, max_size=3))
    def begin(self, keys: list[tuple[str, int | None, frozenset[str]]]) -> None:
        """Create a few keys to begin with."""
        for key in keys:
            self.agree(lambda side, key=key: side.create(*key))  # type: ignore[misc]

    @precondition(lambda self: self.steps % 4 == 0 or self.model.has_room())
    @rule(description=WORDS, life=LIVES, scopes=SETS)
    def create(self, description: str, life: int | None, scopes: frozenset[str]) -> None:
        """Create a key, mostly when there is room."""
        self.agree(lambda side: side.create(description, life, scopes))

    @precondition(lambda self: self.steps % 4 == 0 or self.model.rotatable())
    @rule(place=PLACES, overlap=st.sampled_from([0, 5, 50]), life=LIVES | st.just("same"))
    def rotate(self, place: int, overlap: int, life: int | None | str) -> None:
        """Create a successor, mostly of a key that may have one."""
        places = self.model.rotatable() if place % 8 != 7 else []
        places = places or list(range(len(self.model.keys)))
        place = places[place % len(places)]
        self.agree(lambda side: side.rotate(place, overlap, life))

    @rule(place=PLACES)
    def revoke(self, place: int) -> None:
        """Revoke a key, more often a revoked one than an active one."""
        ended = [n for n, key in enumerate(self.model.keys) if self.model.status(key) != "active"]
        places = ended if ended and place % 3 else list(range(len(self.model.keys)))
        place = places[place % len(places)]
        self.agree(lambda side: side.revoke(place))

    @rule(
        place=PLACES,
        change=st.fixed_dictionaries(
            {}, optional={"description": WORDS, "scopes": SETS, "life": LIVES}
        ),
    )
    def patch(self, place: int, change: dict[str, Any]) -> None:
        """Change a key, mostly an active one."""
        living = [n for n, key in enumerate(self.model.keys) if self.model.status(key) == "active"]
        places = living if living and place % 4 else list(range(len(self.model.keys)))
        place = places[place % len(places)]
        if "life" in change:
            life = change["life"]
            change = {**change, "ends": life and self.model.now + life}
            del change["life"]
        self.agree(lambda side: side.patch(place, change))

    @rule(seconds=st.sampled_from([1, 5, 50, 100]))
    def wait(self, seconds: int) -> None:
        """Let time pass, and keys expire."""
        self.model.now += seconds
        for product in self.products:
            product.sandbox.clock.advance(seconds=seconds)

    @precondition(lambda self: self.model.coming_ends())
    @rule(place=PLACES, early=st.booleans())
    def wait_for_an_end(self, place: int, early: bool) -> None:
        """Let time pass to the very second in which a key expires, or to the one before."""
        ends = self.model.coming_ends()
        self.wait(ends[place % len(ends)] - early - self.model.now)

    @rule(act=st.sampled_from(["suspend", "resume", "flush", "restart", 1, 2, 4, 6]))
    def operate(self, act: str | int) -> None:
        """Suspend or resume the workspace, change its limit, flush uses, or restart the server."""
        if isinstance(act, int):
            self.model.limit, self.most = act, max(self.most, act)
        elif act in ("suspend", "resume"):
            self.model.suspended = act == "suspend"
        else:
            self.model.flush()
        for product in self.products:
            product.operate(act)

    @invariant()
    def tokens_are_worth_what_they_should(self) -> None:
        """Check every token's verdict against the model, for each scope."""
        self.steps += 1
        scope = SCOPES[self.steps % len(SCOPES)]
        for place in range(len(self.model.keys)):
            self.agree(lambda side, place=place: side.verify(place, scope))  # type: ignore[misc]

    @invariant()
    def parts_of_lists_agree(self) -> None:
        """Check that a list of one status, or of a search, is a part of the whole list."""
        status, query = STATUSES[self.steps % len(STATUSES)], QUERIES[self.steps % len(QUERIES)]
        if self.steps % 2:
            return
        whole = self.expected()
        for product in self.products:
            assert product.listed(status) == [row for row in whole if row[4] == status]
            matches = [row for row in whole if query.casefold() in row[1].casefold()]
            assert product.listed(query=query) == matches

    def expected(self) -> list[tuple[Any, ...]]:
        """Return what a list should show."""
        return [
            (
                place,
                key.description,
                Scopes(key.scopes),
                key.ends,
                self.model.status(key),
                key.successor,
                key.shown,
            )
            for place, key in reversed(list(enumerate(self.model.keys)))
        ]

    @invariant()
    def lists_agree(self) -> None:
        """Check that every list is the model's, and that its quota counts the model's keys."""
        expected = self.expected()
        for product in self.products:
            assert product.listed() == expected, product.sandbox.url
            quota = product.sandbox.services.keys.list(product.tenant, limit=1).quota
            assert (quota.limit, quota.used) == (
                self.model.limit,
                len(self.model.active(successor=False)),
            )

    @invariant()
    def one_event_an_act(self) -> None:
        """Check that each act has one event, in the order of the acts."""
        for product in self.products:
            assert product.acts() == self.model.acts, product.sandbox.url

    @invariant()
    def never_more_than_promised(self) -> None:
        """Check that no more keys count than the highest limit so far, and that at most twice as many are active."""
        assert len(self.model.active(successor=False)) <= self.most
        assert len(self.model.active()) <= 2 * self.most


@pytest.fixture(scope="module")
def sandboxes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[SandboxInstallation]]:
    """An installation on each engine."""
    with (
        fresh_sandbox(request, tmp_path_factory, ENGINES[0]) as embedded,
        fresh_sandbox(request, tmp_path_factory, ENGINES[1]) as served,
    ):
        yield [embedded, served]


def _live(sandboxes: list[SandboxInstallation], lives: int, steps: int, *phases: Phase) -> None:
    run_state_machine_as_test(
        lambda: LifeOfKeys(sandboxes),  # type: ignore[arg-type]
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=phases or tuple(Phase),
        ),
    )


def test_lives(sandboxes: list[SandboxInstallation]) -> None:
    """In a few lifecycles SQLite, PostgreSQL and the model give equal answers, step by step."""
    _live(sandboxes, 5, 25, Phase.reuse, Phase.generate)


@pytest.mark.slow
def test_more_lives(sandboxes: list[SandboxInstallation]) -> None:
    """In a dozen longer lifecycles SQLite, PostgreSQL and the model give equal answers, step by step."""
    _live(sandboxes, 12, 30, Phase.reuse, Phase.generate)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_many_lives(sandboxes: list[SandboxInstallation]) -> None:
    """In 2,000 lifecycles of up to 50 steps SQLite, PostgreSQL and the model give equal answers, step by step."""
    _live(sandboxes, 2_000, 50)
