"""The file of plans (TOML): its checks, and the changes that applying it would make."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from keystead.domain import policies
from keystead.domain.errors import FieldError, Invalid
from keystead.domain.plans import LIMIT_NAMES, MAX_LIMIT, Limits, Plan
from keystead.domain.policies import POLICY_NAMES, Policy
from keystead.domain.rate_limits import MAX_RATE, RATE_NAMES, RateLimits, is_rate
from keystead.domain.workspaces import check_name

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_MEMBERS: Final = ("id", "name", "limits", "rate_limits", "policy")


def read_plans(text: str) -> list[Plan]:
    """Return the plans of a file, in its order, from small to large. Invalid, with the place of every error."""
    try:
        file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid((), f"This is not TOML: {error}.") from None
    errors = [*_unknown(file, ("plans",), "")]
    entries = file.get("plans", [])
    if not isinstance(entries, list) or not entries:
        errors.append(FieldError("plans", "needs at least one [[plans]]"))
        raise Invalid(errors)
    for number, entry in enumerate(entries, 1):
        errors += _entry_errors(entry, f"plans[{number}]")
    errors += _repeated(entries)
    if errors:
        raise Invalid(errors)
    return [_plan(entry, position) for position, entry in enumerate(entries)]


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


def _plan(entry: Mapping[str, Any], position: int) -> Plan:
    limits, rates = Limits.of(entry.get("limits", {})), RateLimits.of(entry.get("rate_limits", {}))
    policy = Policy.of(entry.get("policy", {}))
    return Plan(entry["id"], entry["name"].strip(), limits, position, rates, policy)


def _entry_errors(entry: Any, place: str) -> Iterator[FieldError]:
    if not isinstance(entry, dict):
        yield FieldError(place, "must be a table")
        return
    yield from _unknown(entry, _MEMBERS, f"{place}.")
    if not isinstance(entry.get("id"), str) or not _ID.fullmatch(entry["id"]):
        yield FieldError(f"{place}.id", "must be 1-40 of a-z, 0-9, _ and -")
    yield from _name_errors(entry.get("name"), f"{place}.name")
    for name, errors_of in (
        ("limits", _limit_errors),
        ("rate_limits", _rate_errors),
        ("policy", _policy_errors),
    ):
        numbers = entry.get(name, {})
        if isinstance(numbers, dict):
            yield from errors_of(numbers, f"{place}.{name}")
        else:
            yield FieldError(f"{place}.{name}", "must be a table")


def _name_errors(name: Any, place: str) -> Iterator[FieldError]:
    try:
        check_name(name if isinstance(name, str) else "", place)
    except Invalid as error:
        yield from error.errors


def _limit_errors(limits: Mapping[str, Any], place: str) -> Iterator[FieldError]:
    yield from _unknown(limits, LIMIT_NAMES, f"{place}.")
    for name in LIMIT_NAMES:
        number = limits.get(name, 0)
        if type(number) is not int or not 0 <= number <= MAX_LIMIT:
            yield FieldError(f"{place}.{name}", _must_be_from(0, MAX_LIMIT))


def _rate_errors(rates: Mapping[str, Any], place: str) -> Iterator[FieldError]:
    yield from _unknown(rates, RATE_NAMES, f"{place}.")
    for name in RATE_NAMES:
        if name in rates and not is_rate(rates[name]):
            yield FieldError(f"{place}.{name}", _must_be_from(1, MAX_RATE))


def _policy_errors(policy: Mapping[str, Any], place: str) -> Iterator[FieldError]:
    try:
        Policy.of(policy)
    except Invalid as error:
        for each in error.errors:
            yield FieldError(f"{place}.{each.pointer[1:]}", each.detail)


def _must_be_from(least: int, largest: int) -> str:
    return f"must be a whole number from {least} to {largest}; leave it out for unlimited"


def _unknown(table: Mapping[str, Any], known: Sequence[str], place: str) -> Iterator[FieldError]:
    for name in table:
        if name not in known:
            yield FieldError(f"{place}{name}", f"is unknown. Available: {', '.join(known)}")


def _repeated(entries: Sequence[Any]) -> Iterator[FieldError]:
    seen: dict[Any, int] = {}
    for number, entry in enumerate(entries, 1):
        id = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(id, str) and seen.setdefault(id, number) != number:
            yield FieldError(f"plans[{number}].id", f"is already the id of plans[{seen[id]}]")


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
