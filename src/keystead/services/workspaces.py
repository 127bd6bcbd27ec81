"""Workspaces: make, see, suspend, resume, put on a plan. The acts of who runs the installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keystead.domain.errors import Invalid, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import UserId, WorkspaceId, new_id
from keystead.domain.plans import DEFAULT_PLANS, Limits
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.roles import Permission
from keystead.domain.users import check_email
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.workspaces import Member, Role, User, Workspace, check_name
from keystead.services.authorization import Authorization
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import events, plans, users
from keystead.storage.tables import workspaces as rows

FIRST_WORKSPACE: Final = "My workspace"
FIRST_OWNER: Final = "Owner"
OPERATOR: Final = Actor(PrincipalKind.OPERATOR, "cli", "Command line")
SYSTEM: Final = Actor(PrincipalKind.SYSTEM, "keystead", "Keystead")


@dataclass(frozen=True, slots=True)
class WorkspacePage:
    """Workspaces, newest first; `next` is the id to continue after, None at the end."""

    workspaces: list[Workspace]
    next: WorkspaceId | None


class Workspaces:
    """The tenants of the installation."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @anew
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
        """A new workspace on a plan (the smallest, unless named), with an owner where one is named. EmailTaken."""
        with self._authorization.operating(actor, origin) as (tx, act):
            plans.lock_plans(tx)
            workspace = _add_workspace(tx, check_name(name), _chosen_plan(tx, plan_id), act)
            if owner is not None:
                address = email and check_email(email, "/owner/email")
                _add_owner(tx, workspace.id, check_name(owner, "/owner/name"), address, act)
        return workspace

    @anew
    def first(self) -> Member:
        """The owner of the oldest workspace. On an empty installation both are made: once, however many ask at once."""
        with self._authorization.operating(SYSTEM) as (tx, act):
            plans.lock_plans(tx)
            found = rows.oldest_owner(tx)
            if found is not None:
                return found
            workspace = _add_workspace(tx, FIRST_WORKSPACE, _chosen_plan(tx, None), act)
            return _add_owner(tx, workspace.id, FIRST_OWNER, None, act)

    @anew
    def get(self, workspace_id: WorkspaceId) -> Workspace:
        """The workspace of that id."""
        with self._database.read(workspace_id) as tx:
            return self._find(tx, workspace_id)

    @anew
    def of_user(self, user_id: UserId) -> list[Workspace]:
        """Every workspace that the user is a member of, the oldest first."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            return rows.workspaces_of(tx, user_id)

    @anew
    def named(self, text: str) -> Workspace:
        """The workspace of that id or, where only one bears it, of that name."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            found = rows.find_workspace(tx, WorkspaceId(text))
            candidates = [found] if found else rows.workspaces_named(tx, text)
        if not candidates:
            raise NotFound("There is no workspace of that id or name.")
        if len(candidates) > 1:
            raise Invalid.field("workspace", "is the name of several workspaces; give the id")
        return candidates[0]

    @anew
    def list(
        self, *, query: str = "", limit: int = 50, before: WorkspaceId | None = None
    ) -> WorkspacePage:
        """One page of workspaces, newest first; with `query` in their name (ASCII letters in any case), or as id."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            found = rows.page_of_workspaces(tx, query=query, limit=limit + 1, before=before)
        page = found[:limit]
        return WorkspacePage(page, page[-1].id if len(found) > limit else None)

    @anew
    def rename(
        self,
        principal: Principal,
        name: str,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Workspace:
        """Give the workspace another name. No difference: no event."""
        needed = Permission.RENAME_WORKSPACE
        with self._authorization.changing(principal, origin, needed) as (tx, _, act):
            before = self._find(tx, principal.workspace_id)
            require_match(if_match, before.version)
            check_name(name)
            if before.name != name:
                rows.set_name(tx, before.id, name)
                told = {"from": before.name, "to": name}
                _record(tx, EventType.WORKSPACE_UPDATED, before.id, act, told)
            return self._find(tx, before.id)

    def suspend(
        self, workspace_id: WorkspaceId, actor: Actor = OPERATOR, origin: Origin = NO_ORIGIN
    ) -> Workspace:
        """Refuses every key of the workspace from now on, until it is resumed. Again: no event."""
        return self._set_suspension(workspace_id, actor, origin, suspended=True)

    def resume(
        self, workspace_id: WorkspaceId, actor: Actor = OPERATOR, origin: Origin = NO_ORIGIN
    ) -> Workspace:
        """Lets the workspace's keys work again. Again: no event."""
        return self._set_suspension(workspace_id, actor, origin, suspended=False)

    @anew
    def set_plan(
        self,
        workspace_id: WorkspaceId,
        plan_id: str,
        overrides: Mapping[str, int | None] | None = None,
        actor: Actor = OPERATOR,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Workspace:
        """Put the workspace on a plan, with limits of its own if given. A lowered limit stops creation only.

        No difference: no event.
        """
        with self._authorization.operating(actor, origin, workspace_id) as (tx, act):
            plans.lock_plans(tx)
            before = self._find(tx, workspace_id)
            require_match(if_match, before.version)
            own = _check_overrides(overrides or {})
            if plans.find_plan(tx, plan_id) is None:
                raise Invalid.field("/plan", "is not a plan of this installation")
            if (before.plan_id, rows.overrides_of(tx, workspace_id)) != (plan_id, own):
                rows.set_plan(tx, workspace_id, plan_id, own)
                data = {"plan": plan_id, "overrides": own}
                _record(tx, EventType.WORKSPACE_PLAN_CHANGED, workspace_id, act, data)
            return self._find(tx, workspace_id)

    @anew
    def owner(self, workspace_id: WorkspaceId) -> Member:
        """The workspace's longest-standing owner."""
        with self._database.read(workspace_id) as tx:
            self._find(tx, workspace_id)
            owners = [m for m in rows.members_of(tx, workspace_id) if m.role is Role.OWNER]
        if not owners:
            raise NotFound("The workspace has no owner.")
        return owners[0]

    def _find(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace:
        workspace = rows.find_workspace(tx, workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        return workspace

    @anew
    def _set_suspension(
        self, workspace_id: WorkspaceId, actor: Actor, origin: Origin, *, suspended: bool
    ) -> Workspace:
        with self._authorization.operating(actor, origin, workspace_id, revokes=suspended) as (
            tx,
            act,
        ):
            before = self._find(tx, workspace_id)
            if (before.suspended_at is not None) == suspended:
                return before
            rows.set_suspension(tx, workspace_id, act.at if suspended else None)
            kind = EventType.WORKSPACE_SUSPENDED if suspended else EventType.WORKSPACE_RESUMED
            _record(tx, kind, workspace_id, act)
            return self._find(tx, workspace_id)


def _add_workspace(tx: Tx, name: str, plan_id: str, act: Act) -> Workspace:
    workspace = Workspace(WorkspaceId(new_id("ws", act.at)), name, plan_id, act.at)
    rows.insert_workspace(tx, workspace)
    _record(tx, EventType.WORKSPACE_CREATED, workspace.id, act, {"name": name})
    return workspace


def _add_owner(tx: Tx, workspace_id: WorkspaceId, name: str, email: str | None, act: Act) -> Member:
    confirmed_at = None if email is None else act.at  # the operator vouches for it
    user = User(UserId(new_id("usr", act.at)), name, email, act.at, email_confirmed_at=confirmed_at)
    member = Member(workspace_id, user, Role.OWNER)
    users.insert_user(tx, user)
    rows.insert_member(tx, member, act.at)
    told = {"name": name, "role": member.role}
    target = Target("member", user.id)
    events.append_event(tx, workspace_id, EventType.MEMBER_ADDED, act, target, told)
    return member


def _chosen_plan(tx: Tx, plan_id: str | None) -> str:
    """The plan of that id, or the smallest. A new installation gets its plans with its first workspace."""
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
