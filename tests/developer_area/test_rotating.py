"""Rotating a key: when the old one ends is chosen, the new token is shown once, and every refusal is a sentence."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.domain.keys import KeyStatus
from keystead.domain.token import Token, parse
from keystead.domain.verification import Verified
from tests.developer_area.conftest import Area
from tests.support.browser import Page, filled
from tests.support.key_pages import newest, token_on

END = {"now": 0, "hour": 3_600, "day": 86_400, "week": 604_800}


def rotate_url(area: Area, token: Token) -> str:
    """Where a key is rotated."""
    return f"{area.keys_url}/{token.key_id}/rotate"


def rotated(area: Area, token: Token, overlap: str) -> Page:
    """The answer to the form, with that choice."""
    url, browser = rotate_url(area, token), area.signed_in()
    return browser.submit(browser.open(url), url, overlap=overlap)


def is_good(area: Area, text: str) -> bool:
    """Whether a token is accepted now."""
    return isinstance(area.services.verifier.verify(text), Verified)


@pytest.mark.parametrize("overlap", list(END))
def test_the_old_key_ends_when_chosen(each_area: Area, overlap: str) -> None:
    """Now, or after an hour, a day, a week: until then both work, from then on the new one alone."""
    token = each_area.key("sync", days=90)
    seen = rotated(each_area, token, overlap)
    new = token_on(seen)
    assert (seen.status, seen.heading) == (201, "Copy your API key now")
    assert is_good(each_area, new)
    if END[overlap]:
        each_area.clock.advance(seconds=END[overlap] - 1)
        assert is_good(each_area, token.reveal())
        each_area.clock.advance(seconds=1)
    assert not is_good(each_area, token.reveal())
    assert is_good(each_area, new)


def test_the_answer_says_what_becomes_of_the_old_key(area: Area) -> None:
    """Beside the token stands when the old key stops, exactly; or that it has."""
    token = area.key("sync", days=90)
    said = f"The old key {token.hint} stops working in 24 hours: 24 Nov 2026, 12:00:00 UTC."
    assert said in rotated(area, token, "day").tree.text
    other = area.key("other")
    assert f"The old key {other.hint} has stopped working." in rotated(area, other, "now").tree.text


def test_nothing_is_chosen_beforehand(area: Area) -> None:
    """Each choice shows the exact instant; none is made for the person, and one must be made."""
    token = area.key("sync", days=1)
    seen = area.signed_in().open(rotate_url(area, token))
    radios = seen.tree.all("input", type="radio", name="overlap")
    assert [r.attributes["value"] for r in radios] == list(END)
    assert all("checked" not in r.attributes and "required" in r.attributes for r in radios)
    assert [label.text for label in seen.tree.all("label", class_="choice")] == [
        "Immediately Anything using it breaks until you deploy the new key.",
        "In 1 hour until 23 Nov 2026, 13:00:00 UTC",
        "In 24 hours until 24 Nov 2026, 12:00:00 UTC",
        "In 7 days at its own expiry: 24 Nov 2026, 12:00:00 UTC",
    ]
    assert "expires in 24 hours: 24 Nov 2026, 12:00:00 UTC." in seen.tree.text


def test_never_later_than_its_own_expiry(area: Area) -> None:
    """A week of overlap for a key that has a day left is a day."""
    token = area.key("sync", days=1)
    rotated(area, token, "week")
    area.clock.advance(days=1)
    assert not is_good(area, token.reveal())


def test_the_table_tells_of_it(each_area: Area) -> None:
    """The old key's row says when it ends and what took its place, and leads there; it does not count."""
    token = each_area.key("sync", days=90)
    rotated(each_area, token, "day")
    each_area.clock.advance(hours=1)
    new = newest(each_area)
    browser = each_area.signed_in()
    page = browser.open(each_area.keys_url)
    statuses = {row["Key"]: row["Status"] for row in page.rows()}
    assert statuses == {
        new.hint: "Active",
        token.hint: f"Active expires in 23 hours, rotated to {new.hint}",
    }
    assert browser.open(page.link(new.hint)).path == f"{each_area.keys_url}/{new.id}"
    assert "1 of 5 active keys" in page.tree.text
    each_area.clock.advance(hours=23)
    expired = each_area.signed_in().open(f"{each_area.keys_url}?show=expired").rows()
    assert [row["Status"] for row in expired] == [f"Expired rotated to {new.hint}"]


def test_the_token_is_in_one_answer(area: Area) -> None:
    """No later page holds the new token, and the same form again shows none and makes no other key."""
    token = area.key("sync")
    url, browser = rotate_url(area, token), area.signed_in()
    fields = filled(browser.open(url).form(url), {"overlap": "day"})
    first, again = browser.post(url, fields), browser.post(url, fields)
    secret = token_on(first)[-49:]
    assert first.headers["cache-control"] == "no-store"
    assert (again.status, again.heading) == (200, "Already created; its token was shown once")
    assert secret not in again.html
    new = newest(area)
    for page in ("", f"/{token.key_id}", f"/{new.id}", f"/{new.id}/rotate", f"/{new.id}/edit"):
        assert secret not in browser.open(area.keys_url + page).html
    assert len(area.services.keys.list(area.principal).items) == 2


def test_it_works_at_the_limit(area: Area) -> None:
    """Rotation needs no room: with five of five keys in use each can still be rotated."""
    tokens = [area.key(f"key {number}") for number in range(5)]
    assert rotated(area, tokens[0], "day").status == 201
    assert area.active() == 5


def test_a_missing_choice_is_said(area: Area) -> None:
    """A form without a choice, or with a made-up one, comes back with a sentence; nothing was done."""
    token = area.key("sync")
    url, browser = rotate_url(area, token), area.signed_in()
    fields = filled(browser.open(url).form(url), {"overlap": "day"})
    for value in ("", "year", "-1"):
        seen = browser.post(
            url, [(n, v) for n, v in fields if n != "overlap"] + [("overlap", value)]
        )
        assert seen.status == 422
        assert seen.tree.one("p", class_="problem").text == "Choose when the old key stops working."
    assert newest(area).id == token.key_id


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("expired", "The key has expired; create a new one."),
        ("revoked", "The key was revoked; that is final."),
        ("rotated", "The key was rotated already; rotate its successor."),
    ],
)
def test_what_cannot_be_rotated_says_why(area: Area, state: str, sentence: str) -> None:
    """The page of such a key offers no form; and one that was open before is answered with the same sentence."""
    token = area.key("sync", days=1)
    url, browser = rotate_url(area, token), area.signed_in()
    fields = filled(browser.open(url).form(url), {"overlap": "day"})
    if state == "expired":
        area.clock.advance(days=1)
        browser = area.signed_in()
        fields = [(n, v) for n, v in fields if n != "form_token"]
        page = browser.open(f"{area.keys_url}/new")
        fields.append(
            ("form_token", page.tree.all("input", name="form_token")[0].attributes["value"])
        )
    elif state == "revoked":
        area.services.keys.revoke(area.principal, token.key_id)
    else:
        area.services.keys.rotate(area.principal, token.key_id, overlap=timedelta(hours=1))
    before = len(area.services.keys.list(area.principal).items)
    for seen, status in ((browser.open(url), 200), (browser.post(url, fields), 409)):
        assert seen.status == status
        assert seen.tree.one("p", class_="notice notice-danger").text == sentence
        assert seen.tree.all("form", action=url) == []
    assert len(area.services.keys.list(area.principal).items) == before


def test_no_chains_of_overlaps(area: Area) -> None:
    """While the key before it still works a key cannot be rotated; the page names that one."""
    token = area.key("sync")
    new = parse(token_on(rotated(area, token, "day")))
    assert new is not None
    seen = area.signed_in().open(rotate_url(area, new))
    assert f"Its predecessor {token.hint} still works." in seen.tree.text
    assert seen.tree.all("form", action=rotate_url(area, new)) == []
    area.clock.advance(days=1)
    assert rotated(area, new, "now").status == 201
    old = area.services.keys.get(area.principal, new.key_id)
    assert old.status(area.clock.now()) is KeyStatus.REVOKED
