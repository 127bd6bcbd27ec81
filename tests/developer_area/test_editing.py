"""Editing a key: its description, an earlier or later expiry, and less access; never more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from keystead.domain.keys import ApiKey, KeyDraft
from keystead.domain.scopes import READ_ONLY
from keystead.domain.token import Token
from tests.developer_area.conftest import Area
from tests.support.browser import Browser, Page, filled
from tests.support.key_pages import forced as forced_new_key


def edit_url(area: Area, token: Token) -> str:
    """Return the URL of a key's form."""
    return f"{area.keys_url}/{token.key_id}/edit"


def edited(area: Area, token: Token, **values: Iterable[str] | str) -> Page:
    """Send the form with these changes."""
    url, browser = edit_url(area, token), area.signed_in()
    return browser.submit(browser.open(url), url, **values)


def forced(area: Area, browser: Browser, token: Token, **values: str) -> Page:
    """Send the same form with values that it does not offer."""
    url = edit_url(area, token)
    own = filled(browser.open(url).form(url), {})
    return browser.post(url, [(n, v) for n, v in own if n not in values] + [*values.items()])


def now(area: Area, token: Token) -> ApiKey:
    """Return the key as it is now."""
    return area.services.keys.get(area.principal, token.key_id)


def narrow(area: Area, *scopes: str) -> Token:
    """Create a key with these scopes."""
    token = area.services.keys.create(area.principal, KeyDraft("narrow", None, scopes)).token
    assert token is not None
    return token


def test_the_form_is_the_key(area: Area) -> None:
    """Saving the unchanged form changes nothing, shows no message, and writes no event."""
    token = narrow(area, "documents:read", "plan:read")
    before = now(area, token)
    seen = edited(area, token)
    assert seen.path == area.keys_url
    assert seen.tree.one("div", role="status").text == ""
    assert now(area, token) == before
    events = area.services.events.list(area.principal, target_id=token.key_id).items
    assert [str(event.type) for event in events] == ["key.created"]


def test_what_is_changed_is_kept(each_area: Area) -> None:
    """Description, expiry and access change together; the list says so."""
    token = each_area.key("sync")
    scopes = ["documents:read", "invoices:read"]
    chosen = {
        **dict.fromkeys(
            ("scope_keys", "scope_collections", "scope_events", "scope_webhooks", "scope_plan"),
            "none",
        ),
        "access": "chosen",
        "scope_documents": "read",
        "scope_invoices": "read",
    }
    seen = edited(each_area, token, description="renamed", expiry="30", **chosen)
    assert (seen.heading, seen.tree.one("div", role="status").text) == (
        "API keys",
        "“renamed” was saved.",
    )
    key = now(each_area, token)
    assert key.expires_at == each_area.clock.now() + timedelta(days=30)
    assert list(key.scopes) == scopes


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"expiry": "keep"}, datetime(2026, 12, 23, 12, tzinfo=UTC)),
        ({"expiry": "90"}, datetime(2027, 2, 21, 12, tzinfo=UTC)),
        (
            {"expiry": "date", "expires_on": "2026-11-24"},
            datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC),
        ),
        ({"expiry": "never"}, None),
    ],
)
def test_an_end_may_come_sooner_or_later(
    area: Area, fields: dict[str, str], ends: datetime | None
) -> None:
    """The expiry may stay, move later or earlier, or be removed."""
    token = area.key("sync", days=30)
    assert edited(area, token, **fields).status == 200
    assert now(area, token).expires_at == ends


def test_only_scopes_that_it_holds_are_offered(area: Area) -> None:
    """A narrow key is offered its own scopes, a full one all but `keys:write`; read-only only if that is less."""
    browser = area.signed_in()

    def offered(token: Token, name: str) -> list[str]:
        inputs = browser.open(edit_url(area, token)).tree.all("input", name=name)
        return [i.attributes["value"] for i in inputs if "disabled" not in i.attributes]

    few = narrow(area, "documents:read", "keys:write")
    assert offered(few, "scope_documents") == ["none", "read"]
    assert offered(few, "scope_keys") == ["none", "write-only"]
    assert offered(few, "scope_plan") == ["none"]
    assert offered(few, "access") == ["keep", "chosen"]
    page = browser.open(edit_url(area, few)).tree
    reason = page.one("span", id="scope_documents-reason").text
    assert reason == "This key doesn't have Write."
    full = area.key("full")
    assert offered(full, "scope_documents") == ["none", "read", "write"]
    assert offered(full, "scope_keys") == ["none", "read"]
    assert offered(full, "access") == ["keep", "read-only", "chosen"]
    assert edited(area, full, access="read-only").status == 200
    assert list(now(area, full).scopes) == sorted(READ_ONLY)
    assert offered(full, "access") == ["keep", "chosen"]


@pytest.mark.parametrize(
    "fields",
    [
        {"access": "full"},
        {"access": "read-only"},
        {"access": "chosen", "scope": "documents:write"},
        {"access": "chosen", "scope": "*"},
    ],
)
def test_access_never_grows(area: Area, fields: dict[str, str]) -> None:
    """Any value that the form does not offer is refused in a sentence, and nothing changes."""
    token = narrow(area, "documents:read", "plan:read")
    before = now(area, token)
    seen = forced(area, area.signed_in(), token, **fields)
    assert seen.status == 409
    assert "A key's scopes may only shrink; create a new key for more." in seen.tree.text
    assert now(area, token) == before


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"description": ""}, "Enter a description of up to 200 characters"),
        ({"description": "two\nlines"}, "Enter a description of up to 200 characters"),
        ({"expiry": ""}, "Choose when the key expires"),
        ({"expiry": "date", "expires_on": "2026-11-22"}, "Expiry must be later than now"),
        ({"expiry": "date", "expires_on": "x"}, "Expiry must be a valid date"),
        ({"access": ""}, "Choose what the key may do"),
        ({"access": "chosen", "scope": "nothing:known"}, "Access is not a known scope"),
    ],
)
def test_errors_are_shown_at_their_field(area: Area, fields: dict[str, str], problem: str) -> None:
    """A refused form comes back with an error at the field and with the entered values; nothing changes."""
    token = area.key("sync", days=30)
    before = now(area, token)
    seen = forced(area, area.signed_in(), token, **fields)
    assert seen.status == 422
    (error,) = [p.text for p in seen.tree.all("p", class_="problem")]
    assert error.startswith(problem)
    assert now(area, token) == before


def test_a_new_key_cannot_keep_anything(area: Area) -> None:
    """The options to keep a value are refused for a new key, which has nothing to keep."""
    for field in ("expiry", "access"):
        assert forced_new_key(area, area.signed_in(), **{field: "keep"}).status == 422
    assert area.active() == 0


def test_an_overlap_is_not_made_longer(area: Area) -> None:
    """A rotated key may expire earlier, but not later."""
    token = area.key("sync", days=30)
    area.services.rotations.rotate(area.principal, token.key_id, overlap=timedelta(days=3))
    seen = edited(area, token, expiry="90")
    assert seen.status == 409
    assert "The key was rotated; its overlap can't be extended." in seen.tree.text
    assert edited(area, token, expiry="date", expires_on="2026-11-24").status == 200
    assert now(area, token).expires_at == datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)


def test_an_expired_key_is_only_described(area: Area) -> None:
    """The page offers only the description; any other change is refused."""
    token = area.key("sync", days=1)
    area.clock.advance(days=2)
    browser = area.signed_in()
    page = browser.open(edit_url(area, token))
    assert "This key has expired, so you can only change its description." in page.tree.text
    assert page.tree.all("input", type="radio") == []
    assert "“was the sync” was saved." in edited(area, token, description="was the sync").tree.text
    refused = forced(area, browser, token, expiry="never")
    assert (refused.status, "The key has expired" in refused.tree.text) == (409, True)


def test_a_revoked_key_is_a_record(area: Area) -> None:
    """A revoked key cannot change: the page says so, and an older form is refused."""
    token = area.key("sync")
    url, browser = edit_url(area, token), area.signed_in()
    fields = filled(browser.open(url).form(url), {"description": "other"})
    area.services.keys.revoke(area.principal, token.key_id)
    late = browser.post(url, fields)
    assert (late.status, "The key was revoked; that is final." in late.tree.text) == (409, True)
    assert browser.open(url).tree.all("form", action=url) == []
    assert now(area, token).description == "sync"


def test_an_older_form_loses_no_change(each_area: Area) -> None:
    """One tab renames the key, an older one sets its expiry: both see the other's change (R105)."""
    token = each_area.key("sync")
    url, browser = edit_url(each_area, token), each_area.signed_in()
    opened_before = browser.open(url)
    assert edited(each_area, token, description="renamed").status == 200
    before = now(each_area, token)
    refused = browser.submit(opened_before, url, expiry="30")
    assert refused.status == 409
    assert now(each_area, token) == before
    listed = [item.text for item in refused.tree.all("li") if "you entered" in item.text]
    assert listed[0] == "Description: you entered “sync”, it is now “renamed”"
    assert listed[1].startswith("Expires: you entered “30 days”, it is now “")
    assert len(listed) == 2
    saved = browser.submit(refused, url, description="renamed", expiry="30")
    assert saved.path.split("#")[0] == f"{each_area.keys_url}?changed={token.key_id}"
    key = now(each_area, token)
    assert (key.description, key.expires_at) == (
        "renamed",
        each_area.clock.now() + timedelta(days=30),
    )


@pytest.mark.parametrize("version", ["", "0", "1", "x", "*"])
def test_a_form_without_its_version_changes_nothing(area: Area, version: str) -> None:
    """A form without its version counts as outdated."""
    token = area.key("sync")
    edited(area, token, description="renamed")
    seen = forced(area, area.signed_in(), token, version=version, description="other")
    assert (seen.status, now(area, token).description) == (409, "renamed")
