"""A real browser for journeys: Debian's chromium, driven by Playwright; errors on its console fail the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
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

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(expected):
            complaints.append(message.text)

    context.on("console", heard)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    try:
        yield context.new_page()
    finally:
        context.close()
    assert complaints == []
