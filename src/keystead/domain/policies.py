"""Policies: how long keys may live and whether they renew themselves. The strictest of three layers holds.

A policy decides when a key is made or extended. It never changes existing keys, except that `end_unused_days` ends
unused keys: see key_lifecycle.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

from keystead.domain.errors import AgainstPolicy, FieldError, Invalid

EXPIRES_AT: Final = "/expires_at"
RENEWAL: Final = "/renewal"
DAY_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "max_lifetime_days": (1, 3650),
    "default_lifetime_days": (1, 3650),
    "end_unused_days": (30, 730),
}
"""The least and the largest number of each member that counts days."""


class PolicyLayer(StrEnum):
    """The layers that are set for one workspace; the third is its plan's."""

    OPERATOR = "operator"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Policy:
    """A layer of a policy, or several layers together. None says nothing."""

    max_lifetime_days: int | None = None
    expiry_required: bool | None = None
    default_lifetime_days: int | None = None
    end_unused_days: int | None = None
    renewal_allowed: bool | None = None

    @classmethod
    def of(cls, members: Mapping[str, Any], pointer: str = "") -> Self:
        """Return the policy of a mapping; absent members are None.

        Raises:
            Invalid: A name is unknown or a value is out of bounds; `pointer` is where the mapping is.
        """
        errors = [
            FieldError(f"{pointer}/{name}", problem)
            for name, value in members.items()
            if (problem := _problem_of(name, value))
        ]
        if errors:
            raise Invalid(errors)
        return cls(**members)

    def members(self) -> dict[str, int | bool | None]:
        """Return the members by name, as JSON values."""
        return asdict(self)

    def said(self) -> dict[str, int | bool]:
        """Return the members that say something, as they are stored."""
        return {name: value for name, value in self.members().items() if value is not None}


POLICY_NAMES: Final = tuple(f.name for f in fields(Policy))
NO_POLICY: Final = Policy()


@dataclass(frozen=True, slots=True)
class PolicyLayers:
    """The three layers of a workspace's policy. `version` rises with every change of the last two."""

    plan: Policy = NO_POLICY
    operator: Policy = NO_POLICY
    owner: Policy = NO_POLICY
    version: int = 1

    @property
    def effective(self) -> Policy:
        """Return the policy that holds."""
        return effective_policy(self.plan, self.operator, self.owner)

    def layer(self, layer: PolicyLayer) -> Policy:
        """Return one of the two layers that are set for the workspace."""
        return self.operator if layer is PolicyLayer.OPERATOR else self.owner


NO_LAYERS: Final = PolicyLayers()


def effective_policy(plan: Policy, operator: Policy, owner: Policy) -> Policy:
    """Return the strictest of the layers. Its `expiry_required` and `renewal_allowed` are never None."""
    layers = (plan, operator, owner)
    longest = _least(layer.max_lifetime_days for layer in layers)
    default = _least(layer.default_lifetime_days for layer in layers)
    return Policy(
        max_lifetime_days=longest,
        # Without an expiry a key would live longer than any maximum.
        expiry_required=longest is not None or any(layer.expiry_required for layer in layers),
        default_lifetime_days=None if default is None else _least((default, longest)),
        end_unused_days=_least(layer.end_unused_days for layer in layers),
        renewal_allowed=all(layer.renewal_allowed is not False for layer in layers),
    )


def loosens(before: Policy, after: Policy) -> bool:
    """Return whether a layer `after` allows more than `before` did."""
    alone, replaced = (effective_policy(p, NO_POLICY, NO_POLICY) for p in (before, after))
    # Together they are stricter than the new layer alone exactly if the old one forbade more.
    return effective_policy(alone, replaced, NO_POLICY) != replaced


def describe(policy: Policy) -> list[str]:
    """Return what a policy says about keys, in phrases for people; empty if it says nothing."""
    longest, default = policy.max_lifetime_days, policy.default_lifetime_days
    unused = policy.end_unused_days
    phrases = {
        f"live at most {_in_days(longest or 0)}": longest is not None,
        "must expire": longest is None and policy.expiry_required,
        f"live {_in_days(default or 0)} by default": default is not None,
        f"are revoked after {_in_days(unused or 0)} without use": unused is not None,
        "can't renew themselves": policy.renewal_allowed is False,
    }
    return [phrase for phrase, is_said in phrases.items() if is_said]


def latest_end(policy: Policy, start: datetime) -> datetime | None:
    """Return the latest expiry of a key created at `start`, in whole seconds; None without a maximum."""
    return _after(start, policy.max_lifetime_days)


def default_end(policy: Policy, now: datetime) -> datetime | None:
    """Return the expiry that a form suggests for a new key; None for never."""
    return _earliest(_after(now, policy.default_lifetime_days), latest_end(policy, now))


def allows_end(policy: Policy, expires_at: datetime | None, start: datetime) -> bool:
    """Return whether a key created at `start` may expire at `expires_at`; None means never."""
    if expires_at is None:
        return not policy.expiry_required
    latest = latest_end(policy, start)
    return latest is None or expires_at <= latest


def named_end(policy: Policy, expires_at: datetime | None, start: datetime) -> datetime | None:
    """Return the named expiry of a key created at `start`. Raises AgainstPolicy if it is beyond the policy."""
    if not allows_end(policy, expires_at, start):
        raise _against(policy, EXPIRES_AT, _bound_in_words(policy))
    return expires_at


def omitted_end(policy: Policy, now: datetime, *bounds: datetime | None) -> datetime | None:
    """Return the expiry that the policy chooses for a key created `now` if the caller named none; None means never.

    Args:
        policy: The effective policy.
        now: The time of creation.
        bounds: What else ends the key: the caller's expiry, or the lifetime of a rotated key.

    Raises:
        AgainstPolicy: An expiry is required, and nothing gives one.
    """
    return _chosen(policy, _earliest(default_end(policy, now), *bounds))


def renewed_end(policy: Policy, now: datetime, *bounds: datetime | None) -> datetime | None:
    """Return the expiry of a key that renews itself: the earliest of `bounds` and the maximum.

    The default lifetime only serves a key without an expiry that must have one: otherwise each renewal would shorten
    a key that was given a longer lifetime. Raises AgainstPolicy like `omitted_end`.
    """
    end = _earliest(latest_end(policy, now), *bounds)
    return _chosen(policy, default_end(policy, now) if policy.expiry_required and not end else end)


def require_renewal_allowed(policy: Policy) -> None:
    """Raise AgainstPolicy unless keys may be allowed to renew themselves."""
    if policy.renewal_allowed is False:
        raise _against(policy, RENEWAL, "is not allowed: keys may not renew themselves")


def _chosen(policy: Policy, end: datetime | None) -> datetime | None:
    if end is None and policy.expiry_required:
        raise _against(policy, EXPIRES_AT, "must be chosen: keys must expire")
    return end


def _against(policy: Policy, pointer: str, detail: str) -> AgainstPolicy:
    return AgainstPolicy(pointer, detail, policy.members())


def _bound_in_words(policy: Policy) -> str:
    days = policy.max_lifetime_days
    if days is None:
        return "must not be null: keys must expire"
    return f"must be at most {_in_days(days)} after the key's creation"


def _in_days(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def _after(start: datetime, days: int | None) -> datetime | None:
    return None if days is None else (start + timedelta(days=days)).replace(microsecond=0)


def _earliest(*ends: datetime | None) -> datetime | None:
    return min((end for end in ends if end is not None), default=None)


def _least(numbers: Iterable[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _problem_of(name: str, value: object) -> str:
    """Return why a member is refused; empty if it is not."""
    if name not in POLICY_NAMES:
        return f"is unknown. Available: {', '.join(POLICY_NAMES)}"
    if value is None:
        return ""
    if name not in DAY_BOUNDS:
        return "" if isinstance(value, bool) else "must be true or false"
    least, largest = DAY_BOUNDS[name]
    in_bounds = type(value) is int and least <= value <= largest
    return "" if in_bounds else f"must be a whole number of days from {least} to {largest}"
