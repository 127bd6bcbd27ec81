"""Uses per day as a chart: its geometry, and the same numbers in words. Drawn by the template as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from keystead.developer_area.keys.contexts import Bar, Chart, Day
from keystead.developer_area.web.times import day

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
