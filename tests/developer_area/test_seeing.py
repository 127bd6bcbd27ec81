"""Viewing keys: the table, its order, its pages, its search; and how much of the limit is used."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event

from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import Browser
from tests.support.key_pages import descriptions, unlimited, used


def all_pages(browser: Browser, url: str) -> list[list[str]]:
    """Return every page of the list, following its link to older ones."""
    pages = []
    seen = browser.open(url)
    while True:
        pages.append(descriptions(seen))
        older = seen.tree.all("a", rel="next")
        if not older:
            return pages
        seen = browser.open(older[0].attributes["href"])


def test_a_row_shows_everything_about_a_key(each_area: Area) -> None:
    """Description, hint, creator and creation, last use with address and agent, expiry and status, all in words."""
    token = each_area.key("data-warehouse sync", days=12)
    each_area.clock.advance(minutes=3)
    used(each_area, token, "python-requests/2.32")
    each_area.clock.advance(minutes=4)
    rows = each_area.signed_in().open(each_area.keys_url).rows()
    assert rows == [
        {
            "Select": "",
            "Description": "data-warehouse sync Full access",
            "Key": token.hint.replace("…", " …"),
            "Created": "7 minutes ago by you",
            "Last used": "4 minutes ago 10.2.3.4 Created 23 Nov 2026, 12:00:00 UTC by you"
            " Last used 23 Nov 2026, 12:03:00 UTC from 10.2.3.4 (python-requests/2.32)"
            " Expires 5 Dec 2026, 12:00:00 UTC",
            "Expires": "in 12 days 5 Dec 2026",
            "Status": "Active",
            "Actions": "⋯",
        }
    ]


def test_times_are_exact_for_machines(area: Area) -> None:
    """On a key's page every time is in a <time> element with its RFC 3339 form."""
    token = area.key(days=1)
    page = area.signed_in().open(f"{area.keys_url}/{token.key_id}").tree
    shown = [t.attributes["datetime"] for t in page.one("dl", class_="card attributes").all("time")]
    assert shown == ["2026-11-24T12:00:00Z", "2026-11-23T12:00:00Z"]


def test_a_key_without_use_or_expiry_says_so(area: Area) -> None:
    """No cell is blank: never used, never expires."""
    area.key()
    (row,) = area.signed_in().open(area.keys_url).rows()
    assert row["Last used"].startswith("Never used")
    assert row["Expires"] == "Never expires"


def test_the_creator_of_a_key_is_named(area: Area) -> None:
    """A user's own keys are by "you", another member's by their name."""
    area.key("theirs", by=area.member(Role.DEVELOPER, name="Dana"))
    area.key("mine")
    rows = area.signed_in().open(area.keys_url).rows()
    assert [row["Created"].rpartition(" by ")[2] for row in rows] == ["you", "Dana"]


def test_the_table_is_accessible(area: Area) -> None:
    """The table has a caption, column headers, row headers, and one cell for each column."""
    area.key()
    table = area.signed_in().open(area.keys_url).tree.one("table")
    assert table.one("caption").text
    assert {th.attributes["scope"] for th in table.one("thead").all("th")} == {"col"}
    assert [th.attributes["scope"] for th in table.one("tbody").all("th")] == ["row"]


@pytest.mark.parametrize(
    ("plan", "keys", "text", "bar"),
    [
        ("free", 0, "0 of 5 active keys", ("0", "5")),
        ("free", 3, "3 of 5 active keys", ("3", "5")),
        ("scale", 1, "1 active key", None),
        ("scale", 2, "2 active keys", None),
    ],
)
def test_the_plan_line_counts(
    area: Area, plan: str, keys: int, text: str, bar: tuple[str, str] | None
) -> None:
    """The plan line shows use and limit, in words and as a bar; only in words if there is no limit."""
    area.services.workspaces.set_plan(area.workspace_id, plan)
    for number in range(keys):
        area.key(str(number))
    page = area.signed_in().open(area.keys_url).tree
    assert page.one("p", id="quota-text").text.startswith(text)
    bars = [(p.attributes["value"], p.attributes["max"]) for p in page.all("progress")]
    assert bars == ([] if bar is None else [bar])


def test_expired_and_revoked_keys_do_not_count(area: Area) -> None:
    """The plan line counts active keys only."""
    area.key("short", days=1)
    gone = area.key("gone")
    area.key("stays")
    area.services.keys.revoke(area.principal, gone.key_id)
    area.clock.advance(days=2)
    page = area.signed_in().open(area.keys_url)
    assert "1 of 5 active keys" in page.tree.text


def test_active_keys_come_first_and_revoked_ones_are_history(each_area: Area) -> None:
    """Expired keys stay visible below the active ones; revoked ones are in the history, with their time."""
    each_area.key("lives 1")
    each_area.key("expires", days=1)
    gone = each_area.key("revoked")
    each_area.key("lives 2")
    each_area.services.keys.revoke(each_area.principal, gone.key_id)
    each_area.clock.advance(days=2)
    browser = each_area.signed_in()
    page = browser.open(each_area.keys_url)
    assert descriptions(page) == ["lives 2", "lives 1", "expires"]
    assert [row["Status"] for row in page.rows()] == ["Active", "Active", "Expired"]
    assert descriptions(browser.open(page.link("Active"))) == ["lives 2", "lives 1"]
    assert descriptions(browser.open(page.link("Expired"))) == ["expires"]
    history = browser.open(page.link("Revoked"))
    assert descriptions(history) == ["revoked"]
    (row,) = history.rows()
    assert (row["Status"], row["Revoked"]) == ("Revoked", "2 days ago 23 Nov 2026")
    assert row["Actions"] == ""


def test_search_finds_by_description_id_and_last_four(each_area: Area) -> None:
    """Part of the description in any case, the exact ID, or the last four characters; within the chosen filter."""
    token = each_area.key("Data-Warehouse Sync")
    each_area.key("billing")
    browser = each_area.signed_in()
    page = browser.open(each_area.keys_url)
    for query in ("warehouse", "WAREHOUSE SYNC", token.key_id, token.hint[-4:]):
        results = browser.submit(page, each_area.keys_url, query=query)
        assert descriptions(results) == ["Data-Warehouse Sync"], query
        assert results.tree.one("input", id="query").attributes["value"] == query
    for query in ("%", "_", "nothing like it", "ks_", "\\"):
        none = browser.submit(page, each_area.keys_url, query=query)
        assert descriptions(none) == [], query
        assert "No key matches" in none.tree.text
    history = browser.open(page.link("Revoked"))
    assert descriptions(browser.submit(history, each_area.keys_url, query="sync")) == []


def test_a_pasted_token_finds_its_key_and_leaves_the_address(area: Area) -> None:
    """Searching for a whole token redirects to its key's ID; neither page nor URL repeats the token."""
    token = area.key("pasted")
    area.key("another")
    browser = area.signed_in()
    results = browser.submit(browser.open(area.keys_url), area.keys_url, query=token.reveal())
    assert descriptions(results) == ["pasted"]
    assert results.path == f"{area.keys_url}?query={token.key_id}"
    assert token.reveal()[-49:] not in results.html


@pytest.mark.parametrize(
    ("active", "expired"), [(0, 0), (50, 0), (50, 1), (49, 2), (0, 51), (60, 60)]
)
def test_pages_hold_every_key_once(area: Area, active: int, expired: int) -> None:
    """The pages list active keys, then expired ones: each once, 50 a page."""
    unlimited(area)
    for number in range(expired):
        area.key(f"expired {number:03}", days=1)
    area.clock.advance(days=2)
    for number in range(active):
        area.key(f"active {number:03}")
    pages = all_pages(area.signed_in(), area.keys_url)
    names = [f"active {n:03}" for n in reversed(range(active))]
    names += [f"expired {n:03}" for n in reversed(range(expired))]
    assert [name for page in pages for name in page] == names
    assert [len(page) for page in pages[:-1]] == [50] * (len(pages) - 1)
    assert pages[-1] or not names


def test_a_later_page_leads_back(area: Area) -> None:
    """An older page links to the newest; keys created in between appear there and nowhere else."""
    unlimited(area)
    for number in range(51):
        area.key(f"key {number}")
    browser = area.signed_in()
    first = browser.open(area.keys_url)
    area.key("made in between")
    second = browser.open(first.link("Older"))
    assert descriptions(second) == ["key 0"]
    assert descriptions(browser.open(second.link("Newest")))[0] == "made in between"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "A" * 600, "ü"])
def test_an_invalid_cursor_leads_back_to_the_list(area: Area, cursor: str) -> None:
    """A truncated or changed URL is answered by a page with a link to continue."""
    seen = area.signed_in().open(f"{area.keys_url}?cursor={cursor}")
    assert (seen.status, seen.heading) == (422, "This page of the list is out of date")


def test_an_unknown_filter_is_not_there(area: Area) -> None:
    """Only the filters that the page offers exist."""
    assert area.signed_in().open(f"{area.keys_url}?show=everything").status == 404


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "No keys are active or expired."),
        ("?show=active", "No active keys."),
        ("?show=expired", "No expired keys."),
        ("?show=endless", "All done: no key needs this review."),
        ("?access=full", "No key matches these filters."),
        ("?query=x", "No key matches “x”."),
    ],
)
def test_an_empty_list_says_why(area: Area, query: str, text: str) -> None:
    """An empty list says what that means."""
    area.services.keys.revoke(area.principal, area.key("old").key_id)
    assert text in area.signed_in().open(area.keys_url + query).tree.text


def test_a_suspended_workspace_says_so(area: Area) -> None:
    """While the workspace is suspended every page warns that its keys are refused."""
    browser = area.signed_in()
    area.services.workspaces.suspend(area.workspace_id)
    assert "This workspace is suspended." in browser.open(area.keys_url).tree.text
    area.services.workspaces.resume(area.workspace_id)
    assert "suspended" not in browser.open(area.keys_url).tree.text


def test_the_scopes_are_shown(area: Area) -> None:
    """A key without full access shows its scopes."""
    from keystead.domain.keys import KeyDraft
    from keystead.domain.scopes import Scopes

    scopes = Scopes(["documents:read", "plan:read"])
    later = area.clock.now() + timedelta(days=1)
    area.services.keys.create(area.principal, KeyDraft("narrow", later, scopes))
    (row,) = area.signed_in().open(area.keys_url).rows()
    assert row["Description"] == "narrow documents:read, plan:read"


def test_more_rows_need_no_more_statements(each_area: Area) -> None:
    """Fifty rows, rotated ones among them, need no more statements than two."""
    unlimited(each_area)

    def rolled(number: int) -> None:
        old = each_area.key(f"key {number}")
        each_area.services.rotations.rotate(
            each_area.principal, old.key_id, overlap=timedelta(days=1)
        )

    browser = each_area.signed_in()
    rolled(0)
    few = statements_of(each_area, browser)
    for number in range(30):
        rolled(number)
    assert len(descriptions(browser.open(each_area.keys_url))) == 50
    assert statements_of(each_area, browser) <= few <= 10


def statements_of(area: Area, browser: Browser) -> int:
    """Return how many statements the page of all keys runs, except those of transactions."""
    seen: list[str] = []

    def saw(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    engine = area.installation.database.engine
    event.listen(engine, "before_cursor_execute", saw)
    try:
        browser.open(area.keys_url)
    finally:
        event.remove(engine, "before_cursor_execute", saw)
    return len(
        [text for text in seen if text != "BEGIN" and not text.startswith("SELECT set_config(")]
    )
