"""Confirming an email in the browser: opening the link changes nothing, and no response reveals who has an email."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keystead.domain.confirmations import CHANGE_LIMIT, CONFIRMATION_LIFETIME, PATH
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area, opened
from tests.support.account_pages import change, status_of, url
from tests.support.browser import Browser
from tests.support.people import RIGHT
from tests.support.visitors import EMAIL, enter, with_password

NEW = "ada@other.example"
TAKEN = "bob@keys.example"


@pytest.fixture
def mailing(database_url: str) -> Iterator[Area]:
    """An area whose installation has a mail server; no test connects to it."""
    with opened(database_url, smtp="smtp://127.0.0.1:9", mail_from="keys@example.com") as area:
        with_password(area)
        with_password(area, area.member(Role.VIEWER), TAKEN)
        yield area


def link_of(area: Area) -> str:
    """Return the link of the one email that is due."""
    [confirmation] = area.services.confirmations.claim()
    [email] = confirmation.emails
    [line] = [line for line in email.text.splitlines() if PATH in line]
    return line.removeprefix(area.installation.settings.base_url)


def confirm(browser: Browser, link: str) -> int:
    """Send the form of the link's page and return the status."""
    return browser.submit(browser.open(link), PATH).status


def test_an_email_is_confirmed_by_the_link_s_button(mailing: Area) -> None:
    """In any browser, without signing in; a GET, as mail scanners send it, uses nothing up; a second use is refused."""
    browser = enter(mailing)
    seen = change(mailing, browser, "email", email=NEW)
    assert status_of(seen).startswith(f"We sent a confirmation link to {NEW}.")
    assert seen.tree.one("input", id="email").attributes["value"] == EMAIL
    link = link_of(mailing)
    elsewhere = mailing.browser()
    pages = [elsewhere.open(link) for _ in range(3)]
    assert {(page.status, page.heading) for page in pages} == {(200, "Confirm your email")}
    page = pages[0]
    assert NEW in page.tree.text
    enter(mailing)
    done = elsewhere.submit(page, PATH)
    assert (done.status, done.heading) == (200, "Email confirmed")
    assert elsewhere.open(mailing.keys_url).path.startswith("/sign-in")
    enter(mailing, NEW, RIGHT)
    assert elsewhere.submit(page, PATH).status == 422
    assert elsewhere.open(link).status == 404
    assert elsewhere.open(PATH).status == 404


def test_a_taken_email_looks_like_a_free_one(mailing: Area) -> None:
    """The account page answers the same; the reader of the taken email is sent to their own account."""
    pages = []
    for email in (TAKEN, NEW):
        browser = enter(mailing)
        seen = change(mailing, browser, "email", email=email)
        waiting = browser.open(url(mailing)).tree.one(
            "section", **{"aria-labelledby": "email-title"}
        )
        words = [text.replace(email, "…") for text in (status_of(seen), waiting.text)]
        pages.append((seen.status, seen.path, words))
        if email == TAKEN:
            assert confirm(mailing.browser(), link_of(mailing)) == 409
    assert pages[0] == pages[1]


@pytest.mark.parametrize("mails", [True, False])
def test_changes_are_paced(mailing: Area, area: Area, *, mails: bool) -> None:
    """The sixth change in an hour has to wait, with or without a mail server; the page says how long."""
    place = mailing if mails else area
    if not mails:
        with_password(place)
    browser = enter(place)
    for number in range(CHANGE_LIMIT.most):
        assert change(place, browser, "email", email=f"a{number}@keys.example").status == 200
    refused = change(place, browser, "email", email=NEW)
    assert refused.status == 429
    assert "retry-after" in refused.headers
    assert "wait" in refused.tree.one("p", id="email-problem").text


def test_an_email_that_is_not_confirmed_can_get_another_link(area: Area) -> None:
    """Without a mail server the email changes immediately; account and notifications say that it isn't confirmed."""
    browser = area.signed_in()
    seen = change(area, browser, "email", email=NEW)
    assert status_of(seen) == "Your email was saved. Use it to sign in."
    assert f"{NEW} isn't confirmed yet" in seen.tree.text
    assert "until you confirm it" in browser.open(f"/w/{area.workspace_id}/notices").tree.text
    area.services.confirmations.settle(area.services.confirmations.claim()[0])
    area.clock.advance(CONFIRMATION_LIFETIME)
    browser = area.signed_in()
    assert "Save it again" in browser.open(url(area)).tree.text
    change(area, browser, "email")
    assert confirm(area.browser(), link_of(area)) == 200
    assert "to confirm" not in browser.open(url(area)).tree.text
    assert f"Sent to {NEW}" in browser.open(f"/w/{area.workspace_id}/notices").tree.text
