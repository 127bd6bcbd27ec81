"""The wire shapes that `--json` prints: those of the API, so that what reads the one reads the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from keystead.domain.instants import format_instant, parse_instant

if TYPE_CHECKING:
    from keystead.domain.credentials import Credential
    from keystead.domain.events import Event, InstallationEvent
    from keystead.domain.keys import ApiKey
    from keystead.domain.plans import Plan, Quota
    from keystead.domain.principals import Actor
    from keystead.domain.workspaces import Workspace

Shape = dict[str, Any]


def listed(items: Iterable[Shape], next_cursor: str | None = None, **more: object) -> Shape:
    """A list; `next_cursor` is what `--cursor` continues after, None at the end."""
    return {"items": list(items), "next_cursor": next_cursor, **more}


def key(record: ApiKey, now: datetime) -> Shape:
    """A key, its status told by `now`."""
    use = record.last_use
    return {
        "id": record.id,
        "description": record.description,
        "hint": record.hint,
        "scopes": list(record.scopes),
        "status": record.status(now).value,
        "created_at": format_instant(record.created_at),
        "created_by": actor(record.created_by),
        "expires_at": instant(record.expires_at),
        "last_used_at": instant(use.at if use else None),
        "last_used_ip": use.address if use else None,
        "last_used_agent": use.agent if use else None,
        "revoked_at": instant(record.revoked_at),
        "rotated_to": record.rotated_to,
    }


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


def workspace(record: Workspace, **more: object) -> Shape:
    """A workspace, for who runs the installation."""
    return {
        "id": record.id,
        "name": record.name,
        "plan": record.plan_id,
        "external_id": record.external_id,
        "created_at": format_instant(record.created_at),
        "suspended_at": instant(record.suspended_at),
        **more,
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


def quotas(found: Mapping[str, Quota]) -> Shape:
    """Limits with their use, by name."""
    return {name: quota(one) for name, one in found.items()}


def quota(found: Quota) -> Shape:
    """One limit with its use."""
    return {"limit": found.limit, "used": found.used}


def bounds(quotas: Shape, overrides: Shape | None = None) -> dict[str, str]:
    """Quotas for people: the limit's name in words, how much of how many, and whether the limit is its own."""
    told = {}
    for name, one in quotas.items():
        limit = "unlimited" if one["limit"] is None else one["limit"]
        own = " (its own)" if name in (overrides or {}) else ""
        told[name.replace("_", " ")] = f"{one['used']} of {limit}{own}"
    return told


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


def answered(result: Any) -> Any:
    """What a server answered, from the SDK's value: its members are those of the API. Secrets have no shape."""
    if is_dataclass(result):
        # An ETag is a header field of the answer, and no member.
        names = [each.name for each in fields(result) if each.name != "etag"]
        return {name: answered(getattr(result, name)) for name in names}
    if isinstance(result, Mapping):
        return {name: answered(value) for name, value in result.items()}
    if isinstance(result, list | tuple):
        return [answered(value) for value in result]
    return format_instant(result) if isinstance(result, datetime) else result


def moment(of: str | None) -> datetime | None:
    """The instant that a shape tells, or none."""
    return None if of is None else parse_instant(of)


def actor(who: Actor) -> Shape:
    """Who did it."""
    return {"type": who.kind.value, "id": who.id, "name": who.name}


def instant(of: datetime | None) -> str | None:
    """RFC 3339, or null."""
    return None if of is None else format_instant(of)
