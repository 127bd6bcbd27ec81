"""Key hygiene above the table: what needs review, how many keys, what to do, and a list of exactly those keys."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.developer_area.conftest import Area
from tests.support.clocks import NOON
from tests.support.key_pages import descriptions, unlimited, used

LINES = [
    "1 key expires within 14 days",
    "1 key was never used in 30 days",
    "1 key hasn't been used for 30 days",
    "2 keys are older than a year",
    "1 key never expires",
]


def with_findings(area: Area) -> None:
    """Create a key for each finding, and keys without findings."""
    unlimited(area)
    area.clock.set(NOON - timedelta(days=400))
    forgotten, endless = area.key("forgotten", days=500), area.key("endless")
    area.services.keys.revoke(area.principal, area.key("revoked").key_id)
    area.clock.set(NOON - timedelta(days=40))
    area.key("never", days=90)
    area.key("expired", days=3)
    used(area, forgotten)
    area.clock.set(NOON)
    used(area, endless)
    used(area, area.key("ending", days=14))
    area.key("young", days=90)


def test_each_line_lists_exactly_its_keys(each_area: Area) -> None:
    """Every line has a count, and a link to a list of exactly its keys, with something to do about them."""
    with_findings(each_area)
    browser = each_area.signed_in()
    page = browser.open(each_area.keys_url)
    items = page.tree.one("section", class_="reviews").all("li")
    links = [item.all("a")[0] for item in items]
    assert [a.text for a in links] == LINES
    listed = {a.text: descriptions(browser.open(a.attributes["href"])) for a in links}
    assert list(listed.values()) == [
        ["ending"],
        ["never"],
        ["forgotten"],
        ["endless", "forgotten"],
        ["endless"],
    ]
    chosen = browser.open(links[0].attributes["href"])
    assert "1 key expires within 14 days. Anything using them stops" in chosen.tree.text
    assert browser.open(chosen.link("Show all keys")).path == each_area.keys_url
    assert chosen.tree.all("a", aria_current="true")[0].text == links[0].text
    for link in links:
        bar = browser.open(link.attributes["href"]).tree.one("form", id="selected")
        acts = ["Revoke selected keys"]
        if link.text.endswith("never expires"):
            acts = ["Set expiry", *acts]
        assert [b.text for b in bar.all("button", type="submit")] == acts


def test_without_findings_there_is_no_line(area: Area) -> None:
    """Without keys, or with good ones, there is no line."""
    assert area.signed_in().open(area.keys_url).tree.all("section", class_="reviews") == []
    area.key("good", days=90)
    assert area.signed_in().open(area.keys_url).tree.all("section", class_="reviews") == []


@pytest.mark.parametrize("habit", ["never-used", "unused", "expiring", "old", "endless"])
def test_an_empty_list_of_a_habit_says_so(area: Area, habit: str) -> None:
    """An old link, opened when the last such key is gone, says that there are no such keys."""
    area.services.keys.revoke(area.principal, area.key().key_id)
    seen = area.signed_in().open(f"{area.keys_url}?show={habit}")
    assert "All done: no key needs this review." in seen.tree.text


def test_a_long_list_of_a_habit_is_paged_and_searched(area: Area) -> None:
    """Paging and searching keep the filter by finding."""
    unlimited(area)
    for number in range(51):
        area.key(f"endless {number:02}")
    area.key("ends 07", days=90)
    browser = area.signed_in()
    first = browser.open(f"{area.keys_url}?show=endless")
    assert "51 keys never expire." in first.tree.text
    assert descriptions(browser.open(first.link("Older"))) == ["endless 00"]
    results = browser.submit(first, area.keys_url, query="07")
    assert descriptions(results) == ["endless 07"]
