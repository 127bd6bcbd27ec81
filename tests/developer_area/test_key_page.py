"""The page of one key: its attributes, its use, its callers, and its history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from keystead.developer_area.key_page.charts import hours_until
from keystead.domain.events import Act, EventType, Target
from keystead.domain.instants import to_microseconds
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.principals import Principal, operator, system
from keystead.domain.renewals import Renewal
from keystead.domain.token import Token
from keystead.domain.workspaces import Role
from keystead.http.asgi import Receive, Scope, Send
from keystead.storage.tables.events import append_event
from keystead.wire import resources
from tests.developer_area.conftest import Area
from tests.support.administrator import write_behind
from tests.support.browser import Page
from tests.support.key_pages import create, forced, newest, used
from tests.support.markup import Element


def opened(area: Area, token: Token) -> Page:
    """Return the key's page, as the owner sees it."""
    return area.signed_in().open(f"{area.keys_url}/{token.key_id}")


def attributes(seen: Page) -> dict[str, str]:
    """Return the list of the key's attributes."""
    terms = seen.tree.one("dl", class_="card attributes")
    pairs = [child for child in terms.children if isinstance(child, Element)]
    return {pair.one("dt").text: pair.one("dd").text for pair in pairs}


def cards(seen: Page) -> dict[str, str]:
    """Return the cards of figures."""
    terms = seen.tree.one("dl", class_="cards")
    return {card.one("dt").text: card.one("dd").text for card in terms.all("div")}


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
    """Hint, status, last use, expiry, creator, ID, and what each scope allows; the list links to the page."""
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
        "Expires": "in 12 days 5 Dec 2026, 12:00:00 UTC",
        "Created": "4 minutes ago 23 Nov 2026, 12:00:00 UTC by you",
        "ID": f"{token.key_id} Copy ID",
    }
    assert cards(seen)["Last used"] == (
        "4 minutes ago 23 Nov 2026, 12:00:00 UTC from 10.2.3.4 (python-requests/2.32)"
    )
    access = section(seen, "Access")
    assert "Can read documents and invoices. Can't change anything." in access
    assert "documents:read Read and search documents invoices:read Read invoices" in access
    assert token.reveal()[-49:] not in seen.html


def columns(seen: Page) -> list[tuple[str, float, float]]:
    """Return the columns of the chart that have any request: their words, and the heights of their bars."""
    found = []
    for column in seen.tree.all("label"):
        if "column" in column.attributes.get("class", "").split():
            heights = [float(bar.attributes["height"]) for bar in column.all("rect")]
            if any(heights):
                found.append((column.one("span", class_="value").text, *heights))
    return found  # type: ignore[return-value] # two bars each


def table(seen: Page) -> list[list[str]]:
    """Return the rows of the chart's table."""
    body = seen.tree.one("figure").one("tbody")
    return [[c.text for c in row.children if isinstance(c, Element)] for row in body.all("tr")]


def uses(area: Area, token: Token, *calls: tuple[timedelta, int, int]) -> None:
    """Call with the key: for each time ago so many accepted and so many refused requests."""
    now = area.clock.now()
    for ago, accepted, denied in calls:
        area.clock.set(now - ago)
        for _ in range(accepted):
            used(area, token)
        for _ in range(denied):
            refused(area, token, required="webhooks:write")
    area.clock.set(now)


def narrow_key(area: Area) -> Token:
    """Create a key that may read documents alone."""
    token = area.services.keys.create(area.principal, KeyDraft("sync", None, ["documents:read"]))
    assert token.token is not None
    return token.token


def test_use_is_drawn_and_written(each_area: Area) -> None:
    """The columns, the words, the cards and the table have the same numbers: 30 days, the busiest named."""
    token = narrow_key(each_area)
    day = timedelta(days=1)
    uses(each_area, token, (30 * day, 9, 0), (29 * day, 1, 0), (3 * day, 3, 1), (0 * day, 0, 2))
    seen = opened(each_area, token)
    assert columns(seen) == [
        ("25 October 2026: 1 accepted, 0 refused", 25.0, 0.0),
        ("20 November 2026: 3 accepted, 1 refused", 75.0, 25.0),
        ("23 November 2026: 0 accepted, 2 refused", 0.0, 50.0),
    ]
    words = "7 requests in the last 30 days, 3 refused. Most on 20 November 2026: 4."
    assert seen.tree.one("figcaption").text == words
    shown = cards(seen)
    assert shown["Requests"] == "7 in the last 30 days"
    assert shown["Success rate"] == "57.1% 3 refused"
    assert shown["Callers"] == "2 recent addresses and agents"
    assert len(table(seen)) == 30
    assert [row for row in table(seen) if row[1:] != ["0", "0"]] == [
        ["23 November 2026", "0", "2"],
        ["20 November 2026", "3", "1"],
        ["25 October 2026", "1", "0"],
    ]


def test_each_period_has_its_columns(each_area: Area) -> None:
    """Seven days by the day, 24 hours by the hour; what is older is in neither the columns nor the cards."""
    token = narrow_key(each_area)
    hour = timedelta(hours=1)
    uses(each_area, token, (24 * hour, 5, 0), (23 * hour, 2, 0), (0 * hour, 1, 1))
    browser = each_area.signed_in()
    page = browser.open(f"{each_area.keys_url}/{token.key_id}")
    week = browser.open(page.link("7 days"))
    assert (len(table(week)), cards(week)["Requests"]) == (7, "9 in the last 7 days")
    hours = browser.open(week.link("24 hours"))
    assert columns(hours) == [
        ("22 Nov 2026, 13:00: 2 accepted, 0 refused", 100.0, 0.0),
        ("23 Nov 2026, 12:00: 1 accepted, 1 refused", 50.0, 50.0),
    ]
    assert (len(table(hours)), cards(hours)["Requests"]) == (24, "4 in the last 24 hours")
    assert hours.tree.one("figure").all("th", scope="col")[0].text == "Hour (UTC)"
    periods = hours.tree.one("nav", aria_label="Period")
    assert [a.text for a in periods.all("a", aria_current="true")] == ["24 hours"]


def test_every_hour_has_its_own_name() -> None:
    """An hour that the clocks repeat is named with its zone, as are all that began before they changed."""
    zone, now = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 25, 5, 30, tzinfo=UTC)
    names = [slot.text for slot in hours_until(now, {}, zone)]
    assert len(set(names)) == 24
    assert names[-6:-3] == ["25 Oct 2026, 02:00 CEST", "25 Oct 2026, 02:00", "25 Oct 2026, 03:00"]


def test_a_query_of_raw_bytes_is_no_fault(area: Area) -> None:
    """A byte in the query that isn't UTF-8 changes nothing, and the page's links lead to the page."""

    async def raw(scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"].replace(b"raw", b"\xff")
        await area.app({**scope, "query_string": query}, receive, send)

    token, browser = area.key("sync"), area.signed_in()
    browser.app = raw
    page = browser.open(f"{area.keys_url}/{token.key_id}?raw=raw&period=7d")
    assert page.status == 200
    assert page.link("24 hours") == f"{area.keys_url}/{token.key_id}?period=24h#use"


def test_the_first_request_is_named(each_area: Area) -> None:
    """A page that waits for the first request finds here who made it, with the agent's name alone."""
    token = each_area.key("sync")
    waiting = opened(each_area, token)
    assert waiting.tree.one("p", class_="first-request").text == "Waiting for the first request…"
    assert "data-first-request" not in waiting.html
    used(each_area, token, "curl/8.5.0 (x86_64)")
    seen = opened(each_area, token)
    assert seen.tree.all("p", class_="first-request") == []
    details = seen.tree.one("section", aria_labelledby="details-title")
    named = details.attributes["data-first-request"]
    assert named == "First request: just now from 10.2.3.4 (curl)"


def test_a_single_use_is_to_be_seen(area: Area) -> None:
    """However busy another day was, a day with one use has a bar, and the scale ends at a round number."""
    token = area.key()
    seen = opened(area, token)
    assert seen.tree.one("figcaption").text == "No requests in the last 30 days."
    assert (cards(seen)["Success rate"], table_count(seen)) == ("No requests none refused", 0)
    used(area, token)
    words = "1 request in the last 30 days. Most on 23 November 2026: 1."
    assert opened(area, token).tree.one("figcaption").text == words
    area.clock.advance(days=1)
    key = area.services.keys.get(area.principal, token.key_id)
    user = Principal.of_key(key.id, key.description, key.workspace_id, key.scopes, key.expires_at)
    for _ in range(4_321):
        area.services.usage.note(user, to_microseconds(area.clock.now()), "10.2.3.4", "curl")
    area.services.usage.flush()
    seen = opened(area, token)
    (_, small, _), (_, large, _) = columns(seen)
    assert small == 1.5
    assert large == pytest.approx(100 * 4_321 / 6_000, abs=0.01)
    marks = seen.tree.one("div", class_="chart-scale").all("span")
    assert [mark.text for mark in marks] == ["6,000", "3,000", "0"]


def table_count(seen: Page) -> int:
    """Return how many tables the chart has."""
    return len(seen.tree.one("figure").all("table"))


def test_a_rate_is_only_whole_if_nothing_was_refused(area: Area) -> None:
    """One refusal among thousands is not rounded away."""
    token = narrow_key(area)
    key = area.services.keys.get(area.principal, token.key_id)
    user = Principal.of_key(key.id, key.description, key.workspace_id, key.scopes, key.expires_at)
    for _ in range(5_000):
        area.services.usage.note(user, to_microseconds(area.clock.now()), "10.2.3.4", "curl")
    area.services.usage.flush()
    assert cards(opened(area, token))["Success rate"] == "100% none refused"
    refused(area, token, required="webhooks:write")
    assert cards(opened(area, token))["Success rate"] == "99.9% 1 refused"


def callers(seen: Page) -> list[list[str]]:
    """Return the rows of the table of callers."""
    (table,) = seen.tree.all("table", aria_label="Recent callers")
    return [[c.text for c in row.children if isinstance(c, Element)] for row in table.all("tr")[1:]]


def test_who_calls(each_area: Area) -> None:
    """The recent callers with address, agent, outcome, count and time; without any the page says so."""
    token = each_area.key()
    assert "No requests yet." in section(opened(each_area, token), "Recent callers")
    for agent in ("curl/8", "curl/8", "python/3"):
        each_area.clock.advance(minutes=1)
        used(each_area, token, agent)
    seen = opened(each_area, token)
    assert callers(seen) == [
        ["10.2.3.4", "python/3", "Accepted", "1", "just now 23 Nov 2026, 12:03:00 UTC"],
        ["10.2.3.4", "curl/8", "Accepted", "2", "1 minute ago 23 Nov 2026, 12:02:00 UTC"],
    ]
    assert seen.tree.all("nav", aria_label="Callers by outcome") == []


def test_callers_by_outcome(each_area: Area) -> None:
    """One table has all; a filter keeps the period, and shows what the key lacked."""
    token = narrow_key(each_area)
    used(each_area, token)
    refused(each_area, token, required="documents:write")
    browser = each_area.signed_in()
    page = browser.open(browser.open(f"{each_area.keys_url}/{token.key_id}").link("7 days"))
    assert len(callers(page)) == 2
    failing = browser.open(page.link("Refused 1"))
    assert [row[:4] for row in callers(failing)] == [
        ["10.9.9.9", "cron/1", "Refused: scope missing", "1"]
    ]
    assert cards(failing)["Requests"] == "2 in the last 7 days"
    assert [row[2] for row in callers(browser.open(failing.link("Accepted 1")))] == ["Accepted"]


def test_who_still_calls(each_area: Area) -> None:
    """After the key's end the page shows which clients still send it, and why they are refused."""
    token = each_area.key()
    each_area.services.keys.revoke(each_area.principal, token.key_id)
    assert "No requests." in section(opened(each_area, token), "Recent callers")
    refused(each_area, token)
    refused(each_area, token)
    seen = opened(each_area, token)
    assert "These clients still send this key and get 401." in section(seen, "Recent callers")
    assert callers(seen)[0][:4] == ["10.9.9.9", "cron/1", "Refused: revoked", "2"]
    assert attributes(seen)["Status"] == "Revoked"


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
    """While both work, each says so and links to the other; the new key's page can revoke the old one."""
    token = area.key("sync")
    new = area.services.rotations.rotate(
        area.principal, token.key_id, overlap=timedelta(days=1)
    ).key
    area.clock.advance(hours=1)
    old = opened(area, token)
    assert attributes(old)["Status"] == f"Active expires in 23 hours, rotated to {new.hint}"
    assert f"This key was rotated to {new.hint} ." in old.tree.text
    assert "both work; this one expires in 23 hours." in old.tree.text
    browser = area.signed_in()
    there = browser.open(old.link(new.hint))
    assert attributes(there)["Created"].endswith(f"replacing {token.hint}")
    still = f"The old key {token.hint} still works and expires in 23 hours. It was never used."
    assert still in there.tree.text
    assert "No activity yet." in section(there, "Activity")
    assert browser.open(there.link(token.hint)).path.startswith(f"{area.keys_url}/{token.key_id}")
    notice = next(n for n in there.tree.all("div", class_="notice") if still in n.text)
    question = browser.open(notice.all("a")[-1].attributes["href"])
    assert browser.submit(question, question.path).status == 200
    assert area.services.keys.get(area.principal, token.key_id).revoked_at is not None
    assert "still works" not in browser.open(f"{area.keys_url}/{new.id}").tree.text


@pytest.mark.parametrize(
    ("role", "acts"),
    [
        (Role.ADMIN, ["Rotate", "Edit", "Duplicate", "Revoke"]),
        (Role.DEVELOPER, ["Duplicate"]),
        (Role.VIEWER, []),
    ],
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
    for token, offered in ((expired, ["Edit", "Duplicate", "Revoke"]), (gone, ["Duplicate"])):
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


def test_the_list_and_the_page_name_the_same_access(area: Area) -> None:
    """Whatever a key's scopes, its row in the list and its page name each of them and no other."""
    for scopes in (["*"], ["*", "keys:write"], ["documents:write", "invoices:read"]):
        area.services.keys.create(area.principal, KeyDraft(" ".join(scopes), scopes=scopes))
    browser = area.signed_in()
    rows = browser.open(area.keys_url).tree.one("tbody").all("tr")
    assert len(rows) == 3
    for row in rows:
        description = row.one("span", class_="name")
        page = browser.open(description.one("a").attributes["href"])
        shown = [term.text for term in page.tree.one("details", class_="scopes").all("dt")]
        assert shown == sorted(description.text.split())
        listed = ["Full access" if scope == "*" else scope for scope in shown]
        assert row.all("span", class_="sub")[0].text == ", ".join(listed)


def test_where_a_key_is_stored_is_for_pages_alone(each_area: Area) -> None:
    """It is set on create, changed on edit, kept by a rotation, and in no answer of the API or an export."""
    browser, place = each_area.signed_in(), "vault <prod>"
    assert create(each_area, browser, stored_in=f"  {place} ").status == 201
    key = newest(each_area)
    assert attributes(browser.open(f"{each_area.keys_url}/{key.id}"))["Stored in"] == place
    url = f"{each_area.keys_url}/{key.id}/edit"
    assert browser.submit(browser.open(url), url, stored_in="GitHub secret").status == 200
    new = each_area.services.rotations.rotate(
        each_area.principal, key.id, overlap=timedelta(days=1)
    )
    assert new.key.stored_in == "GitHub secret"
    page = browser.open(f"{each_area.keys_url}/{key.id}")
    assert "Edited: where it is stored by you" in section(page, "Activity")
    events = each_area.services.events.list(each_area.principal).items
    wired = [resources.Event.of(event).to_json() for event in events]
    wired.append(resources.Key.of(new.key, each_area.clock.now()).to_json())
    for place in ("vault", "GitHub"):
        assert not [answer for answer in wired if place.encode() in answer]
    assert browser.submit(browser.open(url), url, stored_in="").status == 200
    assert "Stored in" not in attributes(browser.open(f"{each_area.keys_url}/{key.id}"))
    long = forced(each_area, browser, stored_in="x" * 201)
    assert (long.status, long.tree.one("p", id="stored_in-problem").text) == (
        422,
        "Stored in must be 1-200 characters on one line.",
    )


def test_the_whole_family_is_revoked_from_a_renewed_key(each_area: Area) -> None:
    """A key that renewed itself offers it; one revocation ends them all."""
    draft = KeyDraft("job", each_area.clock.now() + timedelta(days=1), renewal=Renewal())
    first = each_area.services.keys.create(each_area.principal, draft).token
    plain = each_area.key("plain")
    assert first is not None
    assert "Revoke the family" not in opened(each_area, first).tree.text
    each_area.clock.advance(hours=20)
    verified = each_area.services.verifier.verify(first.reveal())
    renewed = each_area.services.renewals.renew(verified.principal)  # type: ignore[union-attr]
    browser = each_area.signed_in()
    page = browser.open(f"{each_area.keys_url}/{renewed.key.id}")
    question = browser.open(page.link("Revoke the family"))
    assert question.tree.one("input", name="family").attributes["type"] == "hidden"
    assert "Revoke the family" not in opened(each_area, plain).tree.text
    action = question.tree.one("form", class_="form").attributes["action"]
    assert browser.submit(question, action).status == 200
    keys = each_area.services.keys
    for key_id in (first.key_id, renewed.key.id):
        assert keys.get(each_area.principal, key_id).revoked_at is not None
    assert keys.get(each_area.principal, plain.key_id).revoked_at is None


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
        (EventType.KEY_REVOKED, {"reason": "unused"}, "Revoked because it wasn't used"),
        (EventType.KEY_UPDATED, {"changed": ["rate_limit"]}, "Edited: rate limit"),
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
