"""What refreshes by itself: a new key's first request, and the last use in the list. The focus stays where it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from keystead.bootstrap import Installation
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import of_member
from tests.support.chromium import person, require_accessible, row
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.slow
WAITING = "Waiting for the first request…"
USED = re.compile(r"First request: just now from 127\.0\.0\.1 \(curl\)")
HIDE = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})"


@contextmanager
def at_the_keys(
    browser: Browser, server: ServerProcess, session: Any, **options: Any
) -> Iterator[Page]:
    """Yield a page that shows the keys, with a clock that can be moved on."""
    with person(browser, storage_state=session, base_url=server.base_url, **options) as page:
        page.clock.install()
        page.goto("/")
        yield page


@pytest.fixture
def page(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """A signed-in user's page with scripts."""
    with at_the_keys(browser, server, session) as page:
        yield page


Key = tuple[str, str]


@pytest.fixture
def key(installation: Installation, request: pytest.FixtureRequest) -> Key:
    """The description and token of a key that belongs to the test."""
    owner = of_member(installation.services.workspaces.first())
    description = f"key of {request.node.name}"
    draft = KeyDraft(description, None, ["documents:read"])
    token = installation.services.keys.create(owner, draft).token
    assert token is not None
    return description, token.reveal()


def call(server: ServerProcess, token: str) -> None:
    """Send a request with the key, as curl does."""
    headers = {"User-Agent": "curl/8.5.0"}
    assert server.call("GET", "/v1/whoami", token=token, headers=headers).status_code == 200


def refreshes(page: Page) -> list[str]:
    """Return a list that grows with the URL of each request that the page makes by itself from now on."""
    urls: list[str] = []
    page.on(
        "request",
        lambda sent: urls.append(sent.url) if "keystead-background" in sent.headers else None,
    )
    return urls


def open_key(page: Page, description: str) -> None:
    """Show the list with the key, and open the key's page."""
    page.reload()
    row(page, description).get_by_role("link", name=description, exact=True).click()
    expect(page.get_by_text(WAITING)).to_be_visible()


def used_cell(page: Page, description: str) -> Locator:
    """Find the last use of a key in the list."""
    return row(page, description).locator(".c-used")


@pytest.mark.parametrize("place", ["dialog", "page"])
def test_the_token_step_shows_the_first_request(
    page: Page, server: ServerProcess, place: str
) -> None:
    """The command of the step turns the line into who called; the focus stays, and so does the chosen form."""
    if place == "page":
        page.goto(page.url + "/new")
    else:
        page.get_by_role("link", name="Create key").click()
    page.get_by_label("Description").fill("sync")
    page.get_by_label("30 days").check()
    page.get_by_label("Full access").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text(WAITING)).to_be_visible()
    require_accessible(page)
    page.get_by_role("radio", name="curl").focus()
    page.keyboard.press("Space")
    command = page.get_by_label("curl with the key")
    command.focus()
    call(server, page.get_by_label("API key", exact=True).input_value())
    line = page.locator(".first-request")
    expect(line).to_have_text(USED)
    expect(line).to_have_attribute("role", "status")
    expect(command).to_be_focused()
    require_accessible(page)


def test_the_key_page_shows_the_first_request(page: Page, server: ServerProcess, key: Key) -> None:
    """The line and the last use change where the page is, without a reload, and the focus stays."""
    open_key(page, key[0])
    edit = page.get_by_role("link", name=f"Edit {key[0]}")
    edit.focus()
    asked = refreshes(page)
    call(server, key[1])
    expect(page.locator(".first-request")).to_have_text(USED)
    expect(page.locator("#last-used")).to_contain_text("127.0.0.1 (curl/8.5.0)")
    expect(edit).to_be_focused()
    require_accessible(page)
    del asked[:]
    page.clock.run_for(10_000)
    assert asked == []
    page.reload()
    expect(page.locator(".first-request")).to_have_count(0)


def test_waiting_ends(page: Page, key: Key) -> None:
    """The page asks for two minutes in which it is visible, not at all while it is hidden, and then says so."""
    open_key(page, key[0])
    page.evaluate(HIDE)
    asked = refreshes(page)
    page.clock.run_for(60_000)
    assert asked == []
    page.evaluate("delete document.hidden")
    line = page.locator(".first-request")
    for _ in range(60):
        if line.inner_text() != WAITING:
            break
        with page.expect_response(re.compile("/keys/key_")):
            page.clock.run_for(2_000)
    expect(line).to_have_text("No requests yet.")
    assert len(asked) in range(55, 61)
    del asked[:]
    page.clock.run_for(60_000)
    assert asked == []


def test_the_list_refreshes_the_last_use(page: Page, server: ServerProcess, key: Key) -> None:
    """Half a minute later the row shows the use; nothing else changes, and the focus is where it was."""
    page.reload()
    expect(used_cell(page, key[0])).to_contain_text("Never used")
    rows = page.locator(".keys tbody tr").evaluate_all("rows => rows.map(row => row.id)")
    call(server, key[1])
    page.wait_for_timeout(2_500)
    page.clock.run_for(30_000)
    expect(used_cell(page, key[0])).to_contain_text("127.0.0.1")
    assert page.evaluate("document.activeElement === document.body")
    assert rows == page.locator(".keys tbody tr").evaluate_all("rows => rows.map(row => row.id)")
    used_cell(page, key[0]).get_by_role("button").click()
    expect(page.locator(".about:popover-open")).to_contain_text("curl/8.5.0")


def focus_search(page: Page, key: Key) -> None:
    """Put the focus on the search field."""
    page.get_by_label(re.compile("^Search keys")).focus()


def check_row(page: Page, key: Key) -> None:
    """Check a row's box, and leave it."""
    page.get_by_label(f"Select {key[0]}", exact=True).check()
    page.evaluate("document.activeElement.blur()")


def open_dialog(page: Page, key: Key) -> None:
    """Open a dialog over the list."""
    page.get_by_role("link", name="Create key").click()
    expect(page.get_by_label("Description")).to_be_focused()


def hide(page: Page, key: Key) -> None:
    """Put another tab in front."""
    page.evaluate(HIDE)


@pytest.mark.parametrize("occupy", [focus_search, check_row, open_dialog, hide])
def test_the_list_stays_while_it_is_used(
    page: Page, key: Key, occupy: Callable[[Page, Key], None]
) -> None:
    """With the focus in the list, a box checked, a dialog open, or in a hidden tab nothing is asked."""
    page.reload()
    asked = refreshes(page)
    with page.expect_response(re.compile("/keys")):
        page.clock.run_for(30_000)
    assert len(asked) == 1
    occupy(page, key)
    page.clock.run_for(90_000)
    assert len(asked) == 1


def test_without_scripts_nothing_claims_to_wait(
    browser: Browser, server: ServerProcess, session: Any, key: Key
) -> None:
    """The line is for pages that can ask: without scripts it is hidden, and a reload shows the use."""
    options: Any = {"java_script_enabled": False, "storage_state": session}
    with person(browser, base_url=server.base_url, **options) as page:
        page.goto("/")
        row(page, key[0]).get_by_role("link", name=key[0], exact=True).click()
        expect(page.get_by_text("Never used")).to_be_visible()
        expect(page.get_by_text(WAITING)).to_be_hidden()
