"""Plans: which there are, what a workspace may have and uses of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keystead.domain.errors import Invalid, NotFound
from keystead.domain.ids import WorkspaceId
from keystead.domain.plans import LIMIT_NAMES, Plan, PlanUse, Quota
from keystead.domain.principals import Actor, Principal
from keystead.domain.scopes import PLAN_READ
from keystead.domain.workspaces import Workspace
from keystead.services.authorization import Authorization
from keystead.services.workspaces import OPERATOR
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import collections, key_counts, webhooks, workspaces
from keystead.storage.tables import plans as rows


@dataclass(frozen=True, slots=True)
class WorkspaceUse:
    """A workspace, the limits that it has of its own, and its plan with the use of every limit."""

    workspace: Workspace
    overrides: Mapping[str, int | None]
    use: PlanUse


class Plans:
    """The plans of the installation and their use; the database is the only truth."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def all(self) -> list[Plan]:
        """Every plan, from small to large."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            return rows.all_plans(tx)

    @retry_on_conflict
    def apply(self, wanted: Sequence[Plan], actor: Actor = OPERATOR) -> None:
        """Makes `wanted` all the plans there are. Invalid where a plan that is in use would go."""
        _check_distinct(wanted)
        with self._authorization.operating(actor) as (tx, _):
            rows.lock_plans(tx)
            orphaned = rows.plans_in_use(tx) - {plan.id for plan in wanted}
            if orphaned:
                names = ", ".join(sorted(orphaned))
                raise Invalid.field("/plans", f"lacks {names}, which workspaces are on")
            rows.replace_plans(tx, wanted)

    @retry_on_conflict
    def use(self, principal: Principal) -> PlanUse:
        """The workspace's plan, and a quota for each limit."""
        principal.require(PLAN_READ)
        with self._database.read(principal.workspace_id) as tx:
            return self._use(tx, principal.workspace_id)

    @retry_on_conflict
    def of_workspace(self, workspace_id: WorkspaceId) -> WorkspaceUse:
        """A workspace with its plan and its use, for who runs the installation."""
        with self._database.read(workspace_id) as tx:
            workspace = workspaces.find_workspace(tx, workspace_id)
            if workspace is None:
                raise NotFound("There is no such workspace.")
            overrides = workspaces.overrides_of(tx, workspace_id)
            return WorkspaceUse(workspace, overrides, self._use(tx, workspace_id))

    @retry_on_conflict
    def get(self, plan_id: str) -> Plan:
        """The plan of that id."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            plan = rows.find_plan(tx, plan_id)
        if plan is None:
            raise NotFound("There is no such plan.")
        return plan

    def _use(self, tx: Tx, workspace_id: WorkspaceId) -> PlanUse:
        plan, used = rows.plan_of(tx, workspace_id), self._used(tx, workspace_id)
        quotas = {name: Quota(plan.limits.get(name), used[name]) for name in LIMIT_NAMES}
        return PlanUse(plan, quotas)

    def _used(self, tx: Tx, workspace_id: WorkspaceId) -> dict[str, int]:
        return {
            "api_keys": key_counts.count_keys(tx, workspace_id, self._clock.now()),
            "collections": collections.count_collections(tx, workspace_id),
            "documents": collections.count_documents(tx, workspace_id),
            "webhooks": webhooks.count_endpoints(tx, workspace_id),
            "members": workspaces.count_members(tx, workspace_id),
        }


def _check_distinct(wanted: Sequence[Plan]) -> None:
    if not wanted or len({plan.id for plan in wanted}) != len(wanted):
        raise Invalid.field("/plans", "must hold at least one plan, each id once")
