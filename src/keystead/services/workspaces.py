"""Workspaces: create, put, list, change, suspend, resume, and set plans, mostly by the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.domain.errors import Invalid, NameTaken, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import UserId, WorkspaceId, new_id
from keystead.domain.keys import UNSET, Unset
from keystead.domain.plans import DEFAULT_PLANS, Limits
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.roles import Permission
from keystead.domain.users import check_email
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.workspaces import (
    Member,
    Role,
    User,
    Workspace,
    check_external_id,
    check_name,
)
from keystead.services.authorization import Authorization
from keystead.services.paging import Page, page_of
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.errors import RolledBack
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, plans, users
from keystead.storage.tables import workspaces as rows

FIRST_WORKSPACE: Final = "My workspace"
FIRST_OWNER: Final = "Owner"
OPERATOR: Final = Actor(PrincipalKind.OPERATOR, "cli", "Command line")
SYSTEM: Final = Actor(PrincipalKind.SYSTEM, "system", "System")


class Workspaces:
    """The tenants of the installation."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def create(
        self,
        name: str,
        *,
        plan_id: str | None = None,
        owner: str | None = None,
        email: str | None = None,
        actor: Actor = OPERATOR,
        origin: Origin = NO_ORIGIN,
    ) -> Workspace:
        """Create a workspace on a plan (default: the smallest), with an owner if given. Raises EmailTaken."""
        with self._authorization.operating(actor, origin) as (tx, act):
            plans.lock_plans(tx)
            workspace = _add_workspace(tx, check_name(name), _choose_plan(tx, plan_id), act)
            if owner is not None:
                address = email and check_email(email, "/owner/email")
                _add_owner(tx, workspace.id, check_name(owner, "/owner/name"), address, act)
        return workspace

    @retry_on_conflict
    def put(
        self,
        external_id: str,
        name: str,
        plan_id: str | None = None,
        actor: Actor = OPERATOR,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> tuple[Workspace, bool]:
        """Create the workspace with the product's own id, or update its name and plan (None: unchanged).

        Returns the workspace, and whether it was created. If nothing changes, there is no event.
        """
        check_external_id(external_id)
        with self._database.read_across(Purpose.OPERATOR) as tx:
            known = rows.find_by_external_id(tx, external_id)
        locks = None if known is None else known.id
        with self._authorization.operating(actor, origin, locks) as (tx, act):
            plans.lock_plans(tx)
            before = rows.find_by_external_id(tx, external_id)
            if (None if before is None else before.id) != locks:
                raise RolledBack("Another workspace got the external id.")
            require_match(if_match, None if before is None else before.version)
            check_name(name)
            if before is None:
                chosen = _choose_plan(tx, plan_id)
                return _add_workspace(tx, name, chosen, act, external_id), True
            _rename(tx, before, name, act)
            if plan_id is not None:
                _put_on_plan(tx, before, plan_id, rows.overrides_of(tx, before.id), act)
            return _find(tx, before.id), False

    @retry_on_conflict
    def by_external_id(self, external_id: str) -> Workspace:
        """Return the workspace with that id of the product's own."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            return NotFound.unless(rows.find_by_external_id(tx, external_id), "workspace")

    @retry_on_conflict
    def update(
        self,
        workspace_id: WorkspaceId,
        *,
        name: str | Unset = UNSET,
        external_id: str | Unset = UNSET,
        actor: Actor = OPERATOR,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Workspace:
        """Change the name or the product's own id. Raises NameTaken if another workspace has the id."""
        with self._authorization.operating(actor, origin, workspace_id) as (tx, act):
            before = _find(tx, workspace_id)
            require_match(if_match, before.version)
            if external_id is not UNSET and external_id != before.external_id:
                # The lock decides between two workspaces that want the same id.
                plans.lock_plans(tx)
                if rows.find_by_external_id(tx, check_external_id(external_id)) is not None:
                    raise NameTaken("Another workspace has that external id.")
                rows.set_external_id(tx, workspace_id, external_id)
                data = {"changed": ("external_id",), "external_id": external_id}
                _record(tx, EventType.WORKSPACE_UPDATED, workspace_id, act, data)
            if name is not UNSET:
                _rename(tx, before, check_name(name), act)
            return _find(tx, workspace_id)

    @retry_on_conflict
    def first(self) -> Member:
        """Return the owner of the oldest workspace, after creating both on an empty installation."""
        with self._authorization.operating(SYSTEM) as (tx, act):
            # The lock makes this happen once, however many servers start at the same time.
            plans.lock_plans(tx)
            owner = rows.oldest_owner(tx)
            if owner is not None:
                return owner
            workspace = _add_workspace(tx, FIRST_WORKSPACE, _choose_plan(tx, None), act)
            return _add_owner(tx, workspace.id, FIRST_OWNER, None, act)

    @retry_on_conflict
    def get(self, workspace_id: WorkspaceId) -> Workspace:
        """Return the workspace of that id."""
        with self._database.read_once(workspace_id) as tx:
            return _find(tx, workspace_id)

    @retry_on_conflict
    def named(self, text: str) -> Workspace:
        """Return the workspace of that id, or of that name if it is unique."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            by_id = rows.find_workspace(tx, WorkspaceId(text))
            candidates = [by_id] if by_id else rows.workspaces_named(tx, text)
        if not candidates:
            raise NotFound("There is no workspace of that id or name.")
        if len(candidates) > 1:
            raise Invalid.field("workspace", "is the name of several workspaces; give the id")
        return candidates[0]

    @retry_on_conflict
    def list(
        self, *, query: str = "", limit: int = 50, before: WorkspaceId | None = None
    ) -> Page[Workspace, WorkspaceId]:
        """Return one page of workspaces, newest first. `query`: part of a name, in any ASCII case, or an id."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            workspaces = rows.page_of_workspaces(tx, query=query, limit=limit + 1, before=before)
        return page_of(workspaces, limit, lambda workspace: workspace.id)

    @retry_on_conflict
    def rename(
        self,
        principal: Principal,
        name: str,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Workspace:
        """Give the workspace another name. If it is the same, there is no event."""
        with self._authorization.changing(principal, origin, Permission.RENAME_WORKSPACE) as (
            tx,
            act,
        ):
            before = _find(tx, principal.workspace_id)
            require_match(if_match, before.version)
            _rename(tx, before, check_name(name), act)
            return _find(tx, before.id)

    def suspend(
        self, workspace_id: WorkspaceId, actor: Actor = OPERATOR, origin: Origin = NO_ORIGIN
    ) -> Workspace:
        """Refuse every key of the workspace until it is resumed. Again: no event."""
        return self._set_suspension(workspace_id, actor, origin, suspended=True)

    def resume(
        self, workspace_id: WorkspaceId, actor: Actor = OPERATOR, origin: Origin = NO_ORIGIN
    ) -> Workspace:
        """Let the workspace's keys work again. Again: no event."""
        return self._set_suspension(workspace_id, actor, origin, suspended=False)

    @retry_on_conflict
    def set_plan(
        self,
        workspace_id: WorkspaceId,
        plan_id: str,
        overrides: Mapping[str, int | None] | None = None,
        actor: Actor = OPERATOR,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Workspace:
        """Put the workspace on a plan, with limits of its own if given. A lowered limit only stops creation.

        If nothing changes, there is no event.
        """
        with self._authorization.operating(actor, origin, workspace_id) as (tx, act):
            plans.lock_plans(tx)
            before = _find(tx, workspace_id)
            require_match(if_match, before.version)
            _put_on_plan(tx, before, plan_id, _check_overrides(overrides or {}), act)
            return _find(tx, workspace_id)

    @retry_on_conflict
    def owner(self, workspace_id: WorkspaceId) -> Member:
        """Return the workspace's longest-standing owner."""
        with self._database.read(workspace_id) as tx:
            _find(tx, workspace_id)
            owners = [m for m in rows.members_of(tx, workspace_id) if m.role is Role.OWNER]
        if not owners:
            raise NotFound("The workspace has no owner.")
        return owners[0]

    @retry_on_conflict
    def _set_suspension(
        self, workspace_id: WorkspaceId, actor: Actor, origin: Origin, *, suspended: bool
    ) -> Workspace:
        with self._authorization.operating(actor, origin, workspace_id, revokes=suspended) as (
            tx,
            act,
        ):
            before = _find(tx, workspace_id)
            if (before.suspended_at is not None) == suspended:
                return before
            rows.set_suspension(tx, workspace_id, act.at if suspended else None)
            type = EventType.WORKSPACE_SUSPENDED if suspended else EventType.WORKSPACE_RESUMED
            _record(tx, type, workspace_id, act)
            return _find(tx, workspace_id)


def _find(tx: Tx, workspace_id: WorkspaceId) -> Workspace:
    return NotFound.unless(rows.find_workspace(tx, workspace_id), "workspace")


def _rename(tx: Tx, before: Workspace, name: str, act: Act) -> None:
    if before.name != name:
        rows.set_name(tx, before.id, name)
        _record(tx, EventType.WORKSPACE_UPDATED, before.id, act, {"from": before.name, "to": name})


def _put_on_plan(
    tx: Tx, before: Workspace, plan_id: str, overrides: dict[str, int | None], act: Act
) -> None:
    if plans.find_plan(tx, plan_id) is None:
        raise Invalid.field("/plan", "is not a plan of this installation")
    if (before.plan_id, rows.overrides_of(tx, before.id)) != (plan_id, overrides):
        rows.set_plan(tx, before.id, plan_id, overrides)
        data = {"plan": plan_id, "overrides": overrides}
        _record(tx, EventType.WORKSPACE_PLAN_CHANGED, before.id, act, data)


def _add_workspace(
    tx: Tx, name: str, plan_id: str, act: Act, external_id: str | None = None
) -> Workspace:
    id = WorkspaceId(new_id("ws", act.at))
    workspace = Workspace(id, name, plan_id, act.at, external_id=external_id)
    rows.insert_workspace(tx, workspace)
    data = {"name": name} if external_id is None else {"name": name, "external_id": external_id}
    _record(tx, EventType.WORKSPACE_CREATED, workspace.id, act, data)
    return workspace


def _add_owner(tx: Tx, workspace_id: WorkspaceId, name: str, email: str | None, act: Act) -> Member:
    confirmed_at = None if email is None else act.at  # the operator vouches for it
    user = User(UserId(new_id("usr", act.at)), name, email, act.at, email_confirmed_at=confirmed_at)
    member = Member(workspace_id, user, Role.OWNER)
    users.insert_user(tx, user)
    rows.insert_member(tx, member, act.at)
    data = {"name": name, "role": member.role}
    target = Target("member", user.id)
    events.append_event(tx, workspace_id, EventType.MEMBER_ADDED, act, target, data)
    return member


def _choose_plan(tx: Tx, plan_id: str | None) -> str:
    """Return the plan of that id, or the smallest. A new installation gets its plans with its first workspace."""
    if not plans.all_plans(tx):
        plans.replace_plans(tx, DEFAULT_PLANS)
    if plan_id is None:
        return plans.all_plans(tx)[0].id
    if plans.find_plan(tx, plan_id) is None:
        raise Invalid.field("/plan", "is not a plan of this installation")
    return plan_id


def _check_overrides(overrides: Mapping[str, int | None]) -> dict[str, int | None]:
    try:
        Limits.of(overrides)
    except ValueError as error:
        raise Invalid.field("/overrides", str(error)) from None
    return dict(overrides)


def _record(
    tx: Tx,
    type: EventType,
    workspace_id: WorkspaceId,
    act: Act,
    data: Mapping[str, object] | None = None,
) -> None:
    events.append_event(tx, workspace_id, type, act, Target("workspace", workspace_id), data)
