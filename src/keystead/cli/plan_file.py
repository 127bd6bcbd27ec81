"""The file of plans (TOML): read, checked, every fault told with its place; and what applying it would change."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from keystead.domain.errors import FieldError, Invalid
from keystead.domain.plans import LIMIT_NAMES, MAX_LIMIT, Limits, Plan
from keystead.domain.rate_limits import MAX_RATE, RATE_NAMES, RateLimits, is_rate
from keystead.domain.workspaces import check_name

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_MEMBERS: Final = ("id", "name", "limits", "rate_limits")


def read_plans(text: str) -> list[Plan]:
    """The plans that `text` writes, from small to large as they stand there. Invalid, with every fault in its place."""
    try:
        file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid((), f"This is not TOML: {error}.") from None
    faults = [*_unknown(file, ("plans",), "")]
    entries = file.get("plans", [])
    if not isinstance(entries, list) or not entries:
        faults.append(FieldError("plans", "needs at least one [[plans]]"))
        raise Invalid(faults)
    for number, entry in enumerate(entries, 1):
        faults += _faults(entry, f"plans[{number}]")
    faults += _repeated(entries)
    if faults:
        raise Invalid(faults)
    return [_plan(entry, position) for position, entry in enumerate(entries)]


def changes(present: Sequence[Plan], wanted: Sequence[Plan]) -> list[str]:
    """What applying `wanted` changes, one line each; empty where nothing does."""
    before, after = ({plan.id: plan for plan in plans} for plans in (present, wanted))
    lines = [f"- {id}: removed" for id in before if id not in after]
    for id, plan in after.items():
        if id not in before:
            lines.append(f"+ {id}: {plan.name}, {_described(plan)}")
        elif told := ", ".join(_differences(before[id], plan)):
            lines.append(f"~ {id}: {told}")
    order = [plan.id for plan in present if plan.id in after]
    if order != [plan.id for plan in wanted if plan.id in before]:
        lines.append(f"~ order: {', '.join(after)}")
    return lines


def loosens(present: Sequence[Plan], wanted: Sequence[Plan]) -> bool:
    """Return whether applying `wanted` removes a plan, or raises or lifts a limit of one."""
    after = {plan.id: plan for plan in wanted}
    return any(plan.id not in after or _grows(plan, after[plan.id]) for plan in present)


def number_of(limit: int | None) -> str:
    """A limit for people."""
    return "unlimited" if limit is None else str(limit)


def _plan(entry: Mapping[str, Any], position: int) -> Plan:
    limits, rates = Limits.of(entry.get("limits", {})), RateLimits.of(entry.get("rate_limits", {}))
    return Plan(entry["id"], entry["name"].strip(), limits, position, rates)


def _faults(entry: Any, place: str) -> Iterator[FieldError]:
    if not isinstance(entry, dict):
        yield FieldError(place, "must be a table")
        return
    yield from _unknown(entry, _MEMBERS, f"{place}.")
    if not isinstance(entry.get("id"), str) or not _ID.fullmatch(entry["id"]):
        yield FieldError(f"{place}.id", "must be 1-40 of a-z, 0-9, _ and -")
    yield from _name_faults(entry.get("name"), f"{place}.name")
    for name, faults_of in (("limits", _limit_faults), ("rate_limits", _rate_faults)):
        numbers = entry.get(name, {})
        if isinstance(numbers, dict):
            yield from faults_of(numbers, f"{place}.{name}")
        else:
            yield FieldError(f"{place}.{name}", "must be a table")


def _name_faults(name: Any, place: str) -> Iterator[FieldError]:
    try:
        check_name(name if isinstance(name, str) else "", place)
    except Invalid as error:
        yield from error.errors


def _limit_faults(limits: Mapping[str, Any], place: str) -> Iterator[FieldError]:
    yield from _unknown(limits, LIMIT_NAMES, f"{place}.")
    for name in LIMIT_NAMES:
        number = limits.get(name, 0)
        if type(number) is not int or not 0 <= number <= MAX_LIMIT:
            sentence = f"must be a whole number from 0 to {MAX_LIMIT}; leave it out for unlimited"
            yield FieldError(f"{place}.{name}", sentence)


def _rate_faults(rates: Mapping[str, Any], place: str) -> Iterator[FieldError]:
    yield from _unknown(rates, RATE_NAMES, f"{place}.")
    for name in RATE_NAMES:
        if name in rates and not is_rate(rates[name]):
            sentence = f"must be a whole number from 1 to {MAX_RATE}; leave it out for unlimited"
            yield FieldError(f"{place}.{name}", sentence)


def _unknown(table: Mapping[str, Any], known: Sequence[str], place: str) -> Iterator[FieldError]:
    for name in table:
        if name not in known:
            yield FieldError(f"{place}{name}", f"is unknown; there are {', '.join(known)}")


def _repeated(entries: Sequence[Any]) -> Iterator[FieldError]:
    seen: dict[Any, int] = {}
    for number, entry in enumerate(entries, 1):
        id = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(id, str) and seen.setdefault(id, number) != number:
            yield FieldError(f"plans[{number}].id", f"is that of plans[{seen[id]}] already")


def _differences(before: Plan, after: Plan) -> Iterator[str]:
    if before.name != after.name:
        yield f"name {before.name} -> {after.name}"
    for name in LIMIT_NAMES:
        old, new = before.limits.get(name), after.limits.get(name)
        if old != new:
            yield f"{name} {number_of(old)} -> {number_of(new)}"
    for name in RATE_NAMES:
        old, new = before.rate_limits.get(name), after.rate_limits.get(name)
        if old != new:
            yield f"{name} {number_of(old)} -> {number_of(new)}"


def _grows(before: Plan, after: Plan) -> bool:
    pairs = [(before.limits.get(name), after.limits.get(name)) for name in LIMIT_NAMES]
    pairs += [(before.rate_limits.get(name), after.rate_limits.get(name)) for name in RATE_NAMES]
    return any(old is not None and (new is None or new > old) for old, new in pairs)


def _described(plan: Plan) -> str:
    limits = [f"{name} {number_of(plan.limits.get(name))}" for name in LIMIT_NAMES]
    rates = [f"{name} {number}" for name in RATE_NAMES if (number := plan.rate_limits.get(name))]
    return ", ".join((*limits, *rates))
