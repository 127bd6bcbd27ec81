"""The file of plans (TOML), and its checks."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from keystead.domain.errors import FieldError, Invalid
from keystead.domain.plans import LIMIT_NAMES, MAX_LIMIT, PLAN_ID_PATTERN, Limits, Plan
from keystead.domain.policies import Policy
from keystead.domain.rate_limits import MAX_RATE, RATE_NAMES, RateLimits, is_rate
from keystead.domain.workspaces import check_name

_ID: Final = re.compile(PLAN_ID_PATTERN)
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
