"""Forms that did not come from one of our pages in the same browser change nothing."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area, session_of
from tests.support.browser import ORIGIN, Browser, Page, filled

Fields = list[tuple[str, str]]
FORM = "application/x-www-form-urlencoded"


class Act:
    """A form as its page offers it, ready to be sent, and how to see whether it had an effect."""

    def __init__(self, area: Area, browser: Browser, url: str, fields: Fields) -> None:
        self.area, self.browser, self.url, self.fields = area, browser, url, fields
        self.before = self.state()

    def state(self) -> tuple[object, ...]:
        """Return everything that the action could change."""
        keys = self.area.services.keys.list(self.area.principal, limit=200).items
        signed_in = self.browser.open("/").path
        return [(k.id, k.revoked_at) for k in keys], signed_in

    def sent(self, **headers: str) -> Page:
        """Send it, with these headers instead of a browser's own."""
        return self.browser.post(self.url, self.fields, **headers)

    def with_token(self, token: str | None) -> Act:
        """Return the same with another form token, or without one."""
        rest = [(name, value) for name, value in self.fields if name != "form_token"]
        self.fields = rest if token is None else [*rest, ("form_token", token)]
        return self


def creating(area: Area) -> Act:
    """Create a key."""
    browser = area.signed_in()
    form = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    return Act(
        area,
        browser,
        area.keys_url,
        filled(form, {"description": "x", "expiry": "30", "access": "full"}),
    )


def revoking(area: Area) -> Act:
    """Revoke a key."""
    url = f"{area.keys_url}/{area.key().key_id}/revoke"
    browser = area.signed_in()
    return Act(area, browser, url, filled(browser.open(url).form(url), {}))


def signing_out(area: Area) -> Act:
    """Sign out."""
    browser = area.signed_in()
    return Act(area, browser, "/sign-out", filled(browser.open("/").form("/sign-out"), {}))


def signing_in(area: Area) -> Act:
    """Sign in, which an attacker would do with a link of their own."""
    browser = area.browser()
    return Act(area, browser, "/sign-in", filled(browser.open(area.link()).form("/sign-in"), {}))


def other_browser(act: Act) -> Page:
    """Use the token of another user's form, in another browser."""
    other = (
        act.area.signed_in(act.area.member(Role.ADMIN))
        .open("/")
        .tree.all("input", name="form_token")[0]
    )
    return act.with_token(other.attributes["value"]).sent()


def token_in_query(act: Act) -> Page:
    """Put the token into the URL in addition to the form."""
    fields = dict(act.fields)
    act.with_token(None).url += "?" + urlencode({"form_token": fields["form_token"]})
    return act.sent()


def token_twice(act: Act) -> Page:
    """Send a valid token after an invalid one."""
    act.fields = [("form_token", "x"), *act.fields]
    return act.sent()


def without_cookie(act: Act) -> Page:
    """Send the form from a browser that has another cookie, or none."""
    act.browser = act.area.browser()
    return act.sent()


def as_json(act: Act) -> Page:
    """Send the fields as JSON, which a script of another site could send as text."""
    body = str(dict(act.fields)).encode()
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "text/plain"}
    return act.browser.request("POST", act.url, headers, body)


def by_get(act: Act) -> Page:
    """Send the form as a link."""
    return act.browser.open(f"{act.url}?{urlencode(act.fields)}")


FORGERIES: dict[str, Callable[[Act], Page]] = {
    "no token": lambda act: act.with_token(None).sent(),
    "empty token": lambda act: act.with_token("").sent(),
    "the session as token": lambda act: act.with_token(session_of(act.browser)).sent(),
    "another browser's token": other_browser,
    "token in the query": token_in_query,
    "token twice": token_twice,
    "without the cookie": without_cookie,
    "from another site": lambda act: act.sent(**{"Sec-Fetch-Site": "cross-site"}),
    "from another origin of the site": lambda act: act.sent(**{"Sec-Fetch-Site": "same-site"}),
    "from nowhere": lambda act: act.sent(**{"Sec-Fetch-Site": "none"}),
    "another origin": lambda act: act.sent(
        **{"Sec-Fetch-Site": "", "Origin": "https://evil.example"}
    ),
    "null origin": lambda act: act.sent(**{"Sec-Fetch-Site": "", "Origin": "null"}),
    "no origin": lambda act: act.sent(**{"Sec-Fetch-Site": "", "Origin": ""}),
    "the origin in http": lambda act: act.sent(
        **{"Sec-Fetch-Site": "", "Origin": "http://keys.example"}
    ),
    "as JSON": as_json,
    "as multipart": lambda act: act.sent(**{"Content-Type": "multipart/form-data; boundary=x"}),
    "by GET": by_get,
}
ACTS = [creating, revoking, signing_out, signing_in]


@pytest.mark.parametrize("make", ACTS, ids=lambda act: act.__name__)
def test_a_forged_form_changes_nothing(area: Area, make: Callable[[Area], Act]) -> None:
    """Every action is refused in every forgery, before anything is done."""
    for name, forgery in FORGERIES.items():
        act = make(area)
        state = act.state()
        browser = act.browser
        seen = forgery(act)
        act.browser = browser
        assert act.state() == state, name
        signed_out = name == "without the cookie" and seen.path.startswith("/sign-in")
        shown = {200, 405} if name == "by GET" or signed_out else set()
        assert seen.status in {400, 403, 415} | shown, name
        for key in area.services.keys.list(area.principal, limit=200).items:
            area.services.keys.revoke(area.principal, key.id)


@pytest.mark.parametrize("make", ACTS, ids=lambda act: act.__name__)
def test_a_real_form_is_accepted(area: Area, make: Callable[[Area], Act]) -> None:
    """The same forms, sent unchanged, have their effect: the forgeries fail because of the forgery."""
    act = make(area)
    assert act.sent().status in {200, 201}
    assert act.state() != act.before


@pytest.mark.parametrize("make", ACTS, ids=lambda act: act.__name__)
def test_a_browser_without_fetch_metadata_shows_its_origin(
    area: Area, make: Callable[[Area], Act]
) -> None:
    """Without Sec-Fetch-Site, our own Origin and the token suffice."""
    act = make(area)
    assert act.sent(**{"Sec-Fetch-Site": "", "Origin": ORIGIN}).status in {200, 201}
    assert act.state() != act.before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x=" + b"y" * 65_536, 413),
        (b"&".join(b"a%d=1" % n for n in range(201)), 400),
        (b"description=%ff", 400),
        (b"description=\xff", 400),
        (b"", 403),
        (b"&&&===&", 403),
    ],
    ids=["large", "many", "not UTF-8", "raw bytes", "empty", "noise"],
)
def test_a_malformed_form_is_refused(area: Area, body: bytes, status: int) -> None:
    """Forms are bounded and UTF-8; nothing else reaches a handler."""
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": FORM}
    seen = area.signed_in().request("POST", area.keys_url, headers, body)
    assert seen.status == status
    assert seen.tree.one("h1").text
