"""Every state of every page in a real browser: accessible, safe from hostile text, and without a trace of a token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.workspaces import Role
from tests.support.chromium import page_storage, person
from tests.support.page_states import STILL, Tour, sample_of
from tests.support.sample_workspace import SampleWorkspace
from tests.support.server_process import ServerProcess, serving

FEWEST_STATES: Final = 45
COLOURS: Final = {"runOnly": ["color-contrast", "link-in-text-block"]}
"""Rules whose results can differ between light and dark; all others are checked in one of them."""
SHOWING: Final = ("keys", "keys?show=history", "activity", "members", "collections")
"""Pages that show text from users."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as `keystead serve` starts it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('states') / 'keystead.db'}"
    with serving(url, environment=STILL) as server:
        yield server


@pytest.fixture(scope="module")
def sample(server: ServerProcess) -> Iterator[SampleWorkspace]:
    """The server's installation with sample data."""
    with sample_of(server) as sample:
        yield sample


@contextmanager
def somebody(browser: Browser, server: ServerProcess) -> Iterator[Page]:
    """Yield a page of a user who is not signed in yet."""
    with person(browser, base_url=server.base_url, reduced_motion="reduce") as page:
        yield page


def violations_on(page: Page, options: dict[str, Any]) -> list[Any]:
    """Return the violations that axe-core finds on the page."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE_SCRIPT)
    results = page.evaluate(
        "options => axe.run(document, options)", {**options, "resultTypes": ["violations"]}
    )
    return [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in results["violations"]]


@pytest.mark.slow
def test_every_state_is_accessible(
    browser: Browser, server: ServerProcess, sample: SampleWorkspace
) -> None:
    """axe-core finds no violation: on each page, in each dialog, light and dark."""
    violations: dict[str, list[Any]] = {}

    def look(name: str) -> None:
        page.emulate_media(color_scheme="light")
        light = violations_on(page, {})
        page.emulate_media(color_scheme="dark")
        if problems := light + violations_on(page, COLOURS):
            violations[name] = problems

    with somebody(browser, server) as page:
        tour = Tour(page, sample, look)
        tour.everything()
    assert violations == {}
    assert len(tour.names) == len(set(tour.names)) >= FEWEST_STATES


PAYLOADS: Final = (
    "<img src=x onerror=alert('zq-hostile-7')>",
    '"><svg/onload=alert(`zq-hostile-7`)>',
    "</script><script>alert('zq-hostile-7')</script>",
    "<b hx-get=/sign-out hx-trigger=load>zq-hostile-7</b>",
    "javascript:alert('zq-hostile-7')",
)


@pytest.mark.slow
def test_text_opens_no_dialog(
    browser: Browser, server: ServerProcess, sample: SampleWorkspace
) -> None:
    """Active text in names of keys, users and documents does nothing on any page, and makes no request."""
    for number, payload in enumerate(PAYLOADS):
        person_ = sample.person(Role.DEVELOPER, payload)
        key = sample.key(payload, 30, by=person_)
        sample.use(key, sample.clock.now(), payload, payload)
        documents = sample.installation.services.documents
        documents.create_collection(
            sample.principal, CollectionDraft(f"zq-hostile-7-{number}", payload)
        )
        document = DocumentDraft("zq-hostile-7", payload, payload, attributes={payload: payload})
        documents.push(sample.principal, f"zq-hostile-7-{number}", Push(upsert=[document]))
    sample.installation.services.keys.revoke(sample.principal, sample.key("zq-hostile-7", None).id)
    opened: list[str] = []
    with somebody(browser, server) as page:
        page.on("dialog", lambda dialog: opened.append(dialog.message))
        page.on("request", lambda sent: foreign(sent.url, server.base_url, opened))
        tour = Tour(page, sample, lambda name: None)
        tour.enter()
        for path in (
            *SHOWING,
            "collections/zq-hostile-7-0",
            "collections/zq-hostile-7-0/documents/zq-hostile-7",
        ):
            page.goto(f"{sample.base}/{path}")
            expect(page.locator("body")).to_contain_text("zq-hostile-7")
        assert page.get_by_role("button", name="Sign out").is_visible()
    assert opened == []


def foreign(url: str, own: str, found: list[str]) -> None:
    """Record a URL that is not the server's."""
    if not url.startswith((own, "data:", "blob:")):
        found.append(url)


@pytest.mark.slow
def test_no_state_keeps_a_token(
    browser: Browser, server: ServerProcess, sample: SampleWorkspace
) -> None:
    """After the response that showed it, no page, storage or history of the browser contains the token."""
    tokens: list[str] = []
    contents: list[str] = []

    def look(name: str) -> None:
        if name == "created":
            tokens.append(page.get_by_label("API key", exact=True).input_value())

    with somebody(browser, server) as page:
        tour = Tour(page, sample, look)
        tour.enter()
        tour.forms()
        contents.append(page_storage(page))
        for path in SHOWING:
            page.goto(f"{sample.base}/{path}")
            contents.append(page_storage(page))
        # Dialogs leave no entry in the history, so it may end with the blank page that the browser began with.
        for _ in range(len(contents)):
            page.go_back()
            if page.url != "about:blank":
                contents.append(page_storage(page))
    assert len(tokens) == 1
    assert [number for number, content in enumerate(contents) if tokens[0][-49:] in content] == []
