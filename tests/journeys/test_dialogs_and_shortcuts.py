"""Dialogs that lose nothing, shortcuts, forced colors, and a page that doesn't move while it loads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from keystead.bootstrap import Installation
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import of_member
from tests.support.chromium import act_on, person, require_accessible
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.slow

SHIFTS = """() => new Promise((done) => new PerformanceObserver((list) => done(
  list.getEntries().reduce((sum, entry) => sum + entry.value, 0)
)).observe({type: "layout-shift", buffered: true}) || setTimeout(() => done(0), 500))"""


@pytest.fixture(scope="module", autouse=True)
def key(installation: Installation) -> None:
    """The workspace has one key."""
    owner = of_member(installation.services.workspaces.first())
    installation.services.keys.create(owner, KeyDraft("sync", None, ["documents:read"]))


@pytest.fixture
def page(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """A signed-in user's list of keys."""
    with person(browser, storage_state=session, base_url=server.base_url) as page:
        page.goto("/")
        yield page


def dialog(page: Page) -> Locator:
    """Find the dialog."""
    return page.locator("#dialog")


def test_entered_text_is_not_lost(page: Page) -> None:
    """Escape, the cross and Cancel close an untouched form, and ask before they close one with text in it."""
    create = page.get_by_role("link", name="Create key")
    cross = dialog(page).get_by_role("button", name="Close", exact=True)
    question = dialog(page).get_by_text("Discard this key?")
    description = page.get_by_label("Description")
    create.click()
    expect(description).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_hidden()
    closes: list[Callable[[], object]] = [
        lambda: page.keyboard.press("Escape"),
        cross.click,
        dialog(page).get_by_role("link", name="Cancel").click,
    ]
    for close in closes:
        create.click()
        description.fill("sync")
        close()
        expect(dialog(page).get_by_role("button", name="Keep editing")).to_be_focused()
        require_accessible(page)
        page.keyboard.press("Escape")
        expect(question).to_be_hidden()
        expect(description).to_be_focused()
        expect(description).to_have_value("sync")
        close()
        dialog(page).get_by_role("button", name="Discard").click()
        expect(dialog(page)).to_be_hidden()
    create.click()
    expect(description).to_have_value("")
    description.fill("sync")
    description.fill("")
    cross.click()
    expect(dialog(page)).to_be_hidden()


def test_what_the_server_refused_is_not_lost(page: Page) -> None:
    """A form that came back with problems asks too; a confirmation has nothing to lose."""
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Description").fill("   ")
    page.get_by_label("30 days").check()
    page.get_by_label("Full access").check()
    page.get_by_role("button", name="Create key").click()
    expect(dialog(page).locator(".problem").first).to_be_visible()
    page.keyboard.press("Escape")
    dialog(page).get_by_role("button", name="Discard").click()
    act_on(page, "sync", "Revoke")
    expect(dialog(page)).to_be_visible()
    dialog(page).get_by_role("button", name="Close", exact=True).click()
    expect(dialog(page)).to_be_hidden()


def test_one_key_is_a_shortcut(page: Page) -> None:
    """`/` searches and `c` creates, as is shown; letters that are typed stay letters, and a switch ends it."""
    search, hint = page.get_by_label(re.compile("^Search keys")), page.locator("kbd[data-hint]")
    expect(hint.first).to_be_visible()
    expect(page.locator("[aria-keyshortcuts]")).to_have_count(2)
    page.keyboard.press("/")
    expect(search).to_be_focused()
    page.keyboard.type("c/")
    expect(search).to_have_value("c/")
    search.fill("")
    search.blur()
    page.keyboard.press("c")
    expect(page.get_by_label("Description")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Account").click()
    page.get_by_label("Use keyboard shortcuts").uncheck()
    page.goto("/")
    expect(hint.first).to_be_hidden()
    expect(page.locator("[aria-keyshortcuts]")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.press("c")
    expect(search).not_to_be_focused()
    expect(dialog(page)).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colors_are_enough(page: Page, scheme: Any) -> None:
    """With colors of the system's choice the list and a dialog are accessible, and the current page is marked."""
    page.emulate_media(forced_colors="active", color_scheme=scheme)
    require_accessible(page)
    current = page.locator(".side-links [aria-current]").first
    assert current.evaluate("e => getComputedStyle(e).borderInlineStartWidth") == "3px"
    page.get_by_role("link", name="Create key").click()
    expect(page.get_by_label("Description")).to_be_focused()
    require_accessible(page)


def test_the_page_stays_put(page: Page) -> None:
    """Nothing moves while the list loads, whatever scripts add to it."""
    page.reload()
    expect(page.locator(".dots[role=button]")).to_have_count(1)
    assert page.evaluate(SHIFTS) == 0


def test_without_scripts_nothing_is_promised(
    browser: Browser, server: ServerProcess, session: Any
) -> None:
    """Shortcuts are shown and offered only where they work."""
    options: Any = {"java_script_enabled": False, "storage_state": session}
    with person(browser, base_url=server.base_url, **options) as page:
        page.goto("/")
        expect(page.locator("kbd[data-hint]").first).to_be_hidden()
        page.get_by_role("link", name="Account").click()
        expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_hidden()
