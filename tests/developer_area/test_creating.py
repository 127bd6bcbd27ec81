"""Creating a key with a plain form: the token once, a chosen expiry and access, never two keys by accident."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from keystead.domain.access import sentence_of
from keystead.domain.scopes import READ_ONLY, Scopes
from keystead.domain.token import parse
from tests.developer_area.conftest import Area
from tests.support.browser import ORIGIN, filled, on_one_loop
from tests.support.key_pages import NEW_KEY, create, forced, newest, token_on


def test_a_key_is_created_and_works(each_area: Area) -> None:
    """The response shows a token that verifies, and a curl command that sends it."""
    seen = create(each_area, each_area.signed_in(), description="data-warehouse sync")
    token = token_on(seen)
    assert (seen.status, seen.heading) == (201, "Copy your API key now")
    curl = seen.tree.one("textarea", id="curl").raw
    assert curl == f'curl -H "Authorization: Bearer {token}" {ORIGIN}/v1/whoami'
    assert parse(token) is not None
    verified = each_area.services.verifier.verify(token)
    assert verified.principal.name == "data-warehouse sync"  # type: ignore[union-attr]


def test_the_token_is_in_one_answer(area: Area) -> None:
    """Only the response to the form contains the token, and nothing caches that response."""
    browser = area.signed_in()
    created = create(area, browser)
    token = token_on(created)
    secret = token[-49:]
    assert created.headers["cache-control"] == "no-store"
    assert secret not in str(created.headers)
    assert secret not in created.path
    key_id = newest(area).id
    pages = ["", "/new", f"/{key_id}/revoke", "?show=history", f"?query={token[-4:]}"]
    for page in pages:
        seen = browser.open(area.keys_url + page)
        assert secret not in seen.html + str(seen.headers), page
    assert secret not in str(browser.cookies)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("expiry", ["30", "90", "365", "date", "never"]),
        ("access", ["full", "read-only", "chosen"]),
    ],
)
def test_nothing_is_preselected(area: Area, name: str, options: list[str]) -> None:
    """Neither expiry nor access is assumed: no option is checked, and one must be chosen."""
    page = area.signed_in().open(f"{area.keys_url}/new").tree
    radios = page.all("input", type="radio", name=name)
    assert [r.attributes["value"] for r in radios] == options
    assert all("checked" not in r.attributes and "required" in r.attributes for r in radios)


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"expiry": "30"}, datetime(2026, 12, 23, 12, tzinfo=UTC)),
        ({"expiry": "90"}, datetime(2027, 2, 21, 12, tzinfo=UTC)),
        ({"expiry": "365"}, datetime(2027, 11, 23, 12, tzinfo=UTC)),
        (
            {"expiry": "date", "expires_on": "2028-02-29"},
            datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
        ),
        (
            {"expiry": "date", "expires_on": "9999-12-30"},
            datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC),
        ),
        ({"expiry": "never", "expires_on": "2027-01-01"}, None),
    ],
)
def test_the_chosen_expiry_is_kept(
    area: Area, fields: dict[str, str], ends: datetime | None
) -> None:
    """Each option gives the exact time, in whole seconds, and the response shows it."""
    area.clock.advance(microseconds=999_999)
    seen = create(area, area.signed_in(), **fields)
    assert newest(area).expires_at == ends
    shown = [t.attributes["datetime"] for t in seen.tree.all("time")]
    assert shown == ([] if ends is None else [f"{ends:%Y-%m-%dT%H:%M:%SZ}"])


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("description", "", "Enter a description"),
        ("description", "   ", "Enter a description"),
        ("description", "x" * 201, "Enter a description"),
        ("description", "two\nlines", "Enter a description"),
        ("expiry", "", "Choose when the key expires"),
        ("expiry", "31", "Choose when the key expires"),
        ("expiry", "date", "Expiry must be a valid date"),
        ("expires_on", "2026-11-22", "Expiry must be later than now"),
        ("expires_on", "2027-02-29", "Expiry must be a valid date"),
        ("expires_on", "10000-01-01", "Expiry must be a valid date"),
        ("expires_on", "0000-00-00", "Expiry must be a valid date"),
        ("expires_on", "NaN", "Expiry must be a valid date"),
        ("access", "", "Choose what the key may do"),
        ("access", "chosen", "Choose at least one permission"),
        ("scope", "nothing:known", "Access is not a known scope"),
    ],
)
def test_errors_are_shown_at_their_field(area: Area, field: str, value: str, problem: str) -> None:
    """A refused form comes back with an error at the field and with the entered values; no key is created."""
    fields = {field: value}
    if field == "expires_on":
        fields["expiry"] = "date"
    if field == "scope":
        fields["access"] = "chosen"
    seen = forced(area, area.signed_in(), **fields)
    assert seen.status == 422
    problems = [p.text for p in seen.tree.all("p", class_="problem")]
    assert len(problems) == 1
    assert problems[0].startswith(problem)
    assert area.active() == 0
    if field != "description":
        assert seen.tree.one("input", name="description").attributes["value"] == "sync"


def test_a_fixed_form_creates_the_key(area: Area) -> None:
    """After a refusal the form can be fixed and sent again."""
    browser = area.signed_in()
    refused = forced(area, browser, expiry="")
    assert browser.submit(refused, area.keys_url, expiry="never").status == 201
    assert area.active() == 1


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        ({}, ["*"]),
        ({"access": "full", "scope_keys": "write"}, ["*"]),
        ({"access": "read-only"}, sorted(READ_ONLY)),
        (
            {"access": "chosen", "scope_documents": "read", "scope_invoices": "read"},
            ["documents:read", "invoices:read"],
        ),
        (
            {"access": "chosen", "scope_documents": "write"},
            ["documents:read", "documents:write"],
        ),
        ({"access": "chosen", "scope_keys": "write", "write_only": "keys"}, ["keys:write"]),
    ],
)
def test_the_chosen_access_is_kept(area: Area, fields: dict[str, str], scopes: list[str]) -> None:
    """Full, read-only, or exactly the chosen permissions, including the product's own; the page says which."""
    seen = create(area, area.signed_in(), **fields)
    assert seen.status == 201
    assert list(newest(area).scopes) == scopes
    assert sentence_of(Scopes(scopes)) in seen.tree.one("dl", class_="facts").text


def test_the_same_form_makes_one_key(each_area: Area) -> None:
    """Sent again, by a reload or a second click, the form creates no other key and shows no token."""
    browser = each_area.signed_in()
    form = browser.open(f"{each_area.keys_url}/new").form(each_area.keys_url)
    fields = filled(form, NEW_KEY)
    first = browser.post(each_area.keys_url, fields)
    again = browser.post(each_area.keys_url, fields)
    assert (first.status, again.status) == (201, 200)
    assert again.heading == "Already created. Its token was shown once"
    assert token_on(first)[-49:] not in again.html
    assert each_area.active() == 1
    assert browser.open(again.link("Revoke")).heading == "Revoke “sync”?"


def test_two_simultaneous_clicks_create_one_key(each_area: Area) -> None:
    """Of simultaneous requests with one form, one creates the key and the others say so."""
    browser = each_area.signed_in()
    form = browser.open(f"{each_area.keys_url}/new").form(each_area.keys_url)
    fields = filled(form, NEW_KEY)
    with ThreadPoolExecutor(5) as pool, on_one_loop(browser):
        seen = list(pool.map(lambda _: browser.post(each_area.keys_url, fields), range(5)))
    statuses = sorted(s.status for s in seen)
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}
    assert each_area.active() == 1


def test_a_used_form_with_other_values_asks_first(area: Area) -> None:
    """Going back, changing the form and sending it again asks first, and then creates the key."""
    browser = area.signed_in()
    form = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    browser.post(area.keys_url, filled(form, {**NEW_KEY, "description": "one"}))
    seen = browser.post(area.keys_url, filled(form, {**NEW_KEY, "description": "two"}))
    assert seen.status == 409
    assert "has already created a key" in seen.tree.text
    assert area.active() == 1
    assert browser.submit(seen, area.keys_url).status == 201
    assert newest(area).description == "two"


def test_a_refused_form_may_be_sent_again(area: Area) -> None:
    """A form that failed on the limit creates its key once there is room."""
    tokens = [area.key(f"key {n}") for n in range(5)]
    area.services.keys.revoke(area.principal, tokens[0].key_id)
    browser = area.signed_in()
    form = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    fields = filled(form, {**NEW_KEY, "description": "sixth"})
    extra = area.key("fifth")
    assert browser.post(area.keys_url, fields).status == 409
    area.services.keys.revoke(area.principal, extra.key_id)
    assert browser.post(area.keys_url, fields).status == 201


def test_a_form_without_its_nonce_is_refused(area: Area) -> None:
    """The form's nonce can be neither omitted nor invented."""
    browser = area.signed_in()
    for nonce in ("", "x", "A" * 23, "../../etc"):
        assert forced(area, browser, once=nonce).status == 400
    assert area.active() == 0


def test_at_the_limit_the_page_says_what_to_do(each_area: Area) -> None:
    """Creation is disabled; the page says why and lists the keys that are safest to revoke, with links."""
    for number in range(5):
        each_area.clock.advance(minutes=1)
        each_area.key(f"key {number}")
    browser = each_area.signed_in()
    page = browser.open(each_area.keys_url)
    assert "disabled" in page.tree.one("button", aria_describedby="limit-title").attributes
    assert "The Free plan allows 5 active keys, and 5 are in use." in page.tree.text
    candidates = page.tree.one("ul", class_="candidates").all("li")
    assert [c.all("strong")[0].text for c in candidates] == [f"key {n}" for n in range(5)]
    assert page.link("change the plan") == "https://product.example/plans"
    new = browser.open(f"{each_area.keys_url}/new")
    assert new.tree.all("form", action=each_area.keys_url) == []
    confirm = browser.open(candidates[0].all("a")[0].attributes["href"])
    browser.submit(confirm, confirm.path)
    assert create(each_area, browser).status == 201


def test_a_form_opened_before_the_limit_was_reached_is_refused_kindly(area: Area) -> None:
    """The plan's limit also applies to a form that was opened while there was room."""
    browser = area.signed_in()
    form = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    for number in range(5):
        area.key(f"key {number}")
    seen = browser.post(area.keys_url, filled(form, {**NEW_KEY, "description": "sixth"}))
    assert seen.status == 409
    assert "You've reached your key limit" in seen.tree.text
    assert area.active() == 5


def test_what_was_entered_is_not_in_the_address(area: Area) -> None:
    """The values of a form are in its body only; the response has the URL of the list."""
    seen = create(area, area.signed_in(), description="secret project")
    assert seen.path == area.keys_url
    assert urlencode({"d": "secret project"})[2:] not in seen.path
