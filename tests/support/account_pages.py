"""The Developer area's account page: its address and its forms."""

from __future__ import annotations

from tests.developer_area.conftest import Area
from tests.support.browser import Browser, Page


def url(area: Area, end: str = "") -> str:
    """Return the address of the account page."""
    return f"/w/{area.workspace_id}/account{end}"


def change(area: Area, browser: Browser, what: str, **values: str) -> Page:
    """Send a form of the account page."""
    return browser.submit(browser.open(url(area)), url(area, f"/{what}"), **values)


def status_of(seen: Page) -> str:
    """Return the text of the status region."""
    return seen.tree.one("div", id="status").text
