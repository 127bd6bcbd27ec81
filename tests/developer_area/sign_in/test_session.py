"""Signing in and out: links that work once, secure cookies, sessions that expire."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from keystead.developer_area.sign_in.cookies import SESSION
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area, session_of
from tests.support.administrator import write_behind
from tests.support.browser import Browser, on_one_loop
from tests.support.log_lines import logged_lines


def redeem(area: Area, link: str, browser: Browser | None = None) -> int:
    """Send the link's form and return the status."""
    browser = browser or area.browser()
    return browser.submit(browser.open(link), "/sign-in").status


def test_a_link_leads_to_the_keys(each_area: Area) -> None:
    """The form behind a sign-in link opens the user's workspace, and names both."""
    browser = each_area.browser()
    page = browser.open(each_area.link())
    assert (page.status, page.heading) == (200, "Sign in")
    keys = browser.submit(page, "/sign-in")
    assert (keys.status, keys.path, keys.heading) == (200, each_area.keys_url, "API keys")
    assert "My workspace" in keys.tree.text
    assert "Owner" in keys.tree.text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('other="', '"; x="\\'),
        ("a=b;;; =; =x;", ";"),
        (f"{SESSION}=another", "  "),
        (f"x{SESSION}=another", f"{SESSION}x=another"),
    ],
)
def test_only_our_own_cookies_are_read(area: Area, before: str, after: str) -> None:
    """The session is found among any other cookies, quoted or not; of two with its name the last counts."""
    session = session_of(area.signed_in())
    sent = {"Cookie": f"{before}; {SESSION}={session} ;{after}"}
    assert area.browser().request("GET", area.keys_url, sent).path == area.keys_url
    sent = {"Cookie": f'{before}; {SESSION}="{session}"'}
    assert area.browser().request("GET", area.keys_url, sent).path != area.keys_url


def test_opening_a_link_does_not_use_it_up(area: Area) -> None:
    """A mail scanner may fetch the link any number of times: the user's form still works."""
    link = area.link()
    for _ in range(3):
        assert area.browser().open(link).status == 200
    assert redeem(area, link) == 200


def test_a_link_signs_in_once(each_area: Area) -> None:
    """A second use is refused with a page that says how to get another link, and starts no session."""
    link = each_area.link()
    assert redeem(each_area, link) == 200
    late = each_area.browser()
    page = late.submit(late.open(link), "/sign-in")
    assert (page.status, page.heading) == (422, "This sign-in link has expired or was already used")
    assert "keystead sign-in-link" in page.tree.text
    assert late.open("/").path == "/sign-in"


def test_only_one_of_two_simultaneous_requests_signs_in(each_area: Area) -> None:
    """Of any number of simultaneous requests with one link, exactly one starts a session."""
    link = each_area.link()
    browsers = [each_area.browser() for _ in range(6)]
    pages = [browser.open(link) for browser in browsers]
    with ThreadPoolExecutor(6) as pool, on_one_loop(*browsers):
        answers = pool.map(
            lambda pair: pair[0].submit(pair[1], "/sign-in"), zip(browsers, pages, strict=True)
        )
        statuses = sorted(answer.status for answer in answers)
    assert statuses == [200, 422, 422, 422, 422, 422]
    assert [b.open("/").path for b in browsers].count(each_area.keys_url) == 1


def test_a_link_expires_after_15_minutes(area: Area) -> None:
    """A link works one second before it expires, and not from then on."""
    early, late = area.link(), area.link()
    area.clock.advance(minutes=14, seconds=59)
    assert redeem(area, early) == 200
    area.clock.advance(seconds=1)
    assert redeem(area, late) == 422


@pytest.mark.parametrize("link", ["x", "A" * 43, "A" * 5000, "ü", "' OR 1=1"])
def test_an_invented_link_is_refused(area: Area, link: str) -> None:
    """A link that never existed gets the same answer as a used one."""
    browser = area.browser()
    page = browser.open("/sign-in?link=x")
    token = page.tree.one("input", name="form_token").attributes["value"]
    assert browser.post("/sign-in", [("form_token", token), ("link", link)]).status == 422


def test_the_cookie_is_bound_and_hidden(area: Area) -> None:
    """The cookie has the `__Host-` prefix and every protection, and holds 256 random bits."""
    browser = area.browser()
    page = browser.open(area.link())
    before = page.headers["set-cookie"]
    fields = [(i.attributes["name"], i.attributes["value"]) for i in page.tree.all("input")]
    body = "&".join(f"{name}={value}" for name, value in fields).encode()
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    after = _raw_post(browser, "/sign-in", headers, body)
    for line in (before, after):
        name_value, *attributes = [part.strip().lower() for part in line.split(";")]
        assert name_value.startswith(f"{SESSION.lower()}=")
        assert len(name_value) == len(f"{SESSION}=") + 43
        assert sorted(attributes) == ["httponly", "path=/", "samesite=lax", "secure"]
        assert len(line) < 4096


def _raw_post(browser: Browser, url: str, headers: dict[str, str], body: bytes) -> str:
    import asyncio

    response = asyncio.run(browser._send("POST", url, headers, body))
    assert response.status_code == 303
    assert "link" not in response.headers["location"]
    (line,) = [c for c in response.headers.get_list("set-cookie") if c.startswith(f"{SESSION}=")]
    return line


def test_signing_in_gives_a_new_secret(area: Area) -> None:
    """A cookie that was set before signing in is worthless afterwards."""
    victim = area.browser()
    page = victim.open(area.link())
    planted = session_of(victim)
    victim.submit(page, "/sign-in")
    assert session_of(victim) != planted
    attacker = area.browser()
    attacker.cookies.set(SESSION, planted)
    assert attacker.open("/").path == "/sign-in"


def test_signing_in_again_ends_the_session_before(area: Area) -> None:
    """Signing in again ends the browser's previous session."""
    browser = area.signed_in()
    before = session_of(browser)
    assert redeem(area, area.link(), browser) == 200
    old = area.browser()
    old.cookies.set(SESSION, before)
    assert old.open("/").path == "/sign-in"
    assert browser.open("/").path == area.keys_url


def test_signing_out_ends_the_session(each_area: Area) -> None:
    """Signing out deletes the cookie, and a copy of it is refused from the next request on."""
    browser = each_area.signed_in()
    copied = session_of(browser)
    page = browser.submit(browser.open(each_area.keys_url), "/sign-out")
    assert page.path == "/sign-in"
    thief = each_area.browser()
    thief.cookies.set(SESSION, copied)
    assert thief.open(each_area.keys_url).path.startswith("/sign-in")


def test_sessions_end_by_themselves(area: Area) -> None:
    """A session expires after an hour without use, and 24 hours after it started, used or not."""
    idle, busy = area.signed_in(), area.signed_in()
    area.clock.advance(minutes=59)
    assert busy.open("/").path == area.keys_url
    area.clock.advance(minutes=1)
    assert idle.open("/").path == "/sign-in"
    for _ in range(45):
        assert busy.open("/").path == area.keys_url
        area.clock.advance(minutes=30)
    area.clock.advance(minutes=29, seconds=59)
    assert busy.open("/").path == area.keys_url
    area.clock.advance(seconds=1)
    assert busy.open("/").path == "/sign-in"


def test_a_page_that_refreshes_keeps_no_session_alive(area: Area) -> None:
    """Requests that a script makes by itself show the page, and the session ends an hour after the last click."""
    browser = area.signed_in()
    for _ in range(5):
        area.clock.advance(minutes=10)
        seen = browser.open(area.keys_url, **{"Keystead-Background": "refresh"})
        assert seen.heading == "API keys"
    area.clock.advance(minutes=10)
    assert browser.open(area.keys_url).heading == "Sign in"


def test_every_page_requires_signing_in(area: Area) -> None:
    """Every page of a workspace requires a session; a fragment makes the browser load the whole page."""
    stranger = area.browser()
    for url in ("/", area.keys_url, f"{area.keys_url}/new", "/w/ws_x/keys"):
        assert stranger.open(url).path.partition("?")[0] == "/sign-in"
    part = stranger.request("GET", area.keys_url, {"HX-Request": "true"})
    assert (part.status, part.html) == (401, "")
    assert part.headers["hx-redirect"].startswith("/sign-in?next=%2Fw%2F")


def test_a_removed_member_is_signed_out_immediately(area: Area) -> None:
    """A session follows the current memberships of its user, not those at its start."""
    member = area.member(Role.DEVELOPER)
    browser = area.signed_in(member)
    with write_behind(area.installation.database) as tx:
        tx.exec_driver_sql("DELETE FROM members WHERE user_id = ?", (member.user.id,))
    assert browser.open(area.keys_url).path.startswith("/sign-in")


def test_a_token_signs_no_user_in(area: Area) -> None:
    """An API key's token signs no user in, neither as a cookie nor in the Authorization field (R56)."""
    token = area.key().reveal()
    browser = area.browser()
    browser.cookies.set(SESSION, token)
    assert browser.open(area.keys_url).path.startswith("/sign-in")
    assert (
        area.browser()
        .open(area.keys_url, Authorization=f"Bearer {token}")
        .path.startswith("/sign-in")
    )


def test_no_secret_is_logged(area: Area) -> None:
    """No line of the log contains the link or the session."""
    link = area.link()
    with logged_lines() as lines:
        browser = area.browser()
        browser.submit(browser.open(link), "/sign-in")
        browser.submit(browser.open(area.keys_url), "/sign-out")
    log = str(lines)
    assert "/sign-in" in log
    assert link.partition("=")[2] not in log
    assert session_of(area.signed_in()) not in log
