"""Policies of workspaces: their layers, who sets them, and that every new or extended key lies within them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import keystead
from keystead.domain.device_logins import DeviceRequest
from keystead.domain.errors import (
    AgainstPolicy,
    ChangedMeanwhile,
    Forbidden,
    InsufficientScope,
    KeysteadError,
    NotFound,
    NotRenewable,
)
from keystead.domain.events import Origin
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.keys import UNSET, ApiKey, KeyDraft, KeyPatch, Unset
from keystead.domain.plans import DEFAULT_PLANS, Limits, Plan
from keystead.domain.policies import NO_POLICY, Policy, PolicyLayers
from keystead.domain.principals import Principal
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import EVERYTHING, FULL, KEYS_WRITE
from keystead.domain.versions import IfMatch
from keystead.domain.workspaces import Role
from keystead.services.key_issuer import CreatedKey
from tests.support.installations import SandboxInstallation
from tests.support.people import PRODUCT, acting, member_of

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
STRICT = Policy(max_lifetime_days=90, default_lifetime_days=30)
_hosts = count(1)
SOURCES = Path(keystead.__file__).parent

Ends = datetime | None | Unset


def _set(sandbox: SandboxInstallation, tenant: Principal, policy: Policy) -> PolicyLayers:
    """Set the operator's layer."""
    policies = sandbox.services.policies
    return policies.replace_operators(tenant.workspace_id, policy, PRODUCT.actor)


# --- the layers ---


def test_a_workspace_begins_without_a_policy(sandbox: SandboxInstallation) -> None:
    """The layers of a new workspace say nothing."""
    assert sandbox.services.policies.get(sandbox.tenant()) == PolicyLayers()


def test_the_three_layers(own_sandbox: SandboxInstallation) -> None:
    """The plan's, the operator's and the owner's layers are kept apart, each replaced as a whole."""
    sandbox = own_sandbox
    tenant, policies = sandbox.tenant(), sandbox.services.policies
    plan = Policy(expiry_required=True)
    sandbox.services.plans.apply(
        [*DEFAULT_PLANS[:2], Plan("scale", "Scale", Limits(), 2, policy=plan)]
    )
    _set(sandbox, tenant, Policy(365, end_unused_days=180))
    owner = acting(member_of(sandbox, tenant, Role.OWNER), sandbox.clock.now())
    policies.replace_owners(owner, Policy(90, renewal_allowed=False))
    layers = policies.get(tenant)
    assert (layers.plan, layers.operator) == (plan, Policy(365, end_unused_days=180))
    assert layers.owner == Policy(90, renewal_allowed=False)
    assert layers.effective == Policy(90, True, None, 180, False)
    assert policies.of_workspace(tenant.workspace_id) == layers
    _set(sandbox, tenant, NO_POLICY)
    assert policies.get(tenant).operator == NO_POLICY
    assert policies.get(sandbox.tenant()) == PolicyLayers(plan=plan)


def test_who_reads_and_who_sets(sandbox: SandboxInstallation) -> None:
    """Reading requires `plan:read`, which all roles have. Of the members only owners set their layer; no key does."""
    tenant, policies = sandbox.tenant(), sandbox.services.policies
    assert policies.get(sandbox.caller(tenant, "plan:read")) == PolicyLayers()
    with pytest.raises(InsufficientScope):
        policies.get(sandbox.caller(tenant, "keys:read"))
    for role in Role:
        member = acting(member_of(sandbox, tenant, role), sandbox.clock.now())
        policies.get(member)
        if role is Role.OWNER:
            assert policies.replace_owners(member, STRICT).owner == STRICT
        else:
            with pytest.raises(Forbidden):
                policies.replace_owners(member, NO_POLICY)
    with pytest.raises(Forbidden):
        policies.replace_owners(sandbox.caller(tenant, EVERYTHING, KEYS_WRITE), NO_POLICY)
    assert policies.get(tenant).owner == STRICT


def test_a_change_is_recorded_once(sandbox: SandboxInstallation) -> None:
    """A change of a layer is an event with the layer and its policy; the same policy again has no event."""
    tenant = sandbox.tenant()
    assert [_set(sandbox, tenant, STRICT).version for _ in range(2)] == [2, 2]
    [event] = [e for e in sandbox.events(tenant) if e.type == "workspace.policy_changed"]
    assert event.data == {"layer": "operator", "policy": STRICT.members()}
    assert (event.actor, event.target.type, event.target.id) == (
        PRODUCT.actor,
        "workspace",
        tenant.workspace_id,
    )


def test_a_layer_replaced_meanwhile(sandbox: SandboxInstallation) -> None:
    """A version that was read before a change no longer matches, and nothing is changed."""
    tenant, policies = sandbox.tenant(), sandbox.services.policies
    assert policies.get(tenant).version == 1
    _set(sandbox, tenant, STRICT)
    with pytest.raises(ChangedMeanwhile):
        policies.replace_operators(
            tenant.workspace_id, NO_POLICY, PRODUCT.actor, if_match=IfMatch.of_version(1)
        )
    assert policies.get(tenant).operator == STRICT


def test_a_workspace_that_does_not_exist(sandbox: SandboxInstallation) -> None:
    """Neither its policy is read nor set."""
    policies, absent = sandbox.services.policies, WorkspaceId("ws_absent")
    with pytest.raises(NotFound):
        policies.of_workspace(absent)
    with pytest.raises(NotFound):
        policies.replace_operators(absent, STRICT, PRODUCT.actor)


# --- every way to make or extend a key ---


@dataclass(frozen=True)
class Bench:
    """A workspace with a key to rotate or extend; `by` acts."""

    sandbox: SandboxInstallation
    by: Principal
    key: KeyId

    def created(self, ends: Ends) -> ApiKey:
        """Create a key."""
        return self.sandbox.services.keys.create(self.by, KeyDraft("new", ends)).key

    def rotated(self, ends: Ends) -> ApiKey:
        """Rotate the key."""
        return self.sandbox.services.rotations.rotate(self.by, self.key, expires_at=ends).key

    def updated(self, ends: Ends) -> ApiKey:
        """Extend the key."""
        return self.sandbox.services.keys.update(self.by, self.key, KeyPatch(expires_at=ends))

    def collected(self, ends: Ends) -> ApiKey:
        """Approve a terminal's request, and collect its key."""
        logins, origin = self.sandbox.services.device_logins, Origin(f"192.0.2.{next(_hosts)}")
        started = logins.start(DeviceRequest(), origin)
        logins.approve(self.by, started.user_code, KeyDraft("new", ends, FULL), origin)
        polled = logins.poll(started.device_code, origin)
        assert isinstance(polled, CreatedKey)
        return polled.key

    def extended(self, ends: Ends) -> ApiKey:
        """Extend the key as one of several."""
        assert isinstance(ends, datetime)
        self.sandbox.services.keys.expire_many(self.by, [self.key], ends)
        return self.sandbox.services.keys.get(self.by, self.key)


MAKING: dict[str, Callable[[Bench, Ends], ApiKey]] = {
    "create": Bench.created,
    "rotate": Bench.rotated,
    "device": Bench.collected,
}
EXTENDING: dict[str, Callable[[Bench, Ends], ApiKey]] = {
    "update": Bench.updated,
    "expire many": Bench.extended,
}
MEMBERS = ["owner", "admin", "developer"]
ACTORS = ["operator", "key", *MEMBERS]
WAYS_AND_ACTORS = [
    (way, kind)
    for way in (*MAKING, *EXTENDING)
    for kind in (MEMBERS if way == "device" else ACTORS)
]
ISSUES = {"services.keys.create_in", "services.rotations._rotate", "services.renewals._renew"}
"""The use cases that make a key: ways in MAKING, and renewal, which names nothing."""
CREATES = {"services.keys._create", "services.device_logins._collect"}
"""The use cases that go through the first of them."""
CHANGES = {
    "services.keys._patch",
    "services.rotations._succeed",
    "services.renewals._renew",
    "services.first_uses._commit",
    "services.first_uses._end",
    "services.rate_limits.set",
}
"""The use cases that write a key's row. All but the first never let it end later than before."""


def _actor(sandbox: SandboxInstallation, tenant: Principal, kind: str) -> Principal:
    now = sandbox.clock.now()
    match kind:
        case "operator":
            return tenant
        case "key":
            return sandbox.caller(tenant, EVERYTHING, KEYS_WRITE, expires_at=None)
        case _:
            return acting(member_of(sandbox, tenant, Role(kind)), now)


def _bench(sandbox: SandboxInstallation, kind: str, **chosen: Any) -> Bench:
    tenant = sandbox.tenant()
    by = _actor(sandbox, tenant, kind)
    made = sandbox.services.keys.create(by, KeyDraft("old", **chosen))
    _set(sandbox, tenant, STRICT)
    return Bench(sandbox, by, made.key.id)


@pytest.mark.parametrize(("way", "kind"), WAYS_AND_ACTORS)
def test_what_is_named_one_second_too_far(
    sandbox: SandboxInstallation, way: str, kind: str
) -> None:
    """For everyone and in every way an expiry within the policy is taken, and one second more is against-policy."""
    now = sandbox.clock.now()
    bench = _bench(sandbox, kind, expires_at=now + 40 * DAY)
    act = (MAKING | EXTENDING)[way]
    with pytest.raises(AgainstPolicy) as refused:
        act(bench, now + 90 * DAY + SECOND)
    assert refused.value.pointer == "/expires_at"
    assert refused.value.policy == PolicyLayers(operator=STRICT).effective.members()
    if way in MAKING or way == "update":
        with pytest.raises(AgainstPolicy):
            act(bench, None)
    assert sandbox.services.keys.get(bench.by, bench.key).expires_at == now + 40 * DAY
    assert act(bench, now + 90 * DAY).expires_at == now + 90 * DAY


@pytest.mark.parametrize(("way", "kind"), [pair for pair in WAYS_AND_ACTORS if pair[0] in MAKING])
def test_what_is_omitted_is_clipped(sandbox: SandboxInstallation, way: str, kind: str) -> None:
    """For everyone and in every way an omitted expiry is now + default, or earlier if the key's lifetime is shorter."""
    now = sandbox.clock.now()
    for lives, expected in ((None, 30), (60, 30), (7, 7 if way == "rotate" else 30)):
        ends = None if lives is None else now + lives * DAY
        bench = _bench(sandbox, kind, expires_at=ends)
        assert MAKING[way](bench, UNSET).expires_at == now + expected * DAY


@pytest.mark.parametrize("way", ["create", "rotate"])
def test_a_keys_own_expiry_bounds_what_is_omitted(sandbox: SandboxInstallation, way: str) -> None:
    """An omitted expiry is the caller's if that is earlier than now + default."""
    tenant, now = sandbox.tenant(), sandbox.clock.now()
    old = sandbox.key(tenant, expires_at=None).key
    caller = sandbox.caller(tenant, EVERYTHING, KEYS_WRITE, expires_at=now + 5 * DAY)
    _set(sandbox, tenant, STRICT)
    assert MAKING[way](Bench(sandbox, caller, old.id), UNSET).expires_at == now + 5 * DAY


def test_every_way_is_listed() -> None:
    """No other function makes a key or writes what a key may do than those that these tests go through."""
    issuing, creating, changing = set(), set(), set()
    for path in (SOURCES / "services").rglob("*.py"):
        module = ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = {
                (getattr(call.func.value, "attr", ""), call.func.attr)
                for call in ast.walk(function)
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            }
            if ("_issuer", "issue") in calls:
                issuing.add(f"{module}.{function.name}")
            if "create_in" in {name for _, name in calls}:
                creating.add(f"{module}.{function.name}")
            if "update_key" in {name for _, name in calls}:
                changing.add(f"{module}.{function.name}")
    assert issuing == ISSUES
    assert creating == CREATES
    assert changing == CHANGES


# --- renewal, which names nothing ---


def _renewed(sandbox: SandboxInstallation, policy: Policy, lives: int | None) -> ApiKey:
    """Renew a key that was made before the policy. Returns its successor."""
    tenant, ends = sandbox.tenant(), lives and sandbox.clock.now() + lives * DAY
    made = sandbox.key(tenant, expires_at=ends or None, renewal=Renewal(None))
    _set(sandbox, tenant, policy)
    sandbox.clock.advance(days=1)
    return sandbox.services.renewals.renew(sandbox.principal(made)).key


def test_a_renewal_is_clipped(sandbox: SandboxInstallation) -> None:
    """The successor has the lifetime of the key as far as the maximum allows; the default doesn't shorten it."""
    for policy, lives, expected in (
        (STRICT, 60, 60),
        (Policy(max_lifetime_days=50), 40, 40),
        (Policy(max_lifetime_days=50), 50, 50),
        (Policy(default_lifetime_days=7), 60, 60),
        (STRICT, None, 90),
        (Policy(expiry_required=True, default_lifetime_days=7), None, 7),
    ):
        successor = _renewed(sandbox, policy, lives)
        assert successor.expires_at == sandbox.clock.now() + expected * DAY
    with pytest.raises(AgainstPolicy):
        _renewed(sandbox, Policy(expiry_required=True), None)
    with pytest.raises(NotRenewable):
        _renewed(sandbox, Policy(renewal_allowed=False), 60)


# --- changes of existing keys ---


def test_a_lifetime_counts_from_the_creation(sandbox: SandboxInstallation) -> None:
    """A key that is 50 days old may be extended by 40 days, and not by one second more."""
    start = sandbox.clock.now()
    bench = _bench(sandbox, "operator", expires_at=start + 60 * DAY)
    sandbox.clock.advance(days=50)
    with pytest.raises(AgainstPolicy):
        bench.updated(start + 90 * DAY + SECOND)
    assert bench.updated(start + 90 * DAY).expires_at == start + 90 * DAY


@pytest.mark.parametrize("before", [None, 400])
def test_what_a_key_has_it_may_keep_or_shorten(
    sandbox: SandboxInstallation, before: int | None
) -> None:
    """A key beyond the policy stays, can be described, and shortened to what is still beyond the policy."""
    now = sandbox.clock.now()
    ends = None if before is None else now + before * DAY
    bench = _bench(sandbox, "operator", expires_at=ends)
    keys, by = sandbox.services.keys, bench.by
    assert keys.get(by, bench.key).expires_at == ends
    assert keys.update(by, bench.key, KeyPatch("other", ends)).description == "other"
    assert bench.updated(now + 300 * DAY).expires_at == now + 300 * DAY
    with pytest.raises(AgainstPolicy):
        bench.updated(now + 300 * DAY + SECOND)
    with pytest.raises(AgainstPolicy):
        bench.updated(None)


def test_renewal_that_is_not_allowed(sandbox: SandboxInstallation) -> None:
    """Setting renewal is against-policy in new and existing keys; a key keeps, and may shorten or lose, what it has."""
    tenant, now = sandbox.tenant(), sandbox.clock.now()
    keys, renewal = sandbox.services.keys, Renewal(now + 400 * DAY)
    plain, renewable = sandbox.key(tenant).key, sandbox.key(tenant, renewal=renewal).key
    _set(sandbox, tenant, Policy(renewal_allowed=False))
    refusals: list[KeysteadError] = []
    for act in (
        lambda: keys.create(tenant, KeyDraft("new", renewal=renewal)),
        lambda: keys.update(tenant, plain.id, KeyPatch(renewal=renewal)),
        lambda: keys.update(tenant, renewable.id, KeyPatch(renewal=Renewal(None))),
    ):
        with pytest.raises(AgainstPolicy) as refused:
            act()
        refusals.append(refused.value)
    assert {refusal.pointer for refusal in refusals if isinstance(refusal, AgainstPolicy)} == {
        "/renewal"
    }
    kept = keys.update(tenant, renewable.id, KeyPatch("renewable", renewal=renewal))
    assert kept.renewal == renewal
    shorter = Renewal(now + 300 * DAY)
    assert keys.update(tenant, renewable.id, KeyPatch(renewal=shorter)).renewal == shorter
    assert keys.update(tenant, renewable.id, KeyPatch(renewal=None)).renewal is None
    assert keys.create(tenant, KeyDraft("new", renewal=None)).key.renewal is None
