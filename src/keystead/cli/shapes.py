"""The wire shapes that `--json` prints: those of the API, so that what reads the one reads the other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from keystead.domain.instants import format_instant

if TYPE_CHECKING:
    from keystead.domain.credentials import Credential
    from keystead.domain.events import Event, InstallationEvent
    from keystead.domain.plans import Plan
    from keystead.domain.principals import Actor

Shape = dict[str, Any]


def listed(items: Iterable[Shape], next_cursor: str | None = None, **more: object) -> Shape:
    """A list; `next_cursor` is what `--cursor` continues after, None at the end."""
    return {"items": list(items), "next_cursor": next_cursor, **more}


def credential(record: Credential) -> Shape:
    """A credential of the product's own services."""
    return {
        "id": record.id,
        "kind": record.kind.value,
        "name": record.name,
        "hint": record.hint,
        "created_at": format_instant(record.created_at),
        "created_by": actor(record.created_by),
        "revoked_at": instant(record.revoked_at),
        "revoked_by": record.revoked_by,
    }


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


def event(record: Event) -> Shape:
    """What happened."""
    return {
        "id": record.id,
        "type": record.type.value,
        "occurred_at": format_instant(record.occurred_at),
        "actor": actor(record.actor),
        "target": {"type": record.target.type, "id": record.target.id},
        "address": record.origin.address,
        "request_id": record.origin.request_id,
        "data": dict(record.data),
    }


def installation_event(record: InstallationEvent) -> Shape:
    """What happened to the installation: it belongs to no workspace."""
    return {
        "id": record.id,
        "workspace": None,
        "type": record.type,
        "occurred_at": format_instant(record.occurred_at),
        "actor": actor(record.actor),
        "target": {"type": record.target.type, "id": record.target.id},
        "address": None,
        "request_id": None,
        "data": dict(record.data),
    }


def actor(who: Actor) -> Shape:
    """Who did it."""
    return {"type": who.kind.value, "id": who.id, "name": who.name}


def instant(of: datetime | None) -> str | None:
    """RFC 3339, or null."""
    return None if of is None else format_instant(of)
