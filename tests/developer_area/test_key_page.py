"""The page of one key: its attributes, its use, its callers, and its history."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import timedelta

import pytest

from keystead.developer_area.keys.rows import access_of
from keystead.domain.events import Act, EventType, Target
from keystead.domain.instants import to_microseconds
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.principals import Principal, operator, system
from keystead.domain.scopes import ScopeCatalog, Scopes
from keystead.domain.token import Token
from keystead.domain.workspaces import Role
from keystead.storage.tables.events import append_event
from tests.developer_area.conftest import Area
from tests.support.administrator import write_behind
from tests.support.browser import Page
from tests.support.key_pages import used
from tests.support.markup import Element


def opened(area: Area, token: Token) -> Page:
    """Return the key's page, as the owner sees it."""
    return area.signed_in().open(f"{area.keys_url}/{token.key_id}")


def attributes(seen: Page) -> dict[str, str]:
    """Return the list of the key's attributes."""
    terms = seen.tree.one("dl", class_="card attributes")
    pairs = [child for child in terms.children if isinstance(child, Element)]
    return {pair.one("dt").text: pair.one("dd").text for pair in pairs}


def section(seen: Page, title: str) -> str:
    """Return the text of the section with that heading; empty if there is no such section."""
    sections = [
        s.text for s in seen.tree.all("section") if s.all("h2") and s.all("h2")[0].text == title
    ]
    return sections[0] if sections else ""


def refused(area: Area, token: Token, agent: str = "cron/1", required: str | None = None) -> None:
    """Make a call with the key that is refused."""
    area.services.verifier.verify(token.reveal(), required, address="10.9.9.9", agent=agent)
    area.services.usage.flush()


def test_all_attributes_in_words(each_area: Area) -> None:
    """Hint, status, last use, expiry, creator, ID, and a description of each scope; the list links to the page."""
    ends = each_area.clock.now() + timedelta(days=12)
    draft = KeyDraft("sync", ends, ["documents:read", "invoices:read"])
    token = each_area.services.keys.create(each_area.principal, draft).token
    assert token is not None
    used(each_area, token, "python-requests/2.32")
    each_area.clock.advance(minutes=4)
    browser = each_area.signed_in()
    seen = browser.open(browser.open(each_area.keys_url).link("sync"))
    assert (seen.status, seen.heading) == (200, "sync")
    assert attributes(seen) == {
        "Key": token.hint,
        "Status": "Active",
        "Last used": "4 minutes ago 23 Nov 2026, 12:00:00 UTC from 10.2.3.4 (python-requests/2.32)",
        "Expires": "in 12 days 5 Dec 2026, 12:00:00 UTC",
        "Created": "4 minutes ago 23 Nov 2026, 12:00:00 UTC by you",
        "ID": token.key_id,
        "Access": "documents:read Read and search documents invoices:read Read invoices",
    }
    assert token.reveal()[-49:] not in seen.html


def test_use_is_drawn_and_written(each_area: Area) -> None:
    """The bars, the words and the table have the same numbers: 30 days up to today, the busiest named."""
    token = each_area.key()
    start = each_area.clock.now()
    for days, times in ((30, 9), (29, 1), (3, 4), (0, 2)):
        each_area.clock.set(start - timedelta(days=days))
        for _ in range(times):
            used(each_area, token)
    each_area.clock.set(start)
    seen = opened(each_area, token)
    picture = seen.tree.one("svg", role="img")
    heights = [float(bar.attributes["height"]) for bar in picture.all("rect")]
    assert heights == [25.0, 100.0, 50.0]
    assert [float(bar.attributes["x"]) // 10 for bar in picture.all("rect")] == [0, 26, 29]
    words = "7 requests in the last 30 days; most on 20 November 2026: 4."
    assert picture.one("desc").text == words
    assert seen.tree.one("figcaption").text == words
    rows = [
        [c.text for c in row.children if isinstance(c, Element)]
        for row in seen.tree.one("figure").one("tbody").all("tr")
    ]
    assert len(rows) == 30
    assert [row for row in rows if row[1] != "0"] == [
        ["23 November 2026", "2"],
        ["20 November 2026", "4"],
        ["25 October 2026", "1"],
    ]


def test_the_first_request_is_named(each_area: Area) -> None:
    """A page that waits for the first request finds here who made it, with the agent's name alone."""
    token = each_area.key("sync")
    waiting = opened(each_area, token)
    assert waiting.tree.one("p", class_="first-request").text == "Waiting for the first request…"
    assert "data-first-request" not in waiting.html
    used(each_area, token, "curl/8.5.0 (x86_64)")
    seen = opened(each_area, token)
    assert seen.tree.all("p", class_="first-request") == []
    named = seen.tree.one("dl", class_="card attributes").attributes["data-first-request"]
    assert named == "First request: just now from 10.2.3.4 (curl)"


def test_a_single_use_is_to_be_seen(area: Area) -> None:
    """However busy another day was, a day with one use has a bar, and the scale ends at a round number."""
    token = area.key()
    assert opened(area, token).tree.one("figcaption").text == "No requests in the last 30 days."
    used(area, token)
    words = "1 request in the last 30 days, on 23 November 2026."
    assert opened(area, token).tree.one("figcaption").text == words
    area.clock.advance(days=1)
    key = area.services.keys.get(area.principal, token.key_id)
    user = Principal.of_key(key.id, key.description, key.workspace_id, key.scopes, key.expires_at)
    for _ in range(4_321):
        area.services.usage.note(user, to_microseconds(area.clock.now()), "10.2.3.4", "curl")
    area.services.usage.flush()
    seen = opened(area, token)
    small, large = (
        float(bar.attributes["height"]) for bar in seen.tree.one("svg", role="img").all("rect")
    )
    assert small == 1.5
    assert large == pytest.approx(100 * 4_321 / 6_000, abs=0.01)
    marks = seen.tree.one("div", class_="chart-scale").all("span")
    assert [mark.text for mark in marks] == ["6,000", "3,000", "0"]


def test_who_calls(each_area: Area) -> None:
    """The recent callers with address, agent, count and time; without any the page says so."""
    token = each_area.key()
    assert "No requests yet." in section(opened(each_area, token), "Recent callers")
    for agent in ("curl/8", "curl/8", "python/3"):
        each_area.clock.advance(minutes=1)
        used(each_area, token, agent)
    seen = opened(each_area, token)
    (table,) = seen.tree.all("table", aria_label="Recent callers")
    rows = [[c.text for c in row.children if isinstance(c, Element)] for row in table.all("tr")[1:]]
    assert rows == [
        ["10.2.3.4", "python/3", "1", "just now 23 Nov 2026, 12:03:00 UTC"],
        ["10.2.3.4", "curl/8", "2", "1 minute ago 23 Nov 2026, 12:02:00 UTC"],
    ]
    assert section(seen, "Refused requests") == section(seen, "Callers since it ended") == ""


def test_who_still_calls(each_area: Area) -> None:
    """After the key's end the page shows which clients still send it, and why they are refused."""
    token = each_area.key()
    each_area.services.keys.revoke(each_area.principal, token.key_id)
    assert "No requests since" in section(opened(each_area, token), "Callers since it ended")
    refused(each_area, token)
    refused(each_area, token)
    callers = section(opened(each_area, token), "Callers since it ended")
    assert "10.9.9.9 cron/1 revoked 2 just now" in callers
    assert attributes(opened(each_area, token))["Status"] == "Revoked"


def test_refused_calls_of_a_live_key(area: Area) -> None:
    """For an active key, the page shows the calls that it lacked the scope for."""
    draft = KeyDraft("narrow", None, ["plan:read"])
    token = area.services.keys.create(area.principal, draft).token
    assert token is not None
    refused(area, token, required="documents:write")
    assert "10.9.9.9 cron/1 scope missing 1" in section(opened(area, token), "Refused requests")


def test_what_happened(each_area: Area) -> None:
    """The key's own events, newest first, with actor and time; another workspace's are not shown."""
    token, other = each_area.key("sync"), each_area.key("other")
    keys = each_area.services.keys
    each_area.clock.advance(hours=1)
    narrower = KeyPatch("renamed", scopes=["documents:read"])
    keys.update(each_area.principal, token.key_id, narrower)
    keys.revoke(each_area.principal, other.key_id)
    each_area.clock.advance(hours=1)
    new = each_area.services.rotations.rotate(
        each_area.principal, token.key_id, overlap=timedelta(hours=24)
    ).key
    seen = opened(each_area, token)
    lines = [li.text for li in seen.tree.one("ol", class_="events").all("li")]
    assert lines == [
        "Rotated with 24 hours of overlap to a new key by you just now 23 Nov 2026, 14:00:00 UTC",
        "Edited: description, access by you 60 minutes ago 23 Nov 2026, 13:00:00 UTC",
        "Created by you 2 hours ago 23 Nov 2026, 12:00:00 UTC",
    ]
    assert seen.link("to a new key") == f"{each_area.keys_url}/{new.id}"


def test_both_sides_of_a_rotation_lead_to_each_other(area: Area) -> None:
    """The old key shows when it expires and its successor; the new one shows its predecessor."""
    token = area.key("sync")
    new = area.services.rotations.rotate(
        area.principal, token.key_id, overlap=timedelta(days=1)
    ).key
    area.clock.advance(hours=1)
    old = opened(area, token)
    assert attributes(old)["Status"] == f"Active expires in 23 hours, rotated to {new.hint}"
    browser = area.signed_in()
    there = browser.open(old.link(new.hint))
    assert attributes(there)["Created"].endswith(f"replacing {token.hint}")
    assert browser.open(there.link(token.hint)).path == f"{area.keys_url}/{token.key_id}"
    assert "No activity yet." in section(there, "Activity")


@pytest.mark.parametrize(
    ("role", "acts"),
    [(Role.ADMIN, ["Rotate", "Edit", "Revoke"]), (Role.DEVELOPER, []), (Role.VIEWER, [])],
)
def test_each_role_sees_it_and_only_some_can_act(area: Area, role: Role, acts: list[str]) -> None:
    """Every member can view the owner's key; only those who may change it are offered actions."""
    token = area.key("sync")
    seen = area.signed_in(area.member(role)).open(f"{area.keys_url}/{token.key_id}")
    assert seen.status == 200
    offered = [a.text.split()[0] for a in seen.tree.all("a") if a.text.endswith(" sync")]
    assert offered == acts


def test_ended_keys_offer_what_can_still_be_done(area: Area) -> None:
    """An expired key can be described and revoked; a revoked one can't be changed."""
    expired, gone = area.key("short", days=1), area.key("gone")
    area.services.keys.revoke(area.principal, gone.key_id)
    area.clock.advance(days=2)
    for token, offered in ((expired, ["Edit", "Revoke"]), (gone, [])):
        links = opened(area, token).tree.one("div", class_="row-acts").all("a")
        assert [a.text.split()[0] for a in links] == offered


def test_a_key_of_another_workspace_is_not_there(area: Area) -> None:
    """Every URL of another workspace's key answers like one that never existed."""
    neighbour = area.services.workspaces.create("Neighbour")
    theirs = area.services.keys.create(operator("tests", neighbour.id), KeyDraft("theirs")).key
    browser = area.signed_in()
    for path in ("", "/edit", "/rotate", "/revoke"):
        for key_id in (theirs.id, "key_" + "0" * 22, "x"):
            seen = browser.open(f"{area.keys_url}/{key_id}{path}")
            assert (seen.status, seen.heading) == (404, "Page not found"), path


def test_a_leavers_key_is_marked(each_area: Area) -> None:
    """If the key's creator has left, the list and its page say so, and what to do; the key keeps working."""
    dana = each_area.member(Role.DEVELOPER, name="Dana")
    token = each_area.key("left behind", by=dana)
    browser = each_area.signed_in()
    url = f"{each_area.keys_url}/{token.key_id}"
    assert "(left)" not in browser.open(each_area.keys_url).tree.text
    assert "Creator left" not in browser.open(url).tree.text
    each_area.services.members.remove(each_area.principal, dana.user.id)
    (row,) = browser.open(each_area.keys_url).rows()
    assert row["Created"].endswith("by Dana (left)")
    page = browser.open(url)
    assert "Creator left. Dana created this key and is no longer a member." in page.tree.text
    assert "Rotate it if something still needs it; otherwise revoke it." in page.tree.text
    assert browser.open(page.link("Rotate")).status == 200
    each_area.services.keys.revoke(each_area.principal, token.key_id)
    assert "is no longer a member" not in browser.open(url).tree.text


SCOPES = ("*", "keys:write", "webhooks:write", "documents:read", "documents:write", "invoices:read")


def test_the_list_and_the_page_name_the_same_access(area: Area) -> None:
    """Whatever a key's scopes, its row in the list and its page name each of them and no other."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")
    combinations = [c for size in range(1, 7) for c in itertools.combinations(SCOPES, size)]
    for chosen in combinations:
        area.services.keys.create(area.principal, KeyDraft(" ".join(chosen), scopes=chosen))
    browser = area.signed_in()
    seen = browser.open(area.keys_url)
    while True:
        for row in seen.tree.one("tbody").all("tr"):
            description = row.one("span", class_="name")
            listed = row.all("span", class_="sub")[0].text.split(", ")
            page = browser.open(description.one("a").attributes["href"])
            shown = [li.one("strong").text for li in page.tree.one("ul", class_="access").all("li")]
            scopes_in_row = [
                "Full access" if s == "*" else s for s in sorted(description.text.split())
            ]
            assert listed == shown == scopes_in_row
            combinations.remove(tuple(s for s in SCOPES if s in description.text.split()))
        older = seen.tree.all("a", rel="next")
        if not older:
            break
        seen = browser.open(older[0].attributes["href"])
    assert combinations == []


def test_every_combination_of_scopes_is_named() -> None:
    """The list and the page name each scope of any combination."""
    catalog = ScopeCatalog({"invoices:read": "Read invoices"})
    scopes = list(catalog.descriptions())
    for size in range(1, len(scopes) + 1):
        for chosen in itertools.combinations(scopes, size):
            access = access_of(Scopes(chosen), catalog)
            assert sorted(choice.value for choice in access) == sorted(chosen)
            assert all(c.text == ("Full access" if c.value == "*" else c.value) for c in access)
            assert all(c.hint == catalog.descriptions()[c.value] for c in access)


def record(area: Area, token: Token, event_type: EventType, data: Mapping[str, object]) -> None:
    """Record an event about the key that has no actor."""
    act = Act(system(area.workspace_id).actor, area.clock.now())
    with write_behind(area.installation.database) as tx:
        append_event(tx, area.workspace_id, event_type, act, Target("key", token.key_id), data)


def test_no_event_is_shown_by_its_bare_name(area: Area) -> None:
    """Every type of event has words on the key's page, with its data and without."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")
    browser = area.signed_in()
    for event_type in EventType:
        token = area.key("sync")
        for data in ({}, {"days": 30, "description": "sync"}, {"days": "x"}):
            record(area, token, event_type, {"from": "admin", "to": "owner", **data})
        what = section(browser.open(f"{area.keys_url}/{token.key_id}"), "Activity")
        assert event_type.value not in what
        assert "_" not in what


@pytest.mark.parametrize(
    ("event_type", "data", "words"),
    [
        (EventType.KEY_UNUSED, {"days": 90}, "Not used for 90 days"),
        (EventType.KEY_EXPIRING, {"days": 7}, "Expires in 7 days"),
        (EventType.KEY_EXPIRING, {"days": 1}, "Expires in 1 day"),
        (EventType.KEY_EXPIRED, {}, "Expired"),
        (EventType.KEY_REFUSED, {}, "Used after it had ended"),
        (EventType.KEY_REUSED, {}, "Sent although its successor is in use"),
        (EventType.KEY_ROTATED, {"renewed": True}, "Renewed"),
        (
            EventType.KEY_UPDATED,
            {"changed": ["expires_at"], "successor_used": "key_1"},
            "Replaced: the renewed key was first used",
        ),
    ],
)
def test_what_time_does_to_a_key_is_shown(
    area: Area, event_type: EventType, data: dict[str, object], words: str
) -> None:
    """Events caused by time alone are as short as those caused by users."""
    token = area.key("sync")
    record(area, token, event_type, data)
    assert f"{words} by " in section(opened(area, token), "Activity")
