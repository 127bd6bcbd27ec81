"""A key's expiry as users see and choose it: in their own time zone, to the second."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.developer_area.keys.forms import KeyEntry
from keystead.developer_area.web.timestamps import timestamp
from keystead.domain.keys import MAX_EXPIRY, KeyDraft
from keystead.domain.scopes import ScopeCatalog
from keystead.domain.token import Secret
from tests.developer_area.conftest import Area, session_of
from tests.support.browser import Browser, Page
from tests.support.key_pages import newest

ZONES = ("UTC", "Asia/Kolkata", "Pacific/Auckland", "Pacific/Honolulu", "Australia/Lord_Howe")
CHOICES = {"30": "30 days", "90": "90 days", "365": "1 year"}
NOW = datetime(2026, 11, 30, 23, 13, tzinfo=UTC)


def in_zone(area: Area, zone: str, now: datetime = NOW) -> Browser:
    """Return the owner's browser at that time, with that time zone chosen."""
    area.clock.set(now)
    browser = area.signed_in()
    area.services.accounts.set_time_zone(Secret(session_of(browser)), zone)
    return browser


def hints(seen: Page) -> dict[str, str]:
    """Return the hint of each option for the expiry, by the option's name."""
    labels = [label for label in seen.tree.all("label") if label.all("input", name="expiry")]
    return {label.one("strong").text: label.one("span", class_="quiet").text for label in labels}


def exact(seen: Page) -> str:
    """Return the expiry that the response shows."""
    return seen.tree.one("span", class_="exact").text


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expiry", CHOICES)
def test_the_form_shows_the_time_that_the_key_gets(area: Area, zone: str, expiry: str) -> None:
    """Each option shows an exact time in the user's zone; the key expires then, however long they typed."""
    browser = in_zone(area, zone)
    form = browser.open(f"{area.keys_url}/new")
    area.clock.advance(minutes=10, microseconds=3)
    created = browser.submit(form, area.keys_url, description="sync", expiry=expiry, access="full")
    ends = NOW + timedelta(days=int(expiry))
    assert newest(area).expires_at == ends
    local = ends.astimezone(ZoneInfo(zone))
    assert exact(created).startswith(f"{local.day} {local:%b %Y, %H:%M:%S} ")
    assert hints(form)[CHOICES[expiry]] == f"until {exact(created)}"


@pytest.mark.parametrize(
    ("zone", "day", "ends"),
    [
        ("Asia/Kolkata", "2026-12-24", "2026-12-24T18:29:59+00:00"),
        ("Pacific/Honolulu", "2026-12-24", "2026-12-25T09:59:59+00:00"),
        ("Pacific/Auckland", "2026-12-24", "2026-12-24T10:59:59+00:00"),
        ("Pacific/Auckland", "2027-04-03", "2027-04-03T10:59:59+00:00"),
        ("Pacific/Auckland", "2027-04-04", "2027-04-04T11:59:59+00:00"),
        ("Australia/Lord_Howe", "2027-04-03", "2027-04-03T12:59:59+00:00"),
        ("Australia/Lord_Howe", "2027-04-04", "2027-04-04T13:29:59+00:00"),
        ("Europe/Berlin", "2027-03-28", "2027-03-28T21:59:59+00:00"),
        ("UTC", "2026-12-24", "2026-12-24T23:59:59+00:00"),
    ],
)
def test_a_last_day_ends_with_the_day_of_the_person(
    area: Area, zone: str, day: str, ends: str
) -> None:
    """The key works through the last second of that day in its creator's zone; creating and editing agree."""
    browser = in_zone(area, zone)
    form = browser.open(f"{area.keys_url}/new")
    assert hints(form)["Custom date"] == f"until the end of that day, your time ({zone})"
    chosen = {"expiry": "date", "expires_on": day}
    created = browser.submit(form, area.keys_url, description="sync", access="full", **chosen)
    assert newest(area).expires_at == datetime.fromisoformat(ends)
    assert re.match(rf"{int(day[-2:])} \w+ {day[:4]}, 23:59:59 ", exact(created))
    edit = f"{area.keys_url}/{newest(area).id}/edit"
    browser.submit(browser.open(edit), edit, expiry="never")
    browser.submit(browser.open(edit), edit, **chosen)
    assert newest(area).expires_at == datetime.fromisoformat(ends)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("second", [-2, 0, 1])
def test_around_midnight_today_is_the_persons(area: Area, zone: str, second: int) -> None:
    """Just before and after the user's midnight, the first day offered is theirs, and is accepted."""
    midnight = datetime(2026, 12, 2, tzinfo=ZoneInfo(zone))
    now = midnight.astimezone(UTC) + timedelta(seconds=second)
    browser = in_zone(area, zone, now)
    form = browser.open(f"{area.keys_url}/new")
    first = form.tree.one("input", name="expires_on").attributes["min"]
    assert first == ("2026-12-01" if second < 0 else "2026-12-02")
    browser.submit(
        form, area.keys_url, description="x", access="full", expiry="date", expires_on=first
    )
    local = (newest(area).expires_at or MAX_EXPIRY).astimezone(ZoneInfo(zone))
    assert f"{local:%Y-%m-%d %H:%M:%S}" == f"{first} 23:59:59"


@given(st.sampled_from(sorted(available_timezones())), st.dates(date(2026, 1, 1), date(2045, 1, 1)))
def test_a_day_ends_before_the_next_begins(zone: str, day: date) -> None:
    """In every zone the end of a day is on that day, and a second later is the next, even if clocks change."""
    entry = KeyEntry("x", expiry="date", expires_on=day.isoformat(), access="full")
    ends = entry.draft(NOW, ZoneInfo(zone), ScopeCatalog()).expires_at
    assert isinstance(ends, datetime)
    assert ends.astimezone(ZoneInfo(zone)).date() == day
    assert (ends + timedelta(seconds=1)).astimezone(ZoneInfo(zone)).date() == day + timedelta(1)


@pytest.mark.parametrize("zone", ZONES)
def test_the_last_time_of_all_is_shown(area: Area, zone: str) -> None:
    """A key that expires at the end of the year 9999 can be shown in every zone."""
    assert timestamp(MAX_EXPIRY, NOW, ZoneInfo(zone)).exact.startswith("31 Dec 9999, ")
    area.services.keys.create(area.principal, KeyDraft("lasting", MAX_EXPIRY))
    assert in_zone(area, zone).open(area.keys_url).status == 200


def test_an_invalid_time_creates_no_key(area: Area) -> None:
    """A form with an invalid time is refused, and no key is created."""
    browser = area.signed_in()
    fields = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    hidden = {
        e.attributes["name"]: e.attributes["value"] for e in fields.all("input", type="hidden")
    }
    for spoilt in ("yesterday", "2026-13-01T00:00:00Z", "2026-12-01"):
        sent = {**hidden, "description": "x", "expiry": "30", "access": "full", "shown_at": spoilt}
        assert browser.post(area.keys_url, sent.items()).status == 400
    assert area.active() == 0


@pytest.mark.parametrize(
    ("zone", "day", "text"),
    [
        ("Asia/Kolkata", "2026-12-24", "Until 24 Dec 2026, 23:59:59 IST, in 24 days."),
        ("Pacific/Honolulu", "2026-12-24", "Until 24 Dec 2026, 23:59:59 HST, in 24 days."),
        ("Australia/Lord_Howe", "2027-04-03", "Until 3 Apr 2027, 23:59:59 UTC+11:00, in 4 months."),
        ("Australia/Lord_Howe", "2027-04-04", "Until 4 Apr 2027, 23:59:59 UTC+10:30, in 4 months."),
        ("Asia/Kolkata", "2026-11-30", "That day is over."),
        ("Asia/Kolkata", "2026-02-30", ""),
        ("Asia/Kolkata", "", ""),
    ],
)
def test_the_chosen_day_is_previewed(area: Area, zone: str, day: str, text: str) -> None:
    """The server returns when something ends whose last day was chosen: what the form will store."""
    seen = in_zone(area, zone).open(f"{area.keys_url}/expiry?on={day}")
    assert (seen.status, seen.html) == (200, text)
    assert seen.headers["content-type"].startswith("text/plain")
