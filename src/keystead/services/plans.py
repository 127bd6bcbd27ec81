"""Plans: list and replace them, read a workspace's use, and enforce its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keystead.domain import plans as rules
from keystead.domain.errors import Invalid, NotFound, WouldLoosen
from keystead.domain.events import NO_ORIGIN, InstallationEventType, Origin, Target
from keystead.domain.ids import WorkspaceId
from keystead.domain.plan_changes import PlanChanges, check_plans, compare_plans, version_of
from keystead.domain.plans import LIMIT_NAMES, OF_DOCUMENTS, Plan, PlanUse, Quota
from keystead.domain.principals import Actor, Principal
from keystead.domain.scopes import PLAN_READ
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.workspaces import Workspace
from keystead.services.authorization import Authorization
from keystead.services.workspaces import OPERATOR
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import plans as rows
from keystead.storage.tables import workspaces
from keystead.storage.tables.events import append_installation_event


@dataclass(frozen=True, slots=True)
class WorkspaceUse:
    """A workspace, its own limits, and its plan with the use of every limit."""

    workspace: Workspace
    overrides: Mapping[str, int | None]
    use: PlanUse


class Plans:
    """The plans of the installation and their use; the database is the only truth."""

    def __init__(self, database: Database, clock: Clock, *, has_documents: bool = True) -> None:
        """`has_documents`: whether the installation has the document store, so that its limits have a use."""
        self._limits = tuple(
            name for name in LIMIT_NAMES if has_documents or name not in OF_DOCUMENTS
        )
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def all(self) -> list[Plan]:
        """Return every plan, from small to large."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            return rows.all_plans(tx)

    @retry_on_conflict
    def apply(
        self,
        plans: Sequence[Plan],
        actor: Actor = OPERATOR,
        origin: Origin = NO_ORIGIN,
        *,
        allow_loosening: bool = True,
        dry_run: bool = False,
        if_match: IfMatch | None = None,
    ) -> PlanChanges:
        """Replace all plans by these, with an event if they differ. `dry_run`: only return what would change.

        Raises:
            Invalid: A value is malformed, or a plan is missing that workspaces are on.
            WouldLoosen: The new plans let workspaces do more, and `allow_loosening` is false.
        """
        with self._authorization.operating(actor, origin) as (tx, act):
            rows.lock_plans(tx)
            current = rows.all_plans(tx)
            require_match(if_match, version_of(current))
            check_plans(plans)
            orphaned = rows.plans_in_use(tx) - {plan.id for plan in plans}
            if orphaned:
                names = ", ".join(sorted(orphaned))
                raise Invalid.field("/plans", f"lacks {names}, which workspaces are on")
            changes = compare_plans(current, plans)
            if dry_run or not changes.lines:
                return changes
            if changes.loosens and not allow_loosening:
                raise WouldLoosen(changes.lines)
            rows.replace_plans(tx, plans)
            target, data = Target("plans", "plans"), {"changes": list(changes.lines)}
            append_installation_event(tx, InstallationEventType.PLANS_CHANGED, act, target, data)
            return changes

    @retry_on_conflict
    def use(self, principal: Principal) -> PlanUse:
        """Return the workspace's plan, and a quota for each limit."""
        principal.require(PLAN_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            return self._use(tx, principal.workspace_id)

    @retry_on_conflict
    def of_workspace(self, workspace_id: WorkspaceId) -> WorkspaceUse:
        """Return a workspace with its plan and use, for the operator."""
        with self._database.read(workspace_id) as tx:
            workspace = NotFound.unless(workspaces.find_workspace(tx, workspace_id), "workspace")
            overrides = workspaces.overrides_of(tx, workspace_id)
            return WorkspaceUse(workspace, overrides, self._use(tx, workspace_id))

    @retry_on_conflict
    def get(self, plan_id: str) -> Plan:
        """Return the plan of that id."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            return NotFound.unless(rows.find_plan(tx, plan_id), "plan")

    def _use(self, tx: Tx, workspace_id: WorkspaceId) -> PlanUse:
        plan, used = rows.plan_with_use(tx, workspace_id, self._clock.now())
        quotas = {name: Quota(plan.limits.get(name), used[name]) for name in self._limits}
        return PlanUse(plan, quotas)


def quota_of(tx: Tx, workspace_id: WorkspaceId, name: str) -> Quota:
    """Return the workspace's limit of that name, which is not that of keys, with its use."""
    plan, used = rows.plan_with_used(tx, workspace_id, name)
    return Quota(plan.limits.get(name), used)


def require_room(
    tx: Tx,
    workspace_id: WorkspaceId,
    name: str,
    *,
    added: int = 1,
    plans_url: str | None = None,
) -> None:
    """Raise LimitReached unless `added` more fit under the workspace's limit, which is not that of keys.

    Call it under the workspace's lock: only then two creations can't both take the last place.
    """
    plan, used = rows.plan_with_used(tx, workspace_id, name)
    quota = Quota(plan.limits.get(name), used)
    rules.require_room(name, quota, plan, added, plans_url=plans_url)
