"""Rate limits: requests per minute of a workspace and each of its keys. The limits of plans are in plans.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, NamedTuple, Self

WINDOW_SECONDS: Final = 60
MAX_RATE: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests per minute of a workspace and of each of its keys; None is unlimited."""

    workspace_per_minute: int | None = None
    key_per_minute: int | None = None

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> Self:
        """Return the rate limits of a checked mapping."""
        return cls(**numbers)

    def get(self, name: str) -> int | None:
        """Return the rate limit of that name."""
        number: int | None = getattr(self, name)
        return number

    def overridden(self, own: RateLimits) -> RateLimits:
        """Return these limits with those that `own` has in their place."""
        chosen = [(own.get(name), self.get(name)) for name in RATE_NAMES]
        return RateLimits(*(ours if number is None else number for number, ours in chosen))


NO_RATE_LIMITS: Final = RateLimits()
RATE_NAMES: Final = tuple(f.name for f in fields(RateLimits))


class RateSubject(StrEnum):
    """Whose requests are counted, as answers name it."""

    KEY = "key"
    WORKSPACE = "workspace"


class RatePolicy(NamedTuple):
    """At most `quota` requests of one subject in each window of seconds, which begins with its first request."""

    subject: RateSubject
    quota: int
    window: int = WINDOW_SECONDS

    @property
    def field(self) -> str:
        """Return the value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10, section 3)."""
        return f'"{self.subject}";q={self.quota};w={self.window}'


class RateExceeded(NamedTuple):
    """An exceeded rate limit. `wait`: whole seconds until the window ends, at least 1."""

    policy: RatePolicy
    wait: int

    @property
    def field(self) -> str:
        """Return the value of `RateLimit` (the same draft, section 4): 0 requests left."""
        return f'"{self.policy.subject}";r=0;t={self.wait}'

    @property
    def detail(self) -> str:
        """Return the sentence for people."""
        policy, seconds = self.policy, "second" if self.wait == 1 else "seconds"
        return (
            f"The {policy.subject} may make {policy.quota} requests in {policy.window} seconds."
            f" Wait {self.wait} {seconds}."
        )


def is_rate(number: object) -> bool:
    """Return whether `number` is a valid rate, 1 to MAX_RATE. To allow no requests, revoke the key."""
    return type(number) is int and 1 <= number <= MAX_RATE
