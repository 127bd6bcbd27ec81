"""The API reference in a real browser: its search, tabs and requests with a key that is never stored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from keystead.bootstrap import open_safely
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import system
from tests.support.chromium import chromium, page_storage, person, require_accessible
from tests.support.server_process import ServerProcess, serving

pytestmark = pytest.mark.slow


def key_of(server: ServerProcess) -> str:
    """Return the token of a new key."""
    installation = open_safely(server.settings)
    try:
        workspace = system(installation.services.workspaces.first().workspace_id)
        draft = KeyDraft("reference", scopes=["*", "keys:write"])
        token = installation.services.keys.create(workspace, draft).token
        assert token is not None
        return token.reveal()
    finally:
        installation.close()


def test_a_call_is_found_and_tried(tmp_path: Path) -> None:
    """By keyboard, in a narrow and a wide window; without scripts the same page is a plain reference."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server, chromium() as browser:
        key = key_of(server)
        for width, scheme in ((1440, "light"), (390, "dark")):
            window = {"width": width, "height": 900}
            with person(browser, viewport=window, color_scheme=scheme) as page:
                find_and_try(page, server, key)
        with person(browser, java_script_enabled=False) as page:
            page.goto(f"{server.base_url}/docs")
            for panel in ("#createKey-curl", "#createKey-python"):
                expect(page.locator(panel)).to_be_visible()
            for added in ("#search", "#key", ".try"):
                expect(page.locator(added).first).to_be_hidden()


def find_and_try(page: Page, server: ServerProcess, key: str) -> None:
    """Search a call, see its code in Python, send it with a key, send another one, and leave no trace."""
    sent: list[Request] = []
    # Playwright sets attributes on a handler, which a method of a list refuses.
    page.on("request", lambda request: sent.append(request))  # noqa: PLW0108
    page.goto(f"{server.base_url}/docs")

    search = page.get_by_role("searchbox", name="Search")
    search.focus()
    page.keyboard.type("create key")
    expect(page.get_by_role("status").first).to_have_text(re.compile(r"^[1-9] of \d\d calls$"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.base_url}/docs#createKey")
    call = page.locator("article", has=page.locator("#createKey"))

    call.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(call.get_by_role("tab", name="Python")).to_be_focused()
    expect(call.get_by_role("tabpanel")).to_contain_text("client.keys.create(")
    expect(page.locator("#whoami-python")).to_be_visible()
    expect(page.locator("#whoami-curl")).to_be_hidden()

    call.get_by_text("Try it", exact=True).focus()
    page.keyboard.press("Enter")
    call.get_by_label("Body (JSON)").fill(json.dumps({"description": "tried"}))
    call.get_by_role("button", name="Send POST").press("Enter")
    expect(call.get_by_role("status")).to_contain_text("Enter a key first")

    page.get_by_role("textbox", name="Key", exact=True).fill("too short")
    page.keyboard.press("Enter")
    expect(page.locator("#key-state")).to_contain_text("not a whole key")
    page.get_by_role("textbox", name="Key", exact=True).fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("#key-state")).to_have_text(f"The key that ends with {key[-4:]} is in use.")
    expect(page.get_by_role("textbox", name="Key", exact=True)).to_have_value("")

    call.get_by_role("button", name="Send POST").press("Enter")
    expect(call.get_by_role("status")).to_contain_text("201")
    expect(call.get_by_label("Response")).to_contain_text('"description": "tried"')
    require_accessible(page)
    assert key not in page_storage(page)
    refuse_to_leave_the_path(page, sent)
    assert all(request.url.startswith(server.base_url) for request in sent)
    assert not [request.url for request in sent if key in request.url]

    page.goto(f"{server.base_url}/problems")
    page.go_back()
    expect(page.locator("#key-state")).to_have_text("")
    page.locator("#getKey").locator("xpath=..").get_by_text("Try it", exact=True).click()
    assert key not in page_storage(page)


def refuse_to_leave_the_path(page: Page, sent: list[Request]) -> None:
    """Enter malformed ids: they stay one segment of the path."""
    got = page.locator("article", has=page.locator("#getKey"))
    got.get_by_text("Try it", exact=True).click()
    got.get_by_label("id (path)").fill("..")
    got.get_by_role("button", name="Send GET").click()
    expect(got.get_by_role("status")).to_have_text("Enter the id.")
    got.get_by_label("id (path)").fill("../../operator/v1/plans")
    got.get_by_role("button", name="Send GET").click()
    expect(got.get_by_role("status")).to_contain_text("404")
    assert sent[-1].url.endswith("/v1/keys/..%2F..%2Foperator%2Fv1%2Fplans")
