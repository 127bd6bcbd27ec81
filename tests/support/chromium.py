"""A real browser for journeys: Debian's chromium, driven by Playwright; errors on its console fail the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

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


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; skip the test if it is not installed.

    Close it before other tests run in the process: Playwright keeps an event loop for as long as it lives.
    """
    program = shutil.which("chromium")
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


def act_on(page: Page, description: str, name: str) -> None:
    """Choose an action on a key: from its row's menu or, without scripts, on the page that the menu leads to."""
    dots = row(page, description).first.locator(".dots")
    is_scripted = dots.get_attribute("role") == "button"
    dots.click()
    links = page.locator("#acts") if is_scripted else page.locator("main")
    links.get_by_role("link", name=name).first.click()


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
