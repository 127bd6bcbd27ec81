"""The page of the plan: usage of each limit, advice at a limit, the policy, and the plans side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Link
from keystead.developer_area.web.labels import field_problems
from keystead.developer_area.workspace.contexts import LimitUse, PlanColumn, PlansPage
from keystead.developer_area.workspace.policies import LABELS, policy_card, policy_of
from keystead.domain.errors import Invalid
from keystead.domain.plans import Plan, Quota
from keystead.domain.roles import Permission

_NEAR: Final = 0.8


@dataclass(frozen=True, slots=True)
class _Advice:
    """A limit's name, what makes room, the page to do it on, and what it takes."""

    name: str
    action: str
    link: str
    path: str
    permission: Permission


_LIMITS: Final[Mapping[str, _Advice]] = {
    "api_keys": _Advice(
        "Active API keys", "Revoke an unused key", "View keys", "keys", Permission.MAKE_KEYS
    ),
    "collections": _Advice(
        "Collections",
        "Delete an unused collection",
        "View collections",
        "collections",
        Permission.WRITE_DOCUMENTS,
    ),
    "documents": _Advice(
        "Documents",
        "Delete unused documents",
        "View collections",
        "collections",
        Permission.WRITE_DOCUMENTS,
    ),
    "webhooks": _Advice(
        "Webhooks",
        "Delete an unused webhook",
        "View webhooks",
        "webhooks",
        Permission.MANAGE_WEBHOOKS,
    ),
    "members": _Advice(
        "Members",
        "Remove a member who has left",
        "View members",
        "members",
        Permission.MANAGE_MEMBERS,
    ),
}


class PlanPages(WorkspacePages):
    """The page of the plan."""

    def index(self, visit: MemberVisit) -> Response:
        """Show usage, policy and plans."""
        return self._show(visit)

    def set_policy(self, visit: MemberVisit) -> Response:
        """Set the owners' layer of the policy, or show its form again with its problems."""
        try:
            policy = policy_of(visit.form)
        except Invalid as refused:
            return self._show(visit, field_problems(refused, LABELS), status=422)
        self._services.policies.replace_owners(visit.principal, policy, visit.origin)
        return redirect_with_message(f"{visit.workspace_url}/plan", "Saved.")

    def _show(
        self, visit: MemberVisit, problems: Mapping[str, str] | None = None, *, status: int = 200
    ) -> Response:
        use, plans = self._services.plans.use(visit.principal), self._services.plans.all()
        layers, entry = self._services.policies.get(visit.principal), visit.form
        names = [name for name in _LIMITS if name in use.quotas]
        page = PlansPage(
            frame=visit.frame(),
            plan=use.plan.name,
            has_own_limits=use.plan not in plans,
            uses=[
                _limit_use(name, use.quotas[name], _larger_plan(name, use.plan, plans), visit)
                for name in names
            ],
            rows=[_LIMITS[name].name for name in names],
            plans=[_column(plan, names, plan.id == use.plan.id) for plan in plans],
            policy=policy_card(visit, layers, entry if problems else None, problems),
        )
        return self._render(page, status)


def _limit_use(name: str, quota: Quota, larger: Plan | None, visit: MemberVisit) -> LimitUse:
    """Return a limit for display, with the advice that this member can follow."""
    advice, state = _LIMITS[name], _state(quota)
    advised = state != "" and visit.principal.may(advice.permission)
    notes = [_left(quota, state)]
    if advised:
        notes.append(f"{advice.action}.")
    if state and larger is not None:
        notes.append(f"The plan {larger.name} allows {_amount(name, larger)}.")
    limit = ", no limit" if quota.limit is None else f" of {quota.limit:,}"
    return LimitUse(
        id=name,
        name=advice.name,
        text=f"{quota.used:,}{limit}",
        note=" ".join(notes).strip(),
        used=quota.used,
        limit=quota.limit,
        state=state,
        advice=Link(advice.link, f"{visit.workspace_url}/{advice.path}") if advised else None,
    )


def _state(quota: Quota) -> str:
    if quota.limit is None:
        return ""
    if quota.used >= quota.limit:
        return "full"
    return "near" if quota.used >= _NEAR * quota.limit else ""


def _left(quota: Quota, state: str) -> str:
    if quota.room is None:
        return ""
    if not state:
        return f"{quota.room:,} left"
    return "Full." if state == "full" else f"{quota.room:,} left."


def _larger_plan(name: str, plan: Plan, plans: Sequence[Plan]) -> Plan | None:
    """Return the first plan with a larger limit."""
    own = plan.limits.get(name)
    for other in plans:
        limit = other.limits.get(name)
        if own is not None and other.id != plan.id and (limit is None or limit > own):
            return other
    return None


def _column(plan: Plan, names: Sequence[str], current: bool) -> PlanColumn:
    amounts = [_amount(name, plan).capitalize() for name in names]
    return PlanColumn(plan.name, current, amounts)


def _amount(name: str, plan: Plan) -> str:
    limit = plan.limits.get(name)
    return "unlimited" if limit is None else f"{limit:,}"
