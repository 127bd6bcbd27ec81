"""Workspaces: created, first of all once, suspended, resumed, found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import delete

from keystead.bootstrap import Installation
from keystead.domain.errors import Invalid, NotFound
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import of_member, operator
from keystead.domain.workspaces import Role
from keystead.storage.schema import tables as schema
from tests.support.administrator import write_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation

ABSENT = WorkspaceId("ws_0000000000000000000000")


def test_the_first_workspace(own_sandbox: SandboxInstallation) -> None:
    """A new installation's first workspace is created once, with an owner, on the smallest plan; then it is there."""
    first = own_sandbox.services.workspaces.first()
    assert first.role is Role.OWNER
    assert own_sandbox.services.workspaces.first() == first
    page = own_sandbox.services.workspaces.list()
    assert [(w.id, w.plan_id) for w in page.items] == [(first.workspace_id, "free")]
    assert [e.type for e in own_sandbox.events(of_member(first))] == [
        "workspace.created",
        "member.added",
    ]


@pytest.mark.parametrize("planned", [True, False], ids=["with plans", "without plans"])
def test_concurrent_first_workspaces(own_sandbox: SandboxInstallation, planned: bool) -> None:
    """Eight servers that start concurrently on an empty installation create one first workspace (R70)."""
    if not planned:
        with write_behind(own_sandbox.database) as tx:
            tx.execute(delete(schema.plans))
    servers: list[Installation] = [own_sandbox.another() for _ in range(8)]
    together = Barrier(8)

    def first(server: Installation) -> WorkspaceId:
        server.database.ping()
        together.wait(30)
        return server.services.workspaces.first().workspace_id

    with ThreadPoolExecutor(8) as pool:
        workspaces = list(pool.map(first, servers))
    assert len(set(workspaces)) == 1
    assert own_sandbox.count(schema.workspaces) == own_sandbox.count(schema.users) == 1
    assert [plan.id for plan in own_sandbox.services.plans.all()] == ["free", "team", "scale"]


def test_a_workspace_before_the_first(own_sandbox: SandboxInstallation) -> None:
    """A workspace can be created on an installation that has no plans yet; it gets the default ones with it."""
    with write_behind(own_sandbox.database) as tx:
        tx.execute(delete(schema.plans))
    assert own_sandbox.services.workspaces.create("W").plan_id == "free"


def test_a_workspace_is_made(sandbox: SandboxInstallation) -> None:
    """A workspace has the name, the plan and the owner that it was created with."""
    workspace = sandbox.services.workspaces.create(
        "Acme", plan_id="team", owner="Ada", email="a@b.example"
    )
    assert (workspace.name, workspace.plan_id, workspace.created_at, workspace.suspended_at) == (
        "Acme",
        "team",
        NOON,
        None,
    )
    assert sandbox.services.workspaces.get(workspace.id) == workspace
    owner = sandbox.services.workspaces.owner(workspace.id)
    assert (owner.user.name, owner.user.email, owner.role) == ("Ada", "a@b.example", Role.OWNER)


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"name": " "}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "W", "plan_id": "gold"}, "/plan"),
        ({"name": "W", "owner": ""}, "/owner/name"),
    ],
    ids=str,
)
def test_refused_workspaces(
    sandbox: SandboxInstallation, asked: dict[str, str], pointer: str
) -> None:
    """An impossible value is named, and nothing is created."""
    before = sandbox.count(schema.workspaces), sandbox.count(schema.users)
    with pytest.raises(Invalid) as refused:
        sandbox.services.workspaces.create(**asked)  # type: ignore[arg-type]
    assert [error.pointer for error in refused.value.errors] == [pointer]
    assert (sandbox.count(schema.workspaces), sandbox.count(schema.users)) == before


def test_suspension_is_recorded_once(sandbox: SandboxInstallation) -> None:
    """Suspending and resuming add an event each; repeating adds no event and keeps the first time."""
    tenant = sandbox.tenant()
    workspaces, id = sandbox.services.workspaces, tenant.workspace_id
    assert workspaces.suspend(id).suspended_at == NOON
    sandbox.clock.advance(hours=1)
    assert workspaces.suspend(id).suspended_at == NOON
    assert workspaces.resume(id).suspended_at is None
    workspaces.resume(id)
    assert [str(e.type) for e in sandbox.events(tenant)][-2:] == [
        "workspace.suspended",
        "workspace.resumed",
    ]
    assert len(sandbox.events(tenant)) == 3


def test_a_suspended_workspace_can_be_cleaned_up(sandbox: SandboxInstallation) -> None:
    """In a suspended workspace keys can still be revoked and listed: suspension stops use, not administration."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    sandbox.services.workspaces.suspend(tenant.workspace_id)
    sandbox.services.keys.revoke(tenant, created.key.id)
    sandbox.services.workspaces.resume(tenant.workspace_id)
    assert sandbox.verdict(created) == "revoked"


def test_absent_workspaces(sandbox: SandboxInstallation) -> None:
    """Nothing is done to, or in, a workspace that does not exist."""
    workspaces = sandbox.services.workspaces
    for act in (workspaces.get, workspaces.suspend, workspaces.resume, workspaces.owner):
        with pytest.raises(NotFound):
            act(ABSENT)
    with pytest.raises(NotFound):
        workspaces.set_plan(ABSENT, "free")
    with pytest.raises(NotFound):
        sandbox.key(operator("tests", ABSENT))
    with pytest.raises(NotFound):
        sandbox.services.keys.list(operator("tests", ABSENT))
    with pytest.raises(NotFound):
        sandbox.services.plans.use(operator("tests", ABSENT))


def test_found_by_name(sandbox: SandboxInstallation) -> None:
    """A workspace is found by its id, or by a name that it alone has."""
    workspaces = sandbox.services.workspaces
    one, twin = workspaces.create("Only one"), workspaces.create("Twins")
    workspaces.create("Twins")
    assert workspaces.named("Only one") == workspaces.named(one.id) == one
    assert workspaces.named(twin.id) == twin
    with pytest.raises(Invalid):
        workspaces.named("Twins")
    with pytest.raises(NotFound):
        workspaces.named("Nobody")


def test_pages(own_sandbox: SandboxInstallation) -> None:
    """Workspaces are listed newest first, page by page, each once, also while others are created."""
    workspaces = own_sandbox.services.workspaces
    ids = []
    for number in range(7):
        ids.append(workspaces.create(f"W{number}").id)
        own_sandbox.clock.advance(seconds=1)
    seen: list[WorkspaceId] = []
    before = None
    while not seen or before is not None:
        page = workspaces.list(limit=3, before=before)
        seen, before = seen + [workspace.id for workspace in page.items], page.next
        workspaces.create("later")
        own_sandbox.clock.advance(seconds=1)
    assert seen == ids[::-1]
