"""The account page: what users change about themselves, and how their sessions end."""

from __future__ import annotations

import pytest

from keystead.developer_area.sign_in.cookies import DEVICE, SESSION
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area, session_of
from tests.support.account_pages import change, status_of, url
from tests.support.people import RIGHT, WRONG
from tests.support.visitors import EMAIL, OTHER, enter, portal_link, sign_in, with_password

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def test_a_name_is_changed(each_area: Area) -> None:
    """Every page shows the new name. An invalid one is refused, and stays in the form to be fixed."""
    browser = each_area.signed_in()
    seen = change(each_area, browser, "name", name="Ada Lovelace")
    assert (seen.path, status_of(seen)) == (url(each_area), "Your name was saved.")
    assert "Ada Lovelace" in browser.open(each_area.keys_url).tree.text
    assert status_of(browser.open(url(each_area))) == ""
    refused = change(each_area, browser, "name", name="x" * 101)
    assert refused.status == 422
    assert refused.tree.one("input", id="name").attributes["value"] == "x" * 101
    assert "Name must be 1-100 characters" in refused.tree.text


def test_an_address_is_changed(each_area: Area) -> None:
    """The new email signs in and the old one does not; another user's email is refused in words."""
    with_password(each_area)
    browser = enter(each_area)
    with_password(each_area, each_area.member(Role.VIEWER), "bob@keys.example")
    assert change(each_area, browser, "email", email="bob@keys.example").status == 409
    seen = change(each_area, browser, "email", email="ada@other.example")
    assert status_of(seen).startswith("Your email was saved")
    assert sign_in(each_area.browser(), EMAIL, RIGHT).status == 422
    enter(each_area, "ada@other.example")


def test_a_password_is_changed(each_area: Area) -> None:
    """The new password signs in and the old one does not; the other sessions end, and this one gets a new secret."""
    with_password(each_area)
    other, browser = enter(each_area), enter(each_area)
    before, device = session_of(browser), browser.cookies[DEVICE]
    page = browser.open(url(each_area, "/password"))
    assert "at least 15 characters" in page.tree.one("ul", id="rules").text
    seen = browser.submit(page, page.path, current=RIGHT, new=OTHER, again=OTHER)
    assert (seen.path, status_of(seen)[:24]) == (url(each_area), "Your password was saved.")
    assert session_of(browser) != before
    assert browser.cookies[DEVICE] != device
    assert other.open(each_area.keys_url).path.startswith("/sign-in")
    old = each_area.browser()
    old.cookies.set(SESSION, before)
    assert old.open("/").path == "/sign-in"
    assert sign_in(each_area.browser(), EMAIL, RIGHT).status == 422
    enter(each_area, EMAIL, OTHER)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"current": WRONG}, "This is not your password"),
        ({"new": "short", "again": "short"}, "must have at least 15 characters"),
        ({"new": "passwordpassword", "again": "passwordpassword"}, "too easily guessed"),
        ({"again": "something else 15"}, "The passwords don't match"),
    ],
)
def test_an_unsuitable_password_is_refused(area: Area, typed: dict[str, str], said: str) -> None:
    """The error is at its field, no typed password comes back, and nothing changes."""
    with_password(area)
    browser = enter(area)
    page = browser.open(url(area, "/password"))
    fields = {"current": RIGHT, "new": OTHER, "again": OTHER, **typed}
    seen = browser.submit(page, page.path, **fields)
    assert (seen.status, said in seen.tree.text) == (422, True)
    for control in seen.tree.all("input", type="password"):
        assert "value" not in control.attributes
    enter(area)


def test_a_first_password_needs_an_address(area: Area) -> None:
    """Without an email there is nothing to sign in with: the page says so, and has no form."""
    browser = area.signed_in()
    page = browser.open(url(area, "/password"))
    assert page.tree.all("input", type="password") == []
    change(area, browser, "email", email=EMAIL)
    page = browser.open(url(area, "/password"))
    assert browser.submit(page, page.path, new=RIGHT, again=RIGHT).path == url(area)
    enter(area)


def test_times_are_shown_in_the_persons_zone(area: Area) -> None:
    """All pages use the chosen time zone and name it; the default is UTC."""
    area.key("sync")
    browser = area.signed_in()
    assert "12:00:00 UTC" in browser.open(area.keys_url).tree.text
    seen = change(area, browser, "time-zone", time_zone="Asia/Tokyo")
    assert "21:00 JST" in seen.tree.text
    assert "23 Nov 2026, 21:00:00 JST" in browser.open(area.keys_url).tree.text
    change(area, browser, "time-zone", time_zone="America/Sao_Paulo")
    assert "09:00:00 UTC-03:00" in browser.open(area.keys_url).tree.text
    token = seen.tree.all("input", name="form_token")[0].attributes["value"]
    fields = [("form_token", token), ("time_zone", "Mars/Base")]
    assert browser.post(url(area, "/time-zone"), fields).status == 422


def test_sessions_are_listed_and_ended(each_area: Area) -> None:
    """The list has every session and marks this browser's; an ended one is signed out with its next request."""
    with_password(each_area)
    browser, lost, third = enter(each_area), each_area.browser(), enter(each_area)
    page = lost.open("/sign-in")
    fields = [(i.attributes["name"], i.attributes.get("value", "")) for i in page.tree.all("input")]
    typed = {"email": EMAIL, "password": RIGHT}
    lost.post("/sign-in", [(n, typed.get(n, v)) for n, v in fields], **{"User-Agent": FIREFOX})
    page = browser.open(url(each_area))
    items = page.tree.one("ul", class_="list").all("li")
    assert len(items) == 3
    assert [("This browser" in i.text) for i in items].count(True) == 1
    (item,) = [i for i in items if "Firefox on Linux" in i.text]
    end = item.one("form").attributes["action"]
    assert status_of(browser.submit(page, end)) == "That session has ended."
    assert lost.open("/").path == "/sign-in"
    seen = browser.submit(browser.open(url(each_area)), url(each_area, "/sessions/end-others"))
    assert status_of(seen) == "1 other session ended."
    assert third.open("/").path == "/sign-in"
    assert browser.open("/").path == each_area.keys_url


def test_sessions_of_others_cannot_be_ended(area: Area) -> None:
    """The ID of another user's session gets the same answer as one that never existed."""
    browser = area.signed_in()
    victim = area.signed_in(area.member(Role.VIEWER))
    secret = victim.cookies[SESSION]
    from keystead.domain.token import Secret

    theirs = area.services.accounts.sessions(Secret(secret))[0].session.id
    token = browser.open("/").tree.all("input", name="form_token")[0].attributes["value"]
    for id in (theirs, "ses_0000000000000000000000"):
        end = url(area, f"/sessions/{id}/end")
        assert browser.post(end, [("form_token", token)]).status == 404
    assert victim.open("/").path == area.keys_url


def test_a_products_user_has_no_account_of_their_own(area: Area) -> None:
    """The product sets name and email, and no password is offered; users choose their time zone."""
    browser = area.browser()
    browser.submit(browser.open(portal_link(area)), "/sign-in")
    page = browser.open(url(area))
    actions = {f.attributes["action"] for f in page.tree.all("form")}
    assert actions == {"/sign-out", url(area, "/time-zone")}
    assert browser.open(url(area, "/password")).status == 403
    token = page.tree.all("input", name="form_token")[0].attributes["value"]
    for what, field in (("name", "name"), ("email", "email")):
        answer = browser.post(url(area, f"/{what}"), [("form_token", token), (field, "a@b.cc")])
        assert answer.status == 403
    assert status_of(change(area, browser, "time-zone", time_zone="Asia/Tokyo")) != ""


def test_a_message_is_shown_once_and_only_by_us(area: Area) -> None:
    """The result of an action is shown once, on the next page; no URL makes a page show a message."""
    browser = area.signed_in()
    assert status_of(change(area, browser, "name", name="Ada")) != ""
    assert status_of(browser.open(url(area))) == ""
    assert status_of(browser.open(url(area, "?said=Pwned&message=Pwned"))) == ""
