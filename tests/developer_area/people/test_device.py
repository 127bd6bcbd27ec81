"""The page for a terminal's code: it shows who asks, warns, and gives away nothing without several choices."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.domain.device_logins import LIFETIME, DeviceRequest
from keystead.domain.events import Origin
from keystead.domain.scopes import FULL, READ_ONLY, Scopes
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Role
from keystead.services.device_logins import PollRefusal, StartedLogin
from keystead.services.key_issuer import CreatedKey
from keystead.storage.schema.device_login_tables import device_logins
from keystead.storage.tables import workspaces
from tests.developer_area.conftest import Area, session_of
from tests.support.administrator import read_behind, write_behind
from tests.support.browser import Browser, Page, filled
from tests.support.people import RIGHT
from tests.support.visitors import EMAIL, enter, with_password

CHOSEN = {"description": "laptop", "expiry": "30", "access": "chosen", "scope_documents": "read"}

WIDE = {"description": "all", "expiry": "never", "access": "full"}


def started(
    area: Area, address: str = "203.0.113.9", request: DeviceRequest | None = None
) -> StartedLogin:
    """Start a sign-in at a terminal."""
    logins = area.services.device_logins
    return logins.start(request or DeviceRequest(), Origin(address), "keystead-cli/1.0")


def asked(browser: Browser, code: str, **values: str) -> Page:
    """Enter the code."""
    return browser.submit(browser.open("/device"), "/device", user_code=code, **values)


def decide_url(area: Area) -> str:
    """Return where a decision in the first workspace goes."""
    return f"/w/{area.workspace_id}/device"


def collected(area: Area, login: StartedLogin) -> CreatedKey | PollRefusal:
    """Poll once."""
    return area.services.device_logins.poll(login.device_code, Origin())


def approve_fields(area: Area, page: Page) -> list[tuple[str, str]]:
    """Return the fields of the first of the page's two forms, filled in."""
    return filled(page.tree.all("form", action=decide_url(area))[0], CHOSEN)


def approve(area: Area, browser: Browser, page: Page, **values: str) -> Page:
    """Fill in the first of the page's two forms, and send it."""
    form = page.tree.all("form", action=decide_url(area))[0]
    return browser.post(decide_url(area), filled(form, values or CHOSEN))


def test_the_chosen_key_is_the_one_that_the_terminal_gets(each_area: Area) -> None:
    """Not what the terminal asked for, but what the person chose; the list says what happens next."""
    asks = DeviceRequest("root access", Scopes(["documents:write"]), "build-7")
    login, browser = started(each_area, request=asks), each_area.signed_in()
    page = asked(browser, login.user_code)
    form = page.tree.all("form", action=decide_url(each_area))[0]
    assert form.one("input", name="description").attributes["value"] == "root access"
    chosen = [i.attributes["value"] for i in form.all("input") if "checked" in i.attributes]
    assert [value for value in chosen if value != "none"] == ["chosen", "documents", "write"]
    done = approve(each_area, browser, page)
    assert (done.status, done.path) == (200, each_area.keys_url)
    assert "Go back to your terminal" in done.html
    assert each_area.active() == 0
    key = collected(each_area, login)
    assert isinstance(key, CreatedKey)
    assert (key.key.description, list(key.key.scopes)) == ("laptop", ["documents:read"])
    assert key.key.expires_at == each_area.clock.now() + timedelta(days=30)


def test_the_page_shows_who_asks(area: Area) -> None:
    """Host, program, address, age and scopes are there, with the warning; another address than one's own is marked."""
    asks = DeviceRequest(None, Scopes(["documents:read"]), "build-7.internal")
    login = started(area, request=asks)
    area.clock.advance(minutes=3)
    page = asked(area.signed_in(), login.user_code)
    facts = page.tree.all("dl")[0].text
    for fact in ("203.0.113.9", "not the one you're using now", "build-7.internal"):
        assert fact in facts
    for fact in ("keystead-cli/1.0", "3 minutes ago", "documents:read", login.user_code):
        assert fact in facts
    assert "If someone sent you this code" in page.html


def test_nothing_is_chosen_for_the_person(area: Area) -> None:
    """No expiry is chosen; no access either, unless the terminal asked for some: full, read-only or single scopes."""
    browser = area.signed_in()
    expected = {
        None: "",
        FULL: "full",
        Scopes(READ_ONLY): "read-only",
        Scopes(["plan:read"]): "chosen",
    }
    for scopes, access in expected.items():
        page = asked(browser, started(area, request=DeviceRequest(None, scopes)).user_code)
        form = page.tree.all("form", action=decide_url(area))[0]
        radios = [r for r in form.all("input", type="radio") if "required" in r.attributes]
        assert {r.attributes["name"] for r in radios} == {"expiry", "access"}
        assert [r.attributes["value"] for r in radios if "checked" in r.attributes] == [
            access
        ] * bool(access)
    login = started(area)
    fields = dict(approve_fields(area, asked(browser, login.user_code)))
    refused = browser.post(decide_url(area), {**fields, "expiry": ""}.items())
    assert (refused.status, "Choose when the key expires" in refused.html) == (422, True)
    assert "To be called" not in refused.html
    assert isinstance(collected(area, login), PollRefusal)


def test_the_link_only_fills_the_code_in(area: Area) -> None:
    """Opening the link changes no row, and its page has no form that approves."""
    login, browser = started(area), area.signed_in()
    with read_behind(area.installation.database) as tx:
        before = tx.execute(device_logins.select()).all()
    page = browser.open(f"/device?user_code={login.user_code}")
    assert (
        page.form("/device").one("input", name="user_code").attributes["value"] == login.user_code
    )
    assert not page.tree.all("form", action=decide_url(area))
    with read_behind(area.installation.database) as tx:
        assert tx.execute(device_logins.select()).all() == before
    assert browser.open(decide_url(area)).path == "/device"


def test_a_stranger_signs_in_first_and_comes_back(area: Area) -> None:
    """Without a session the link leads to sign-in and from there to the code."""
    with_password(area)
    browser, login = area.browser(), started(area)
    page = browser.open(f"/device?user_code={login.user_code}")
    assert page.path.startswith("/sign-in?next=%2Fdevice%3Fuser_code")
    back = browser.submit(page, "/sign-in", email=EMAIL, password=RIGHT)
    assert back.path == f"/device?user_code={login.user_code}"


def test_a_session_that_ended_decides_nothing(area: Area) -> None:
    """A form that is sent after signing out elsewhere approves nothing."""
    browser, login = area.signed_in(), started(area)
    page = asked(browser, login.user_code)
    entry = browser.open("/device")
    area.services.sign_in.sign_out(Secret(session_of(browser)))
    asks = approve(area, browser, page)
    assert (asks.status, asks.heading) == (403, "Sign in")
    asks = browser.submit(entry, "/device", user_code=login.user_code)
    assert asks.path == f"/sign-in?next=%2Fdevice%3Fuser_code%3D{login.user_code}"
    assert isinstance(collected(area, login), PollRefusal)


def test_wrong_codes(area: Area) -> None:
    """A wrong code is named as one, with what was typed; the sixth is 429 with a time to wait."""
    browser = area.signed_in()
    for _ in range(5):
        refused = asked(browser, "WXZZ-0000")
        assert (refused.status, "wrong, has expired or was used" in refused.html) == (422, True)
    paced = asked(browser, started(area).user_code)
    assert (paced.status, "too many wrong codes" in paced.html) == (429, True)
    assert int(paced.headers["retry-after"]) > 0


def test_a_code_that_expires_meanwhile(area: Area) -> None:
    """Approving too late says so, and creates nothing."""
    browser, login = area.signed_in(), started(area)
    page = asked(browser, login.user_code)
    area.clock.advance(seconds=LIFETIME.total_seconds())
    late = approve(area, browser, page)
    assert (late.status, late.heading) == (422, "Sign in at a terminal")
    assert "has expired" in late.html


def test_the_person_chooses_the_workspace(area: Area) -> None:
    """The person chooses one of several workspaces, and is offered only those in which they can create keys."""
    other = area.services.workspaces.create("Other").id
    third = area.services.workspaces.create("Read only").id
    with write_behind(area.installation.database) as tx:
        for id, role in ((other, Role.ADMIN), (third, Role.VIEWER)):
            workspaces.insert_member(tx, Member(id, area.owner.user, role), area.clock.now())
    browser, login = area.signed_in(), started(area)
    page = browser.open("/device")
    offered = [r.attributes["value"] for r in page.tree.all("input", name="workspace")]
    assert sorted(offered) == sorted([area.workspace_id, other])
    shown = asked(browser, login.user_code, workspace=other)
    assert shown.tree.all("form", action=f"/w/{other}/device")
    assert "Other" in shown.heading
    entered = {"user_code": login.user_code, "workspace": other}
    forged = {**dict(filled(page.form("/device"), entered)), "workspace": third}
    assert browser.post("/device", forged.items()).status == 404


def test_a_viewer_cannot_give_a_key(area: Area) -> None:
    """Who can't create keys can't approve: not by the page, not by a form of their own; denying is always possible."""
    browser, login = area.signed_in(area.member(Role.VIEWER)), started(area)
    assert asked(browser, login.user_code).status == 403
    token = browser.open("/device").tree.all("input", name="form_token")[0].attributes["value"]
    fields = {"form_token": token, "user_code": login.user_code, **CHOSEN}
    assert browser.post(decide_url(area), fields.items()).status == 403
    browser.post(decide_url(area), [*fields.items(), ("decision", "deny")])
    refusal = collected(area, login)
    assert isinstance(refusal, PollRefusal)
    assert refusal.error == "access_denied"


def test_full_access_asks_for_the_password(area: Area) -> None:
    """A wide key needs a recent proof; then what was chosen is approved, once (R69, R102)."""
    with_password(area)
    browser = enter(area)
    area.clock.advance(minutes=16)
    login = started(area)
    page = approve(area, browser, asked(browser, login.user_code), **WIDE)
    assert (page.status, page.heading) == (403, "Confirm it's you")
    assert isinstance(collected(area, login), PollRefusal)
    (form,) = [f for f in page.tree.all("form") if f.all("input", name="proof_password")]
    done = browser.submit(page, form.attributes["action"], proof_password=RIGHT)
    assert "Go back to your terminal" in done.html
    area.clock.advance(seconds=10)
    key = collected(area, login)
    assert isinstance(key, CreatedKey)
    assert list(key.key.scopes) == ["*"]


def test_no_room(area: Area) -> None:
    """At the limit the page says so instead of offering a form, and a form from before approves nothing."""
    browser, login = area.signed_in(), started(area)
    page = asked(browser, login.user_code)
    area.services.workspaces.set_plan(area.workspace_id, "free", {"api_keys": 0})
    full = asked(browser, login.user_code)
    assert "You've reached your key limit" in full.html
    assert len(full.tree.all("form", action=decide_url(area))) == 1
    assert approve(area, browser, page).status == 409
    assert isinstance(collected(area, login), PollRefusal)


@pytest.mark.parametrize("text", ["<b>x</b>", '"><script>', "\u202eevil", "{{ 7*7 }}"])
def test_a_stranger_s_text_is_inert(area: Area, text: str) -> None:
    """The description that a terminal sends is text on the page (R64)."""
    login = started(area, request=DeviceRequest(text))
    page = asked(area.signed_in(), login.user_code)
    assert page.tree.one("q").text == text
    assert not page.tree.all("script", src="")
