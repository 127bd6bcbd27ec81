"""The page of the plan: what is used of each limit, what to do at a limit, and what other plans unlock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import Sessions, Visit
from keystead.developer_area.web.contexts import Link
from keystead.developer_area.web.navigation import workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.workspace.contexts import LimitUse, PlanColumn, PlansPage
from keystead.domain.plans import Plan, Quota
from keystead.domain.roles import Permission
from keystead.services import Services

_NEAR: Final = 0.8


@dataclass(frozen=True, slots=True)
class _Words:
    """A limit in words: its name, what makes room under it, and where."""

    name: str
    way: str
    link: str
    path: str


_LIMITS: Final[Mapping[str, _Words]] = {
    "api_keys": _Words("Active API keys", "Revoke a key that nothing uses", "See keys", "keys"),
    "collections": _Words(
        "Collections", "Delete a collection that nothing reads", "See collections", "collections"
    ),
    "documents": _Words(
        "Documents", "Delete documents that nothing reads", "See collections", "collections"
    ),
    "webhooks": _Words(
        "Webhooks", "Delete a webhook that nothing needs", "See webhooks", "webhooks"
    ),
    "members": _Words("Members", "Remove a member who has left", "See members", "members"),
}


class PlanPages:
    """What a person sees of the plan."""

    def __init__(
        self, services: Services, render: Renderer, sessions: Sessions, *, plans_url: str | None
    ) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions
        self._plans_url = plans_url

    def index(self, visit: Visit) -> Response:
        """Use against each limit, and all plans side by side."""
        acting = self._sessions.acting(visit)
        use, plans = self._services.plans.use(acting.principal), self._services.plans.all()
        base = workspace_url(acting.workspace.id)
        page = PlansPage(
            frame=self._sessions.frame(visit, acting),
            plan=use.plan.name,
            has_own_limits=use.plan not in plans,
            uses=[_limit_use(name, use.quotas[name], use.plan, plans, base) for name in _LIMITS],
            rows=[words.name for words in _LIMITS.values()],
            plans=[_column(plan, plan.id == use.plan.id) for plan in plans],
            may_choose=acting.principal.may(Permission.CHOOSE_PLAN),
            plans_url=self._plans_url,
        )
        return self._render(page)


def _limit_use(name: str, quota: Quota, plan: Plan, plans: Sequence[Plan], base: str) -> LimitUse:
    words, state = _LIMITS[name], _state(quota)
    of = "no limit" if quota.limit is None else f"of {quota.limit:,}"
    return LimitUse(
        id=name,
        name=words.name,
        text=f"{quota.used:,} {of}" if quota.limit is not None else f"{quota.used:,}, {of}",
        note=_note(name, quota, state, _larger(name, plan, plans)),
        used=quota.used,
        limit=quota.limit,
        state=state,
        advice=Link(words.link, f"{base}/{words.path}") if state else None,
    )


def _state(quota: Quota) -> str:
    if quota.limit is None:
        return ""
    if quota.used >= quota.limit:
        return "full"
    return "near" if quota.used >= _NEAR * quota.limit else ""


def _note(name: str, quota: Quota, state: str, larger: Plan | None) -> str:
    """What the use means, and at a limit what makes room."""
    if quota.room is None:
        return ""
    if not state:
        return f"{quota.room:,} left"
    other = f", or move to {larger.name}, which has {_amount(name, larger)}" if larger else ""
    left = "Full" if state == "full" else f"{quota.room:,} left"
    return f"{left}. {_LIMITS[name].way}{other}."


def _larger(name: str, plan: Plan, plans: Sequence[Plan]) -> Plan | None:
    """The next plan that allows more of it."""
    own = plan.limits.get(name)
    for other in plans:
        limit = other.limits.get(name)
        if own is not None and other.id != plan.id and (limit is None or limit > own):
            return other
    return None


def _column(plan: Plan, current: bool) -> PlanColumn:
    return PlanColumn(plan.name, current, [_cell(plan.limits.get(name)) for name in _LIMITS])


def _cell(limit: int | None) -> str:
    return "Unlimited" if limit is None else f"{limit:,}"


def _amount(name: str, plan: Plan) -> str:
    limit = plan.limits.get(name)
    return "no limit" if limit is None else f"{limit:,}"
