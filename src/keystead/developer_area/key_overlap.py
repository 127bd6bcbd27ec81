"""When a rotated key ends: the choices, and every answer in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.forms import Form
from keystead.developer_area.web.times import moment
from keystead.domain.errors import Invalid, KeysteadError, LimitReached
from keystead.domain.keys import ApiKey, earlier, has_passed

OVERLAP: Final = "overlap"
_OVERLAPS: Final[Mapping[str, tuple[str, timedelta]]] = {
    "now": ("Now", timedelta()),
    "hour": ("In 1 hour", timedelta(hours=1)),
    "day": ("In 24 hours", timedelta(hours=24)),
    "week": ("In 7 days", timedelta(days=7)),
}


def overlap_choices(key: ApiKey, now: datetime, zone: tzinfo) -> Sequence[Choice]:
    """The choices, each with the exact instant: never later than the key's own expiry."""
    return [
        Choice(value, text, _hint(key, span, now, zone))
        for value, (text, span) in _OVERLAPS.items()
    ]


def chosen_overlap(form: Form) -> timedelta:
    """What was chosen. Invalid where nothing was."""
    found = _OVERLAPS.get(form.one(OVERLAP))
    if found is None:
        raise Invalid.field("/overlap_seconds", "must be chosen")
    return found[1]


def fate_of_the_old(key: ApiKey, now: datetime, zone: tzinfo) -> str:
    """What becomes of a key that was rotated."""
    if key.revoked_at is not None or key.expires_at is None or has_passed(key.expires_at, now):
        return f"The old key {key.hint} has stopped working."
    ends = moment(key.expires_at, now, zone)
    return f"The old key {key.hint} stops working {ends.relative}: {ends.exact}."


def refusal_of(error: KeysteadError) -> str:
    """Why a key was not changed, in a sentence for people."""
    if isinstance(error, LimitReached):
        return (
            "Too many rotated keys still work beside their successors."
            " Let this one end now, or revoke one of those first."
        )
    return error.detail


def _hint(key: ApiKey, span: timedelta, now: datetime, zone: tzinfo) -> str:
    if not span:
        return "what uses it stops at once, until it has the new key"
    ends = earlier(key.expires_at, now + span)
    exact = moment(ends, now, zone).exact
    return f"until {exact}" if ends == now + span else f"at its own expiry already: {exact}"
