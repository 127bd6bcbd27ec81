"""The step that shows a token once: it is copied in one way or another, or the browser asks before it is lost."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect

from tests.support.chromium import page_storage, person, require_accessible, row
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.slow
TOKEN = re.compile(r"ks_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")
TABS = ("Key", ".env", "curl", "Python", "JavaScript")
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"


@contextmanager
def at_the_keys(
    browser: Browser, server: ServerProcess, session: Any, **options: Any
) -> Iterator[Page]:
    """Yield a page that shows the keys."""
    with person(browser, storage_state=session, base_url=server.base_url, **options) as page:
        page.goto("/")
        yield page


@pytest.fixture
def page(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """A signed-in user's page with scripts."""
    allowed = ["clipboard-read", "clipboard-write"]
    with at_the_keys(browser, server, session, permissions=allowed) as page:
        yield page


@pytest.fixture
def plain(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """The same without scripts."""
    with at_the_keys(browser, server, session, java_script_enabled=False) as page:
        yield page


def in_dialog(page: Page) -> None:
    """Open the form over the list."""
    page.get_by_role("link", name="Create key").click()


def on_page(page: Page) -> None:
    """Open the form as a page of its own."""
    page.goto(page.url.partition("?")[0] + "/new")


places = pytest.mark.parametrize("place", [in_dialog, on_page], ids=["dialog", "page"])
Place = Callable[[Page], None]


def create(page: Page, place: Place, description: str = "sync") -> str:
    """Create a key. Returns its token."""
    place(page)
    page.get_by_label("Description").fill(description)
    page.get_by_label("30 days").check()
    page.get_by_label("Full access").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
    token = field(page).input_value()
    assert TOKEN.fullmatch(token)
    return token


def field(page: Page, name: str = "API key") -> Locator:
    """Find a field of the step."""
    return page.get_by_label(name, exact=True)


def question(page: Page) -> Locator:
    """Find the question that the page asks itself."""
    return page.get_by_text("Close without copying?")


def show(page: Page, tab: str) -> None:
    """Choose a form of the key."""
    page.locator(".tab-name").get_by_text(tab, exact=True).click()


def asked_by_browser(page: Page, leave: Callable[[], object]) -> bool:
    """Return whether the browser asks before the page is left. The answer is to stay."""
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    leave()
    page.wait_for_timeout(500)
    page.remove_listener("dialog", stay)
    assert asked in ([], ["beforeunload"])
    return bool(asked)


def ways_out(page: Page) -> dict[str, Callable[[], object]]:
    """Return what leaves the document, each as a user does it."""
    keys = page.url.rpartition("/keys")[0] + "/plan"
    return {
        "reload": lambda: page.evaluate("setTimeout(() => location.reload())"),
        "back": lambda: page.evaluate("setTimeout(() => history.back())"),
        "navigation": lambda: page.evaluate(f"setTimeout(() => {{ location.href = '{keys}' }})"),
    }


@places
def test_the_button_says_that_it_copied(page: Page, place: Place) -> None:
    """One primary button copies and says so in its place; only then Done is the primary one, and asks nothing."""
    token = create(page, place)
    step = page.locator("[data-token]")
    primary = step.locator(".button-primary:visible")
    expect(primary).to_have_text("Copy key")
    primary.click()
    expect(step.get_by_role("button", name="Copied ✓")).to_be_focused()
    expect(step.locator("[data-copy-status]")).to_have_text("Copied to the clipboard.")
    assert page.evaluate("navigator.clipboard.readText()") == token
    expect(primary).to_have_text("Done")
    require_accessible(page)
    page.get_by_role("link", name="Done").click()
    expect(page.locator(".row-changed")).to_contain_text("sync")
    expect(page).to_have_url(re.compile(r"/keys\?changed=key_\w+$"))


@places
@pytest.mark.parametrize("way", ["reload", "back", "navigation"])
def test_the_browser_asks_before_it_leaves(page: Page, place: Place, way: str) -> None:
    """A reload, the way back and another address ask until the key was copied, and staying keeps it."""
    token = create(page, place)
    assert asked_by_browser(page, ways_out(page)[way])
    expect(field(page)).to_have_value(token)
    page.get_by_role("button", name="Copy key").click()
    expect(page.get_by_role("button", name="Copied ✓")).to_be_visible()
    assert not asked_by_browser(page, ways_out(page)[way])
    expect(page.locator("[data-token]")).to_have_count(0)


@places
def test_a_link_of_the_menu_asks(page: Page, place: Place) -> None:
    """A link of the menu asks too, on the page, where it can be clicked; Escape asks in the dialog."""
    token = create(page, place)
    if place is in_dialog:
        for _ in range(3):
            page.keyboard.press("Escape")
        expect(question(page)).to_be_visible()
        expect(page.get_by_role("button", name="Keep open")).to_be_focused()
        page.get_by_role("button", name="Keep open").click()
        expect(page.get_by_role("button", name="Copy key")).to_be_focused()
    else:
        link = page.get_by_role("navigation").get_by_role("link", name="Plans & limits")
        assert asked_by_browser(page, lambda: link.click(no_wait_after=True))
    expect(question(page)).to_be_hidden()
    expect(field(page)).to_have_value(token)


@places
def test_done_asks_once(page: Page, place: Place) -> None:
    """Done asks before the key was copied; the answer closes the step, and the browser doesn't ask again."""
    create(page, place)
    page.get_by_role("link", name="Done").click()
    expect(question(page)).to_be_visible()
    require_accessible(page)
    page.get_by_role("link", name="Close anyway").click()
    expect(page.locator("[data-token]")).to_have_count(0)
    assert not asked_by_browser(page, page.reload)


@places
def test_the_browsers_own_copy_counts(page: Page, place: Place) -> None:
    """Ctrl+C on the whole key answers the question, a part of it doesn't."""
    token = create(page, place)
    field(page).focus()
    field(page).evaluate("field => field.setSelectionRange(0, 20)")
    page.keyboard.press("Control+c")
    expect(page.get_by_role("button", name="Copy key")).to_be_visible()
    assert asked_by_browser(page, ways_out(page)["reload"])
    page.get_by_role("link", name="Done").click()
    expect(question(page)).to_be_visible()
    field(page).focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+c")
    expect(question(page)).to_be_hidden()
    expect(page.get_by_role("button", name="Copied ✓")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == token
    assert not asked_by_browser(page, ways_out(page)["reload"])


def test_the_context_menu_counts(page: Page) -> None:
    """The browser's menu copies the selection by the same command as its own Edit menu."""
    create(page, in_dialog)
    field(page).select_text()
    page.context.new_cdp_session(page).send(
        "Input.dispatchKeyEvent", {"type": "rawKeyDown", "commands": ["copy"]}
    )
    expect(page.get_by_role("button", name="Copied ✓")).to_be_visible()


def test_only_what_holds_the_key_counts(page: Page) -> None:
    """Code that reads the key from the environment is copied without the key: the question stays."""
    token = create(page, in_dialog)
    show(page, "Python")
    page.get_by_role("button", name="Copy Python").click()
    expect(page.get_by_role("button", name="Copied ✓ Python")).to_be_visible()
    assert token not in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("link", name="Done").click()
    expect(question(page)).to_be_visible()
    page.get_by_role("button", name="Keep open").click()
    show(page, ".env")
    page.get_by_role("button", name="Copy .env").click()
    expect(page.get_by_role("button", name="Copied ✓ .env")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"KEYSTEAD_TOKEN={token}"
    show(page, "Python")
    expect(page.get_by_role("button", name="Copy Python")).to_be_visible()
    page.get_by_role("link", name="Done").click()
    expect(page.locator(".row-changed")).to_be_visible()


def test_it_copies_over_http(page: Page) -> None:
    """Without the clipboard of https:// the older command copies, and the focus stays on the button."""
    page.evaluate(NO_CLIPBOARD)
    token = create(page, in_dialog)
    page.get_by_role("button", name="Copy key").click()
    expect(page.get_by_role("button", name="Copied ✓")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    page.get_by_label(re.compile("^Search")).focus()
    page.keyboard.press("Control+v")
    # The list knows a pasted token, and shows its key instead of keeping the token in the URL.
    expect(page).to_have_url(re.compile(token[3:25]))


def test_it_says_when_it_cannot_copy(page: Page) -> None:
    """If no way works, the page says so and selects the key, so that the named keys copy it."""
    page.evaluate(NO_CLIPBOARD)
    create(page, in_dialog)
    page.evaluate("document.execCommand = () => false")
    page.get_by_role("button", name="Copy key").click()
    words = "Couldn't copy automatically. The key is selected: press Ctrl+C (⌘C on a Mac)."
    expect(page.locator("[data-copy-status]")).to_have_text(words)
    expect(page.get_by_role("button", name="Copied ✓")).to_have_count(0)
    require_accessible(page)
    page.keyboard.press("Control+c")
    expect(page.get_by_role("button", name="Copied ✓")).to_be_visible()
    expect(page.locator("[data-copy-status]")).to_have_text("Copied to the clipboard.")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_each_form_works(page: Page, plain: Page, server: ServerProcess, scripts: bool) -> None:
    """The tabs show one form each, with scripts and without, by mouse and keyboard; the curl line is accepted."""
    page = page if scripts else plain
    token = create(page, on_page)
    for tab in TABS:
        show(page, tab)
        expect(page.locator(".tab-panel:visible")).to_have_count(1)
    page.get_by_role("radio", name="Key").focus()
    page.keyboard.press("ArrowRight")
    expect(field(page, ".env with the key")).to_be_visible()
    assert field(page, ".env with the key").input_value() == f"KEYSTEAD_TOKEN={token}"
    curl = shlex.split(field(page, "curl with the key").input_value())
    name, value = curl[2].split(": ", 1)
    assert server.call("GET", "/v1/whoami", headers={name: value}).status_code == 200
    for name in ("python", "javascript"):
        text = page.locator(f"#{name}").text_content()
        assert text is not None
        assert "KEYSTEAD_TOKEN" in text
        assert token not in text
    if not scripts:
        expect(page.get_by_role("button", name=re.compile("Copy"))).to_have_count(0)
        page.get_by_role("link", name="Done").click()
        expect(row(page, "sync").first).to_be_visible()


@places
def test_nothing_keeps_the_key(page: Page, place: Place) -> None:
    """The key is in no address, storage or history, not on paper, and hidden from translators and password managers."""
    token = create(page, place)
    secrets = page.locator("[data-secret]")
    for attribute, value in (
        ("translate", "no"),
        ("autocomplete", "off"),
        ("data-lpignore", "true"),
    ):
        assert secrets.evaluate_all(
            "(all, [name, value]) => all.every(e => e.getAttribute(name) === value)",
            [attribute, value],
        )
    expect(page.locator("form [data-secret], input[type=password]")).to_have_count(0)
    stored = page_storage(page)
    assert token not in stored.removesuffix(page.content())
    page.emulate_media(media="print")
    expect(page.locator("[data-secret]:visible, .tab-panel:visible")).to_have_count(0)
    assert token[-49:] not in page.locator("body").inner_text()
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Copy key").click()
    page.get_by_role("link", name="Done").click()
    expect(page.locator(".row-changed")).to_be_visible()
    list_url = page.url
    page.goto(list_url + "&show=active")
    for move in (page.go_back, page.reload, page.go_forward):
        move()
        assert token[-49:] not in page_storage(page)
