"""Plans & limits: the use of each limit, what to do at one, and the limits of other plans."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from keystead.domain.documents import CollectionDraft
from keystead.domain.plans import DEFAULT_PLANS, LIMIT_NAMES, Limits
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import Page


def plan_url(area: Area) -> str:
    """Return the URL of the plan."""
    return f"/w/{area.workspace_id}/plan"


def uses(seen: Page) -> dict[str, list[str]]:
    """Return the texts of each limit, by its name."""
    cards = [li for li in seen.tree.all("li") if "use" in li.attributes.get("class", "").split()]
    return {card.one("h3").text: [p.text for p in card.all("p")] for card in cards}


def test_each_limit_shows_its_use(each_area: Area) -> None:
    """Every limit shows its use, in words and as a bar of the same numbers."""
    each_area.key("sync")
    each_area.services.documents.create_collection(each_area.principal, CollectionDraft("docs"))
    seen = each_area.signed_in().open(plan_url(each_area))
    shown = uses(seen)
    assert shown["Active API keys"] == ["1 of 5", "4 left"]
    assert shown["Collections"] == ["1 of 3", "2 left"]
    assert shown["Documents"] == ["0 of 1,000", "1,000 left"]
    assert shown["Webhooks"] == ["0 of 1", "1 left"]
    assert shown["Members"][0] == "1 of 3"
    bars = [(e.attributes["value"], e.attributes["max"]) for e in seen.tree.all("progress")]
    assert bars == [("1", "5"), ("1", "3"), ("0", "1000"), ("0", "1"), ("1", "3")]


def test_at_a_limit_the_page_says_what_to_do(area: Area) -> None:
    """A full limit says so in words, links to what can be removed, and names the plan with more."""
    for number in range(5):
        area.key(f"sync {number}")
    browser = area.signed_in()
    seen = browser.open(plan_url(area))
    text, note = uses(seen)["Active API keys"]
    assert text == "5 of 5"
    assert note.startswith("Full. Revoke an unused key. The plan Team allows 50.")
    assert browser.open(seen.link("View keys")).heading == "API keys"


def test_no_advice_that_cannot_be_followed(area: Area) -> None:
    """A viewer reads what is full, and not to revoke a key or to remove a member."""
    for number in range(5):
        area.key(f"sync {number}")
    viewer = area.signed_in(area.member(Role.VIEWER))
    assert uses(viewer.open(plan_url(area)))["Active API keys"] == [
        "5 of 5",
        "Full. The plan Team allows 50.",
    ]
    for page in (area.keys_url, plan_url(area), f"/w/{area.workspace_id}/members"):
        seen = viewer.open(page)
        text = seen.tree.one("main").text.partition("Role permissions")[0]
        assert not re.findall(r"\b(Revoke|Delete|Remove|Rotate|Needs review)\b", text)


def test_plans_stand_side_by_side(area: Area) -> None:
    """One table compares the plans, and names the workspace's own in words."""
    rows = area.signed_in().open(plan_url(area)).rows()
    assert rows[0] == {
        "Limit": "Active API keys",
        "Free Your plan": "5",
        "Team": "50",
        "Scale": "Unlimited",
    }
    assert [row["Limit"] for row in rows] == [
        "Active API keys",
        "Collections",
        "Documents",
        "Webhooks",
        "Members",
    ]


def test_no_limit_is_left_out(area: Area) -> None:
    """The page has every limit: its use, a link to where it is used, and each plan's amount."""
    for name in LIMIT_NAMES:
        area.services.workspaces.set_plan(area.workspace_id, "free", overrides={name: 0})
        browser = area.signed_in()
        seen = browser.open(plan_url(area))
        full = [li for li in seen.tree.all("li") if "use-full" in li.attributes.get("class", "")]
        ways = [
            li.one("a").attributes["href"]
            for li in full
            if li.one("h3").attributes["id"] == f"{name}-name"
        ]
        assert [browser.open(way).status for way in ways] == [200]
        assert len(seen.rows()) == len(LIMIT_NAMES)


def test_unlimited_has_no_bar(area: Area) -> None:
    """Without a limit there is no bar."""
    largest = replace(DEFAULT_PLANS[0], limits=Limits())
    area.services.plans.apply([largest, *DEFAULT_PLANS[1:]])
    seen = area.signed_in().open(plan_url(area))
    assert uses(seen)["Active API keys"] == ["0, no limit"]
    assert seen.tree.all("progress") == []


def test_a_limit_of_zero_is_full(area: Area) -> None:
    """A limit of zero is shown as full, with a bar."""
    smallest = replace(DEFAULT_PLANS[0], limits=replace(DEFAULT_PLANS[0].limits, collections=0))
    area.services.plans.apply([smallest, *DEFAULT_PLANS[1:]])
    text, note = uses(area.signed_in().open(plan_url(area)))["Collections"]
    assert text == "0 of 0"
    assert note.startswith("Full. ")


def test_custom_limits_are_shown(area: Area) -> None:
    """Custom limits of the workspace are shown, and distinguished from the plan's."""
    services = area.services
    assert "custom limits" not in area.signed_in().open(plan_url(area)).html
    services.workspaces.set_plan(area.workspace_id, "free", overrides={"api_keys": 7})
    seen = area.signed_in().open(plan_url(area))
    assert uses(seen)["Active API keys"][0] == "0 of 7"
    assert "custom limits" in seen.html


@pytest.mark.parametrize("role", Role)
def test_only_owners_are_sent_to_change_the_plan(area: Area, role: Role) -> None:
    """Only owners find the link to change the plan; other members read whom to ask."""
    seen = area.signed_in(area.member(role)).open(plan_url(area))
    links = [a for a in seen.tree.all("a") if a.text == "Change the plan"]
    assert bool(links) is (role is Role.OWNER)
    assert ("ask an owner to change the plan" in seen.html) is (role is not Role.OWNER)
