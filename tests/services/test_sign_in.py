"""Signing in: links that work once, sessions that end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import delete

from keystead.domain.errors import Invalid, NotFound
from keystead.domain.events import Origin
from keystead.domain.ids import new_id
from keystead.domain.sessions import ABSOLUTE_LIMIT, IDLE_LIMIT, LINK_LIFETIME
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member
from keystead.services.sign_in import SignIn
from keystead.storage.schema import tables as schema
from keystead.storage.tables import sessions
from tests.support.administrator import read_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, read_only

INSTANT = timedelta(microseconds=1)


@pytest.fixture
def owner(sandbox: SandboxInstallation) -> Member:
    """The owner of a new workspace."""
    address = f"{new_id('ada', NOON)}@example.com"
    workspace = sandbox.services.workspaces.create("W", owner="Ada", email=address)
    return sandbox.services.workspaces.owner(workspace.id)


def _link(sandbox: SandboxInstallation, member: Member) -> Secret:
    return sandbox.services.sign_in.make_link(member)[0]


def _signed_in(sandbox: SandboxInstallation, member: Member) -> Secret:
    return sandbox.services.sign_in.redeem(_link(sandbox, member)).secret


def _stands(sandbox: SandboxInstallation, session: Secret) -> bool:
    """Use the session as a page does. Returns whether it lives, and its user is a member."""
    sign_in = sandbox.services.sign_in
    visitor = sign_in.visitor(session)
    if visitor is not None and visitor.session.needs_touch(sign_in.now()):
        sign_in.touch(session)
    return visitor is not None and bool(visitor.members)


def test_a_link_signs_in(sandbox: SandboxInstallation, owner: Member) -> None:
    """A link signs its member in, and the session is theirs; the act is recorded with its origin."""
    secret, until = sandbox.services.sign_in.make_link(owner)
    assert until == NOON + LINK_LIFETIME
    origin = Origin("192.0.2.1", "req_1")
    signed_in = sandbox.services.sign_in.redeem(secret, origin, "Firefox")
    assert signed_in.member == owner
    assert sandbox.services.sign_in.memberships(signed_in.secret) == [owner]
    assert sandbox.services.sign_in.member(signed_in.secret, owner.workspace_id) == owner
    with read_behind(sandbox.database) as tx:
        session = sessions.find_session(tx, signed_in.secret.fingerprint())
        newest = tx.execute(
            schema.events.select()
            .where(schema.events.c.workspace_id == owner.workspace_id)
            .order_by(schema.events.c.sequence)
        ).all()[-1]
    assert session is not None
    assert (session.address, session.agent) == ("192.0.2.1", "Firefox")
    assert (newest.type, newest.actor_id, newest.address) == (
        "member.signed_in",
        owner.user.id,
        "192.0.2.1",
    )


def test_a_link_works_once(sandbox: SandboxInstallation, owner: Member) -> None:
    """A used link is refused like one that never existed."""
    link = _link(sandbox, owner)
    sandbox.services.sign_in.redeem(link)
    refusals = []
    for secret in (link, Secret.fresh()):
        with pytest.raises(Invalid) as refused:
            sandbox.services.sign_in.redeem(secret)
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]


def test_one_of_many_concurrent_uses(sandbox: SandboxInstallation, owner: Member) -> None:
    """Of 16 concurrent uses of one link, through two servers, one signs in and leaves one event (R70)."""
    link = _link(sandbox, owner)
    servers: list[SignIn] = [sandbox.services.sign_in, sandbox.another().services.sign_in]

    def redeem(number: int) -> bool:
        try:
            return bool(servers[number % 2].redeem(link))
        except Invalid:
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(redeem, range(16))) == 1
    with read_behind(sandbox.database) as tx:
        signed = tx.execute(
            schema.events.select().where(
                schema.events.c.workspace_id == owner.workspace_id,
                schema.events.c.type == "member.signed_in",
            )
        ).all()
    assert len(signed) == 1


def test_a_link_expires(sandbox: SandboxInstallation, owner: Member) -> None:
    """A link works until the last microsecond before its expiry, and not from it on."""
    early, late = _link(sandbox, owner), _link(sandbox, owner)
    sandbox.clock.advance(LINK_LIFETIME - INSTANT)
    sandbox.services.sign_in.redeem(early)
    sandbox.clock.advance(INSTANT)
    with pytest.raises(Invalid):
        sandbox.services.sign_in.redeem(late)


def test_a_session_is_fresh(sandbox: SandboxInstallation, owner: Member) -> None:
    """Each sign-in has a session of its own, and neither the link nor a guess is one (R59)."""
    link = _link(sandbox, owner)
    one, other = sandbox.services.sign_in.redeem(link).secret, _signed_in(sandbox, owner)
    assert len({secret.reveal() for secret in (link, one, other)}) == 3
    for guess in (link, Secret.fresh(), Secret(""), Secret("\ud800"), Secret("x" * 10_000)):
        assert not _stands(sandbox, guess)


def test_idle_sessions_end(sandbox: SandboxInstallation, owner: Member) -> None:
    """An hour without use ends a session; each use extends it."""
    session = _signed_in(sandbox, owner)
    for _ in range(3):
        sandbox.clock.advance(IDLE_LIMIT - INSTANT)
        assert _stands(sandbox, session)
    sandbox.clock.advance(IDLE_LIMIT)
    assert not _stands(sandbox, session)
    sandbox.clock.advance(-IDLE_LIMIT / 2)
    assert _stands(sandbox, session)


def test_sessions_end_after_a_day(sandbox: SandboxInstallation, owner: Member) -> None:
    """A session in constant use ends 24 hours after it began (R61)."""
    session = _signed_in(sandbox, owner)
    for _ in range(47):
        sandbox.clock.advance(minutes=30)
        assert _stands(sandbox, session)
    sandbox.clock.set(NOON + ABSOLUTE_LIMIT - INSTANT)
    assert _stands(sandbox, session)
    sandbox.clock.advance(INSTANT)
    assert not _stands(sandbox, session)


def test_reading_writes_once_a_minute(sandbox: SandboxInstallation, owner: Member) -> None:
    """A session's use is written at most once a minute, and only forward."""
    session = _signed_in(sandbox, owner)

    def seen() -> timedelta:
        with read_behind(sandbox.database) as tx:
            stored = sessions.find_session(tx, session.fingerprint())
        assert stored is not None
        return stored.seen_at - NOON

    for seconds, expected in ((59, 0), (60, 60), (90, 60), (30, 60), (120, 120)):
        sandbox.clock.set(NOON + timedelta(seconds=seconds))
        assert _stands(sandbox, session)
        assert seen() == timedelta(seconds=expected)


def test_signing_out(sandbox: SandboxInstallation, owner: Member) -> None:
    """Signing out ends that session immediately, on every server, and no other; again, nothing happens."""
    session, other = _signed_in(sandbox, owner), _signed_in(sandbox, owner)
    for _ in range(2):
        sandbox.services.sign_in.sign_out(session)
        assert not sandbox.another().services.sign_in.memberships(session)
        assert _stands(sandbox, other)
    sandbox.services.sign_in.sign_out(Secret.fresh())


def test_a_session_opens_its_own_workspaces_only(
    sandbox: SandboxInstallation, owner: Member
) -> None:
    """For a session another workspace is like one that never existed (R48)."""
    session = _signed_in(sandbox, owner)
    stranger = sandbox.services.workspaces.create("Other", owner="Bo")
    refusals = []
    for id in (stranger.id, "ws_0000000000000000000000", ""):
        with pytest.raises(NotFound) as refused:
            sandbox.services.sign_in.member(session, id)  # type: ignore[arg-type]
        refusals.append(str(refused.value))
    assert len(set(refusals)) == 1


def test_a_leaver(sandbox: SandboxInstallation, owner: Member) -> None:
    """A former member has no workspace and no working link, though the session lasts (R31)."""
    session, link = _signed_in(sandbox, owner), _link(sandbox, owner)
    members = schema.members
    with sandbox.database.write(owner.workspace_id) as tx:
        tx.execute(delete(members).where(members.c.user_id == owner.user.id))
    assert not _stands(sandbox, session)
    with pytest.raises(Invalid):
        sandbox.services.sign_in.redeem(link)


def test_reading_on_while_nothing_can_be_written(own_sandbox: SandboxInstallation) -> None:
    """On a database that takes no writes, a signed-in user still reads; a link stays unused until writes work."""
    workspace = own_sandbox.services.workspaces.create("W", owner="Ada")
    owner = own_sandbox.services.workspaces.owner(workspace.id)
    session, link = _signed_in(own_sandbox, owner), _link(own_sandbox, owner)
    own_sandbox.clock.advance(minutes=5)
    with read_only(own_sandbox.database):
        assert _stands(own_sandbox, session)
    own_sandbox.services.sign_in.redeem(link)
