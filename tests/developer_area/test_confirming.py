"""Authentication for sensitive actions: the page asks for it, then continues with everything that was entered."""

from __future__ import annotations

import base64
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from keystead.developer_area.sign_in.cookies import KEPT_FORM, SESSION
from keystead.domain.workspaces import Member, Role
from keystead.storage.tables import workspaces
from tests.developer_area.conftest import Area, session_of
from tests.support.administrator import write_behind
from tests.support.browser import Browser, Page, filled
from tests.support.people import RIGHT, WRONG
from tests.support.surface import Survey
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


def kept(browser: Browser) -> str:
    """Return the text of the cookie that keeps a form."""
    packed = base64.urlsafe_b64decode(browser.cookies[KEPT_FORM] + "==")
    return zlib.decompress(packed).decode()


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
    assert prove(browser, page, WRONG).heading == "Sign in"
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
    for secret in (RIGHT, OTHER):
        assert secret not in question.html
        assert secret not in kept(browser)
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


def answer(browser: Browser, page: Page, email: str = EMAIL, password: str = RIGHT) -> Page:
    """Sign in on the page that carries the form."""
    (form,) = [f for f in page.tree.all("form") if f.all("input", name="proof_email")]
    action = form.attributes["action"]
    return browser.submit(page, action, proof_email=email, proof_password=password)


def lost(area: Area, browser: Browser, ending: Ending = by_time, **values: str) -> Page:
    """Send the form for a new key after its session has ended. Returns the page that asks to sign in."""
    form = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    fields = filled(form, {**FULL, **values})
    ending(area, browser)
    return browser.post(area.keys_url, fields)


@pytest.mark.parametrize("script", ["", "true"], ids=["no scripts", "scripts"])
@pytest.mark.parametrize("ending", [by_time, in_another_tab, from_elsewhere])
def test_a_form_outlives_its_session(each_area: Area, ending: Ending, script: str) -> None:
    """However the session ended, one sign-in on the page that follows creates the key, in its own workspace, once."""
    area = each_area
    with_password(area)
    keys, browser = second_workspace(area), enter(area)
    form = browser.open(f"{keys}/new")
    fields = filled(form.form(keys), {**FULL, "description": "typed 字 for a while"})
    ending(area, browser)
    page = browser.post(keys, fields, **{"HX-Request": script})
    assert (page.status, page.heading, page.path) == (403, "Sign in", keys)
    assert "You've been signed out. Nothing was changed." in page.tree.text
    assert "typed 字 for a while" in page.tree.text
    assert KEPT_FORM in browser.cookies
    created = answer(browser, page)
    assert (created.status, created.heading) == (201, "Copy your API key now")
    assert KEPT_FORM not in browser.cookies
    assert browser.open(keys).path == keys
    again = browser.post(keys, fields)
    assert browser.submit(again, keys).heading.startswith("Already created")


def test_the_form_waits_for_the_right_password(area: Area) -> None:
    """A wrong password asks again with everything that was entered; too many have to wait."""
    with_password(area)
    browser = enter(area)
    page = lost(area, browser)
    for _ in range(3):
        page = answer(browser, page, password=WRONG)
        assert (page.status, WRONG in page.html) == (422, False)
        assert "Wrong email or password." in page.tree.text
    assert (answer(browser, page).status, area.active()) == (201, 1)
    page = lost(area, browser, in_another_tab, description="another")
    for _ in range(12):
        page = answer(browser, page, password=WRONG)
    assert (page.status, "wait" in page.tree.text) == (429, True)
    assert area.active() == 1


def test_what_is_kept_holds_no_password_and_no_token(area: Area) -> None:
    """Neither the page nor the cookie shows the session's form token, the password, or a webhook's URL and headers."""
    with_password(area)
    browser = enter(area)
    url = f"/w/{area.workspace_id}/webhooks"
    token = dict(filled(browser.open(url).form("/sign-out"), {}))["form_token"]
    in_another_tab(area, browser)
    secrets_of = {"url": "https://hooks.example/t0ps", "headers": "X-Secret: s3cr3t"}
    for name, value in secrets_of.items():
        page = browser.post(url, {"form_token": token, "name": "hook", name: value}.items())
        assert (page.heading, "hook" in page.tree.text) == ("Sign in", True)
        assert (token in page.html, value in page.tree.text) == (False, False)
        for secret in (token, "form_token", value, RIGHT):
            assert secret not in kept(browser)


def test_another_person_never_executes_the_form(area: Area) -> None:
    """Another user who signs in on that page gets their own workspace and reads why; nothing was sent."""
    with_password(area)
    dana = area.member(Role.ADMIN, name="Dana")
    with_password(area, dana, "dana@keys.example")
    browser = enter(area)
    landed = answer(browser, lost(area, browser), "dana@keys.example")
    assert (landed.path, area.active()) == (area.keys_url, 0)
    assert (
        "You're signed in as Dana. The form was someone else's: it was not sent."
        in landed.tree.text
    )
    assert KEPT_FORM not in browser.cookies


def test_the_owner_of_a_form_cannot_be_renamed(area: Area) -> None:
    """The form's token proves whose it is: with another user's name in it, a form is refused."""
    with_password(area)
    dana = area.member(Role.ADMIN, name="Dana")
    browser = area.signed_in(dana)
    fields = dict(filled(browser.open(f"{area.keys_url}/new").form(area.keys_url), FULL))
    fields["form_token"] = fields["form_token"].replace(dana.user.id, area.owner.user.id)
    assert (browser.post(area.keys_url, fields.items()).status, area.active()) == (403, 0)


def test_an_old_form_needs_another_click(area: Area) -> None:
    """A quarter of an hour after it was sent, the form no longer continues by itself; nothing of it is lost."""
    with_password(area)
    browser = enter(area)
    page = lost(area, browser)
    area.clock.advance(minutes=15)
    offered = answer(browser, page)
    assert (offered.heading, area.active()) == ("Continue where you left off", 0)
    assert browser.submit(offered, area.keys_url).status == 201


def test_a_dialog_that_opens_too_late_asks_in_the_dialog(area: Area) -> None:
    """A page that scripts open in the dialog after the session has ended is the sign-in page, and then the page."""
    with_password(area)
    browser = enter(area)
    by_time(area, browser)
    new = f"{area.keys_url}/new"
    page = browser.open(new, **{"HX-Request": "true", "HX-Target": "dialog#dialog"})
    assert (page.status, page.heading) == (403, "Sign in")
    entered = browser.submit(page, "/sign-in", email=EMAIL, password=RIGHT)
    assert (entered.path, entered.heading) == (new, "Create an API key")


def test_a_form_without_fields_continues_too(area: Area) -> None:
    """A button that is a form of its own has its effect after signing in."""
    with_password(area)
    browser, other = enter(area), enter(area)
    account = f"/w/{area.workspace_id}/account"
    form = browser.open(account).form(f"{account}/sessions/end-others")
    in_another_tab(area, browser)
    page = browser.post(f"{account}/sessions/end-others", filled(form, {}))
    assert answer(browser, page).path == account
    assert other.open("/").heading == "Sign in"


def test_a_form_of_the_previous_session_still_works(area: Area) -> None:
    """After signing in again in another tab, the form of the first tab still works, after one more click."""
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


def test_a_long_form_fits(area: Area) -> None:
    """A form with 118 keys waits in the cookie for a user who signs in by a link."""
    browser = area.signed_in()
    ids = " ".join(f"key_{secrets.token_hex(11)}" for _ in range(118))
    token = browser.open(area.keys_url).form("/sign-out").one("input", name="form_token")
    in_another_tab(area, browser)
    fields = {"form_token": token.attributes["value"], "keys": ids, "confirmation": "118"}
    browser.post(f"{area.keys_url}/revoke", fields.items())
    resumed = browser.submit(browser.open(area.link()), "/sign-in")
    assert resumed.heading == "Continue where you left off"
    assert resumed.tree.one("input", name="keys").attributes["value"] == ids


def test_a_form_too_long_to_be_kept_leads_back_to_its_workspace(area: Area) -> None:
    """A form too large for a cookie continues on its page; a link leads back to its workspace without it."""
    with_password(area)
    keys, browser = second_workspace(area), enter(area)
    long = "".join(secrets.token_hex(20) + "=\n" for _ in range(400))
    entered = {**FULL, "networks": long}
    form = filled(browser.open(f"{keys}/new").form(keys), entered)
    in_another_tab(area, browser)
    browser.post(keys, form)
    landed = browser.submit(browser.open(area.link()), "/sign-in")
    assert landed.path == keys
    in_another_tab(area, browser)
    page = browser.post(keys, form)
    refused = answer(browser, page)
    assert (refused.status, refused.heading) == (422, "Create an API key")
    assert long.splitlines()[-1] in refused.html


@pytest.mark.slow
def test_every_form_outlives_its_session(survey: Survey, tmp_path: Path) -> None:
    """Sent after the session has ended, each form of a workspace is asked for once, with all that was entered."""
    count = 0
    with survey.copied(tmp_path) as furnished:
        for who, wanted in survey.forms:
            browser, form = furnished.form(who, wanted)
            if not form.action.startswith("/w/"):
                continue
            sent = form.filled()
            in_another_tab_of(browser)
            page = browser.post(form.action, sent)
            assert (page.status, page.heading) == (403, "Sign in"), form.kind
            starts_again = set(form.passwords) - {"proof_password"}
            action = "/sign-in" if starts_again else form.action
            hidden = page.form(action).all("input", type="hidden")
            carried = [(e.attributes["name"], e.attributes["value"]) for e in hidden]
            entered = [
                (name, value)
                for name, value in sent
                if name not in {"form_token", "proof_password"}
            ]
            if starts_again:
                assert ("next", form.action) in carried, form.kind
            else:
                assert sorted(carried[1:-2]) == sorted(entered), form.kind
            count += 1
    assert count >= 20


def in_another_tab_of(browser: Browser) -> None:
    """Forget the session's cookie."""
    del browser.cookies[SESSION]
