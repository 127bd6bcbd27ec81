"""Signing in by password and from a product: the same for all strangers, slow for guesses, and back to the page."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest

from keystead.developer_area.sign_in.cookies import DEVICE, SESSION, WORKSPACE
from keystead.developer_area.web.navigation import own_path
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import operator
from keystead.domain.workspaces import Role
from keystead.http import access_log
from keystead.storage.tables import workspaces
from tests.developer_area.conftest import Area, session_of
from tests.support.administrator import write_behind
from tests.support.browser import Browser, Page, filled
from tests.support.log_lines import logged_lines
from tests.support.people import RIGHT, WRONG
from tests.support.visitors import EMAIL, enter, portal_link, sign_in, with_password

STRANGER = "bob@keys.example"
HOSTILE = [
    "//evil.example",
    "///evil.example/w/x",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example/w/x",
    "https:evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/%09/evil.example",
    "/w/%0d%0aSet-Cookie:x=y\r\nx",
    "/w\t//evil.example",
    " /w/x",
    "/w/x\n",
    "/w//evil.example",
    "/w/x#y",
    "/wx",
    "w/x",
    "/sign-out",
    "",
    "/w/x?y=<",
    "/w/ü",
]


def test_a_password_leads_to_the_first_workspace(each_area: Area) -> None:
    """Email, in any case, and password open the user's workspace."""
    with_password(each_area)
    browser = each_area.browser()
    seen = sign_in(browser, EMAIL.upper(), RIGHT)
    assert (seen.status, seen.path, seen.heading) == (200, each_area.keys_url, "API keys")
    assert len(session_of(browser)) == len(browser.cookies[DEVICE]) == 43


def test_refused_sign_ins_are_logged_with_their_source(
    area: Area, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has a sample for each source address and the number of others: no user's email, no secret."""
    with_password(area)
    browser = area.browser()
    monkeypatch.setattr(access_log, "_refused", access_log._Sampler())
    with logged_lines() as lines:
        for _ in range(3):
            sign_in(browser, EMAIL, WRONG)
        sign_in(browser, EMAIL, RIGHT)
        area.browser().open(f"/sign-in?link={'x' * 43}")
    refused = [line for line in lines if line["event"] == "sign-in refused"]
    (line,) = refused
    assert (line["address"], line["way"], line["reason"]) == ("127.0.0.1", "password", "wrong")
    assert EMAIL not in str(line)
    assert WRONG not in str(line)


def visible(seen: Page, email: str) -> tuple[int, str, list[tuple[str, str]]]:
    """Return everything in a response except its ID, the typed email, and the token, which is always another."""
    headers = [(n, v) for n, v in seen.headers.multi_items() if n != "x-request-id"]
    html = seen.html.replace(email, "x" * len(email))
    for field in seen.tree.all("input", name="form_token"):
        html = html.replace(field.attributes["value"], "")
    return seen.status, html, headers


def test_known_and_unknown_people_get_the_same_answer(each_area: Area) -> None:
    """A wrong password, an unknown email and a user without a password get the same bytes, each time."""
    with_password(each_area)
    plain = each_area.member(Role.VIEWER)
    with_password(each_area, plain, STRANGER)
    with write_behind(each_area.installation.database) as tx:
        tx.exec_driver_sql(f"UPDATE users SET password_hash = NULL WHERE id = '{plain.user.id}'")
    browser = each_area.browser()
    page = browser.open("/sign-in")
    statuses = []
    for _ in range(7):
        answers = [
            visible(browser.submit(page, "/sign-in", email=email, password=WRONG), email)
            for email in (EMAIL, STRANGER, "eve@keys.example")
        ]
        assert answers[0] == answers[1] == answers[2]
        statuses.append(answers[0][0])
    assert statuses == [422, 422, 422, 422, 422, 429, 429]
    assert (
        "Wrong email or password"
        in browser.submit(page, "/sign-in", email="x@y.zz", password=WRONG).tree.text
    )


def test_a_wait_is_shown_and_ends(area: Area) -> None:
    """After too many attempts the page says how long to wait; afterwards the right password is accepted."""
    with_password(area)
    browser = area.browser()
    for _ in range(5):
        assert sign_in(browser, EMAIL, WRONG).status == 422
    seen = sign_in(browser, EMAIL, RIGHT)
    assert (seen.status, seen.headers["retry-after"]) == (429, "2")
    assert "wait 2 seconds" in seen.tree.text
    area.clock.advance(seconds=2)
    assert sign_in(browser, EMAIL, RIGHT).path == area.keys_url


def test_a_known_device_has_tries_of_its_own(area: Area) -> None:
    """While strangers have to wait, the owner signs in from a browser that was signed in before."""
    with_password(area)
    known = enter(area)
    known.submit(known.open(area.keys_url), "/sign-out")
    for _ in range(6):
        sign_in(area.browser(), EMAIL, WRONG)
    assert sign_in(area.browser(), EMAIL, RIGHT).status == 429
    assert sign_in(known, EMAIL, RIGHT).path == area.keys_url


def test_the_device_cookie_is_hidden_and_lasts(area: Area) -> None:
    """It has every protection that the session's cookie has, lasts 180 days, and signs no user in."""
    with_password(area)
    browser = area.browser()
    page = browser.open("/sign-in")
    browser.request = no_redirect(browser)  # type: ignore[method-assign]
    answer = browser.submit(page, "/sign-in", email=EMAIL, password=RIGHT)
    (line,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith(DEVICE)]
    parts = sorted(part.strip().lower() for part in line.split(";")[1:])
    assert parts == ["httponly", "max-age=15552000", "path=/", "samesite=lax", "secure"]
    alone = area.browser()
    alone.cookies.set(SESSION, browser.cookies[DEVICE])
    assert alone.open("/").path == "/sign-in"


def no_redirect(browser: Browser):  # type: ignore[no-untyped-def]
    """Send a browser's request without following a redirect."""
    import asyncio

    def request(method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Page:
        response = asyncio.run(browser._send(method, url, headers, body))
        browser.cookies.update(response.cookies)
        return Page(response)

    return request


def test_no_password_comes_back(area: Area) -> None:
    """No response contains a typed password, right or wrong."""
    with_password(area)
    for password in (WRONG, RIGHT):
        browser = area.browser()
        assert password not in sign_in(browser, EMAIL, password).html


def test_signing_in_by_password_gives_a_new_secret(area: Area) -> None:
    """A cookie that was set before is worthless afterwards, and an old session ends (R59)."""
    with_password(area)
    browser = enter(area)
    before = session_of(browser)
    fields = [("next", ""), ("email", EMAIL), ("password", RIGHT)]
    token = browser.open("/").tree.all("input", name="form_token")[0].attributes["value"]
    browser.post("/sign-in", [("form_token", token), *fields])
    assert session_of(browser) != before
    old = area.browser()
    old.cookies.set(SESSION, before)
    assert old.open("/").path == "/sign-in"


def test_signing_in_returns_to_the_requested_page(area: Area) -> None:
    """After signing in, by password or by link, the browser returns to the page that was requested first."""
    with_password(area)
    wanted = f"{area.keys_url}?show=history"
    stranger = area.browser()
    page = stranger.open(wanted)
    assert page.path == f"/sign-in?next={quote(wanted, safe='')}"
    assert stranger.submit(page, "/sign-in", email=EMAIL, password=RIGHT).path == wanted
    by_link = area.browser()
    link = by_link.open(f"{area.link()}&next={quote(wanted, safe='')}")
    assert by_link.submit(link, "/sign-in").path == wanted


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("target", HOSTILE)
def test_signing_in_never_leads_to_another_site(area: Area, target: str) -> None:
    """A path that isn't one of our pages is dropped, from the URL and from the form (R72)."""
    with_password(area)
    assert own_path(target) is None
    browser = area.browser()
    page = browser.open(f"/sign-in?next={quote(target, safe='')}")
    assert page.tree.one("input", name="next").attributes["value"] == ""
    token = page.tree.all("input", name="form_token")[0].attributes["value"]
    fields = [("form_token", token), ("next", target), ("email", EMAIL), ("password", RIGHT)]
    assert browser.post("/sign-in", fields).path == area.keys_url
    assert browser.open(f"/sign-in?next={quote(target, safe='')}").path == area.keys_url


def test_a_portal_link_leads_to_its_workspace(each_area: Area) -> None:
    """A product's user lands in their workspace, and finds a link back to the product."""
    back = "https://product.example/settings?x=1"
    browser = each_area.browser()
    page = browser.submit(browser.open(portal_link(each_area, back)), "/sign-in")
    assert page.path == each_area.keys_url
    assert page.link("Back to Keystead") == back
    assert DEVICE not in browser.cookies


def test_a_person_without_a_workspace_reads_why(area: Area) -> None:
    """A user without memberships is informed, and may sign in as another user."""
    dana = area.member(Role.DEVELOPER, name="Dana")
    browser = area.signed_in(dana)
    area.services.members.remove(area.principal, dana.user.id)
    page = browser.open(area.keys_url)
    assert (page.heading, "Dana" in page.tree.text) == ("You don't belong to a workspace", True)
    assert page.form("/sign-in").all("input", type="password")


def test_a_password_link_leads_to_the_form(area: Area) -> None:
    """A link for a new password opens the form that sets one."""
    from keystead.domain.sessions import LinkPurpose

    secret, _ = area.services.sign_in.make_link(area.owner, LinkPurpose.PASSWORD)
    browser = area.browser()
    page = browser.submit(browser.open(f"/sign-in?link={secret.reveal()}"), "/sign-in")
    assert page.path == f"/w/{area.workspace_id}/account/password"


def test_the_switcher_leads_to_the_other_workspaces(area: Area) -> None:
    """A user in several workspaces finds their other ones on every page, and no more."""
    mine = also_in(area, "Second")
    area.services.workspaces.create("Foreign", owner="Nora")
    browser = area.signed_in()
    page = browser.open(area.keys_url)
    assert "Foreign" not in page.tree.text
    there = browser.open(page.link("Second"))
    assert there.path == f"/w/{mine}/keys"
    assert there.link("My workspace") == area.keys_url


def test_the_switcher_keeps_the_section(area: Area) -> None:
    """From a page of one section it leads to that section of the other workspace, from the account to the account."""
    other = also_in(area, "Second")
    browser = area.signed_in()
    base, there = f"/w/{area.workspace_id}", f"/w/{other}"
    for path in ("webhooks", "activity", "plan", "members", "account", "quick-start"):
        assert browser.open(f"{base}/{path}").link("Second") == f"{there}/{path}"
    for path in ("keys/new", "notices"):
        assert browser.open(f"{base}/{path}").link("Second") == f"{there}/keys"
    assert browser.open(f"{base}/webhooks/new").link("Second") == f"{there}/webhooks"
    for path in ("webhooks", "activity", "plan", "members", "account", "quick-start"):
        assert browser.open(f"{there}/{path}").status == 200


def test_home_is_the_last_workspace(area: Area) -> None:
    """The first page opens the workspace whose page the user opened last, while they are a member of it."""
    with_password(area)
    other = also_in(area, "Second")
    browser = enter(area)
    assert browser.open("/").path == area.keys_url
    browser.open(f"/w/{other}/members", **{"Keystead-Background": "refresh"})
    assert browser.open("/").path == area.keys_url
    browser.open(f"/w/{other}/members")
    assert browser.open("/").path == f"/w/{other}/keys"
    browser.submit(browser.open(area.keys_url), "/sign-out")
    browser.open(f"/w/{other}/keys")
    assert sign_in(browser, EMAIL, RIGHT).path == area.keys_url
    there = area.services.members.get(operator("test", other), area.owner.user.id)
    area.services.members.remove(operator("test", other), there.user.id)
    assert browser.open("/").path == area.keys_url
    for invented in (other, "ws_x", "x" * 5000, ""):
        fresh = area.signed_in()
        fresh.cookies.set(WORKSPACE, invented)
        assert fresh.open("/").path == area.keys_url


def also_in(area: Area, name: str) -> WorkspaceId:
    """Make the owner an owner of another workspace, which is not where they land."""
    area.clock.advance(seconds=1)
    other = area.services.workspaces.create(name, owner="Nora").id
    with write_behind(area.installation.database) as tx:
        workspaces.insert_member(tx, replace(area.owner, workspace_id=other), area.clock.now())
    return other


def test_the_page_names_a_link_that_leads_back(area: Area) -> None:
    """The command that the sign-in page shows makes a link to the page that it interrupted."""
    page = area.browser().open(f"{area.keys_url}?show=active")
    assert f"keystead sign-in-link --next '{area.keys_url}?show=active'" in page.tree.text


@pytest.mark.parametrize("around", ["{}", "Bearer%20{}", "{}%22"])
@pytest.mark.parametrize("target", ["", "dialog#dialog"], ids=["page", "dialog"])
def test_a_pasted_key_is_not_carried(area: Area, around: str, target: str) -> None:
    """A key in a search is neither on the sign-in that interrupts it nor in its address."""
    pasted = around.format(area.key().reveal())
    browser = area.browser()
    page = browser.open(f"{area.keys_url}?show=active&query={pasted}", **{"HX-Target": target})
    assert page.heading == "Sign in"
    assert area.keys_url in page.html
    assert pasted[-30:-3] not in page.html
    assert target or page.path == f"/sign-in?{urlencode({'next': area.keys_url})}"
    assert "--next" not in area.browser().open("/sign-in").tree.text


def test_a_portal_link_is_confirmed_once_in_a_browser(area: Area) -> None:
    """Scripts confirm the product's later links for the same user; everything else waits for a click."""
    with_password(area)

    def is_confirmed(link: str, browser: Browser) -> bool:
        form = browser.open(link).form("/sign-in")
        return "data-confirmed" in form.attributes

    browser = area.browser()
    assert not is_confirmed(portal_link(area), browser)
    browser.submit(browser.open(portal_link(area)), "/sign-in")
    link = portal_link(area)
    assert is_confirmed(link, browser)
    assert is_confirmed(link, browser), "opening it uses nothing up"
    assert browser.submit(browser.open(link), "/sign-in").path == area.keys_url
    assert not is_confirmed(link, browser), "it was used"
    assert not is_confirmed(portal_link(area, user_id="p2"), browser)
    assert not is_confirmed(area.link(), browser)
    assert not is_confirmed(portal_link(area), area.browser())
    area.clock.advance(minutes=6)
    assert not is_confirmed(link, browser)


def from_zone(area: Area, browser: Browser, zone: str) -> Page:
    """Sign in by a link in a browser whose scripts have filled in that time zone."""
    page = browser.open(area.link())
    fields = dict(filled(page.form("/sign-in"), {})) | {"browser_zone": zone}
    return browser.post("/sign-in", fields.items())


def test_the_first_sign_in_adopts_the_browsers_zone(each_area: Area) -> None:
    """A user without a time zone gets the browser's, and reads it; one who has a zone keeps it."""
    seen = from_zone(each_area, each_area.browser(), "Asia/Kolkata")
    said = "Times are shown in your time zone, Asia/Kolkata. You can change it in Account."
    assert (seen.path, said in seen.html) == (each_area.keys_url, True)
    form = each_area.signed_in().open(f"{each_area.keys_url}/new")
    assert "your time (Asia/Kolkata)" in form.tree.text
    again = from_zone(each_area, each_area.browser(), "Pacific/Honolulu")
    assert "Pacific/Honolulu" not in again.html
    assert (
        "your time (Asia/Kolkata)" in each_area.signed_in().open(f"{each_area.keys_url}/new").html
    )


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd", "x" * 5000])
def test_no_other_text_becomes_a_zone(area: Area, zone: str) -> None:
    """Without scripts, and in a zone that the server doesn't know, times stay in UTC."""
    seen = from_zone(area, area.browser(), zone)
    assert (seen.path, "your time zone" in seen.tree.text) == (area.keys_url, False)
    assert "your time (UTC)" in area.signed_in().open(f"{area.keys_url}/new").tree.text


def test_utc_that_was_chosen_stays(area: Area) -> None:
    """A user who chose UTC keeps it, whatever the next browser proposes."""
    browser = area.signed_in()
    account = f"/w/{area.workspace_id}/account"
    browser.submit(browser.open(account), f"{account}/time-zone", time_zone="UTC")
    assert "your time zone" not in from_zone(area, area.browser(), "Asia/Kolkata").tree.text
