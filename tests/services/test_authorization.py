"""Authorization of changes: a caller that lost a right while it waited for the workspace's lock changes nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import pytest

import keystead
from keystead.domain.credentials import ActingCredential, Credential, CredentialKind
from keystead.domain.device_logins import DeviceRequest
from keystead.domain.documents import CollectionDraft, CollectionPatch, DocumentDraft, Push
from keystead.domain.errors import (
    Forbidden,
    InsufficientScope,
    InvalidToken,
    KeysteadError,
    NotSuspended,
)
from keystead.domain.events import NO_ORIGIN
from keystead.domain.ids import CredentialId, KeyId, UserId
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.notification_digests import Topic
from keystead.domain.plans import DEFAULT_PLANS
from keystead.domain.policies import Policy
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.principals import Principal, PrincipalKind, operator
from keystead.domain.rate_limits import RateLimits
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, Scopes
from keystead.domain.webhooks import (
    Attempt,
    AttemptError,
    Outcome,
    WebhookDraft,
    WebhookPatch,
    WebhookStatus,
)
from keystead.domain.workspaces import Role
from keystead.services.deliveries import Sent
from keystead.services.workspaces import OPERATOR
from keystead.storage import database
from keystead.storage.database import Tx
from keystead.storage.engine import connections as engines
from keystead.storage.engine.liveness import ImpatientConnection
from keystead.storage.engine.roles import Purpose
from keystead.storage.schema import tables as schema
from keystead.storage.tables import credentials, keys, workspaces
from tests.support.installations import ENGINES, SandboxInstallation, fresh_url, prepare, sandbox_on
from tests.support.people import acting, member_of
from tests.support.postgres import wait_until
from tests.support.row_security import as_owner

SERVICES: Final = Path(keystead.__file__).parent / "services"
AT_ONCE: Final = 6
DAY: Final = timedelta(days=1)
URL: Final = "https://hooks.example/keys"
_WAITING: Final = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
KEY, MEMBER, CREDENTIAL = PrincipalKind.KEY, PrincipalKind.MEMBER, PrincipalKind.OPERATOR


@dataclass
class Stage:
    """A workspace with one of everything, for changes that are all refused."""

    sandbox: SandboxInstallation

    def __post_init__(self) -> None:
        sandbox, self.tenant = self.sandbox, self.sandbox.tenant()
        services = sandbox.services
        soon = sandbox.clock.now() + timedelta(minutes=30)
        self.key = sandbox.key(self.tenant, "target", expires_at=soon).key.id
        services.documents.create_collection(self.tenant, CollectionDraft("docs"))
        services.documents.put(self.tenant, "docs", DocumentDraft("a", "text"))
        hook = services.webhooks.create(self.tenant, WebhookDraft("chat", URL, ("*",)))
        self.webhook = hook.endpoint.id
        self.delivery = services.webhooks.test(self.tenant, self.webhook).id
        self._refuse_deliveries()
        member_of(sandbox, self.tenant, Role.OWNER, "Olga")
        self.member = member_of(sandbox, self.tenant, Role.VIEWER).user.id
        self.invitation = services.invitations.invite(self.tenant, "i@example.com", Role.VIEWER)[1]
        self.credential = services.credentials.create("other", OPERATOR)[0].id

    def _refuse_deliveries(self) -> None:
        """Let the deliveries fail, by an answer that also disables the webhook."""
        services, now = self.sandbox.services, self.sandbox.clock.now()
        outcome = Outcome(Attempt(now, 410, AttemptError.STATUS, 3))
        for batch in services.deliveries.claim(endpoints=10, messages=10):
            sent = [Sent(message.delivery, outcome) for message in batch.messages]
            services.deliveries.settle(sent, [batch])
        patch = WebhookPatch(status=WebhookStatus.ACTIVE)
        services.webhooks.update(self.tenant, self.webhook, patch)

    def actor(self, kind: PrincipalKind) -> Principal:
        """Return a new principal of that kind that may do everything that its kind may."""
        if kind is KEY:
            ends = self.sandbox.clock.now() + timedelta(hours=1)
            chosen = {"expires_at": ends, "renewal": Renewal()}
            return self.sandbox.caller(self.tenant, EVERYTHING, KEYS_WRITE, **chosen)
        if kind is MEMBER:
            member = member_of(self.sandbox, self.tenant, Role.OWNER)
            return acting(member, self.sandbox.clock.now())
        credential: Credential = self.sandbox.services.credentials.create("backend", OPERATOR)[0]
        return operator(credential.name, self.tenant.workspace_id, id=credential.id)


class UseCase(NamedTuple):
    """A change, and the kinds of principals that may make it."""

    change: Callable[[Stage, Principal], object]
    kinds: frozenset[PrincipalKind]


def _by(*kinds: PrincipalKind) -> frozenset[PrincipalKind]:
    return frozenset(kinds)


ALL, PEOPLE, OPERATORS = _by(KEY, MEMBER, CREDENTIAL), _by(MEMBER, CREDENTIAL), _by(CREDENTIAL)
ANY_SCOPE: Final = frozenset({"Renewals._renew"})
"""The changes that need no scope: a narrowed key may make them."""
ANY_ROLE: Final = frozenset({"Members.leave", "NotificationPreferences.choose"})
"""The changes that a member of any role may make: a demotion does not end them."""


def _portal(stage: Stage, principal: Principal) -> object:
    acting_credential = ActingCredential(
        CredentialId(principal.id), CredentialKind.OPERATOR, principal.name
    )
    user = PortalUser("u1", "Pat", None)
    request = PortalRequest(principal.workspace_id, user, Role.VIEWER)
    return stage.sandbox.services.portal_sessions.create(acting_credential, request)


def _renew(stage: Stage, principal: Principal) -> object:
    stage.sandbox.clock.advance(seconds=1)  # a successor must end in a later second
    return stage.sandbox.services.renewals.renew(principal)


def _delete(stage: Stage, principal: Principal) -> None:
    services, workspace_id = stage.sandbox.services, principal.workspace_id
    try:
        services.deletion.delete(workspace_id, principal.actor)
    except NotSuspended:  # the actor has the right
        services.workspaces.suspend(workspace_id, principal.actor)
        services.deletion.delete(workspace_id, principal.actor)


def _approve(stage: Stage, principal: Principal) -> None:
    logins = stage.sandbox.services.device_logins
    code = logins.start(DeviceRequest(), NO_ORIGIN).user_code
    logins.approve(principal, code, KeyDraft("new"), NO_ORIGIN)


def _collect(stage: Stage, principal: Principal) -> object:
    logins, draft = (
        stage.sandbox.services.device_logins,
        KeyDraft("new", None, Scopes(["plan:read"])),
    )
    started = logins.start(DeviceRequest(), NO_ORIGIN)
    logins._approve(principal, started.user_code, draft, NO_ORIGIN)
    login = logins._find(started.device_code.fingerprint())
    assert login is not None
    assert login.approval is not None
    return logins._collect(started.device_code.fingerprint(), login.approval, NO_ORIGIN)


USE_CASES: Final[Mapping[str, UseCase]] = {
    "Keys._create": UseCase(lambda s, p: s.sandbox.services.keys.create(p, KeyDraft("new")), ALL),
    "Rotations._rotate": UseCase(lambda s, p: s.sandbox.services.rotations.rotate(p, s.key), ALL),
    "Renewals._renew": UseCase(_renew, _by(KEY)),
    "Keys.update": UseCase(
        lambda s, p: s.sandbox.services.keys.update(p, s.key, KeyPatch("other")), ALL
    ),
    "Keys.revoke": UseCase(lambda s, p: s.sandbox.services.keys.revoke(p, s.key), ALL),
    "Keys._revoke_batch": UseCase(
        lambda s, p: s.sandbox.services.keys.revoke_many(p, [s.key]), ALL
    ),
    "Keys._expire_batch": UseCase(
        lambda s, p: s.sandbox.services.keys.expire_many(
            p, [s.key], s.sandbox.clock.now() + timedelta(minutes=5)
        ),
        ALL,
    ),
    "KeyRates.set": UseCase(lambda s, p: s.sandbox.services.key_rates.set(p, s.key, 5), OPERATORS),
    "Documents.create_collection": UseCase(
        lambda s, p: s.sandbox.services.documents.create_collection(p, CollectionDraft("new")), ALL
    ),
    "Documents.update_collection": UseCase(
        lambda s, p: s.sandbox.services.documents.update_collection(
            p, "docs", CollectionPatch("Other")
        ),
        ALL,
    ),
    "Documents._delete_collection": UseCase(
        lambda s, p: s.sandbox.services.documents.delete_collection(p, "docs", with_documents=True),
        ALL,
    ),
    "Documents.put": UseCase(
        lambda s, p: s.sandbox.services.documents.put(p, "docs", DocumentDraft("b", "new")), ALL
    ),
    "Documents.push": UseCase(
        lambda s, p: s.sandbox.services.documents.push(p, "docs", Push(delete=["a"])), ALL
    ),
    "Documents.delete": UseCase(
        lambda s, p: s.sandbox.services.documents.delete(p, "docs", "a"), ALL
    ),
    "Webhooks._create": UseCase(
        lambda s, p: s.sandbox.services.webhooks.create(p, WebhookDraft("new", URL, ("*",))), ALL
    ),
    "Webhooks.update": UseCase(
        lambda s, p: s.sandbox.services.webhooks.update(p, s.webhook, WebhookPatch("other")), ALL
    ),
    "Webhooks.delete": UseCase(lambda s, p: s.sandbox.services.webhooks.delete(p, s.webhook), ALL),
    "Webhooks._rotate": UseCase(
        lambda s, p: s.sandbox.services.webhooks.rotate_secret(p, s.webhook), ALL
    ),
    "Webhooks._test": UseCase(lambda s, p: s.sandbox.services.webhooks.test(p, s.webhook), ALL),
    "Webhooks._redeliver": UseCase(
        lambda s, p: s.sandbox.services.webhooks.redeliver(p, s.delivery), ALL
    ),
    "WebhookHealth._resend": UseCase(
        lambda s, p: s.sandbox.services.webhook_health.resend_failed(p, s.webhook, DAY), ALL
    ),
    "Members.put": UseCase(
        lambda s, p: s.sandbox.services.members.put(
            p, PortalUser("u2", "Petra", None), Role.VIEWER
        ),
        PEOPLE,
    ),
    "Members.change_role": UseCase(
        lambda s, p: s.sandbox.services.members.change_role(p, s.member, Role.ADMIN), PEOPLE
    ),
    "Members.remove": UseCase(lambda s, p: s.sandbox.services.members.remove(p, s.member), PEOPLE),
    "Members.leave": UseCase(lambda s, p: s.sandbox.services.members.leave(p), _by(MEMBER)),
    "Invitations.invite": UseCase(
        lambda s, p: s.sandbox.services.invitations.invite(p, "n@example.com", Role.VIEWER), PEOPLE
    ),
    "Invitations.revoke": UseCase(
        lambda s, p: s.sandbox.services.invitations.revoke(p, s.invitation.id), PEOPLE
    ),
    "NotificationPreferences.choose": UseCase(
        lambda s, p: s.sandbox.services.notification_preferences.choose(p, [next(iter(Topic))]),
        _by(MEMBER),
    ),
    "PortalSessions.create": UseCase(_portal, OPERATORS),
    "DeviceLogins._check": UseCase(_approve, _by(MEMBER)),
    "DeviceLogins._collect": UseCase(_collect, _by(MEMBER)),
    "Workspaces.rename": UseCase(
        lambda s, p: s.sandbox.services.workspaces.rename(p, "Other"), PEOPLE
    ),
    "Policies.replace_owners": UseCase(
        lambda s, p: s.sandbox.services.policies.replace_owners(p, Policy(max_lifetime_days=30)),
        PEOPLE,
    ),
    "Policies.replace_operators": UseCase(
        lambda s, p: s.sandbox.services.policies.replace_operators(
            p.workspace_id, Policy(max_lifetime_days=30), p.actor
        ),
        OPERATORS,
    ),
    "WorkspaceRates.set": UseCase(
        lambda s, p: s.sandbox.services.workspace_rates.set(p, RateLimits(600, 600)), OPERATORS
    ),
    "Exports.begin": UseCase(lambda s, p: s.sandbox.services.exports.begin(p), OPERATORS),
    "Deletion._delete": UseCase(_delete, OPERATORS),
    "Workspaces.put": UseCase(
        lambda s, p: s.sandbox.services.workspaces.put("product-1", "New", actor=p.actor),
        OPERATORS,
    ),
    "Workspaces.update": UseCase(
        lambda s, p: s.sandbox.services.workspaces.update(
            p.workspace_id, name="Other", actor=p.actor
        ),
        OPERATORS,
    ),
    "Workspaces.create": UseCase(
        lambda s, p: s.sandbox.services.workspaces.create("New", actor=p.actor), OPERATORS
    ),
    "Workspaces.set_plan": UseCase(
        lambda s, p: s.sandbox.services.workspaces.set_plan(p.workspace_id, "free", actor=p.actor),
        OPERATORS,
    ),
    "Workspaces._set_suspension": UseCase(
        lambda s, p: s.sandbox.services.workspaces.suspend(p.workspace_id, p.actor), OPERATORS
    ),
    "Plans.apply": UseCase(
        lambda s, p: s.sandbox.services.plans.apply(DEFAULT_PLANS, p.actor), OPERATORS
    ),
    "Credentials.create": UseCase(
        lambda s, p: s.sandbox.services.credentials.create("new", p.actor), OPERATORS
    ),
    "Credentials.revoke": UseCase(
        lambda s, p: s.sandbox.services.credentials.revoke(s.credential, p.actor), OPERATORS
    ),
}
SYSTEM: Final = {
    "Deliveries._remove_some",
    "Deliveries._settle_alone",
    "Documents._remove_more",
    "FirstUses._commit",
    "KeyDisuse._act",
    "KeyLifecycle._record",
    "QuietEnds._end",
    "Workspaces.first",
    "Authorization._record_limit",
}
"""The changes by the system itself, which has no rights to lose."""


# --- revocations of an actor's rights ---


class Ending(NamedTuple):
    """A loss of rights, caused by another transaction for that purpose, and the refusal that the actor gets."""

    kind: PrincipalKind
    end: Callable[[Tx, Stage, Principal], None]
    refusal: type[KeysteadError]
    purpose: Purpose | None = None


def _revoke(tx: Tx, stage: Stage, actor: Principal) -> None:
    keys.revoke_key(tx, actor.workspace_id, KeyId(actor.id), stage.sandbox.clock.now())


def _expire(tx: Tx, stage: Stage, actor: Principal) -> None:
    stage.sandbox.clock.advance(hours=1)


def _narrow(tx: Tx, stage: Stage, actor: Principal) -> None:
    key = keys.find_key(tx, actor.workspace_id, KeyId(actor.id))
    assert key is not None
    keys.update_key(tx, replace(key, scopes=Scopes(["plan:read"])))


def _suspend(tx: Tx, stage: Stage, actor: Principal) -> None:
    workspaces.set_suspension(tx, actor.workspace_id, stage.sandbox.clock.now())


def _remove(tx: Tx, stage: Stage, actor: Principal) -> None:
    workspaces.delete_member(tx, actor.workspace_id, UserId(actor.id))


def _demote(tx: Tx, stage: Stage, actor: Principal) -> None:
    workspaces.set_role(tx, actor.workspace_id, UserId(actor.id), Role.VIEWER)


def _revoke_credential(tx: Tx, stage: Stage, actor: Principal) -> None:
    credentials.revoke_credential(tx, CredentialId(actor.id), stage.sandbox.clock.now(), "tests")


ENDINGS: Final = {
    "a revoked key": Ending(KEY, _revoke, InvalidToken),
    "an expired key": Ending(KEY, _expire, InvalidToken),
    "a narrowed key": Ending(KEY, _narrow, InsufficientScope),
    "a key of a suspended workspace": Ending(KEY, _suspend, InvalidToken, Purpose.OPERATOR),
    "a removed member": Ending(MEMBER, _remove, Forbidden),
    "a demoted member": Ending(MEMBER, _demote, Forbidden),
    "a revoked credential": Ending(CREDENTIAL, _revoke_credential, InvalidToken, Purpose.OPERATOR),
}


@pytest.fixture(scope="module", params=ENGINES)
def patient(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An installation whose locks are waited for as long as a busy machine takes."""
    with fresh_url(request, tmp_path_factory, request.param) as url:
        prepare(url)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("lock_timeout", "statement_timeout"):
                patch.setitem(engines.TIMEOUTS, name, "60s")
            patch.setattr(ImpatientConnection, "patience", 62.0)
            patch.setattr(database, "LOCK_SECONDS", 60)
            with sandbox_on(url) as sandbox:
                yield sandbox


@contextmanager
def _watched(sandbox: SandboxInstallation) -> Iterator[Callable[[], int]]:
    """Return how many changes wait for a lock."""
    if sandbox.database.is_sqlite:
        yield lambda: sandbox.database._writers.waiting
        return
    with psycopg.connect(as_owner(sandbox.url), autocommit=True) as watching:

        def waiting() -> int:
            row = watching.execute(_WAITING).fetchone()
            assert row is not None
            return int(row[0])

        yield waiting


def _refusals(stage: Stage, ending: Ending, names: tuple[str, ...]) -> dict[str, object]:
    """Return each change's response, having waited for the lock while its actor lost the right."""
    sandbox, actor = stage.sandbox, stage.actor(ending.kind)
    workspace_id = stage.tenant.workspace_id
    purpose = ending.purpose
    holding = (
        sandbox.database.write(workspace_id)
        if purpose is None
        else sandbox.database.write_across(purpose, workspace_id)
    )

    def answer(name: str) -> object:
        try:
            return USE_CASES[name].change(stage, actor)
        except KeysteadError as refusal:
            return type(refusal)

    with ThreadPoolExecutor(len(names)) as pool, _watched(sandbox) as waiting:
        with holding as tx:
            ending.end(tx, stage, actor)
            answers = {name: pool.submit(answer, name) for name in names}
            wait_until(lambda: waiting() == len(names), "all changes wait")
        return {name: given.result(60) for name, given in answers.items()}


@pytest.mark.parametrize("name", ENDINGS)
def test_actors_that_lost_the_right_change_nothing(patient: SandboxInstallation, name: str) -> None:
    """Each change that its actor may no longer make when it gets the lock is refused, and leaves nothing (R103)."""
    ending, stage = ENDINGS[name], Stage(patient)
    ended = [each for each, use_case in USE_CASES.items() if ending.kind in use_case.kinds]
    if ending.end is _demote:
        ended = [each for each in ended if each not in ANY_ROLE]
    if ending.end is _narrow:
        ended = [each for each in ended if each not in ANY_SCOPE]
    tables = (schema.events, schema.workspaces, schema.credentials, schema.sign_in_links)
    for first in range(0, len(ended), AT_ONCE):
        names = tuple(ended[first : first + AT_ONCE])
        before = [patient.count(table) for table in tables]
        refused = _refusals(stage, ending, names)
        after = [patient.count(table) for table in tables]
        assert refused == dict.fromkeys(names, ending.refusal)
        made_for_the_actor = 1 if ending.kind is not MEMBER else 0
        assert sum(after) - sum(before) == made_for_the_actor
        if ending.end is _suspend:
            patient.services.workspaces.resume(stage.tenant.workspace_id)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [KEY, MEMBER, CREDENTIAL])
def test_actors_with_the_right_make_the_change(
    patient: SandboxInstallation, kind: PrincipalKind
) -> None:
    """The same changes are made by actors that keep their rights, so only the loss causes the refusals."""
    for use_case in USE_CASES.values():
        if kind in use_case.kinds:
            stage = Stage(patient)
            use_case.change(stage, stage.actor(kind))


def test_every_change_is_in_the_table() -> None:
    """Every use case that opens a change is in the table, or in the list of the system's own."""
    openers = {"changing", "operating", "_changing", "_managing"}
    names: set[str] = set()
    for path in sorted(SERVICES.glob("*.py")):
        for name, function in _functions(ast.parse(path.read_text())):
            calls = {
                node.func.attr
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            }
            if calls & openers and function.name not in openers:
                names.add(name)
    assert names == USE_CASES.keys() | SYSTEM


def _functions(module: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, ast.FunctionDef):
                    yield f"{node.name}.{each.name}", each
