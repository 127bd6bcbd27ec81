"""A real browser for journeys: Debian's chromium, driven by Playwright; errors on its console fail the test.

Its build without windows takes half the time for a page.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakSet

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
    sync_playwright,
)

FLAGS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECONDS: Final = 30
# A refused form is a 4xx that the browser reports as a resource that failed; everything else is a fault of ours.
_EXPECTED: Final = ("Failed to load resource: the server responded with a status of 4",)
_FAILING: Final = ("Failed to load resource: ", "htmx: htmx:error: ")
_plain: Final[WeakSet[BrowserContext]] = WeakSet()
"""The profiles without scripts."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; skip the test if it is not installed.

    Close it before other tests run in the process: Playwright keeps an event loop for as long as it lives.
    """
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium: make test installs it as root on Debian")
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else list(FLAGS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def person(browser: Browser, *, failing: bool = False, **options: Any) -> Iterator[Page]:
    """Open a page in a fresh profile. Raises AssertionError at the end if the browser complained about anything.

    `failing`: requests fail on purpose, of which the browser and htmx may complain.
    """
    expected = _FAILING if failing else _EXPECTED
    context: BrowserContext = browser.new_context(**options)
    if not options.get("java_script_enabled", True):
        _plain.add(context)
    context.set_default_timeout(SECONDS * 1000)
    expect.set_options(timeout=SECONDS * 1000)
    complaints: list[str] = []

    def collect(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(expected):
            complaints.append(message.text)

    context.on("console", collect)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    try:
        yield context.new_page()
    finally:
        context.close()
    assert complaints == []


def enter(page: Page, link: str) -> None:
    """Open the link and continue to the keys."""
    page.goto(link)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()


def row(page: Page, description: str) -> Locator:
    """Return the key's row in the table."""
    return page.get_by_role("row").filter(has_text=description)


def has_scripts(page: Page) -> bool:
    """Return whether scripts run, which the page itself does not show before they have."""
    return page.context not in _plain


def act_on(page: Page, description: str, name: str) -> None:
    """Choose an action on a key: from its row's menu or, without scripts, on the page that the menu leads to."""
    dots = row(page, description).first.locator(".dots")
    if not has_scripts(page):
        dots.click()
        whole_word = re.compile(rf"^{name}\b")
        page.locator("main").get_by_role("link", name=whole_word).first.click()
        return
    expect(dots).to_have_attribute("role", "button")
    dots.click()
    page.locator("#acts").get_by_role("link", name=name, exact=True).click()


def page_storage(page: Page) -> str:
    """Return the document, its address, and all that the page has stored."""
    stored = page.evaluate(
        "async () => JSON.stringify([location.href, {...localStorage}, {...sessionStorage}, history.state,"
        " await caches.keys(), (await indexedDB.databases()).map(d => d.name), document.cookie, window.name])"
    )
    return str(stored) + page.content()


def require_accessible(page: Page) -> None:
    """Raise AssertionError with the violations that axe-core reports."""
    report = Axe().run(page)
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in report.response["violations"]] == []
