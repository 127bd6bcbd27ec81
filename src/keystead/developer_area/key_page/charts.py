"""The chart of a key's requests: columns by the hour or the day, drawn from counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from keystead.developer_area.key_page.contexts import Bar, Chart, Column
from keystead.developer_area.web.labels import plural
from keystead.developer_area.web.timestamps import day, short_date, zone_label
from keystead.domain.instants import format_instant
from keystead.domain.usage import UseCount

_HEIGHT: Final = 100
_MIN_HEIGHT: Final = 1.5
"""The height of the lowest bar: a single request stays visible next to thousands."""
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """An hour or a day with its name, its time on the wire, and its requests."""

    text: str
    iso: str
    use: UseCount


def hours_until(now: datetime, uses: Mapping[datetime, UseCount], zone: tzinfo) -> list[Slot]:
    """Return the last 24 hours through the present one, named by when they begin in `zone`."""
    last = now.replace(minute=0, second=0, microsecond=0)
    begins = [last - _HOUR * back for back in range(23, -1, -1)]
    return [
        Slot(_hour(begin, now, zone), format_instant(begin), uses.get(begin, UseCount()))
        for begin in begins
    ]


def days_until(today: date, uses: Mapping[date, UseCount], days: int) -> list[Slot]:
    """Return so many days (UTC) through today."""
    dates = [today - timedelta(days=back) for back in range(days - 1, -1, -1)]
    return [Slot(day(each), each.isoformat(), uses.get(each, UseCount())) for each in dates]


def chart_of(title: str, unit: str, slots: Sequence[Slot], period: str) -> Chart:
    """Return the chart of the slots, oldest first, which cover that period, such as `the last 30 days`."""
    top = _scale_end(max(_total(slot.use) for slot in slots))
    return Chart(
        title=title,
        unit=unit,
        summary=_summary(slots, period),
        columns=[_column(slot, top) for slot in slots],
        scale=[f"{top:,}", f"{top // 2:,}" if top > 1 else "", "0"],
        is_empty=not any(_total(slot.use) for slot in slots),
    )


def hour_unit(now: datetime, zone: tzinfo) -> str:
    """Return the head of a table by the hour."""
    return f"Hour ({zone_label(now, zone)})"


def _hour(begin: datetime, now: datetime, zone: tzinfo) -> str:
    """Return the name of an hour, with the zone's abbreviation if the clocks have changed since."""
    local = begin.astimezone(zone)
    text = f"{short_date(begin, zone)}, {local:%H:%M}"
    is_changed = local.utcoffset() != now.astimezone(zone).utcoffset()
    return f"{text} {zone_label(begin, zone)}" if is_changed else text


def _total(use: UseCount) -> int:
    return use.requests + use.refused


def _column(slot: Slot, top: int) -> Column:
    accepted, refused = _height(slot.use.requests, top), _height(slot.use.refused, top)
    words = f"{slot.text}: {slot.use.requests:,} accepted, {slot.use.refused:,} refused"
    return Column(
        text=slot.text,
        iso=slot.iso,
        accepted=f"{slot.use.requests:,}",
        refused=f"{slot.use.refused:,}",
        words=words,
        accepted_bar=Bar(round(_HEIGHT - accepted, 2), accepted),
        refused_bar=Bar(round(_HEIGHT - accepted - refused, 2), refused),
    )


def _height(count: int, top: int) -> float:
    return max(_MIN_HEIGHT, round(_HEIGHT * count / top, 2)) if count else 0


def _scale_end(largest: int) -> int:
    """Return the end of the scale: 1, 2, 4, 6, 8 or 10 times a power of ten, at least `largest`."""
    power = 1
    while largest > 10 * power:
        power *= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= largest)


def _summary(slots: Sequence[Slot], period: str) -> str:
    total, refused = sum(_total(s.use) for s in slots), sum(s.use.refused for s in slots)
    busiest = max(slots, key=lambda slot: _total(slot.use))
    if not total:
        return f"No requests in {period}."
    text = f"{plural(total, 'request')} in {period}"
    if refused:
        text = f"{text}, {refused:,} refused"
    return f"{text}. Most on {busiest.text}: {_total(busiest.use):,}."
