"""A new set of plans: its checks, what it changes, and whether it loosens anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keystead.domain import policies
from keystead.domain.errors import FieldError, Invalid
from keystead.domain.plans import LIMIT_NAMES, MAX_LIMIT, PLAN_ID_PATTERN, Plan
from keystead.domain.policies import POLICY_NAMES
from keystead.domain.rate_limits import MAX_RATE, RATE_NAMES, is_rate
from keystead.domain.workspaces import check_name

_ID: Final = re.compile(PLAN_ID_PATTERN)


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """The changes that replacing all plans makes, one line each, and whether they let workspaces do more."""

    plans: Sequence[Plan]
    lines: Sequence[str]
    loosens: bool


def compare_plans(current: Sequence[Plan], new: Sequence[Plan]) -> PlanChanges:
    """Return what replacing the current plans by `new` changes."""
    return PlanChanges(new, changes(current, new), loosens(current, new))


def version_of(plans: Sequence[Plan]) -> int:
    """Return a number that differs for plans that differ in anything."""
    return int.from_bytes(hashlib.sha256(repr(list(plans)).encode()).digest()[:7])


def check_plans(plans: Sequence[Plan]) -> None:
    """Raise Invalid unless there is a plan, each id once, with valid names and numbers."""
    if not plans or len({plan.id for plan in plans}) != len(plans):
        raise Invalid.field("/plans", "must hold at least one plan, each id once")
    errors = [error for place, plan in enumerate(plans) for error in _errors(plan, place)]
    if errors:
        raise Invalid(errors)


def _errors(plan: Plan, place: int) -> Iterator[FieldError]:
    root = f"/plans/{place}"
    if not _ID.fullmatch(plan.id):
        yield FieldError(f"{root}/id", "must be 1-40 of a-z, 0-9, _ and -")
    try:
        check_name(plan.name, f"{root}/name")
    except Invalid as error:
        yield from error.errors
    for name in LIMIT_NAMES:
        limit = plan.limits.get(name)
        if limit is not None and not 0 <= limit <= MAX_LIMIT:
            yield FieldError(f"{root}/limits/{name}", f"must be from 0 to {MAX_LIMIT}, or null")
    for name in RATE_NAMES:
        rate = plan.rate_limits.get(name)
        if rate is not None and not is_rate(rate):
            yield FieldError(f"{root}/rate_limits/{name}", f"must be from 1 to {MAX_RATE}, or null")


def changes(current: Sequence[Plan], new: Sequence[Plan]) -> list[str]:
    """Return the changes that applying `new` makes, one line each."""
    before, after = ({plan.id: plan for plan in plans} for plans in (current, new))
    lines = [f"- {id}: removed" for id in before if id not in after]
    for id, plan in after.items():
        if id not in before:
            lines.append(f"+ {id}: {plan.name}, {_described(plan)}")
        elif differences := ", ".join(_differences(before[id], plan)):
            lines.append(f"~ {id}: {differences}")
    order = [plan.id for plan in current if plan.id in after]
    if order != [plan.id for plan in new if plan.id in before]:
        lines.append(f"~ order: {', '.join(after)}")
    return lines


def loosens(current: Sequence[Plan], new: Sequence[Plan]) -> bool:
    """Return whether applying `new` removes a plan, raises or lifts a limit of one, or loosens its policy."""
    after = {plan.id: plan for plan in new}
    return any(plan.id not in after or _grows(plan, after[plan.id]) for plan in current)


def number_of(limit: int | None) -> str:
    """Return a limit for people."""
    return "unlimited" if limit is None else str(limit)


def _differences(before: Plan, after: Plan) -> Iterator[str]:
    if before.name != after.name:
        yield f"name {before.name} -> {after.name}"
    for name, old, new in _pairs(before, after):
        if old != new:
            yield f"{name} {number_of(old)} -> {number_of(new)}"
    before_said, after_said = before.policy.members(), after.policy.members()
    for name in POLICY_NAMES:
        if before_said[name] != after_said[name]:
            yield f"{name} {_said(before_said[name])} -> {_said(after_said[name])}"


def _grows(before: Plan, after: Plan) -> bool:
    pairs = _pairs(before, after)
    return policies.loosens(before.policy, after.policy) or any(
        old is not None and (new is None or new > old) for _, old, new in pairs
    )


def _said(value: int | bool | None) -> str:
    return "unset" if value is None else str(value).lower()


def _pairs(before: Plan, after: Plan) -> Iterator[tuple[str, int | None, int | None]]:
    for name in LIMIT_NAMES:
        yield name, before.limits.get(name), after.limits.get(name)
    for name in RATE_NAMES:
        yield name, before.rate_limits.get(name), after.rate_limits.get(name)


def _described(plan: Plan) -> str:
    limits = [f"{name} {number_of(plan.limits.get(name))}" for name in LIMIT_NAMES]
    rates = [f"{name} {number}" for name in RATE_NAMES if (number := plan.rate_limits.get(name))]
    policy = [f"{name} {_said(value)}" for name, value in plan.policy.said().items()]
    return ", ".join((*limits, *rates, *policy))
