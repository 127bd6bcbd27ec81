"""The Developer area in a real browser over a real server: with scripts, and again without any."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from keystead import bootstrap
from keystead.bootstrap import Installation
from keystead.cli.serve import fresh_link
from keystead.domain.key_lists import KeySelection
from keystead.domain.keys import KeyStatus
from keystead.domain.principals import of_member
from tests.support.chromium import (
    act_on,
    enter,
    has_scripts,
    person,
    require_accessible,
    row,
)
from tests.support.server_process import ServerProcess

TOKEN = re.compile(r"ks_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")


@pytest.fixture(scope="module")
def installation(server: ServerProcess) -> Iterator[Installation]:
    """The server's installation, for preparing and cleaning up."""
    installation = bootstrap.open_safely(server.settings)
    yield installation
    installation.close()


@pytest.fixture(autouse=True)
def no_keys(installation: Installation) -> Iterator[None]:
    """A workspace that has no active keys again after a journey."""
    yield
    owner = of_member(installation.services.workspaces.first())
    for key in installation.services.keys.list(owner, KeySelection(KeyStatus.ACTIVE)).items:
        installation.services.keys.revoke(owner, key.id)


@contextmanager
def at_the_keys(
    browser: Browser, server: ServerProcess, session: Any, **options: Any
) -> Iterator[Page]:
    """Yield a page that shows the keys."""
    with person(browser, storage_state=session, base_url=server.base_url, **options) as page:
        page.goto("/")
        yield page


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(
    request: pytest.FixtureRequest, browser: Browser, server: ServerProcess, session: Any
) -> Iterator[Page]:
    """A signed-in user's page, with scripts and without."""
    with at_the_keys(browser, server, session, java_script_enabled=request.param) as page:
        yield page


@pytest.fixture
def scripted(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """A signed-in user's page with scripts."""
    allowed = ["clipboard-read", "clipboard-write"]
    with at_the_keys(browser, server, session, permissions=allowed) as page:
        yield page


@pytest.fixture
def plain(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """A signed-in user's page without scripts."""
    with at_the_keys(browser, server, session, java_script_enabled=False) as page:
        yield page


def create(page: Page, description: str, expiry: str = "30 days") -> None:
    """Create a key, up to the page that shows its token."""
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Description").fill(description)
    page.get_by_label(expiry).check()
    page.get_by_label("Full access").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()


def finish(page: Page) -> None:
    """Copy the key where scripts run, without which nothing asks, and close the step that shows it."""
    if has_scripts(page):
        page.get_by_role("button", name="Copy key").click()
        expect(page.get_by_role("button", name="Copied ✓")).to_be_visible()
    page.get_by_role("link", name="Done").click()


def revoke(page: Page, description: str) -> None:
    """Revoke a key, up to the confirmation."""
    act_on(page, description, "Revoke")
    expect(page.get_by_role("heading", name=f"Revoke “{description}”?")).to_be_visible()
    confirmation = page.get_by_label("the last 4 characters of the key")
    if confirmation.count():
        confirmation.fill(page.locator("label code").inner_text())
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_role("status").first).to_contain_text(f"“{description}” was revoked.")


def sent(server: ServerProcess, curl: str) -> int:
    """Return the status that the page's curl command gets."""
    program, option, header, url = shlex.split(curl)
    assert (program, option) == ("curl", "-H")
    assert url == f"{server.base_url}/v1/whoami"
    name, value = header.split(": ", 1)
    return server.call("GET", "/v1/whoami", headers={name: value}).status_code


def wait_for_use(page: Page, description: str) -> None:
    """Reload until the key's use has been written."""
    for _ in range(40):
        page.reload()
        if "Never used" not in row(page, description).inner_text():
            return
        page.wait_for_timeout(100)
    raise AssertionError("the use did not appear")


def test_the_link_that_the_server_prints_signs_in(browser: Browser, server: ServerProcess) -> None:
    """The first start prints a link; it signs in once, and the second time the page says how to get another."""
    link = server.sign_in_url
    with person(browser) as page:
        enter(page, link)
        expect(page).to_have_url(re.compile(r"/w/ws_\w+/keys$"))
    with person(browser) as page:
        page.goto(link)
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_text("keystead sign-in-link")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_signing_out_ends_it(browser: Browser, installation: Installation, scripts: bool) -> None:
    """After signing out, going back shows nothing either."""
    with person(browser, java_script_enabled=scripts) as page:
        enter(page, fresh_link(installation, installation.settings.base_url)[0])
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()


def test_a_key_is_created_used_watched_and_revoked(page: Page, server: ServerProcess) -> None:
    """The main job: the token once with a working curl command, the use that appears, the immediate revocation."""
    create(page, "data-warehouse sync", "90 days")
    token = page.get_by_label("API key", exact=True).input_value()
    curl = page.get_by_label("curl with the key").input_value()
    assert TOKEN.fullmatch(token)
    assert token in curl
    assert sent(server, curl) == 200
    finish(page)
    expect(row(page, "data-warehouse sync")).to_contain_text("Active")
    expect(page.get_by_text("1 of 5 active keys")).to_be_visible()
    wait_for_use(page, "data-warehouse sync")
    expect(row(page, "data-warehouse sync")).to_contain_text("127.0.0.1")
    assert token[-49:] not in page.content()
    revoke(page, "data-warehouse sync")
    assert sent(server, curl) == 401
    expect(page.get_by_text("0 of 5 active keys")).to_have_count(2)
    page.get_by_role("link", name="Revoked").click()
    expect(row(page, "data-warehouse sync").first).to_contain_text("Revoked")


def test_a_refused_form_keeps_what_was_entered(page: Page) -> None:
    """Errors that the browser does not detect are shown at the field, and no entry is lost."""
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Description").fill("   ")
    page.get_by_label("Never").check()
    page.get_by_label("Full access").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("Enter a description of up to 200 characters")).to_be_visible()
    expect(page.get_by_label("Never")).to_be_checked()
    page.get_by_label("Description").fill("mended")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
    finish(page)


def test_keys_are_searched(page: Page) -> None:
    """The list is searched by description; clearing the filter brings the other keys back."""
    for name in ("alpha", "beta"):
        create(page, name)
        finish(page)
        expect(row(page, name)).to_be_visible()
    page.get_by_label("Search keys").fill("alph")
    page.get_by_role("button", name="Search").click()
    expect(row(page, "beta")).to_have_count(0)
    expect(row(page, "alpha")).to_be_visible()
    page.get_by_role("link", name=re.compile("^All")).click()
    expect(row(page, "beta")).to_be_visible()


def test_a_page_that_is_left_is_wiped(scripted: Page) -> None:
    """When the browser caches the page, to show it again later, no field of it contains the token."""
    create(scripted, "put aside")
    scripted.evaluate(
        "window.dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))"
    )
    assert scripted.locator("[data-secret]").count() == 3
    for field in scripted.locator("[data-secret]").all():
        assert field.input_value() == ""
        assert field.text_content() == ""


def test_two_clicks_sign_in_once(browser: Browser, installation: Installation) -> None:
    """The second click of a double click is not sent, so it does not use up the link again."""
    with person(browser) as page:
        posts = posts_of(page)
        page.goto(fresh_link(installation, installation.settings.base_url)[0])
        slow_down(page)
        page.get_by_role("button", name="Continue").dblclick(delay=50)
        expect(page.get_by_role("heading", name="API keys")).to_be_visible()
        assert len(posts) == 1


def posts_of(page: Page) -> list[str]:
    """Return a list that grows with the URL of each form that the page sends from now on."""
    posts: list[str] = []
    page.on("request", lambda sent: posts.append(sent.url) if sent.method == "POST" else None)
    return posts


def slow_down(page: Page) -> None:
    """Delay every response by 300 milliseconds, as for a user far away."""
    line = {"offline": False, "latency": 300, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)


def test_two_clicks_make_one_key(scripted: Page) -> None:
    """A double click on the button creates one key and still shows its token."""
    page = scripted
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Description").fill("clicked twice")
    page.get_by_label("30 days").check()
    page.get_by_label("Full access").check()
    posts = posts_of(page)
    slow_down(page)
    page.get_by_role("button", name="Create key").dblclick(delay=50)
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
    assert len(posts) == 1
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Close anyway").click()
    expect(row(page, "clicked twice")).to_have_count(1)
    expect(page.get_by_text("1 of 5 active keys")).to_be_visible()


def test_the_list_is_searched_while_typing(scripted: Page) -> None:
    """A pause in typing starts the search; the URL follows, so that a reload shows the same."""
    page = scripted
    page.get_by_label("Search keys").press_sequentially("nothing like it")
    expect(page.get_by_text("No key matches “nothing like it”.")).to_be_visible()
    expect(page).to_have_url(re.compile("query=nothing"))
    expect(page.get_by_label("Search keys")).to_be_focused()
    page.reload()
    expect(page.get_by_text("No key matches “nothing like it”.")).to_be_visible()


def test_the_question_begins_on_cancel(scripted: Page) -> None:
    """Revoking is an alert dialog with the focus on Cancel; Escape changes nothing and restores the focus."""
    page = scripted
    create(page, "kept")
    finish(page)
    trigger = page.get_by_role("button", name="Actions for kept")
    act_on(page, "kept", "Revoke")
    question = page.get_by_role("alertdialog", name="Revoke “kept”?")
    expect(question).to_be_visible()
    expect(question.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(trigger).to_be_focused()
    expect(row(page, "kept")).to_contain_text("Active")


def test_the_focus_moves_to_the_next_row(scripted: Page) -> None:
    """After a revocation the focus is on the row below, on the row above at the end, and finally on the heading."""
    page = scripted
    for name in ("alpha", "beta", "gamma"):
        create(page, name)
        finish(page)
        expect(row(page, name)).to_be_visible()
    revoke(page, "beta")
    expect(page.get_by_role("link", name="alpha", exact=True)).to_be_focused()
    revoke(page, "alpha")
    expect(page.get_by_role("link", name="gamma", exact=True)).to_be_focused()
    revoke(page, "gamma")
    expect(page.get_by_role("heading", name="API keys")).to_be_focused()


def test_a_key_is_rotated_and_edited(page: Page, server: ServerProcess) -> None:
    """Both tokens work while they overlap; the old key's row says so; the new one gets a new description."""
    create(page, "nightly job")
    old = page.get_by_label("curl with the key").input_value()
    finish(page)
    act_on(page, "nightly job", "Rotate")
    page.get_by_label("In 1 hour").check()
    page.get_by_role("button", name="Rotate key").click()
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
    new = page.get_by_label("curl with the key").input_value()
    assert new != old
    assert (sent(server, old), sent(server, new)) == (200, 200)
    finish(page)
    expect(page.get_by_text("rotated to")).to_have_count(1)
    row(page, "nightly job").first.get_by_role("link", name="nightly job", exact=True).click()
    page.get_by_role("link", name="Edit nightly job").click()
    page.get_by_label("Description").fill("  ")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Enter a description of up to 200 characters")).to_be_visible()
    page.get_by_label("Description").fill("hourly job")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="hourly job")).to_be_visible()
    expect(page.get_by_role("status").first).to_contain_text("“hourly job” was saved.")


def test_a_webhooks_headers_are_changed(page: Page) -> None:
    """Created with two headers, one removed and one changed: the page shows the names, and no value."""
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_role("link", name="Create webhook").first.click()
    page.get_by_label("Name", exact=True).fill("alerts")
    page.get_by_label("URL").fill("https://hooks.example.com/")
    page.get_by_label("All events").check()
    page.get_by_label("Custom headers").fill("X-Team: keys\nX-Old: 1")
    page.get_by_role("button", name="Create webhook").click()
    expect(page.get_by_role("heading", name="Copy the secret now")).to_be_visible()
    if has_scripts(page):
        page.get_by_role("button", name="Copy secret").click()
    page.get_by_role("link", name="Done").click()
    expect(page.locator("[data-token]")).to_have_count(0)
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Remove X-Old").check()
    page.get_by_label("More custom headers").fill("X-Team: others\nAuthorization: Bearer b")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("alerts was saved.")).to_be_visible()
    expect(page.locator("dl")).to_contain_text("X-Team, Authorization")
    expect(page.locator("dl")).not_to_contain_text("X-Old")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete webhook").click()
    expect(page.get_by_text("The webhook alerts was deleted.")).to_be_visible()


def test_without_scripts_a_reload_shows_no_token(plain: Page, server: ServerProcess) -> None:
    """The page with the token, if the browser sends it again, says that the key exists and nothing else."""
    page = plain
    create(page, "reloaded")
    token = page.get_by_label("API key", exact=True).input_value()
    page.reload()
    expect(page.get_by_role("heading", name=re.compile("Already created"))).to_be_visible()
    assert token[-49:] not in page.content()
    page.get_by_role("link", name="View API keys").click()
    expect(row(page, "reloaded")).to_have_count(1)
    assert token[-49:] not in server.log() + server.output()


def test_going_back_shows_no_token(page: Page) -> None:
    """A page that showed a token does not show it after leaving and going back."""
    page.goto(page.url + "/new")
    page.get_by_label("Description").fill("gone back")
    page.get_by_label("30 days").check()
    page.get_by_label("Full access").check()
    page.get_by_role("button", name="Create key").click()
    token = page.get_by_label("API key", exact=True).input_value()
    keys = page.get_by_role("link", name="API keys").get_attribute("href")
    page.goto(str(keys))
    for move in (page.go_back, page.go_forward, page.go_back):
        with suppress(Error):  # the browser's own page: it would have to send the form again
            move()
        shown = page.content() + "".join(f.input_value() for f in page.locator("textarea").all())
        assert token[-49:] not in shown


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(
    browser: Browser, server: ServerProcess, session: Any, scheme: Any
) -> None:
    """axe-core finds no violation: on each page and in each state of the dialog, light and dark."""
    with at_the_keys(browser, server, session, color_scheme=scheme) as page:
        require_accessible(page)
        page.get_by_role("link", name="Create key").click()
        expect(page.get_by_label("Description")).to_be_focused()
        page.get_by_label("Custom date").check()
        page.get_by_label("Custom access").check()
        require_accessible(page)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Discard").click()
        create(page, "axe")
        page.keyboard.press("Escape")
        require_accessible(page)
        page.get_by_role("link", name="Close anyway").click()
        expect(row(page, "axe")).to_be_visible()
        require_accessible(page)
        act_on(page, "axe", "Revoke")
        expect(page.get_by_role("alertdialog")).to_be_visible()
        require_accessible(page)
        page.get_by_role("button", name="Revoke key").click()
        expect(page.get_by_role("status").first).to_contain_text("was revoked")
        require_accessible(page)
        for url in ("/nothing", "/sign-in?link=x"):
            page.goto(url)
            require_accessible(page)


@pytest.mark.parametrize("width", [320, 390])
def test_it_fits_a_narrow_window(
    browser: Browser, server: ServerProcess, session: Any, width: int
) -> None:
    """Down to 320 pixels nothing is cut off sideways: the same as a zoom of 400 % (WCAG 2.2, 1.4.10)."""
    size: Any = {"width": width, "height": 700}
    with at_the_keys(browser, server, session, viewport=size) as page:
        create(page, "a long description " * 8)
        page.get_by_role("button", name="Copy key").scroll_into_view_if_needed()
        assert overflow(page) <= 0
        page.keyboard.press("Escape")
        page.get_by_role("link", name="Close anyway").click()
        expect(page.get_by_text("1 of 5 active keys")).to_be_visible()
        assert overflow(page) <= 0
        small = page.locator("a:visible, button:visible, input:visible").evaluate_all(
            "all => all.filter(e => !e.closest('p') && e.type !== 'radio' && e.type !== 'checkbox')"
            ".map(e => [e.outerHTML, e.getBoundingClientRect()])"
            ".filter(([_, box]) => box.width > 1 && (box.width < 24 || box.height < 24))"
        )
        assert small == []


def overflow(page: Page) -> int:
    """Return how many pixels the page, or its open dialog, is wider than its window."""
    wider = page.evaluate(
        "() => Math.max(...[document.documentElement, ...document.querySelectorAll('dialog[open]')]"
        ".map(e => e.scrollWidth - e.clientWidth))"
    )
    return int(wider)
