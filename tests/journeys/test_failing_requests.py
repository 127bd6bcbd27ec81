"""Failing requests of every dialog and form: an alert next to what the user did says what is known; input is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from keystead.bootstrap import Installation
from keystead.cli.serve import fresh_link
from tests.support.chromium import enter, person, require_accessible, row
from tests.support.failing_requests import (
    ACTS,
    Stage,
    bad_gateway,
    choose,
    fields,
    mended,
    new_key,
    through_every_failure,
)
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def signed_in(
    browser: Browser, installation: Installation, server: ServerProcess
) -> Iterator[Page]:
    """A signed-in owner's page over a connection that fails on demand."""
    with person(browser, failing=True, base_url=server.base_url) as page:
        enter(page, fresh_link(installation, server.base_url)[0])
        yield page


@pytest.fixture
def page(signed_in: Page) -> Iterator[Page]:
    """The same page for every test; afterwards its requests work again."""
    yield signed_in
    mended(signed_in)


@pytest.fixture
def stage(installation: Installation, request: pytest.FixtureRequest) -> Stage:
    """The owner's workspace."""
    name = re.sub(r"\W+", "-", request.node.name.partition("[")[2] or request.node.name)
    return Stage(installation, name.strip("-").replace("_", "-").lower()[:60])


@pytest.mark.parametrize("name", ACTS)
def test_every_dialog_and_form_says_what_failed(page: Page, stage: Stage, name: str) -> None:
    """Each says so when it fails to open and when it is sent, in each way to fail; tried again, it goes through."""
    act, main = ACTS[name], page.locator("main")
    page.goto(act.where(stage))
    alert = page.locator("#status").get_by_role("alert")
    form = main
    if act.opens is not None:
        opens, alert = act.opens, page.locator("dialog[open]").get_by_role("alert")
        through_every_failure(page, alert, lambda: opens(page, stage), "Try again.")
        form = page.locator("dialog[open] #panel")
        expect(form.locator("form")).to_be_visible()
        expect(page.locator(".area #content")).to_be_attached()
    act.fill(page, stage)
    entered = values_of(page)

    def require_input() -> None:
        assert values_of(page) == entered

    button = form.get_by_role("button", name=act.button, exact=True)
    through_every_failure(page, alert, button.click, act.unknown, require_input)
    expect(page.get_by_text(act.done).first).to_be_visible()
    expect(alert).to_have_count(0)


def values_of(page: Page) -> str:
    """Return what is entered in the page's forms."""
    return str(
        page.evaluate(
            "JSON.stringify([...document.querySelectorAll('main form, #panel form')]"
            ".map(form => [...new FormData(form)].filter(([name]) => name !== 'form_token')))"
        )
    )


def test_a_search_that_fails_keeps_the_list(page: Page, stage: Stage) -> None:
    """The keys stay, with an alert above them that doesn't take the focus; trying again searches."""
    page.goto(stage.keys())
    alert = page.locator("#status").get_by_role("alert")
    bad_gateway(page)
    page.get_by_label("Search keys").fill("nothing like it")
    expect(alert).to_contain_text("didn't answer as expected (502). Try again.")
    expect(page.get_by_label("Search keys")).to_be_focused()
    expect(row(page, stage.name)).to_be_visible()
    mended(page)
    alert.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("No key matches “nothing like it”.")).to_be_visible()
    expect(alert).to_have_count(0)


def test_a_dialog_that_fails_to_open_closes(page: Page, stage: Stage) -> None:
    """Close cancels; axe-core finds no violation in the alert of a dialog that fails to open, or of a failed form."""
    page.goto(stage.keys())
    bad_gateway(page)
    page.get_by_role("link", name="Create key").click()
    alert = page.locator("dialog[open]").get_by_role("alert")
    expect(alert).to_contain_text("502")
    require_accessible(page)
    page.get_by_role("button", name="Close", exact=True).last.click()
    expect(page.locator("dialog")).to_be_hidden()
    mended(page)
    page.get_by_role("link", name="Create key").click()
    new_key(page, stage)
    bad_gateway(page)
    page.get_by_role("button", name="Create key").click()
    expect(alert).to_contain_text("502")
    require_accessible(page)


def test_a_refused_form_stays_in_its_dialog(page: Page, stage: Stage) -> None:
    """A refused webhook comes back in the dialog, with the focus on its first wrong field, and samples at hand."""
    page.goto(stage.at("webhooks"))
    page.get_by_role("link", name="Create webhook").click()
    fields(name="*", url="https://127.0.0.1/")(page, stage)
    choose("Selected events")(page, stage)
    button = page.locator("dialog[open]").get_by_role("button", name="Create webhook")
    button.click()
    expect(page.locator("dialog[open]").get_by_role("alert")).to_contain_text("wasn't created")
    expect(page.get_by_label("URL")).to_be_focused()
    fields(url="https://hooks.example/x")(page, stage)
    button.click()
    expect(page.get_by_label("All events")).to_be_focused()
    page.get_by_role("button", name="Sample payload of key.rotated").click()
    expect(page.locator(".sample:popover-open")).to_contain_text('"rotated_to": "key_')
    require_accessible(page)
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open] #panel")).to_be_visible()
    page.get_by_label("key.rotated", exact=True).check()
    button.click()
    expect(page.get_by_role("heading", name="Copy the secret now")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_no_token_is_printed(
    browser: Browser, installation: Installation, server: ServerProcess, scripts: bool
) -> None:
    """Printed, the page of a new key shows the key in none of its forms, and says so."""
    with person(browser, base_url=server.base_url, java_script_enabled=scripts) as page:
        enter(page, fresh_link(installation, server.base_url)[0])
        page.get_by_role("link", name="Create key").click()
        page.get_by_label("Description").fill("printed")
        page.get_by_label("Full access").check()
        page.get_by_label("30 days").check()
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_label("API key", exact=True)).to_be_visible()
        page.emulate_media(media="print")
        assert page.locator("[data-secret]").count() == 3
        for field in page.locator("[data-secret]").all():
            expect(field).to_be_hidden()
        page.emulate_media(media="screen")
        expect(page.get_by_label("API key", exact=True)).to_be_visible()
