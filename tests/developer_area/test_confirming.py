"""Authentication for sensitive actions: the page asks for it, then continues with everything that was entered."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from keystead.developer_area.sign_in.cookies import KEPT_FORM, SESSION
from keystead.domain.workspaces import Member, Role
from keystead.storage.tables import workspaces
from tests.developer_area.conftest import Area, session_of
from tests.support.administrator import write_behind
from tests.support.browser import Browser, Page, filled
from tests.support.people import RIGHT, WRONG
from tests.support.visitors import EMAIL, OTHER, enter, portal_link, with_password

FULL = {"description": "warehouse sync", "expiry": "90", "access": "full"}


def stale(area: Area, browser: Browser) -> Browser:
    """Return the same browser, sixteen minutes later."""
    area.clock.advance(minutes=16)
    return browser


def create(area: Area, browser: Browser, **values: str) -> Page:
    """Send the form for a new key."""
    return browser.submit(browser.open(f"{area.keys_url}/new"), area.keys_url, **values)


def prove(browser: Browser, page: Page, password: str = RIGHT) -> Page:
    """Enter the password on the page that asks for it."""
    assert page.heading == "Confirm it's you"
    (form,) = [f for f in page.tree.all("form") if f.all("input", name="proof_password")]
    return browser.submit(page, form.attributes["action"], proof_password=password)


def test_an_action_continues_after_authentication(each_area: Area) -> None:
    """A full-access key asks for the password first, and is then created as it was entered: once."""
    with_password(each_area)
    browser = stale(each_area, enter(each_area))
    page = create(each_area, browser, **FULL)
    assert (page.status, each_area.active()) == (403, 0)
    created = prove(browser, page)
    assert (created.status, each_area.active()) == (201, 1)
    (key,) = each_area.services.keys.list(each_area.principal).items
    assert (key.description, list(key.scopes)) == ("warehouse sync", ["*"])
    assert key.expires_at is not None


def test_a_proof_gives_the_session_a_new_secret(area: Area) -> None:
    """The cookie from before the authentication stops working; the new one works (R59)."""
    with_password(area)
    browser = stale(area, enter(area))
    before = session_of(browser)
    prove(browser, create(area, browser, **FULL))
    assert session_of(browser) != before
    old = area.browser()
    old.cookies.set(SESSION, before)
    assert old.open("/").path == "/sign-in"
    assert browser.open("/").path == area.keys_url


def test_the_new_secret_arrives_where_the_act_is_refused(area: Area) -> None:
    """An action that fails after the authentication leaves its user signed in."""
    with_password(area)
    browser = stale(area, enter(area))
    page = create(area, browser, **FULL)
    for number in range(5):
        area.key(str(number))
    assert prove(browser, page).status == 409
    assert browser.open(area.keys_url).path == area.keys_url


@pytest.mark.slow_on("postgresql")
def test_a_wrong_password_asks_again_and_loses_nothing(area: Area) -> None:
    """The page asks again and keeps all fields except the password; after ten wrong ones the session ends."""
    with_password(area)
    browser = stale(area, enter(area))
    page = create(area, browser, **FULL)
    page = prove(browser, page, WRONG)
    assert (page.status, WRONG in page.html) == (422, False)
    assert "Wrong password" in page.tree.text
    assert prove(browser, page).status == 201
    browser = stale(area, browser)
    page = create(area, browser, **FULL)
    for _ in range(9):
        page = prove(browser, page, WRONG)
        area.clock.advance(minutes=1)
    assert page.status == 422
    assert prove(browser, page, WRONG).path.startswith("/sign-in")
    assert area.active() == 1


def test_no_password_is_carried(area: Area) -> None:
    """A form with passwords starts empty after the authentication: no page or cookie contains them."""
    with_password(area)
    browser = enter(area)
    url = f"/w/{area.workspace_id}/account/password"
    page = browser.open(url)
    stale(area, browser)
    question = browser.submit(page, url, current=RIGHT, new=OTHER, again=OTHER)
    assert question.heading == "Confirm it's you"
    cookie = base64.urlsafe_b64decode(browser.cookies[KEPT_FORM] + "==").decode()
    for secret in (RIGHT, OTHER):
        assert secret not in question.html
        assert secret not in cookie
    assert prove(browser, question).path == url
    enter(area, EMAIL, RIGHT)


def test_a_page_waits_for_the_proof(area: Area) -> None:
    """A page that itself needs recent authentication opens after it."""
    with_password(area)
    browser = stale(area, enter(area))
    url = f"/w/{area.workspace_id}/account/password"
    question = browser.open(url)
    assert question.status == 403
    assert (prove(browser, question).path, browser.open(url).heading) == (url, "Change password")


def test_by_link_the_form_waits_in_the_browser(each_area: Area) -> None:
    """A user without a password gets a link, finds the form again, and sends it themselves."""
    browser = stale(each_area, each_area.signed_in())
    page = create(each_area, browser, **FULL)
    assert (page.status, page.tree.all("input", name="proof_password")) == (403, [])
    resumed = browser.submit(browser.open(each_area.link()), "/sign-in")
    assert resumed.heading == "Continue where you left off"
    assert "warehouse sync" in resumed.tree.text
    assert each_area.active() == 0
    assert browser.submit(resumed, each_area.keys_url).status == 201
    assert KEPT_FORM not in browser.cookies
    assert browser.open(f"/w/{each_area.workspace_id}/resume").status == 404


def test_a_products_user_goes_back_and_forth(area: Area) -> None:
    """A product's user authenticates at the product, and comes back to the form."""
    back = "https://product.example/keys"
    browser = area.browser()
    browser.submit(browser.open(portal_link(area, back)), "/sign-in")
    page = create(area, stale(area, browser), **FULL)
    assert page.status == 403
    assert page.link("Go to Keystead") == back
    resumed = browser.submit(browser.open(portal_link(area, back)), "/sign-in")
    assert browser.submit(resumed, area.keys_url).status == 201


def test_another_user_does_not_continue_with_it(area: Area) -> None:
    """Another user who signs in to the same browser sees nothing of the saved form."""
    browser = stale(area, area.signed_in())
    create(area, browser, **FULL)
    dana = area.member(Role.ADMIN, name="Dana")
    page = browser.submit(browser.open(area.link(dana)), "/sign-in")
    assert (page.path, KEPT_FORM in browser.cookies) == (area.keys_url, False)
    assert browser.open(f"/w/{area.workspace_id}/resume").status == 404


def test_signing_out_removes_the_saved_form(area: Area) -> None:
    """After signing out, the browser keeps nothing of the form."""
    browser = stale(area, area.signed_in())
    page = create(area, browser, **FULL)
    browser.submit(page, "/sign-out")
    assert KEPT_FORM not in browser.cookies


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize(
    "value", ["", "x", "e30", "W10", "WzEsMiwzXQ", "bnVsbA", "/w8", "A" * 5000]
)
def test_a_damaged_cookie_is_ignored(area: Area, value: str) -> None:
    """Any content of the cookie is safe: the page that continues ignores a damaged form."""
    browser = area.signed_in()
    browser.cookies.set(KEPT_FORM, value)
    assert browser.open(f"/w/{area.workspace_id}/resume").status == 404


# --- a session that ends while the user fills in a form ---

Ending = Callable[[Area, Browser], None]


def by_time(area: Area, browser: Browser) -> None:
    """Let the session expire."""
    area.clock.advance(days=2)


def in_another_tab(area: Area, browser: Browser) -> None:
    """Sign out in another tab of the same browser."""
    browser.submit(browser.open(area.keys_url), "/sign-out")


def from_elsewhere(area: Area, browser: Browser) -> None:
    """End all sessions of the user from another browser."""
    other = enter(area)
    url = f"/w/{area.workspace_id}/account"
    prove_if_asked(other, other.submit(other.open(url), f"{url}/sessions/end-others"))


def prove_if_asked(browser: Browser, page: Page) -> Page:
    """Enter the password if the page asks for it; return the next page."""
    return prove(browser, page) if page.heading == "Confirm it's you" else page


def second_workspace(area: Area) -> str:
    """Create a workspace of the owner that is not the one they land in after signing in."""
    other = area.services.workspaces.create("Second", owner="Nora")
    with write_behind(area.installation.database) as tx:
        member = Member(other.id, area.owner.user, Role.OWNER)
        workspaces.insert_member(tx, member, area.clock.now())
    return f"/w/{other.id}/keys"


@pytest.mark.parametrize("script", ["", "true"], ids=["no scripts", "scripts"])
@pytest.mark.parametrize("ending", [by_time, in_another_tab, from_elsewhere])
def test_a_form_outlives_its_session(each_area: Area, ending: Ending, script: str) -> None:
    """However the session ended, the form is there after signing in, in its own workspace, and creates one key."""
    area = each_area
    with_password(area)
    keys, browser = second_workspace(area), enter(area)
    form = browser.open(f"{keys}/new")
    fields = filled(form.form(keys), {**FULL, "description": "typed 字 for a while"})
    ending(area, browser)
    lost = browser.post(keys, fields, **{"HX-Request": script})
    if script:  # the script loads the whole page instead of putting it into the frame
        assert (lost.status, lost.html) == (401, "")
        lost = browser.open(lost.headers["hx-redirect"])
    assert (lost.heading, lost.path.partition("?")[0]) == ("Sign in", "/sign-in")
    assert "You've been signed out. Nothing was changed." in lost.tree.text
    resumed = browser.submit(lost, "/sign-in", email=EMAIL, password=RIGHT)
    assert resumed.path == keys.replace("/keys", "/resume")
    assert "typed 字 for a while" in resumed.tree.text
    assert "form_token" not in resumed.tree.text
    created = browser.submit(resumed, keys)
    assert (created.status, created.heading) == (201, "Copy your API key now")
    again = browser.post(keys, filled(resumed.form(keys), {}))
    assert again.heading.startswith("Already created")


def test_a_form_of_the_previous_session_still_works(area: Area) -> None:
    """After signing in again in another tab, the form of the first tab still works."""
    with_password(area)
    browser = enter(area)
    form = browser.open(f"{area.keys_url}/new")
    in_another_tab(area, browser)
    browser.submit(browser.open("/sign-in"), "/sign-in", email=EMAIL, password=RIGHT)
    resumed = browser.submit(form, area.keys_url, **FULL)
    assert (resumed.heading, area.active()) == ("Continue where you left off", 0)
    assert browser.submit(resumed, area.keys_url).status == 201


def test_a_form_of_another_person_is_dropped(area: Area) -> None:
    """The form of one user is never shown to the next in the same browser, nor sent in their name."""
    dana = area.member(Role.ADMIN, name="Dana")
    browser = area.signed_in()
    form = browser.open(f"{area.keys_url}/new")
    in_another_tab(area, browser)
    browser.submit(browser.open(area.link(dana)), "/sign-in")
    refused = browser.submit(form, area.keys_url, **FULL)
    assert (refused.status, area.active()) == (403, 0)
    assert KEPT_FORM not in browser.cookies
    in_another_tab(area, browser)
    assert browser.submit(form, area.keys_url, **FULL).heading == "Sign in"
    landed = browser.submit(browser.open(area.link(dana)), "/sign-in")
    assert (landed.path, KEPT_FORM in browser.cookies) == (area.keys_url, False)


def test_a_form_too_long_to_be_kept_leads_back_to_its_workspace(area: Area) -> None:
    """A form too large for a cookie is lost, and the page says so; its user lands in the same workspace."""
    with_password(area)
    keys, browser = second_workspace(area), enter(area)
    form = filled(browser.open(f"{keys}/new").form(keys), FULL)
    in_another_tab(area, browser)
    lost = browser.post(keys, [*form, ("scope", "x" * 4_000)])
    assert "what you entered is kept" not in lost.tree.text
    landed = browser.submit(lost, "/sign-in", email=EMAIL, password=RIGHT)
    assert landed.path == keys
