"""Forms that strangers and users without a session send: what they cost, what they show, where they lead back to."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from keystead.developer_area.sign_in.cookies import SESSION
from tests.developer_area.conftest import Area
from tests.support.browser import Browser, Page, filled, on_one_loop
from tests.support.people import RIGHT
from tests.support.visitors import EMAIL, enter, with_password

TITLES = {"expiry": "Expires", "access": "Access", "overlap": "The old key stops working"}


def interrupted(area: Area, browser: Browser, url: str, action: str, **entered: str) -> Page:
    """Send the form of the page at `url` after the session has ended."""
    fields = filled(browser.open(url).form(action), entered)
    area.clock.advance(days=2)
    return browser.post(action, fields)


@pytest.mark.parametrize("has_cookie", [True, False], ids=["expired", "signed out"])
def test_a_form_without_a_session_waits_for_no_writer(area: Area, has_cookie: bool) -> None:
    """It is answered while the only writer is busy, since it writes nothing."""
    browser = area.signed_in()
    form = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    fields = filled(form, {"description": "sync", "expiry": "30", "access": "full"})
    area.clock.advance(days=2)
    if not has_cookie:
        del browser.cookies[SESSION]
    free = Event()
    with on_one_loop(browser):
        assert browser.loop is not None
        writing = area.services.execution.run_write("another workspace", free.wait)
        busy = asyncio.run_coroutine_threadsafe(writing, browser.loop)
        try:
            page = browser.post(area.keys_url, fields)
        finally:
            free.set()
            busy.result()
    assert (page.status, page.heading) == (403, "Sign in")


def test_a_long_form_is_not_compressed(area: Area) -> None:
    """A form of more than 12,000 bytes is not kept, however small it would become: compressing it takes long."""
    browser = area.signed_in()
    url = f"{area.keys_url}/new"
    for length, is_kept in ((10_000, True), (13_000, False)):
        fields = filled(
            browser.open(url).form(area.keys_url),
            {"expiry": "30", "access": "full"} | {"description": "x"},
        )
        sent = [(name, "x" * length if name == "description" else v) for name, v in fields]
        area.clock.advance(days=2)
        browser.post(area.keys_url, sent)
        landed = browser.submit(browser.open(area.link()), "/sign-in")
        assert (landed.heading == "Continue where you left off") == is_kept


def test_a_sign_in_within_an_act_adopts_the_zone(area: Area) -> None:
    """A user without a time zone gets the browser's there too."""
    with_password(area)
    browser = enter(area)
    entered = {"description": "sync", "expiry": "30", "access": "full"}
    page = interrupted(area, browser, f"{area.keys_url}/new", area.keys_url, **entered)
    proof = {"proof_email": EMAIL, "proof_password": RIGHT}
    fields = dict(filled(page.form(area.keys_url), proof)) | {"browser_zone": "Asia/Kolkata"}
    assert browser.post(area.keys_url, fields.items()).status == 201
    assert "your time (Asia/Kolkata)" in browser.open(f"{area.keys_url}/new").tree.text


def test_the_form_is_shown_in_its_own_words(area: Area) -> None:
    """What was entered is shown as the form calls it."""
    browser = area.signed_in()
    area.key()
    (key,) = area.services.keys.list(area.principal).items
    rotate = f"{area.keys_url}/{key.id}/rotate"
    for url, action, entered in (
        (
            f"{area.keys_url}/new",
            area.keys_url,
            {"expiry": "30", "access": "full", "description": "sync"},
        ),
        (
            f"{area.keys_url}/new",
            area.keys_url,
            {"expiry": "365", "access": "chosen", "description": "sync"},
        ),
        (rotate, rotate, {"overlap": "day"}),
    ):
        form = browser.open(url).form(action)
        labels = [e for e in form.all("label") if e.all("input")]
        said = {
            (TITLES[name], label.one("strong").text)
            for name, value in entered.items()
            for label in labels
            if label.all("input", name=name, value=value)
        }
        assert len(said) == len(TITLES.keys() & entered.keys())
        page = interrupted(area, browser, url, action, **entered)
        shown = {(row.one("dt").text, row.one("dd").text) for row in page.tree.one("dl").all("div")}
        assert said <= shown
        assert shown - said <= {("Description", "sync")}
        browser = area.signed_in()


def test_a_forms_address_leads_back_to_its_page(area: Area) -> None:
    """Reloaded after a refused form, the address that scripts left in the browser is the page with the form."""
    browser = area.signed_in()
    base = f"/w/{area.workspace_id}"
    account = f"{base}/account"
    for address, page in {
        f"{account}/name": account,
        f"{account}/email": account,
        f"{account}/time-zone": account,
        f"{account}/sessions/end-others": account,
        f"{account}/sessions/ses_x/end": account,
        f"{base}/plan/policy": f"{base}/plan",
        f"{base}/confirm": area.keys_url,
        f"{base}/webhooks/wh_x/resend-failed": f"{base}/webhooks/wh_x",
        f"{base}/webhooks/wh_x/test": f"{base}/webhooks/wh_x",
        f"{base}/webhooks/wh_x/status": f"{base}/webhooks/wh_x",
        f"{base}/webhooks/wh_x/deliveries/d/redeliver": f"{base}/webhooks/wh_x/deliveries/d",
    }.items():
        assert browser.open(address).path == page
