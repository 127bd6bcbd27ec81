"""Plans: replaced as a whole, assigned to workspaces, read with their use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from keystead.domain.errors import InsufficientScope, Invalid, NotFound
from keystead.domain.keys import KeyDraft
from keystead.domain.plans import DEFAULT_PLANS, Limits, Plan, Quota
from keystead.domain.principals import operator
from tests.support.installations import SandboxInstallation

SOLO = Plan("solo", "Solo", Limits(api_keys=1), 0)


def test_plans_are_applied_as_a_whole(own_sandbox: SandboxInstallation) -> None:
    """The applied plans are all the plans there are, in their order: new, changed, and without the removed ones."""
    plans = own_sandbox.services.plans
    plans.apply([SOLO, Plan("team", "Crew", Limits(api_keys=9), 1)])
    assert plans.all() == [SOLO, Plan("team", "Crew", Limits(api_keys=9), 1)]
    assert plans.get("solo") == SOLO
    with pytest.raises(NotFound):
        plans.get("free")


def test_applying_again_changes_nothing(own_sandbox: SandboxInstallation) -> None:
    """The same plans may be applied again and again."""
    for _ in range(2):
        own_sandbox.services.plans.apply(DEFAULT_PLANS)
    assert tuple(own_sandbox.services.plans.all()) == DEFAULT_PLANS


def test_a_plan_in_use_stays(own_sandbox: SandboxInstallation) -> None:
    """A plan that a workspace is on cannot be removed: the refusal names it, and nothing changes."""
    own_sandbox.services.workspaces.create("W", plan_id="team")
    with pytest.raises(Invalid, match="team"):
        own_sandbox.services.plans.apply([SOLO])
    assert tuple(own_sandbox.services.plans.all()) == DEFAULT_PLANS


@pytest.mark.parametrize("wanted", [[], [SOLO, SOLO]], ids=["none", "twice"])
def test_plans_that_cannot_be(own_sandbox: SandboxInstallation, wanted: list[Plan]) -> None:
    """There is always a plan, and each id is unique."""
    with pytest.raises(Invalid):
        own_sandbox.services.plans.apply(wanted)


def test_a_changed_limit_holds_immediately(own_sandbox: SandboxInstallation) -> None:
    """A plan's new limit holds for its workspaces from the next creation on; a workspace's own limit has priority."""
    plans, workspaces = own_sandbox.services.plans, own_sandbox.services.workspaces
    tenant, special = own_sandbox.tenant(), own_sandbox.tenant(limit=7)
    plans.apply([*DEFAULT_PLANS[:2], Plan("scale", "Scale", Limits(api_keys=2), 2)])
    assert plans.use(tenant).quotas["api_keys"] == Quota(2, 0)
    assert plans.use(special).quotas["api_keys"] == Quota(7, 0)
    workspaces.set_plan(special.workspace_id, "scale")
    assert plans.use(special).quotas["api_keys"] == Quota(2, 0)


def test_what_is_used(sandbox: SandboxInstallation) -> None:
    """A workspace's use has each limit: keys, collections, documents, webhooks, members."""
    workspace = sandbox.services.workspaces.create("W", plan_id="free", owner="Ada")
    tenant = operator("tests", workspace.id)
    sandbox.services.keys.create(tenant, KeyDraft("sync"))
    use = sandbox.services.plans.use(tenant)
    assert use.plan == DEFAULT_PLANS[0]
    assert use.quotas == {
        "api_keys": Quota(5, 1),
        "collections": Quota(3, 0),
        "documents": Quota(1_000, 0),
        "webhooks": Quota(1, 0),
        "members": Quota(3, 1),
    }


def test_who_sees_the_plan(sandbox: SandboxInstallation) -> None:
    """Reading the plan requires `plan:read`."""
    tenant = sandbox.tenant()
    assert sandbox.services.plans.use(sandbox.caller(tenant, "plan:read")).plan.id == "scale"
    with pytest.raises(InsufficientScope):
        sandbox.services.plans.use(sandbox.caller(tenant, "keys:read"))


@pytest.mark.parametrize(
    "overrides", [{"keys": 1}, {"api_keys": -1}, {"api_keys": 1.5}, {"api_keys": True}], ids=str
)
def test_overrides_that_cannot_be(sandbox: SandboxInstallation, overrides: dict[str, int]) -> None:
    """A workspace's own limits are known ones and counts."""
    tenant = sandbox.tenant()
    with pytest.raises(Invalid):
        sandbox.services.workspaces.set_plan(tenant.workspace_id, "free", overrides)
    assert sandbox.services.workspaces.get(tenant.workspace_id).plan_id == "scale"


def test_a_change_of_plan_is_recorded(sandbox: SandboxInstallation) -> None:
    """Assigning a plan to a workspace is an event with the plan and the workspace's own limits."""
    tenant = sandbox.tenant()
    sandbox.services.workspaces.set_plan(tenant.workspace_id, "free", {"api_keys": 9})
    event = sandbox.events(tenant)[-1]
    assert event.type == "workspace.plan_changed"
    assert event.data == {"plan": "free", "overrides": {"api_keys": 9}}


def _done(act: Callable[[], object]) -> bool:
    try:
        act()
    except Invalid:
        return False
    return True


def test_a_plan_goes_while_it_is_taken(own_sandbox: SandboxInstallation) -> None:
    """Of removing a plan and assigning it concurrently, one is refused: no workspace is left without a plan."""
    tenant = own_sandbox.tenant()
    without = [plan for plan in DEFAULT_PLANS if plan.id != "free"]
    for _ in range(10):
        together = Barrier(2)

        def remove(together: Barrier = together) -> bool:
            together.wait(30)
            return _done(lambda: own_sandbox.services.plans.apply(without))

        def take(together: Barrier = together) -> bool:
            together.wait(30)
            set_plan = own_sandbox.services.workspaces.set_plan
            return _done(lambda: set_plan(tenant.workspace_id, "free"))

        with ThreadPoolExecutor(2) as pool:
            outcomes = [pool.submit(act) for act in (remove, take)]
        assert [outcome.result() for outcome in outcomes].count(True) == 1
        assert own_sandbox.services.plans.use(tenant).plan.id in ("free", "scale")
        own_sandbox.services.plans.apply(DEFAULT_PLANS)
        own_sandbox.services.workspaces.set_plan(tenant.workspace_id, "scale")
