"""The list of keys in any order and through any filter: exact counts, whole pages, and the way back."""

from __future__ import annotations

import pytest

from keystead.developer_area.keys.list_state import ListState
from keystead.developer_area.keys.listing import tabs_of
from keystead.domain.key_lists import COUNTED_KEYS, KeyCounts
from keystead.domain.keys import KeyDraft
from keystead.domain.scopes import READ_ONLY, Scopes
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import Browser, Page
from tests.support.key_pages import descriptions, unlimited, used


def counts(seen: Page) -> dict[str, str]:
    """Return the number on each tab."""
    tabs = seen.tree.one("nav", class_="tabs").all("a")
    return {a.text.partition(" ")[0]: a.one("span", class_="count").text for a in tabs}


def found(seen: Page) -> str:
    """Return what the list says that it found."""
    return seen.tree.one("p", id="found").text


def pages(browser: Browser, url: str) -> list[str]:
    """Return the keys of all pages of a list."""
    seen = browser.open(url)
    names = descriptions(seen)
    while older := seen.tree.all("a", rel="next"):
        seen = browser.open(older[0].attributes["href"])
        names += descriptions(seen)
    return names


def test_tabs_carry_counts(each_area: Area) -> None:
    """Each tab has the number of its keys, whatever the list shows."""
    each_area.key("lives")
    each_area.key("short", days=1)
    gone = each_area.key("gone")
    each_area.services.keys.revoke(each_area.principal, gone.key_id)
    each_area.clock.advance(days=2)
    browser = each_area.signed_in()
    for query in ("", "?show=history", "?query=lives", "?sort=used"):
        seen = browser.open(each_area.keys_url + query)
        assert counts(seen) == {"All": "2", "Active": "1", "Expired": "1", "Revoked": "1"}


def test_more_ended_keys_than_are_counted_say_so() -> None:
    """Beyond the number of ended keys that is counted exactly, a tab says that there are more."""
    many = KeyCounts(7, COUNTED_KEYS + 1, COUNTED_KEYS)
    texts = [tab.count for tab in tabs_of(ListState(), many, "/keys")]
    assert texts == ["1,007+", "7", "1,000+", "1,000"]


ORDERS = {
    "": ["never", "late", "early", "endless"],
    "?sort=created": ["endless", "early", "late", "never"],
    "?sort=used": ["never", "endless", "early", "late"],
    "?sort=-used": ["late", "early", "endless", "never"],
    "?sort=expires": ["early", "late", "never", "endless"],
    "?sort=-expires": ["endless", "never", "late", "early"],
}


def of_all_kinds(area: Area) -> None:
    """Create four keys that every order puts differently."""
    tokens = {"endless": area.key("endless")}
    for name, days in (("early", 10), ("late", 20), ("never", 30)):
        tokens[name] = area.key(name, days=days)
    for name in ("endless", "early", "late"):
        area.clock.advance(minutes=1)
        used(area, tokens[name])


@pytest.mark.parametrize("query", ORDERS)
def test_a_head_orders_the_list(each_area: Area, query: str) -> None:
    """Each order puts never used first and never expiring last, or the other way round; the head says which."""
    of_all_kinds(each_area)
    seen = each_area.signed_in().open(each_area.keys_url + query)
    assert descriptions(seen) == ORDERS[query]
    heads = {th.text: th.attributes.get("aria-sort") for th in seen.tree.one("thead").all("th")}
    column = {"": "Created", "c": "Created", "u": "Last used", "e": "Expires"}[
        query[6:].lstrip("-")[:1]
    ]
    expected = "ascending" if query and not query.startswith("?sort=-") else "descending"
    assert {name: order for name, order in heads.items() if order} == {column: expected}


@pytest.mark.parametrize("order", ["created", "used", "-used", "expires", "-expires"])
def test_an_ordered_list_holds_every_key_once(each_area: Area, order: str) -> None:
    """The pages of an ordered list hold every key once, though many have the same value."""
    unlimited(each_area)
    names = [f"key {number:03}" for number in range(120)]
    for number, name in enumerate(names):
        token = each_area.key(name, days=30 if number % 3 else None)
        if number % 4 == 0:
            used(each_area, token)
    listed = pages(each_area.signed_in(), f"{each_area.keys_url}?sort={order}")
    assert sorted(listed) == names


FILTERS = {
    "access=full": ["mine"],
    "access=read-only": ["reader"],
    "access=custom": ["old custom"],
    "used=never": ["reader"],
    "used=day": ["mine"],
    "used=unused": ["old custom"],
    "access=full&used=never": [],
    "query=READ&access=read-only": ["reader"],
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters_narrow_the_list(each_area: Area, query: str) -> None:
    """Access and last use narrow the list, together with a search; each filter can be removed again."""
    keys, owner = each_area.services.keys, each_area.principal
    each_area.clock.advance(days=-40)
    old = keys.create(owner, KeyDraft("old custom", None, Scopes(["documents:write"]))).token
    assert old is not None
    used(each_area, old)
    each_area.clock.advance(days=40)
    used(each_area, each_area.key("mine"))
    keys.create(each_area.principal, KeyDraft("reader", None, Scopes(READ_ONLY)))
    browser = each_area.signed_in()
    seen = browser.open(f"{each_area.keys_url}?{query}")
    assert descriptions(seen) == FILTERS[query]
    expected = len(FILTERS[query])
    assert found(seen).startswith(f"{expected} key" + ("" if expected == 1 else "s"))
    for link in seen.tree.all("a", class_="filter"):
        assert len(descriptions(browser.open(link.attributes["href"]))) >= expected


def test_a_creator_is_a_filter(each_area: Area) -> None:
    """The filter offers everyone who created a key, and lists exactly theirs."""
    dana = each_area.member(Role.DEVELOPER, name="Dana")
    each_area.key("of Dana", by=dana)
    each_area.key("mine")
    browser = each_area.signed_in()
    form = browser.open(browser.open(each_area.keys_url).link("Filter"))
    names = [option.text for option in form.tree.one("select", name="creator").all("option")]
    assert names == ["Anyone", "Dana", "You"]
    seen = browser.submit(form, each_area.keys_url, creator=dana.user.id)
    assert descriptions(seen) == ["of Dana"]
    assert "Created by Dana" in seen.tree.one("ul", class_="filters").text
    assert descriptions(browser.open(seen.link("Remove filter: Created by Dana"))) == [
        "mine",
        "of Dana",
    ]


@pytest.mark.parametrize("query", ["sort=x", "access=x", "used=x", "show=x"])
def test_an_unknown_choice_is_not_there(area: Area, query: str) -> None:
    """Only the orders and filters that the page offers exist."""
    assert area.signed_in().open(f"{area.keys_url}?{query}").status == 404


@pytest.mark.parametrize("position", ["x", "1:x", "x:key_0000000000000000000000", ":", "1:"])
def test_a_forged_position_of_an_ordered_list_leads_back(area: Area, position: str) -> None:
    """A position that no page had is answered by a page with a link to continue."""
    from keystead.http.paging import read_page

    filters = dict.fromkeys(("show", "query", "creator", "access", "used"), "") | {"sort": "used"}
    page = read_page(str, workspace_id=area.workspace_id, path=area.keys_url, filters=filters)
    seen = area.signed_in().open(f"{area.keys_url}?sort=used&cursor={page.cursor(position)}")
    assert (seen.status, seen.heading) == (422, "This page of the list is out of date")


def test_a_search_says_how_much_it_found(area: Area) -> None:
    """The status region is there before a search, and says its count after it."""
    unlimited(area)
    for number in range(51):
        area.key(f"job {number}")
    browser = area.signed_in()
    assert found(browser.open(area.keys_url)) == ""
    for query, text in (
        ("job 50", "1 key for “job 50”"),
        ("none", "0 keys for “none”"),
        ("job", "More than 50 keys for “job”"),
    ):
        seen = browser.open(f"{area.keys_url}?query={query.replace(' ', '+')}")
        assert found(seen) == text
        assert seen.tree.one("p", id="found").attributes["role"] == "status"


def test_the_first_run_shows_how_a_key_is_used(area: Area) -> None:
    """Without any key there are a button, three lines and the quick start, but no search and no tabs."""
    seen = area.signed_in().open(area.keys_url)
    assert len([a for a in seen.tree.all("a") if a.text == "Create key"]) == 1
    example = seen.tree.one("code", id="first-code").raw
    assert len(example.splitlines()) == 3
    assert f"{area.keys_url.removesuffix('/keys')}/quick-start" in [
        a.attributes["href"] for a in seen.tree.one("section", id="key-list").all("a")
    ]
    assert seen.tree.all("input", id="query") == seen.tree.all("nav", class_="tabs") == []
    area.services.keys.revoke(area.principal, area.key().key_id)
    assert area.signed_in().open(area.keys_url).tree.all("input", id="query") != []


def test_a_change_leads_back_to_the_same_list(area: Area) -> None:
    """Revoking, editing and rotating from a filtered, ordered page lead back to it; a forged list leads to ours."""
    for name in ("a", "b", "c"):
        area.key(name)
    browser = area.signed_in()
    seen = browser.open(f"{area.keys_url}?show=active&sort=used")
    url = seen.tree.all("a", class_="dots")[0].attributes["href"]
    path, _, query = url.partition("?")
    form = browser.open(f"{path}/edit?{query}")
    action = next(
        e.attributes["action"] for e in form.tree.all("form") if "/edit" in e.attributes["action"]
    )
    edited = browser.submit(form, action, description="changed")
    key_id = path.rpartition("/")[2]
    assert edited.path.split("#")[0] == f"{area.keys_url}?show=active&sort=used&changed={key_id}"
    (row,) = [r for r in edited.tree.all("tr") if "row-changed" in r.attributes.get("class", "")]
    assert (row.attributes["id"], edited.tree.one("div", id="status").text) == (
        key_id,
        "“changed” was saved.",
    )
    question = browser.open(f"{path}/revoke?{query}")
    action = next(
        e.attributes["action"]
        for e in question.tree.all("form")
        if "/revoke" in e.attributes["action"]
    )
    assert browser.submit(question, action).path == f"{area.keys_url}?show=active&sort=used"
    forged = browser.open(
        f"{area.keys_url}/{area.key('d').key_id}/revoke?list=//evil.example/%3Fx=1"
    )
    cancel = next(a for a in forged.tree.all("a") if a.text == "Cancel")
    assert cancel.attributes["href"] == area.keys_url


def test_an_edit_on_the_keys_page_stays_there(area: Area) -> None:
    """What was opened on the page of a key leads back to it, and from there to the list."""
    token = area.key("a")
    browser = area.signed_in()
    page = browser.open(f"{area.keys_url}/{token.key_id}?list=show%3Dactive")
    form = browser.open(page.link("Edit"))
    action = next(
        e.attributes["action"] for e in form.tree.all("form") if "/edit" in e.attributes["action"]
    )
    saved = browser.submit(form, action, description="b")
    assert saved.path == f"{area.keys_url}/{token.key_id}?list=show%3Dactive"
    assert saved.tree.one("div", id="status").text == "“b” was saved."
    trail = saved.tree.one("nav", class_="trail").one("a")
    assert trail.attributes["href"] == f"{area.keys_url}?show=active"


def test_times_follow_the_zone_of_the_person(area: Area) -> None:
    """The exact times of a row and the date of its expiry are in the user's own zone."""
    area.key("late", days=1)
    browser = area.signed_in()
    account = browser.open(f"/w/{area.workspace_id}/account")
    browser.submit(
        account, f"/w/{area.workspace_id}/account/time-zone", time_zone="Pacific/Auckland"
    )
    (row,) = browser.open(area.keys_url).rows()
    assert "25 Nov 2026, 01:00:00 NZDT" in row["Last used"]
    assert row["Expires"] == "in 24 hours 25 Nov 2026"
