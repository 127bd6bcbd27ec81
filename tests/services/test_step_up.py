"""Every act of the step-up table, tried in a session whose proof is just too old, and in one whose proof is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from keystead.domain.errors import ReauthenticationRequired
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.passwords import Password
from keystead.domain.principals import Principal
from keystead.domain.scopes import BUILT_IN, EVERYTHING, KEYS_WRITE
from keystead.domain.sessions import REAUTHENTICATION_AGE
from keystead.domain.step_up import STEP_UP, SensitiveAction
from keystead.domain.token import Secret
from keystead.domain.webhooks import WebhookDraft, WebhookPatch, WebhookStatus
from keystead.domain.workspaces import Member, Role
from tests.support.people import RIGHT, People, acting, acting_operator

NAMED = [scope for scope in BUILT_IN if scope not in {EVERYTHING, KEYS_WRITE}]
HOOK = WebhookDraft("CRM", "https://hooks.example.com/in", ("*",))


@dataclass
class Stage:
    """An owner with a password and a session, and things to act on in their workspace."""

    people: People
    owner: Member
    session: Secret

    def __post_init__(self) -> None:
        services, system = self.people.sandbox.services, acting_operator(self.owner.workspace_id)
        self.keys, self.rotations = services.keys, services.rotations
        self.webhooks = services.webhooks
        in_a_month = self.people.clock.now() + timedelta(days=30)
        draft = KeyDraft("wide", scopes=[EVERYTHING], expires_at=in_a_month)
        self.key = services.keys.create(system, draft).key
        self.hook = services.webhooks.create(system, HOOK).endpoint
        self.other_owner = self.people.join(self.owner, Role.OWNER).user.id
        self.viewer = self.people.join(self.owner, Role.VIEWER).user.id

    @property
    def principal(self) -> Principal:
        """Return the owner as a principal of that session."""
        visitor = self.people.sign_in.visitor(self.session)
        assert visitor is not None
        return acting(visitor.members[0], visitor.session.signed_in_at)

    def state(self) -> int:
        """Return the number of events in the workspace."""
        return len(self.people.events(self.owner.workspace_id))


Try = Callable[[Stage], object]
MAKERS = (Role.DEVELOPER, Role.ADMIN, Role.OWNER)


def _inviting(role: Role) -> Try:
    return lambda s: s.people.invitations.invite(s.principal, "new@example.com", role)


def _appointing(role: Role) -> Try:
    return lambda s: s.people.members.change_role(s.principal, s.viewer, role)


ACTS: Mapping[SensitiveAction, Mapping[str, Try]] = {
    SensitiveAction.GRANT_WIDE_KEY: {
        "create by name": lambda s: s.keys.create(s.principal, KeyDraft("x", scopes=NAMED)),
        "create with all": lambda s: s.keys.create(s.principal, KeyDraft("x", scopes=["*"])),
        "rotate": lambda s: s.rotations.rotate(s.principal, s.key.id, overlap=timedelta()),
        "extend": lambda s: s.keys.update(s.principal, s.key.id, KeyPatch(expires_at=None)),
    },
    SensitiveAction.CHANGE_WEBHOOKS: {
        "create": lambda s: s.webhooks.create(s.principal, replace(HOOK, name="other")),
        "change": lambda s: s.webhooks.update(
            s.principal, s.hook.id, WebhookPatch(url="https://elsewhere.example.com/")
        ),
        "disable": lambda s: s.webhooks.update(
            s.principal, s.hook.id, WebhookPatch(status=WebhookStatus.DISABLED)
        ),
        "rotate": lambda s: s.webhooks.rotate_secret(s.principal, s.hook.id),
        "delete": lambda s: s.webhooks.delete(s.principal, s.hook.id),
    },
    SensitiveAction.APPOINT: {
        **{f"invite {role}": _inviting(role) for role in MAKERS},
        **{f"appoint {role}": _appointing(role) for role in MAKERS},
    },
    SensitiveAction.REMOVE_OWNER: {
        "remove": lambda s: s.people.members.remove(s.principal, s.other_owner),
        "demote": lambda s: s.people.members.change_role(s.principal, s.other_owner, Role.VIEWER),
        "leave": lambda s: s.people.members.leave(s.principal),
    },
    SensitiveAction.CHANGE_EMAIL: {
        "change": lambda s: s.people.accounts.change_email(s.session, "changed@example.com"),
    },
    SensitiveAction.CHANGE_PASSWORD: {
        "change": lambda s: s.people.accounts.change_password(
            s.session, Password("another lamp in 9 oceans"), Password(RIGHT)
        ),
    },
}
FREE: Mapping[str, Try] = {
    "a key for documents": lambda s: s.keys.create(
        s.principal, KeyDraft("x", scopes=["documents:read", "documents:write"])
    ),
    "revoking a wide key": lambda s: s.keys.revoke(s.principal, s.key.id),
    "inviting a viewer": lambda s: s.people.invitations.invite(
        s.principal, "new@example.com", Role.VIEWER
    ),
    "removing a viewer": lambda s: s.people.members.remove(s.principal, s.viewer),
    "a test of a webhook": lambda s: s.webhooks.test(s.principal, s.hook.id),
}
CASES = [(act, name) for act, tries in ACTS.items() for name in tries]


@pytest.fixture
def stage(people: People) -> Stage:
    """An owner who proved who they are at noon."""
    owner = people.owner()
    return Stage(people, owner, people.give_password(owner))


def test_every_act_of_the_table_is_tried() -> None:
    """A new row of the table needs a way to try it here."""
    assert set(ACTS) == set(STEP_UP)


@pytest.mark.parametrize(("act", "name"), CASES, ids=[f"{a}-{n}" for a, n in CASES])
def test_an_old_proof_is_asked_for_again(stage: Stage, act: SensitiveAction, name: str) -> None:
    """At 15 minutes the act is refused and has no effect; it succeeds with a new proof."""
    stage.people.clock.advance(REAUTHENTICATION_AGE)
    before = stage.state()
    with pytest.raises(ReauthenticationRequired) as refused:
        ACTS[act][name](stage)
    assert (refused.value.scope, stage.state()) == (act, before)
    stage.session = stage.people.sign_in.reauthenticate(stage.session, Password(RIGHT)).secret
    ACTS[act][name](stage)
    assert stage.state() > before + 1


@pytest.mark.parametrize("name", FREE)
def test_what_widens_nothing_asks_for_nothing(stage: Stage, name: str) -> None:
    """Ordinary keys, revoking access and inviting viewers work in a long session."""
    stage.people.clock.advance(REAUTHENTICATION_AGE)
    FREE[name](stage)


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.OWNER])
def test_a_long_session_makes_no_second_one(stage: Stage, role: Role) -> None:
    """An invitation can't give a role that could then, freshly signed in, create a key that this session may not."""
    stage.people.clock.advance(REAUTHENTICATION_AGE)
    with pytest.raises(ReauthenticationRequired):
        stage.people.invitations.invite(stage.principal, "second@example.com", role)
