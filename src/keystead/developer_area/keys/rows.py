"""Keys as text: rows, callers, history, and the chart of requests per day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from keystead.developer_area.keys.contexts import (
    Bar,
    CallerRow,
    Chart,
    Day,
    KeyEventRow,
    KeyRow,
    LimitNotice,
    ListRow,
)
from keystead.developer_area.keys.list_state import LIST, ListState
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice, Link, QuotaLine
from keystead.developer_area.web.labels import plural
from keystead.developer_area.web.navigation import with_query
from keystead.developer_area.web.timestamps import day, exact, relative, short_date
from keystead.developer_area.workspace.event_sentences import sentence
from keystead.domain.events import Event, EventType
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, KeyStatus, KeyUse
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.usage import KeyCaller, UseCount
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
_FIELDS: Final = {"description": "description", "scopes": "access", "expires_at": "expiry"}
_UNITS: Final = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
    (timedelta(seconds=1), "second"),
)
_READ_ONLY: Final = {ScopeCatalog().read_only, ScopeCatalog(has_documents=False).read_only}
DAYS: Final = 30
_STEP: Final = 10
_GAP: Final = 2
_HEIGHT: Final = 100
_MIN_HEIGHT: Final = 1.5
"""The height of the lowest bar: a single request stays visible next to thousands."""


def key_row(
    key: ApiKey,
    visit: MemberVisit,
    now: datetime,
    hints: Mapping[KeyId, str],
    catalog: ScopeCatalog,
    query: str = "",
) -> KeyRow:
    """Return `key` for display. `hints` holds the hint of its successor; `query` ends the URLs of its pages."""
    use, url = key.last_use, f"{visit.keys_url}/{key.id}"
    changeable = key.revoked_at is None and _may_change(key, visit.principal)
    return KeyRow(
        id=key.id,
        url=f"{url}{query}",
        description=key.description,
        hint=key.hint,
        status=key.status(now),
        access=access_of(key.scopes, catalog),
        created=visit.timestamp(key.created_at),
        created_by=_actor_label(key.created_by, visit.principal),
        creator_left=key.creator_left,
        last_used=visit.timestamp(use.at if use else None),
        last_used_by=_source(use) if use else "",
        expires=visit.timestamp(key.expires_at),
        revoked=visit.timestamp(key.revoked_at),
        networks=list(key.networks),
        metadata=list(key.metadata.items()),
        renews=key.renewal is not None,
        renews_until=visit.timestamp(key.renewal.until if key.renewal else None),
        rotation=_rotation(key, now),
        successor=_successor(key, visit, hints),
        rotate_url=f"{url}/rotate{query}" if changeable and key.counts(now) else None,
        edit_url=f"{url}/edit{query}" if changeable else None,
        revoke_url=f"{url}/revoke{query}" if changeable else None,
    )


class ListRows:
    """Makes the rows of the list: each value once, since a page has many of them."""

    def __init__(self, visit: MemberVisit, now: datetime, changed: str, state: ListState) -> None:
        """`changed` is the id of the key whose row is highlighted, `state` what each key's page leads back to."""
        self._principal = visit.principal
        self._manages_all = visit.principal.manages_every_key
        self._writes = visit.principal.scopes.permit(KEYS_WRITE)
        self._keys_url, self._zone, self._now, self._changed = (
            visit.keys_url,
            visit.zone,
            now,
            changed,
        )
        self._query = with_query("", **{LIST: str(state)})
        self._access: dict[Scopes, str] = {}

    def of(self, keys: Iterable[ApiKey], hints: Mapping[KeyId, str]) -> list[ListRow]:
        """Return the rows of `keys`. `hints` holds the hints of their successors."""
        return [self._row(key, hints) for key in keys]

    def _row(self, key: ApiKey, hints: Mapping[KeyId, str]) -> ListRow:
        status, use = key.status(self._now), key.last_use
        prefix, _, last_four = key.hint.rpartition("…")
        creator = _actor_label(key.created_by, self._principal)
        ends = key.revoked_at or key.expires_at
        successor = key.rotated_to
        return ListRow(
            id=key.id,
            url=f"{self._keys_url}/{key.id}{self._query}",
            description=key.description,
            access=self._access_text(key.scopes),
            prefix=prefix,
            last_four=last_four,
            created=relative(key.created_at, self._now),
            created_exact=exact(key.created_at, self._zone),
            creator=f"by {creator} (left)" if key.creator_left else f"by {creator}",
            used=relative(use.at, self._now) if use else "",
            used_from=(use.address or "") if use else "",
            used_exact=f"{exact(use.at, self._zone)} {_source(use)}".rstrip() if use else "",
            ends=relative(ends, self._now) if ends else "",
            ends_on=short_date(ends, self._zone) if ends else "",
            ends_exact=exact(ends, self._zone) if ends else "",
            status=status,
            status_text=status.capitalize(),
            successor=Link(hints[successor], f"{self._keys_url}/{successor}")
            if successor
            else None,
            acts=self._acts(key),
            is_changed=key.id == self._changed,
        )

    def _acts(self, key: ApiKey) -> str:
        """Return the pages of the key that the member may open, the most frequent first."""
        may = self._writes and (self._manages_all or self._principal.may_manage(key.created_by))
        if not may or key.revoked_at is not None:
            return ""
        return "rotate edit revoke" if key.counts(self._now) else "edit revoke"

    def _access_text(self, scopes: Scopes) -> str:
        text = self._access.get(scopes)
        if text is None:
            text = self._access[scopes] = short_access(scopes)
        return text


def short_access(scopes: Scopes) -> str:
    """Return scopes on one line."""
    if scopes in _READ_ONLY:
        return "Read-only"
    return ", ".join("Full access" if scope == EVERYTHING else scope for scope in scopes)


def access_of(scopes: Scopes, catalog: ScopeCatalog) -> Sequence[Choice]:
    """Return scopes with their descriptions. A scope that was removed from the settings has an empty one."""
    descriptions = catalog.descriptions()
    names = {EVERYTHING: "Full access"}
    return [Choice(scope, names.get(scope, scope), descriptions.get(scope, "")) for scope in scopes]


def limit_notice(quota: QuotaLine, candidates: list[KeyRow]) -> LimitNotice:
    """Return why no key can be created now."""
    reason = (
        f"The {quota.plan} plan allows {plural(quota.limit or 0, 'active key')}, and {quota.used:,}"
        f" {'is' if quota.used == 1 else 'are'} in use."
    )
    return LimitNotice(reason, candidates)


def revoke_consequence(key: ApiKey, now: datetime) -> str:
    """Return what revoking the key breaks."""
    if key.status(now) is KeyStatus.EXPIRED:
        return "This key has expired, so anything using it has already stopped."
    if key.last_use is None:
        return "This key has never been used, so nothing will break."
    source = f" {_source(key.last_use)}".rstrip()
    last_use = relative(key.last_use.at, now)
    return f"Last used {last_use}{source}. Anything using it will stop immediately."


def first_use(key: ApiKey, now: datetime) -> str:
    """Return, for example, `First request: just now from 10.2.3.4 (curl)`; empty if there was none."""
    if key.last_use is None:
        return ""
    use = replace(key.last_use, agent=(key.last_use.agent or "").partition("/")[0])
    return f"First request: {relative(use.at, now)} {_source(use)}".rstrip()


def caller_row(caller: KeyCaller, visit: MemberVisit) -> CallerRow:
    """Return a caller for display."""
    reason = caller.caller.reason
    return CallerRow(
        address=caller.caller.address or "unknown",
        agent=caller.caller.agent or "unknown",
        times=f"{caller.times:,}",
        last=visit.timestamp(caller.last_at),
        reason="" if reason is None else _REASONS.get(reason, reason.value.replace("_", " ")),
    )


def event_row(event: Event, visit: MemberVisit) -> KeyEventRow:
    """Return an event of a key for display."""
    successor = event.data.get("rotated_to")
    return KeyEventRow(
        text=_event_text(event),
        link=Link("to a new key", f"{visit.keys_url}/{successor}") if successor else None,
        by=_actor_label(event.actor, visit.principal),
        address=event.origin.address or "",
        at=visit.timestamp(event.occurred_at),
    )


def first_day(today: date) -> date:
    """Return the first day of the chart."""
    return today - timedelta(days=DAYS - 1)


def chart_of(uses: Mapping[date, UseCount], today: date) -> Chart:
    """Return the chart of the last 30 days (UTC) through today. Days absent in `uses` had no request."""
    dates = [first_day(today) + timedelta(days=number) for number in range(DAYS)]
    counts = [uses.get(each, UseCount()).requests for each in dates]
    top = _scale_end(max(counts))
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


def _may_change(key: ApiKey, principal: Principal) -> bool:
    return principal.scopes.permit(KEYS_WRITE) and principal.may_manage(key.created_by)


def _actor_label(actor: Actor, principal: Principal) -> str:
    match actor.kind:
        case PrincipalKind.MEMBER:
            return "you" if actor.id == principal.id else actor.name
        case PrincipalKind.KEY:
            return f"the key {actor.name}"
        case _:
            return actor.name


def _source(use: KeyUse) -> str:
    """Return the known parts of, for example, `from 10.2.3.4 (python-requests/2.32)`."""
    address = f"from {use.address}" if use.address else ""
    agent = f"({use.agent})" if use.agent else ""
    return " ".join(filter(None, (address, agent)))


def _rotation(key: ApiKey, now: datetime) -> str:
    if key.rotated_to is None:
        return ""
    if key.status(now) is KeyStatus.ACTIVE and key.expires_at is not None:
        return f"expires {relative(key.expires_at, now)}, rotated to"
    return "rotated to"


def _successor(key: ApiKey, visit: MemberVisit, hints: Mapping[KeyId, str]) -> Link | None:
    if key.rotated_to is None:
        return None
    return Link(hints[key.rotated_to], f"{visit.keys_url}/{key.rotated_to}")


def _event_text(event: Event) -> str:
    if event.data.get("renewed"):
        return "Renewed"
    if event.data.get("successor_used"):
        return "Replaced: the renewed key was first used"
    action = _ACTIONS.get(event.type) or sentence(event).action.capitalize()
    days = event.data.get("days")
    if isinstance(days, int) and event.type in _ACTIONS_WITH_DAYS:
        return f"{_ACTIONS_WITH_DAYS[event.type]} {plural(days, 'day')}"
    changed = event.data.get("changed")
    if isinstance(changed, list):
        return f"{action}: {', '.join(_FIELDS.get(str(name), str(name)) for name in changed)}"
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


def _bar(place: int, count: int, top: int) -> Bar:
    height = max(_MIN_HEIGHT, round(_HEIGHT * count / top, 2))
    return Bar(place * _STEP + _GAP / 2, round(_HEIGHT - height, 2), _STEP - _GAP, height)


def _scale_end(largest: int) -> int:
    """Return the end of the scale: 1, 2, 4, 6, 8 or 10 times a power of ten, at least `largest`."""
    power = 1
    while largest > 10 * power:
        power *= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= largest)


def _summary(counts: Sequence[int], days: Sequence[Day]) -> str:
    total, busiest = sum(counts), days[counts.index(max(counts))]
    if not total:
        return "No requests in the last 30 days."
    text = f"{plural(total, 'request')} in the last 30 days"
    if total == max(counts):
        return f"{text}, on {busiest.text}."
    return f"{text}; most on {busiest.text}: {busiest.uses}."
