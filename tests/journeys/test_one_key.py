"""The grid of permissions and the page of one key, in a browser, by the keyboard: its sentence is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from keystead.bootstrap import Installation
from keystead.developer_area.keys.access import scopes_in
from keystead.developer_area.web.forms import Form
from keystead.domain.access import sentence_of
from keystead.domain.keys import ApiKey
from keystead.domain.principals import of_member
from keystead.domain.scopes import FULL, ScopeCatalog, Scopes
from tests.support.chromium import person, require_accessible
from tests.support.server_process import ServerProcess, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of a product with scopes of its own."""
    scopes = '{"invoices:read": "Read invoices", "reports:run": "Run reports"}'
    folder = tmp_path_factory.mktemp("one-key")
    with serving(
        f"sqlite:///{folder / 'keystead.db'}", environment={"KEYSTEAD_SCOPES": scopes}
    ) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: ServerProcess, session: Any) -> Iterator[Page]:
    """A signed-in user's page with the list of keys."""
    with person(browser, storage_state=session, base_url=server.base_url) as page:
        page.goto("/")
        yield page


def newest(installation: Installation) -> ApiKey:
    """Return the key that was created last."""
    owner = of_member(installation.services.workspaces.first())
    return installation.services.keys.list(owner, limit=1).items[0]


def test_access_by_the_keyboard_alone(page: Page, installation: Installation) -> None:
    """Tab and arrows choose each permission, the sentence follows, and the key has what it says."""
    keys = page.keyboard
    page.get_by_role("link", name="Create key").press("Enter")
    expect(page.get_by_label("Description")).to_be_focused()
    keys.type("by keyboard")
    sentence = page.locator("[data-access]")
    expect(sentence).to_have_text("No permissions chosen yet.")
    page.get_by_label("30 days").press("Space")
    keys.press("Tab")
    keys.press("Space")
    expect(sentence).to_have_text(sentence_of(FULL))
    keys.press("ArrowDown")
    expect(sentence).to_have_text(sentence_of(ScopeCatalog().read_only))
    keys.press("ArrowDown")
    expect(page.get_by_label("Custom access")).to_be_checked()
    keys.press("Tab")
    expect(page.get_by_label("Keys: None")).to_be_focused()
    keys.press("Tab")
    keys.press("Tab")
    keys.press("ArrowRight")
    expect(sentence).to_have_text("Can read documents. Can't change anything.")
    keys.press("ArrowRight")
    expect(page.get_by_label("Documents: Write")).to_be_focused()
    expect(sentence).to_have_text("Can read and change documents.")
    keys.press("Shift+Tab")
    expect(page.get_by_label("Write only: Documents")).to_be_focused()
    keys.press("Space")
    require_accessible(page)
    expect(sentence).to_have_text("Can change documents (write only).")
    page.get_by_label("reports:run").press("Space")
    said = "Can change documents (write only). Can use reports:run."
    expect(sentence).to_have_text(said)
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text(said)
    assert sentence_of(newest(installation).scopes) == said


COMBINATIONS = """
() => {
  const field = document.querySelector(".access-field");
  const rows = [...field.querySelectorAll(".grid tbody tr")];
  const sentence = field.querySelector("[data-access]");
  const seen = [];
  for (let number = 0; number < 600; number++) {
    let rest = number * 2654435761 % 4294967296;
    for (const row of rows) {
      const levels = [...row.querySelectorAll("input[type=radio]")];
      levels[rest % levels.length].checked = true;
      rest = Math.floor(rest / levels.length);
    }
    for (const box of field.querySelectorAll("input[type=checkbox]")) {
      box.checked = rest % 2 === 1;
      rest = Math.floor(rest / 2);
    }
    rows[0].querySelector("input").dispatchEvent(new Event("change", { bubbles: true }));
    seen.push([[...new FormData(field.form)], sentence.textContent]);
  }
  return seen;
}
"""


def test_the_script_says_what_the_server_says(page: Page) -> None:
    """For 600 combinations of levels and boxes the sentence is that of the scopes that the form sends."""
    page.goto(page.url.partition("?")[0] + "/new")
    page.get_by_label("Custom access").check()
    sentences = set()
    for fields, sentence in page.evaluate(COMBINATIONS):
        values: dict[str, tuple[str, ...]] = {}
        for name, value in fields:
            values[name] = (*values.get(name, ()), value)
        assert sentence == sentence_of(Scopes(scopes_in(Form(values))))
        sentences.add(sentence)
    assert len(sentences) > 300


def test_the_page_of_a_key_by_keyboard(
    page: Page, server: ServerProcess, installation: Installation
) -> None:
    """The chart is one stop whose arrows show each value; the table has the same; the ID is copied."""
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Description").fill("dashboard")
    page.get_by_label("30 days").check()
    page.get_by_label("Read-only").check()
    page.get_by_text("More options").click()
    page.get_by_label("Stored in").fill("CI secret")
    page.get_by_role("button", name="Create key").click()
    token = page.get_by_label("API key", exact=True).input_value()
    for method, status in (("GET", 200), ("GET", 200), ("POST", 403)):
        path = "/v1/whoami" if status == 200 else "/v1/keys"
        body = {"json": {"description": "x"}} if status == 403 else {}
        assert server.call(method, path, token=token, **body).status_code == status
    key = newest(installation)
    expect(page.locator(".first-request-seen")).to_be_visible()
    page.get_by_role("button", name="Copy key").click()
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="dashboard", exact=True).click()
    expect(page.locator(".figure").first).to_contain_text("3")
    expect(page.locator(".figure").nth(1)).to_contain_text("66.6%")
    page.get_by_role("link", name="24 hours").press("Enter")
    expect(page.get_by_role("link", name="24 hours")).to_have_attribute("aria-current", "true")
    first = page.locator(".column input").first
    first.focus()
    page.keyboard.press("ArrowLeft")
    last = page.locator(".column").last
    expect(last.locator("input")).to_be_focused()
    expect(last.locator(".value")).to_have_css("opacity", "1")
    expect(last.locator(".value")).to_have_text(re.compile("2 accepted, 1 refused"))
    require_accessible(page)
    page.get_by_text("Show as table").press("Enter")
    page.locator("details.chart-numbers[open] tbody tr").first.wait_for()
    expect(page.locator(".chart-numbers tbody tr").first).to_contain_text("21")
    page.get_by_role("link", name="Refused 1").press("Enter")
    expect(page.get_by_role("table", name="Recent callers").get_by_role("row")).to_have_count(2)
    expect(page.locator(".attributes")).to_contain_text("CI secret")
    page.get_by_role("button", name="Copy ID").press("Enter")
    expect(page.get_by_role("button", name="Copied ✓")).to_be_visible()
    assert page.locator("#fact-id").inner_text() == key.id
    require_accessible(page)
