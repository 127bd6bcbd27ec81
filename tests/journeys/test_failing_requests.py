"""Failing requests of a page: the user gets an alert next to what they did, and keeps everything they entered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from keystead import bootstrap
from keystead.bootstrap import Installation
from keystead.cli.serve import fresh_link
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import of_member
from tests.support.chromium import act_on, chromium, enter, person, require_accessible, row
from tests.support.server_process import ServerProcess, serving

pytestmark = pytest.mark.slow
DIALOGS = re.compile(r"/keys(/key_\w+)?/(new|revoke|edit|rotate|filter|expire)(\?.*)?$")
SENT = re.compile(r"/keys(/key_\w+/\w+|/revoke|/expire)?(\?.*)?$")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as `keystead serve` starts it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('failing') / 'keystead.db'}"
    with serving(url) as server:
        yield server


@pytest.fixture(scope="module")
def installation(server: ServerProcess) -> Iterator[Installation]:
    """The server's installation, for preparing data."""
    installation = bootstrap.open_safely(server.settings)
    workspace_id = installation.services.workspaces.first().workspace_id
    installation.services.workspaces.set_plan(workspace_id, "scale")
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of all journeys here."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def session(browser: Browser, installation: Installation) -> Any:
    """The cookie of a user who has signed in."""
    with person(browser) as page:
        enter(page, fresh_link(installation, installation.settings.base_url)[0])
        return page.context.storage_state()


@pytest.fixture
def page(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """A signed-in user's page over a connection that fails on demand."""
    with person(browser, failing=True, storage_state=session, base_url=server.base_url) as page:
        page.goto("/")
        yield page


@pytest.fixture
def key(installation: Installation, request: pytest.FixtureRequest) -> str:
    """The description of a key that belongs to the test."""
    owner = of_member(installation.services.workspaces.first())
    description = f"key of {request.node.name}"[:150]
    installation.services.keys.create(owner, KeyDraft(description, None, ["documents:read"]))
    return description


Failure = Callable[[Page, re.Pattern[str]], None]


def offline(page: Page, url: re.Pattern[str]) -> None:
    """Drop the network."""
    page.context.set_offline(True)


def reset(page: Page, url: re.Pattern[str]) -> None:
    """Reset the connection."""
    page.route(url, lambda route: route.abort("connectionreset"))


def bad_gateway(page: Page, url: re.Pattern[str]) -> None:
    """Answer as a gateway does if its server is away."""
    body = "<html><body><h1>502 Bad Gateway</h1></body></html>"
    page.route(url, lambda route: route.fulfill(status=502, content_type="text/html", body=body))


def foreign(page: Page, url: re.Pattern[str]) -> None:
    """Answer with a page of another program, as in a hotel's network."""
    body = "<html><body><h1>Welcome to our hotel</h1></body></html>"
    page.route(url, lambda route: route.fulfill(status=200, content_type="text/html", body=body))


def unavailable(page: Page, url: re.Pattern[str]) -> None:
    """Answer with the server's own page for an unavailable database."""
    body = page.request.get("/nothing").text()
    page.route(url, lambda route: route.fulfill(status=503, content_type="text/html", body=body))


def mended(page: Page) -> None:
    """Let everything work again."""
    page.context.set_offline(False)
    page.unroute_all()


FAILURES: dict[str, tuple[Failure, str]] = {
    "offline": (offline, "couldn't reach the server"),
    "502": (bad_gateway, "didn't answer as expected (502)"),
    "reset": (reset, "couldn't reach the server"),
    "foreign": (foreign, "didn't answer as expected (200)"),
    "503": (unavailable, "Page not found"),
}
"""Each failure, and the alert's words. Neighbours have other words, so that no alert passes for the next one."""


def in_every_way(page: Page, url: re.Pattern[str]) -> Iterator[str]:
    """Let requests fail in each way, one after the other. Yields the alert's words; afterwards everything works."""
    for fails, words in FAILURES.values():
        fails(page, url)
        yield words
        mended(page)


def try_again(page: Page) -> None:
    """Press the alert's button."""
    page.get_by_role("button", name="Try again").click()


def alert_in(page: Page, words: str) -> Locator:
    """Find the alert in the open dialog, which says this and offers to try again."""
    alert = page.locator("dialog[open]").get_by_role("alert")
    expect(alert).to_contain_text(words)
    expect(alert.get_by_role("button", name="Try again")).to_be_focused()
    return alert


def test_a_dialog_that_fails_to_open_says_so(page: Page) -> None:
    """The dialog opens with an alert instead of nothing; trying again opens the intended page, and Close cancels."""
    opener = page.get_by_role("link", name="Create key")
    press: Callable[[], None] = opener.click
    for words in in_every_way(page, DIALOGS):
        press()
        alert_in(page, words)
        expect(page.locator("#content")).to_be_attached()
        press = partial(try_again, page)
    press()
    expect(page.get_by_label("Description")).to_be_focused()
    page.keyboard.press("Escape")
    offline(page, DIALOGS)
    opener.click()
    alert_in(page, "couldn't reach the server")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("dialog")).to_be_hidden()


def select(page: Page, key: str, button: str) -> None:
    """Check the box of a key, and press a button of the bar."""
    page.get_by_label(f"Select {key}", exact=True).check()
    page.get_by_role("form", name="Selected keys").get_by_role("button", name=button).click()


def to_filter(page: Page) -> None:
    """Show the keys that never expire, where several can get an expiry."""
    page.goto(page.url.partition("?")[0] + "?show=endless")


OPENERS: dict[str, Callable[[Page, str], None]] = {
    "edit": lambda page, key: act_on(page, key, "Edit"),
    "rotate": lambda page, key: act_on(page, key, "Rotate"),
    "revoke": lambda page, key: act_on(page, key, "Revoke"),
    "filter": lambda page, key: page.get_by_role("link", name="Filter", exact=True).click(),
    "expire several": lambda page, key: select(page, key, "Set expiry"),
    "revoke several": lambda page, key: select(page, key, "Revoke"),
}


def choose_full_access(page: Page) -> None:
    """Choose a filter."""
    page.get_by_label("Access").select_option("full")


ANSWERS: dict[str, tuple[Callable[[Page], None], str, str, str]] = {
    "edit": (
        lambda page: page.locator("#description").fill("x" * 30),
        "Save",
        "We don't know if the key was changed.",
        "was saved.",
    ),
    "rotate": (
        lambda page: page.get_by_label("In 1 hour").check(),
        "Rotate key",
        "We don't know if the key was rotated.",
        "Copy your API key now",
    ),
    "filter": (
        choose_full_access,
        "Show keys",
        "Try again.",
        "found",
    ),
    "expire several": (
        lambda page: page.get_by_label("30 days").check(),
        "Set expiry",
        "We don't know if the keys were changed.",
        "1 key will expire",
    ),
    "revoke several": (
        lambda page: None,
        "Revoke keys",
        "We don't know if the keys were revoked.",
        "1 key was revoked.",
    ),
}
"""How each form is filled in and sent, what is not known when that fails, and what shows that it worked."""


@pytest.mark.parametrize("name", OPENERS)
def test_every_dialog_that_fails_to_open_says_so(page: Page, key: str, name: str) -> None:
    """Each dialog of the list says what failed, and opens when tried again."""
    to_filter(page)
    press: Callable[[], None] = partial(OPENERS[name], page, key)
    for words in in_every_way(page, DIALOGS):
        press()
        alert_in(page, words)
        press = partial(try_again, page)
    press()
    expect(page.locator("dialog[open] form"), name).to_be_visible()


@pytest.mark.parametrize("name", ANSWERS)
def test_every_form_that_fails_says_so(page: Page, key: str, name: str) -> None:
    """Each form says in its dialog what failed and what is not known, and goes through when tried again."""
    fill, button, unknown, done = ANSWERS[name]
    to_filter(page)
    OPENERS[name](page, key)
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("form")).to_be_visible()
    fill(page)
    press: Callable[[], None] = dialog.get_by_role("button", name=button, exact=True).click
    for words in in_every_way(page, SENT):
        press()
        alert = alert_in(page, words)
        if "Page not found" not in words:
            expect(alert).to_contain_text(unknown)
        press = partial(try_again, page)
    press()
    expect(page.get_by_text(done).first).to_be_visible()
    assert "chrome-error" not in page.url


def test_a_form_that_fails_keeps_what_was_entered(page: Page) -> None:
    """The alert is in the dialog, every field is unchanged, and trying again creates the key, once."""
    name = "typed before everything failed"
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Description").fill(name)
    page.get_by_label("90 days").check()
    page.get_by_label("Custom access").check()
    page.get_by_label("Documents: Read").check()
    press: Callable[[], None] = page.get_by_role("button", name="Create key").click
    for words in in_every_way(page, SENT):
        press()
        alert = alert_in(page, words)
        if "Page not found" not in words:
            expect(alert).to_contain_text("We don't know if the key was created. Try again.")
        expect(page.get_by_label("Description")).to_have_value(name)
        expect(page.get_by_label("90 days")).to_be_checked()
        expect(page.get_by_label("Documents: Read")).to_be_checked()
        press = partial(try_again, page)
    press()
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
    page.get_by_role("button", name="Copy key").click()
    page.get_by_role("link", name="Done").click()
    expect(row(page, name)).to_have_count(1)


def test_revoking_that_fails_says_so(page: Page, key: str) -> None:
    """The question stays with an alert in it, and so does the page behind it; trying again revokes the key."""
    page.reload()
    act_on(page, key, "Revoke")
    expect(page.get_by_role("alertdialog")).to_be_visible()
    press: Callable[[], None] = page.get_by_role("button", name="Revoke key").click
    for words in in_every_way(page, SENT):
        press()
        alert_in(page, words)
        expect(page.get_by_role("heading", name=f"Revoke “{key}”?")).to_be_visible()
        expect(page.locator(".area #content")).to_be_attached()
        press = partial(try_again, page)
    press()
    expect(page.get_by_role("status").first).to_contain_text("was revoked.")
    expect(page.locator("dialog")).to_be_hidden()


def test_a_search_that_fails_keeps_the_list(page: Page, key: str) -> None:
    """The keys stay, with an alert above them; trying again searches."""
    page.reload()
    alert = page.locator("#status").get_by_role("alert")
    press: Callable[[], None] = partial(page.get_by_label("Search keys").fill, "nothing like it")
    for words in in_every_way(page, re.compile("query=")):
        press()
        expect(alert).to_contain_text(words)
        expect(row(page, key)).to_be_visible()
        press = partial(try_again, page)
    press()
    expect(page.get_by_text("No key matches “nothing like it”.")).to_be_visible()
    expect(alert).to_have_count(0)


def test_the_alert_is_accessible(page: Page) -> None:
    """axe-core finds no violation in either alert."""
    bad_gateway(page, DIALOGS)
    page.get_by_role("link", name="Create key").click()
    alert_in(page, "502")
    require_accessible(page)
    mended(page)
    page.get_by_role("button", name="Try again").click()
    page.get_by_label("Description").fill("x")
    page.get_by_label("Never").check()
    page.get_by_label("Full access").check()
    bad_gateway(page, SENT)
    page.get_by_role("button", name="Create key").click()
    alert_in(page, "502")
    require_accessible(page)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_no_token_is_printed(
    browser: Browser, server: ServerProcess, session: Any, scripts: bool
) -> None:
    """Printed, the page of a new key shows the key in none of its forms, and says so."""
    options = {"storage_state": session, "java_script_enabled": scripts}
    with person(browser, base_url=server.base_url, **options) as page:
        page.goto("/")
        page.get_by_role("link", name="Create key").click()
        page.get_by_label("Description").fill("printed")
        page.get_by_label("30 days").check()
        page.get_by_label("Full access").check()
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_label("API key", exact=True)).to_be_visible()
        page.emulate_media(media="print")
        assert page.locator("[data-secret]").count() == 3
        for field in page.locator("[data-secret]").all():
            expect(field).to_be_hidden()
        page.emulate_media(media="screen")
        expect(page.get_by_label("API key", exact=True)).to_be_visible()
