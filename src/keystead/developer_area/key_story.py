"""What happened to a key and who called with it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

from keystead.developer_area.keys.contexts import CallerRow, KeyEventRow
from keystead.developer_area.sign_in.session import Acting
from keystead.developer_area.web.contexts import Link
from keystead.developer_area.web.times import moment
from keystead.developer_area.workspace.event_sentences import sentence
from keystead.domain.events import Event, EventType
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.usage import KeyCaller
from keystead.domain.verification import DenialReason

_REASONS: Final[Mapping[DenialReason, str]] = {
    DenialReason.REVOKED: "revoked",
    DenialReason.EXPIRED: "expired",
    DenialReason.SUSPENDED: "workspace suspended",
    DenialReason.INSUFFICIENT_SCOPE: "scope missing",
    DenialReason.RATE_LIMITED: "too fast",
}
_ACTS: Final[Mapping[EventType, str]] = {
    EventType.KEY_CREATED: "Created",
    EventType.KEY_UPDATED: "Edited",
    EventType.KEY_ROTATED: "Rotated",
    EventType.KEY_REVOKED: "Revoked",
    EventType.KEY_EXPIRED: "Expired",
    EventType.KEY_REFUSED: "Called after it had ended",
}
_BY_DAYS: Final[Mapping[EventType, str]] = {
    EventType.KEY_EXPIRING: "Expires in",
    EventType.KEY_UNUSED: "Not used for",
}
_FIELDS: Final = {"description": "description", "scopes": "access", "expires_at": "expiry"}
_SPANS: Final = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
    (timedelta(seconds=1), "second"),
)


def caller_row(met: KeyCaller, now: datetime, zone: tzinfo) -> CallerRow:
    """Who called, as the page shows it."""
    reason = met.caller.reason
    return CallerRow(
        address=met.caller.address or "unknown",
        agent=met.caller.agent or "unknown",
        times=f"{met.times:,}",
        last=moment(met.last_at, now, zone),
        reason="" if reason is None else _REASONS.get(reason, reason.value.replace("_", " ")),
    )


def event_row(event: Event, acting: Acting, now: datetime) -> KeyEventRow:
    """What happened, as the page shows it."""
    successor = event.data.get("rotated_to")
    return KeyEventRow(
        text=_text(event),
        link=Link("to a new key", f"{acting.keys_url}/{successor}") if successor else None,
        by=maker_words(event.actor, acting.principal),
        address=event.origin.address or "",
        at=moment(event.occurred_at, now, acting.zone),
    )


def maker_words(maker: Actor, principal: Principal) -> str:
    """Who did it: `you`, a name, or `the key …`."""
    match maker.kind:
        case PrincipalKind.MEMBER:
            return "you" if maker.id == principal.id else maker.name
        case PrincipalKind.KEY:
            return f"the key {maker.name}"
        case _:
            return maker.name


def _text(event: Event) -> str:
    act = _ACTS.get(event.type) or sentence(event).did.capitalize()
    days = event.data.get("days")
    if isinstance(days, int) and event.type in _BY_DAYS:
        return f"{_BY_DAYS[event.type]} {days} {'day' if days == 1 else 'days'}"
    changed = event.data.get("changed")
    if isinstance(changed, list):
        return f"{act}: {', '.join(_FIELDS.get(str(name), str(name)) for name in changed)}"
    seconds = event.data.get("overlap_seconds")
    if isinstance(seconds, int):
        return f"{act} with an overlap of {_span(seconds)}" if seconds else f"{act} at once"
    return act


def _span(seconds: int) -> str:
    """Such as `24 hours`, `7 days`, `90 minutes`: in the largest unit that divides it; a day is 24 hours."""
    whole = timedelta(seconds=seconds)
    unit, name = next((unit, name) for unit, name in _SPANS if not whole % unit)
    if name == "day" and whole == unit:
        return "24 hours"
    count = whole // unit
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
