"""Plans, their limits and quotas. Rate limits are in rate_limits.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Self

from keystead.domain.errors import LimitReached
from keystead.domain.policies import NO_POLICY, Policy
from keystead.domain.rate_limits import NO_RATE_LIMITS, RateLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """How many of each resource a workspace may have; None is unlimited."""

    api_keys: int | None = None
    collections: int | None = None
    documents: int | None = None
    webhooks: int | None = None
    members: int | None = None

    @classmethod
    def of(cls, numbers: Mapping[str, int | None]) -> Self:
        """Return the limits of a mapping. ValueError for an unknown name or a number that is not a count."""
        unknown = set(numbers) - set(LIMIT_NAMES)
        if unknown:
            raise ValueError(f"unknown limit {min(unknown)!r}. Available: {', '.join(LIMIT_NAMES)}")
        for name, number in numbers.items():
            if number is not None and (type(number) is not int or not 0 <= number <= MAX_LIMIT):
                raise ValueError(f"the limit {name} must be a whole number from 0 to {MAX_LIMIT}")
        return cls(**numbers)

    def overridden(self, overrides: Mapping[str, int | None]) -> Limits:
        """Return these limits with a workspace's own in their place."""
        return replace(self, **overrides)

    def get(self, name: str) -> int | None:
        """Return the limit of that name."""
        number: int | None = getattr(self, name)
        return number


LIMIT_NAMES = tuple(f.name for f in fields(Limits))
OF_DOCUMENTS = frozenset({"collections", "documents"})
"""The limits of the document store."""
MAX_LIMIT = 1_000_000_000_000
PLAN_ID_PATTERN = "[a-z0-9][a-z0-9_-]{0,39}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A named set of limits and rate limits, and a layer of policy. `position` orders plans from small to large."""

    id: str
    name: str
    limits: Limits
    position: int = 0
    rate_limits: RateLimits = NO_RATE_LIMITS
    policy: Policy = NO_POLICY


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit with its use; `limit` None is unlimited."""

    limit: int | None
    used: int

    @property
    def room(self) -> int | None:
        """Return how many more fit, never negative; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class PlanUse:
    """A workspace's plan, and a quota for each limit by name."""

    plan: Plan
    quotas: Mapping[str, Quota] = field(default_factory=dict)


LIMIT_LABELS = {
    "api_keys": "active API keys",
    "overlapping_keys": "keys in the overlap of a rotation",
    "collections": "collections",
    "documents": "documents",
    "webhooks": "webhooks",
    "members": "members",
}

DEFAULT_PLANS = (
    Plan("free", "Free", Limits(5, 3, 1_000, 1, 3), 0),
    Plan("team", "Team", Limits(50, 25, 100_000, 10, 25), 1),
    Plan("scale", "Scale", Limits(), 2),
)


def require_room(
    name: str, quota: Quota, plan: Plan, added: int = 1, plans_url: str | None = None
) -> None:
    """Raise LimitReached unless `added` more fit under the limit `name` of `plan`."""
    if quota.limit is not None and quota.used + added > quota.limit:
        raise LimitReached(
            LIMIT_LABELS[name],
            limit=quota.limit,
            used=quota.used,
            plan=plan.name,
            name=name,
            plans_url=plans_url,
        )
