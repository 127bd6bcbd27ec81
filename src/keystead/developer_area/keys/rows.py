"""Keys as lists and pages show them: every value in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from keystead.developer_area.keys.contexts import (
    Bar,
    CallerRow,
    Chart,
    Day,
    KeyEventRow,
    KeyRow,
    LimitNotice,
)
from keystead.developer_area.sign_in.session import Acting
from keystead.developer_area.web.contexts import Choice, Link, Moment, QuotaLine
from keystead.developer_area.web.times import day, moment, relative
from keystead.developer_area.workspace.event_sentences import sentence
from keystead.domain.events import Event, EventType
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, KeyStatus, KeyUse
from keystead.domain.plans import Plan, Quota
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.usage import KeyCaller
from keystead.domain.verification import DenialReason


def key_row(
    key: ApiKey, acting: Acting, now: datetime, hints: Mapping[KeyId, str], catalog: ScopeCatalog
) -> KeyRow:
    """`key` as the acting person sees it at `now`; `hints` holds that of its successor."""
    status, use, url = key.status(now), key.last_use, f"{acting.keys_url}/{key.id}"
    changeable = key.revoked_at is None and may_revoke(key, acting.principal)
    return KeyRow(
        id=key.id,
        url=url,
        description=key.description,
        hint=key.hint,
        status=status,
        access=access_of(key.scopes, catalog),
        created=moment(key.created_at, now, acting.zone),
        created_by=maker_words(key.created_by, acting.principal),
        creator_left=key.creator_left,
        last_used=_moment(use.at if use else None, now, acting.zone),
        last_used_by=_caller(use) if use else "",
        expires=_moment(key.expires_at, now, acting.zone),
        revoked=_moment(key.revoked_at, now, acting.zone),
        ending=_ending(key, now),
        successor=_successor(key, acting, hints),
        rotate_url=f"{url}/rotate" if changeable and key.counts(now) else None,
        edit_url=f"{url}/edit" if changeable else None,
        revoke_url=f"{url}/revoke" if changeable else None,
    )


def access_of(scopes: Scopes, catalog: ScopeCatalog) -> Sequence[Choice]:
    """Return every scope with what it allows; one that the settings no longer name has no words."""
    words = catalog.descriptions()
    named = {EVERYTHING: "Full access"}
    return [Choice(scope, named.get(scope, scope), words.get(scope, "")) for scope in scopes]


def may_revoke(key: ApiKey, principal: Principal) -> bool:
    """Whether the person may end this key."""
    return principal.scopes.permit(KEYS_WRITE) and principal.may_manage(key.created_by)


def quota_line(quota: Quota, plan: Plan) -> QuotaLine:
    """Such as `3 of 5 active keys`."""
    keys = "key" if (quota.limit or quota.used) == 1 else "keys"
    of = "" if quota.limit is None else f" of {quota.limit}"
    return QuotaLine(f"{quota.used}{of} active {keys}", quota.used, quota.limit, plan.name)


def limit_notice(quota: QuotaLine, candidates: list[KeyRow], plans_url: str | None) -> LimitNotice:
    """Why no key can be created now."""
    reason = (
        f"The plan {quota.plan} allows {quota.limit} active {'key' if quota.limit == 1 else 'keys'},"
        f" and {quota.used} {'is' if quota.used == 1 else 'are'} in use. Revoke one to make room."
    )
    return LimitNotice(reason, candidates, plans_url)


def consequence(key: ApiKey, now: datetime) -> str:
    """What revoking the key does to those who use it."""
    if key.status(now) is KeyStatus.EXPIRED:
        return "It has expired: nothing that uses it works any more."
    if key.last_use is None:
        return "Never used: no code stops."
    use = key.last_use
    by = f" {_caller(use)}" if _caller(use) else ""
    return f"Used {relative(use.at, now)}{by}: code that uses it stops at once."


def _moment(instant: datetime | None, now: datetime, zone: tzinfo) -> Moment | None:
    return None if instant is None else moment(instant, now, zone)


def _caller(use: KeyUse) -> str:
    """Such as `from 10.2.3.4 (python-requests/2.32)`, as far as it is known."""
    address = f"from {use.address}" if use.address else ""
    agent = f"({use.agent})" if use.agent else ""
    return " ".join(filter(None, (address, agent)))


def _ending(key: ApiKey, now: datetime) -> str:
    if key.rotated_to is None:
        return ""
    if key.status(now) is KeyStatus.ACTIVE and key.expires_at is not None:
        return f"ends {relative(key.expires_at, now)}, rotated to"
    return "rotated to"


def _successor(key: ApiKey, acting: Acting, hints: Mapping[KeyId, str]) -> Link | None:
    if key.rotated_to is None:
        return None
    return Link(hints[key.rotated_to], f"{acting.keys_url}/{key.rotated_to}")


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


DAYS: Final = 30
_STEP: Final = 10
_GAP: Final = 2
_HEIGHT: Final = 100
_LEAST: Final = 1.5
"""The height of the lowest bar that is one: a single use beside thousands is still to be seen."""


def first_day(today: date) -> date:
    """The first of the days that the chart shows."""
    return today - timedelta(days=DAYS - 1)


def chart_of(uses: Mapping[date, int], today: date) -> Chart:
    """The chart of the last 30 days (UTC), today included; days that are absent in `uses` have none."""
    dates = [first_day(today) + timedelta(days=number) for number in range(DAYS)]
    counts = [uses.get(each, 0) for each in dates]
    top = _ceiling(max(counts))
    days = [
        Day(each.isoformat(), day(each), f"{n:,}") for each, n in zip(dates, counts, strict=True)
    ]
    return Chart(
        width=DAYS * _STEP,
        height=_HEIGHT,
        bars=[_bar(place, count, top) for place, count in enumerate(counts) if count],
        scale=[f"{top:,}", f"{top // 2:,}" if top > 1 else "", "0"],
        first=days[0].text,
        last=days[-1].text,
        summary=_summary(counts, days),
        days=days[::-1],
    )


def _bar(place: int, count: int, top: int) -> Bar:
    height = max(_LEAST, round(_HEIGHT * count / top, 2))
    return Bar(place * _STEP + _GAP / 2, round(_HEIGHT - height, 2), _STEP - _GAP, height)


def _ceiling(most: int) -> int:
    """The end of the scale: 1, 2, 4, 6, 8 or 10 times a power of ten, none below `most`."""
    power = 1
    while most > 10 * power:
        power *= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= most)


def _summary(counts: Sequence[int], days: Sequence[Day]) -> str:
    total = sum(counts)
    if not total:
        return "No use in the last 30 days."
    busiest = days[counts.index(max(counts))]
    told = f"{total:,} {'use' if total == 1 else 'uses'} in the last 30 days"
    if total == max(counts):
        return f"{told}, on {busiest.text}."
    return f"{told}; most on {busiest.text}: {busiest.uses}."
