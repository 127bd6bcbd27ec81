"""Rate limits: how many requests a minute a workspace and each of its keys may make. A limit is something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, NamedTuple, Self

WINDOW_SECONDS: Final = 60
MAX_RATE: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests a minute: of a workspace, and of each key; None is unlimited."""

    workspace_per_minute: int | None = None
    key_per_minute: int | None = None

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> Self:
        """From a mapping that was checked."""
        return cls(**numbers)

    def get(self, name: str) -> int | None:
        """The rate limit of that name."""
        number: int | None = getattr(self, name)
        return number


NO_RATE_LIMITS: Final = RateLimits()
RATE_NAMES: Final = tuple(f.name for f in fields(RateLimits))


class RateSubject(StrEnum):
    """Whose requests are counted, as the answer names it."""

    KEY = "key"
    WORKSPACE = "workspace"


class RatePolicy(NamedTuple):
    """So many requests (`quota`) of one subject in each window, which begins with its first request."""

    subject: RateSubject
    quota: int
    window: int = WINDOW_SECONDS

    @property
    def field(self) -> str:
        """The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10, section 3)."""
        return f'"{self.subject}";q={self.quota};w={self.window}'


class RateExceeded(NamedTuple):
    """There were too many; `wait` in whole seconds until the window has ended, at least 1."""

    policy: RatePolicy
    wait: int

    @property
    def field(self) -> str:
        """The value of `RateLimit` (the same draft, section 4): nothing is left, for so many seconds."""
        return f'"{self.policy.subject}";r=0;t={self.wait}'

    @property
    def detail(self) -> str:
        """The sentence for a person."""
        policy, seconds = self.policy, "second" if self.wait == 1 else "seconds"
        return (
            f"The {policy.subject} may make {policy.quota} requests in {policy.window} seconds."
            f" Wait {self.wait} {seconds}."
        )


def is_rate(number: object) -> bool:
    """Whether it is a number of requests a minute: 1 to MAX_RATE. None at all is what revoking is for."""
    return type(number) is int and 1 <= number <= MAX_RATE
