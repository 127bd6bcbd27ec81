"""Notifications: members choose their emails; without an email address the page says what is missing."""

from __future__ import annotations

from keystead.domain.notification_digests import Topic
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area


def url(area: Area) -> str:
    """Return the URL of the settings."""
    return f"/w/{area.workspace_id}/notices"


def ticked(area: Area) -> set[str]:
    """Return which of the owner's boxes are ticked."""
    browser = area.signed_in()
    boxes = browser.open(url(area)).tree.all("input", type="checkbox")
    return {box.attributes["value"] for box in boxes if "checked" in box.attributes}


def test_an_owner_gets_all_notifications_until_they_choose(each_area: Area) -> None:
    """Every box is ticked at first; any choice is saved, even an empty one."""
    assert ticked(each_area) == set(Topic)
    browser = each_area.signed_in()
    seen = browser.submit(browser.open(url(each_area)), url(each_area), topic=["expiring"])
    assert "Saved." in seen.html
    assert ticked(each_area) == {"expiring"}
    browser.submit(browser.open(url(each_area)), url(each_area), topic=[])
    assert ticked(each_area) == set()


def test_each_member_chooses_for_themselves(area: Area) -> None:
    """A viewer gets no notifications until they choose some, and no other member's choice changes."""
    browser = area.signed_in(area.member(Role.VIEWER))
    page = browser.open(url(area))
    assert not [b for b in page.tree.all("input", type="checkbox") if "checked" in b.attributes]
    browser.submit(page, url(area), topic=["limit"])
    assert ticked(area) == set(Topic)


def test_without_an_address_the_page_says_what_is_missing(area: Area) -> None:
    """A user without an email finds a link to add one."""
    seen = area.signed_in(area.member(Role.ADMIN)).open(url(area))
    assert "You have no email address" in seen.html
    assert seen.link("Add one").endswith("/account")
