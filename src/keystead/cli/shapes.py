"""The wire shapes that `--json` prints: those of the API, so that what reads the one reads the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keystead.domain.plans import Plan

Shape = dict[str, Any]


def listed(items: Iterable[Shape], next_cursor: str | None = None, **more: object) -> Shape:
    """A list; `next_cursor` is what `--cursor` continues after, None at the end."""
    return {"items": list(items), "next_cursor": next_cursor, **more}


def plan(record: Plan) -> Shape:
    """A plan with all its limits and rate limits, where null is unlimited, and its policy."""
    from keystead.domain.plans import LIMIT_NAMES
    from keystead.domain.rate_limits import RATE_NAMES

    limits = {name: record.limits.get(name) for name in LIMIT_NAMES}
    rates = {name: record.rate_limits.get(name) for name in RATE_NAMES}
    return {
        "id": record.id,
        "name": record.name,
        "limits": limits,
        "rate_limits": rates,
        "policy": record.policy.members(),
    }
