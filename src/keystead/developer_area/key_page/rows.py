"""What the page of a key shows as text: its figures, its callers, and its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from keystead.developer_area.key_page.contexts import CallerRow, Card, KeyEventRow
from keystead.developer_area.keys.rows import actor_label
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Link
from keystead.developer_area.web.labels import plural
from keystead.developer_area.workspace.event_sentences import FIELDS, sentence
from keystead.domain.events import Event, EventType
from keystead.domain.usage import MAX_CALLERS, KeyCaller, UseCount
from keystead.domain.verification import DenialReason

_REASONS: Final[Mapping[DenialReason, str]] = {
    DenialReason.REVOKED: "revoked",
    DenialReason.EXPIRED: "expired",
    DenialReason.SUSPENDED: "workspace suspended",
    DenialReason.NETWORK: "outside its networks",
    DenialReason.INSUFFICIENT_SCOPE: "scope missing",
    DenialReason.RATE_LIMITED: "rate limit exceeded",
}
_ACTIONS: Final[Mapping[EventType, str]] = {
    EventType.KEY_CREATED: "Created",
    EventType.KEY_UPDATED: "Edited",
    EventType.KEY_ROTATED: "Rotated",
    EventType.KEY_REVOKED: "Revoked",
    EventType.KEY_EXPIRED: "Expired",
    EventType.KEY_REFUSED: "Used after it had ended",
    EventType.KEY_REUSED: "Sent although its successor is in use",
}
_ACTIONS_WITH_DAYS: Final[Mapping[EventType, str]] = {
    EventType.KEY_EXPIRING: "Expires in",
    EventType.KEY_UNUSED: "Not used for",
}
_SPECIAL: Final[Mapping[str, str]] = {
    "renewed": "Renewed",
    "successor_used": "Replaced: the renewed key was first used",
}
"""Events of general types that are shown by what is in their data."""
_REVOKED_BECAUSE: Final[Mapping[str, str]] = {
    "unused": "it wasn't used",
    "predecessor": "the key before it was revoked",
    "quiet": "its successor is in use",
    "renewed_again": "the key before it renewed itself again",
}
_UNITS: Final = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
    (timedelta(seconds=1), "second"),
)


def figures_of(
    uses: Sequence[UseCount], callers: Sequence[KeyCaller], period: str
) -> Sequence[Card]:
    """Return the requests and the success rate of a period, and the number of recent callers."""
    accepted, refused = sum(use.requests for use in uses), sum(use.refused for use in uses)
    clients = {(each.caller.address, each.caller.agent) for each in callers}
    is_cut = any(
        sum((each.caller.reason is None) is is_accepted for each in callers) >= MAX_CALLERS
        for is_accepted in (True, False)
    )
    return [
        Card("Requests", f"{accepted + refused:,}", f"in {period}"),
        Card("Success rate", _rate(accepted, accepted + refused), _refused_text(refused)),
        Card("Callers", f"{len(clients)}{'+' if is_cut else ''}", "recent addresses and agents"),
    ]


def caller_row(caller: KeyCaller, visit: MemberVisit) -> CallerRow:
    """Return a caller for display."""
    reason = caller.caller.reason
    text = "" if reason is None else _REASONS.get(reason, reason.value.replace("_", " "))
    return CallerRow(
        address=caller.caller.address or "unknown",
        agent=caller.caller.agent or "unknown",
        outcome=f"Refused: {text}" if text else "Accepted",
        is_refused=reason is not None,
        times=f"{caller.times:,}",
        last=visit.timestamp(caller.last_at),
    )


def event_row(event: Event, visit: MemberVisit) -> KeyEventRow:
    """Return an event of a key for display."""
    successor = event.data.get("rotated_to")
    return KeyEventRow(
        text=_event_text(event),
        link=Link("to a new key", f"{visit.keys_url}/{successor}") if successor else None,
        by=actor_label(event.actor, visit.principal),
        address=event.origin.address or "",
        at=visit.timestamp(event.occurred_at),
    )


def _rate(accepted: int, total: int) -> str:
    """Return a share such as `99.9%`, rounded down: only a whole one is `100%`."""
    if not total:
        return "No requests"
    permille = 1000 * accepted // total
    return f"{permille // 10}%" if permille % 10 == 0 else f"{permille / 10}%"


def _refused_text(refused: int) -> str:
    return f"{refused:,} refused" if refused else "none refused"


def _event_text(event: Event) -> str:
    for what, text in _SPECIAL.items():
        if event.data.get(what):
            return text
    action = _ACTIONS.get(event.type) or sentence(event).action.capitalize()
    if because := _REVOKED_BECAUSE.get(str(event.data.get("reason"))):
        return f"{action} because {because}"
    days = event.data.get("days")
    if isinstance(days, int) and event.type in _ACTIONS_WITH_DAYS:
        return f"{_ACTIONS_WITH_DAYS[event.type]} {plural(days, 'day')}"
    changed = event.data.get("changed")
    if isinstance(changed, list):
        return f"{action}: {', '.join(FIELDS.get(str(name), str(name)) for name in changed)}"
    seconds = event.data.get("overlap_seconds")
    if isinstance(seconds, int):
        return (
            f"{action} with {_overlap(seconds)} of overlap" if seconds else f"{action} immediately"
        )
    return action


def _overlap(seconds: int) -> str:
    """Return an overlap such as `24 hours`, `7 days` or `90 minutes`: in the largest unit that divides it."""
    overlap = timedelta(seconds=seconds)
    if overlap == timedelta(days=1):
        return "24 hours"
    unit, name = next((unit, name) for unit, name in _UNITS if not overlap % unit)
    return plural(overlap // unit, name)
