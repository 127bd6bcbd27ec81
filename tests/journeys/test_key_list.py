"""The list of keys in a real browser: compact whatever people typed, and in the same place after every change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from keystead import bootstrap
from keystead.bootstrap import Installation, open_installation
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import to_microseconds
from keystead.domain.key_lists import KeySelection
from keystead.domain.keys import ApiKey, KeyDraft, KeyStatus
from keystead.domain.principals import Principal, system
from keystead.domain.scopes import Scopes
from tests.support.chromium import act_on, person, require_accessible, row
from tests.support.clocks import ManualClock
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.slow

HURTING: Final = (
    "x",
    "w" * 200,
    "a description of many words " * 7,
    "👩‍👩‍👧‍👦 deploys 🚀 the 🏳️‍🌈 site",
    "مفتاح الفوترة الشهرية للمستودع الرئيسي وما بعده من الخدمات",
    "key_02tcRIyrxLXTR81B3dqdOx/arn:aws:iam::123456789012:role/data-warehouse-sync",
    "Ǻ̶̢̛̖ ̈́g̸̡̛ŗ̵̛ë̷́a̸̛t z̷̛a̶̛l̸̛g̵̛ơ̷",
)
WIDTHS: Final = (320, 390, 640, 768, 900, 1024, 1280, 1440, 1920)
AGENT: Final = "a-very-long-user-agent/1.0 (with many words in it) " * 3


@pytest.fixture(scope="module")
def past(server: ServerProcess) -> Iterator[tuple[Installation, ManualClock]]:
    """The server's installation, with a clock that can be set back."""
    peppers = bootstrap.find_peppers(server.settings)
    assert peppers is not None
    clock = ManualClock()
    installation = open_installation(server.settings, peppers, clock)
    yield installation, clock
    installation.close()


class Workspace:
    """A workspace without limits, with keys of its own."""

    def __init__(self, installation: Installation, clock: ManualClock, name: str) -> None:
        self.installation, self.clock = installation, clock
        self.services = installation.services
        self.reset_clock()
        self.id: WorkspaceId = self.services.workspaces.create(
            name, owner="Pat", plan_id="scale"
        ).id

    def reset_clock(self) -> None:
        """Set the clock to now."""
        self.clock.set(datetime.now(UTC))

    @property
    def principal(self) -> Principal:
        """The principal that prepares data."""
        return system(self.id)

    def key(self, name: str, days: float | None = None, *scopes: str) -> ApiKey:
        """Create a key."""
        ends = None if days is None else self.clock.now() + timedelta(days=days)
        draft = KeyDraft(name, ends, Scopes(scopes or ("*",)))
        return self.services.keys.create(self.principal, draft).key

    def use(self, key: ApiKey) -> None:
        """Record a use of the key."""
        caller = Principal.of_key(
            key.id, key.description, key.workspace_id, key.scopes, key.expires_at
        )
        at = to_microseconds(self.clock.now())
        self.services.usage.note(caller, at, "2001:db8:85a3:8d3:1319:8a2e:370:7348", AGENT)
        self.services.usage.flush()

    def active(self) -> int:
        """Return how many keys are active."""
        return self.services.keys.list(self.principal, KeySelection(KeyStatus.ACTIVE)).quota.used


@pytest.fixture
def workspace(past: tuple[Installation, ManualClock], request: pytest.FixtureRequest) -> Workspace:
    """An empty workspace."""
    return Workspace(*past, request.node.name[:60])


@pytest.fixture(scope="module")
def hurting(past: tuple[Installation, ManualClock]) -> Workspace:
    """A workspace with sixty keys whose texts hurt."""
    workspace = Workspace(*past, "hurting")
    scopes = (
        "collections:read",
        "documents:read",
        "documents:write",
        "events:read",
        "webhooks:read",
    )
    for number in range(60):
        key = workspace.key(HURTING[number % len(HURTING)], number or None, *scopes[: number % 6])
        if number % 2:
            workspace.use(key)
        if number % 10 == 4:
            workspace.services.rotations.rotate(
                workspace.principal, key.id, overlap=timedelta(hours=5)
            )
    return workspace


@contextmanager
def at_the_keys(
    browser: Browser, server: ServerProcess, workspace: Workspace, query: str = "", **options: Any
) -> Iterator[Page]:
    """Yield the page of the keys, as the workspace's owner sees it."""
    owner = workspace.services.workspaces.owner(workspace.id)
    secret, _ = workspace.services.sign_in.make_link(owner)
    with person(browser, base_url=server.base_url, reduced_motion="reduce", **options) as page:
        page.goto(f"/sign-in?link={secret.reveal()}")
        page.get_by_role("button", name="Continue").click()
        page.goto(f"/w/{workspace.id}/keys{query}")
        yield page


def sized(width: int, height: int = 860) -> Any:
    """Return the size of a window."""
    return {"width": width, "height": height}


# --- a compact list ---


def test_rows_are_low_whatever_people_typed(
    browser: Browser, server: ServerProcess, hurting: Workspace
) -> None:
    """No row is higher than 64 pixels and no page wider than its window, from 320 to 1920 pixels."""
    with at_the_keys(browser, server, hurting) as page:
        for width in WIDTHS:
            page.set_viewport_size(sized(width))
            heights = page.locator(".keys tbody tr").evaluate_all(
                "all => all.map(e => e.getBoundingClientRect().height)"
            )
            assert len(heights) == 50
            assert max(heights) <= (64 if width >= 640 else 110), (width, heights)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nine_rows_fit_a_window(
    browser: Browser, server: ServerProcess, hurting: Workspace
) -> None:
    """A window of 1280 by 860 pixels shows at least nine rows, and one of 390 needs under 7,000 pixels for fifty."""
    with at_the_keys(browser, server, hurting, viewport=sized(1280)) as page:
        ends = page.locator(".keys tbody tr").evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().bottom)"
        )
        assert sum(end <= 860 for end in ends) >= 9
        page.set_viewport_size(sized(390, 844))
        assert page.evaluate("document.documentElement.scrollHeight") < 7_000


def test_the_head_stays_in_view(
    browser: Browser, server: ServerProcess, hurting: Workspace
) -> None:
    """The heads of the columns stay at the top while the rows scroll."""
    with at_the_keys(browser, server, hurting, viewport=sized(1280)) as page:
        page.mouse.wheel(0, 1500)
        page.wait_for_function("scrollY > 1000")
        head = page.get_by_role("columnheader", name="Description").bounding_box()
        assert head is not None
        assert head["y"] == 0


def test_the_whole_name_shows_on_focus(
    browser: Browser, server: ServerProcess, hurting: Workspace
) -> None:
    """A name that is cut off shows in full on focus, without moving a row, and on the key's page."""
    with at_the_keys(browser, server, hurting, viewport=sized(1024)) as page:
        name = page.get_by_role("link", name="w" * 200, exact=True).first
        own = name.locator("xpath=ancestor::tr")
        before = own.bounding_box()
        cut = "e => e.scrollWidth > e.clientWidth"
        assert name.evaluate(cut)
        page.keyboard.press("Tab")  # focus from the keyboard is what shows it
        name.focus()
        assert not name.evaluate(cut)
        assert own.bounding_box() == before
        name.click()
        expect(page.get_by_role("heading", name="w" * 200)).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_exact_times_are_one_key_away(
    browser: Browser, server: ServerProcess, workspace: Workspace, scripts: bool
) -> None:
    """The time of the last use opens a popover with the exact times and the agent, also without scripts."""
    key = workspace.key("busy", 30)
    workspace.use(key)
    with at_the_keys(browser, server, workspace, java_script_enabled=scripts) as page:
        page.get_by_role("link", name="busy", exact=True).focus()
        page.keyboard.press("Tab")
        expect(page.locator(".c-used .when")).to_be_focused()
        page.keyboard.press("Enter")
        popover = page.locator(f"#about-{key.id}")
        expect(popover).to_be_visible()
        assert key.expires_at is not None
        expect(popover).to_contain_text(f"{key.expires_at:%H:%M:%S} UTC")
        expect(popover).to_contain_text("from 2001:db8:85a3:8d3:1319:8a2e:370:7348")
        expect(popover).to_contain_text("a-very-long-user-agent/1.0")
        page.keyboard.press("Escape")
        expect(popover).to_be_hidden()


def test_one_menu_holds_the_actions(
    browser: Browser, server: ServerProcess, workspace: Workspace
) -> None:
    """The menu opens from the keyboard, Escape returns to its row, and a dialog of it does so too."""
    workspace.key("alpha")
    with at_the_keys(browser, server, workspace) as page:
        dots = page.get_by_role("button", name="Actions for alpha")
        dots.focus()
        page.keyboard.press("Space")
        expect(page.get_by_role("link", name="Rotate", exact=True)).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("link", name="Edit", exact=True)).to_be_focused()
        require_accessible(page)
        page.keyboard.press("Escape")
        expect(dots).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alertdialog", name="Revoke “alpha”?")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_be_hidden()
        expect(dots).to_be_focused()
    with at_the_keys(browser, server, workspace, java_script_enabled=False) as page:
        page.get_by_role("link", name="Actions for alpha").click()
        expect(page.get_by_role("link", name=re.compile("^Revoke"))).to_be_visible()


# --- something is on its way ---


def slow_down(page: Page, milliseconds: int) -> None:
    """Delay every response, as for a user far away."""
    line = {
        "offline": False,
        "latency": milliseconds,
        "downloadThroughput": -1,
        "uploadThroughput": -1,
    }
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)


def test_the_pressed_control_shows_that_it_waits(
    browser: Browser, server: ServerProcess, workspace: Workspace
) -> None:
    """A slow request marks what was pressed as busy and says what it does; a fast one shows nothing."""
    workspace.key("alpha")
    with at_the_keys(browser, server, workspace) as page:
        slow_down(page, 900)
        opener = page.get_by_role("link", name="Create key")
        opener.click()
        expect(opener).to_have_attribute("aria-busy", "true")
        expect(page.get_by_label("Description")).to_be_focused()
        expect(opener).not_to_have_attribute("aria-busy", "true")
        page.get_by_label("Description").fill("slow")
        page.get_by_label("30 days").check()
        page.get_by_label("Full access").check()
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_role("button", name="Creating…")).to_have_attribute("aria-busy", "true")
        expect(page.get_by_role("button", name="Copy key")).to_be_visible()
        page.get_by_role("button", name="Copy key").click()
        page.get_by_role("link", name="Done").click()
        dots = page.get_by_role("button", name="Actions for alpha")
        dots.click()
        page.get_by_role("link", name="Edit", exact=True).click()
        expect(dots).to_have_attribute("aria-busy", "true")
        expect(page.get_by_role("dialog")).to_be_visible()


# --- confirmation in view, and the same place ---


def scroll_of(page: Page) -> int:
    """Return how far the page is scrolled."""
    return int(page.evaluate("Math.round(scrollY)"))


def to_row_20_of_page_2(page: Page) -> str:
    """Open the second page of the list and scroll to its row 20, whose description is returned."""
    page.get_by_role("link", name="Older").click()
    twentieth = page.locator(".keys tbody tr").nth(19)
    twentieth.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 120)")
    return twentieth.locator(".name a").inner_text()


def test_a_change_keeps_the_place(
    browser: Browser, server: ServerProcess, workspace: Workspace
) -> None:
    """Row 20 of page 2 of a filter is edited, rotated and revoked: the same filter, page and scroll each time."""
    for number in range(85):
        workspace.key(f"endless {number:02}")
    with at_the_keys(browser, server, workspace, "?show=endless", viewport=sized(1280)) as page:
        name = to_row_20_of_page_2(page)
        url, scroll = page.url, scroll_of(page)
        assert scroll > 300
        act_on(page, name, "Edit")
        page.get_by_label("Description").fill(f"{name} edited")
        page.get_by_role("button", name="Save").click()
        status = page.get_by_role("status").first
        expect(status).to_contain_text(f"“{name} edited” was saved.")
        expect(status).to_be_in_viewport()
        expect(page.locator(".row-changed")).to_contain_text(f"{name} edited")
        expect(page.get_by_role("link", name=f"{name} edited", exact=True)).to_be_focused()
        assert page.url.startswith(url)
        assert scroll_of(page) == scroll
        page.get_by_role("button", name="Dismiss").click()
        expect(status).to_be_empty()
        after = page.locator(".keys tbody tr").nth(20).locator(".name a").inner_text()
        act_on(page, f"{name} edited", "Revoke")
        page.get_by_role("button", name="Revoke key").click()
        expect(status).to_contain_text(f"“{name} edited” was revoked.")
        expect(status).to_be_in_viewport()
        expect(page.get_by_role("link", name=after, exact=True)).to_be_focused()
        expect(page.locator(".keys tbody tr")).to_have_count(34)
        assert page.url == url
        assert scroll_of(page) == scroll
        act_on(page, after, "Rotate")
        page.get_by_label("In 24 hours").check()
        page.get_by_role("button", name="Rotate key").click()
        page.get_by_role("button", name="Copy key").click()
        page.get_by_role("link", name="Done").click()
        expect(page.locator("dialog")).to_be_hidden()
        assert page.url.startswith(url)
        assert scroll_of(page) == scroll


def test_a_new_key_is_highlighted(
    browser: Browser, server: ServerProcess, workspace: Workspace
) -> None:
    """After the token step the new key's row is marked, and has the focus."""
    workspace.key("older")
    with at_the_keys(browser, server, workspace) as page:
        page.get_by_role("link", name="Create key").click()
        page.get_by_label("Description").fill("brand new")
        page.get_by_label("30 days").check()
        page.get_by_label("Full access").check()
        page.get_by_role("button", name="Create key").click()
        page.get_by_role("button", name="Copy key").click()
        page.get_by_role("link", name="Done").click()
        expect(page.locator(".row-changed")).to_contain_text("brand new")
        expect(page.get_by_role("link", name="brand new", exact=True)).to_be_focused()
        require_accessible(page)


def test_without_scripts_the_filter_is_kept(
    browser: Browser, server: ServerProcess, workspace: Workspace
) -> None:
    """By way of the key's page, a key of page 2 is revoked and edited, and the browser is back on that page."""
    for number in range(85):
        workspace.key(f"endless {number:02}")
    options: Any = {"java_script_enabled": False}
    with at_the_keys(browser, server, workspace, "?show=endless", **options) as page:
        page.get_by_role("link", name="Older").click()
        url, twentieth = page.url, page.locator(".keys tbody tr").nth(19)
        name = twentieth.locator(".name a").inner_text()
        twentieth.get_by_role("link", name="Actions for").click()
        page.get_by_role("link", name=re.compile("^Revoke")).click()
        page.get_by_role("button", name="Revoke key").click()
        expect(page.get_by_role("status").first).to_contain_text(f"“{name}” was revoked.")
        expect(page).to_have_url(url)


# --- many keys in one go ---


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_review_is_revoked_in_one_go(
    browser: Browser, server: ServerProcess, workspace: Workspace, scripts: bool
) -> None:
    """118 keys that were never used are listed in one question and revoked by one button."""
    workspace.clock.advance(days=-40)
    for number in range(118):
        workspace.key(f"trial {number}", 300)
    workspace.reset_clock()
    workspace.key("keeper", 300)
    with at_the_keys(browser, server, workspace, java_script_enabled=scripts) as page:
        page.get_by_role("link", name="118 keys were never used in 30 days").click()
        page.get_by_label("Select all 118").check()
        bar = page.get_by_role("form", name="Selected keys")
        if scripts:
            expect(bar).to_contain_text("118 selected")
        bar.get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("heading", name="Revoke 118 keys?")).to_be_visible()
        expect(page.locator(".chosen li")).to_have_count(118)
        page.get_by_role("button", name="Revoke keys").click()
        expect(page.get_by_role("status").first).to_contain_text("118 keys were revoked.")
        expect(page.get_by_text("All done: no key needs this review.")).to_be_visible()
    assert workspace.active() == 1


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_checked_keys_are_revoked(
    browser: Browser, server: ServerProcess, workspace: Workspace, scripts: bool
) -> None:
    """Three boxes, a bar that counts them, one question; a key in use needs the number typed."""
    for name in ("a", "b", "c", "d"):
        workspace.key(name, 30)
    workspace.use(workspace.key("busy", 30))
    with at_the_keys(browser, server, workspace, java_script_enabled=scripts) as page:
        bar = page.get_by_role("form", name="Selected keys")
        expect(bar).to_be_hidden()
        for name in ("Select a", "Select c", "Select busy"):
            page.get_by_label(name, exact=True).check()
        expect(bar).to_be_in_viewport()
        if scripts:
            expect(bar.get_by_role("status")).to_have_text("3 selected")
            require_accessible(page)
        bar.get_by_role("button", name="Revoke").click()
        expect(page.locator(".chosen li").first).to_contain_text("busy")
        if scripts:
            require_accessible(page)
        page.get_by_label(re.compile("^Type 3")).fill("3")
        page.get_by_role("button", name="Revoke keys").click()
        expect(page.get_by_role("status").first).to_contain_text("3 keys were revoked.")
        if scripts:
            expect(page.get_by_role("link", name="d", exact=True)).to_be_focused()
        expect(page.locator(".keys tbody tr")).to_have_count(2)
    assert workspace.active() == 2


def test_a_page_is_checked_by_keyboard(
    browser: Browser, server: ServerProcess, workspace: Workspace
) -> None:
    """The box in the head checks the page; clearing unchecks it and returns there."""
    for number in range(3):
        workspace.key(f"key {number}")
    with at_the_keys(browser, server, workspace) as page:
        head = page.get_by_label("Select all on this page")
        head.focus()
        page.keyboard.press("Space")
        expect(page.get_by_role("form", name="Selected keys")).to_contain_text("3 selected")
        page.get_by_label("Select key 1").uncheck()
        assert head.evaluate("e => e.indeterminate")
        page.get_by_role("button", name="Clear").click()
        expect(head).to_be_focused()
        expect(page.get_by_role("form", name="Selected keys")).to_be_hidden()


# --- first run, review, order, filters, search ---


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_first_run(
    browser: Browser, server: ServerProcess, workspace: Workspace, scripts: bool
) -> None:
    """An empty workspace shows the button, an example and the quick start; with a key the list appears."""
    with at_the_keys(browser, server, workspace, java_script_enabled=scripts) as page:
        expect(page.get_by_role("heading", name="No keys yet")).to_be_visible()
        expect(page.get_by_label(re.compile("^Search keys"))).to_have_count(0)
        expect(page.get_by_role("navigation", name="Keys by status")).to_have_count(0)
        expect(page.get_by_role("link", name="Open the quick start")).to_be_visible()
        if scripts:
            require_accessible(page)
        page.get_by_role("link", name="Create key").click()
        page.get_by_label("Description").fill("first")
        page.get_by_label("30 days").check()
        page.get_by_label("Full access").check()
        page.get_by_role("button", name="Create key").click()
        if scripts:
            page.get_by_role("button", name="Copy key").click()
        page.get_by_role("link", name="Done").click()
        expect(row(page, "first")).to_be_visible()
        expect(page.get_by_label(re.compile("^Search keys"))).to_be_visible()


def test_a_search_is_announced(
    browser: Browser, server: ServerProcess, workspace: Workspace
) -> None:
    """While typing, the count is announced by a region that was there before, and the focus stays."""
    for name in ("nightly export", "nightly import", "billing"):
        workspace.key(name)
    with at_the_keys(browser, server, workspace) as page:
        region = page.locator("#found")
        region.evaluate("e => { window.region = e }")
        search = page.get_by_label(re.compile("^Search keys"))
        search.press_sequentially("nightly")
        expect(region).to_have_text("2 keys for “nightly”")
        assert page.evaluate("window.region.isConnected")
        expect(search).to_be_focused()
        expect(page).to_have_url(re.compile("query=nightly"))


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_order_and_filters(
    browser: Browser, server: ServerProcess, workspace: Workspace, scripts: bool
) -> None:
    """A head orders the list and says so; a filter narrows it, shows as a chip, and goes again."""
    workspace.key("reader", 10, "documents:read")
    workspace.use(workspace.key("busy", 20))
    with at_the_keys(browser, server, workspace, java_script_enabled=scripts) as page:
        page.get_by_role("link", name="Expires", exact=True).click()
        head = page.get_by_role("columnheader", name="Expires")
        expect(head).to_have_attribute("aria-sort", "ascending")
        expect(page.locator(".keys tbody tr").first).to_contain_text("reader")
        page.get_by_role("link", name="Expires", exact=True).click()
        expect(head).to_have_attribute("aria-sort", "descending")
        expect(page.locator(".keys tbody tr").first).to_contain_text("busy")
        page.get_by_role("link", name="Filter", exact=True).click()
        page.get_by_label("Access").select_option(label="Full access")
        page.get_by_role("button", name="Show keys").click()
        expect(row(page, "reader")).to_have_count(0)
        expect(page.get_by_text("1 key found")).to_be_visible()
        expect(head).to_have_attribute("aria-sort", "descending")
        if scripts:
            require_accessible(page)
        page.get_by_role("link", name="Remove filter: Full access").click()
        expect(row(page, "reader")).to_be_visible()


@pytest.mark.parametrize("colours", ["light", "dark", "forced"])
def test_every_state_of_the_list_is_accessible(
    browser: Browser, server: ServerProcess, hurting: Workspace, colours: str
) -> None:
    """axe-core finds no violation: the list, its cards, an open popover, each filter."""
    look: Any = {"forced_colors": "active"} if colours == "forced" else {"color_scheme": colours}
    with at_the_keys(browser, server, hurting, **look) as page:
        for query in ("", "?show=endless", "?sort=used", "?query=x&access=full", "?show=history"):
            page.goto(f"/w/{hurting.id}/keys{query}")
            for width in (1280, 390):
                page.set_viewport_size(sized(width))
                require_accessible(page)
        page.goto(f"/w/{hurting.id}/keys")
        page.locator(".c-used .when").first.click()
        require_accessible(page)
        page.keyboard.press("Escape")
        page.get_by_role("link", name="Filter", exact=True).click()
        expect(page.get_by_label("Created by")).to_be_visible()
        require_accessible(page)
