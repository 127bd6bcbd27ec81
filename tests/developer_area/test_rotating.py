"""Rotating a key: the old one expires when chosen, the new token is shown once, and every refusal is a sentence."""

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
    """Return the URL of a key's rotation."""
    return f"{area.keys_url}/{token.key_id}/rotate"


def rotated(area: Area, token: Token, overlap: str) -> Page:
    """Send the form with that choice of overlap."""
    url, browser = rotate_url(area, token), area.signed_in()
    return browser.submit(browser.open(url), url, overlap=overlap)


def is_good(area: Area, text: str) -> bool:
    """Return whether a token is accepted now."""
    return isinstance(area.services.verifier.verify(text), Verified)


@pytest.mark.parametrize("overlap", list(END))
def test_the_old_key_ends_when_chosen(each_area: Area, overlap: str) -> None:
    """Immediately, or after an hour, a day or a week: until then both work, from then on only the new one."""
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
    """Next to the token the page says exactly when the old key stops, or that it has stopped."""
    token = area.key("sync", days=90)
    sentence = f"The old key {token.hint} stops working in 24 hours: 24 Nov 2026, 12:00:00 UTC."
    assert sentence in rotated(area, token, "day").tree.text
    other = area.key("other")
    assert f"The old key {other.hint} has stopped working." in rotated(area, other, "now").tree.text


def test_nothing_is_chosen_beforehand(area: Area) -> None:
    """Each option shows its exact time; none is preselected, and one must be chosen."""
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
    """A week of overlap for a key that expires in a day is a day."""
    token = area.key("sync", days=1)
    rotated(area, token, "week")
    area.clock.advance(days=1)
    assert not is_good(area, token.reveal())


def test_the_table_shows_it(each_area: Area) -> None:
    """The old key's row shows its expiry and links to its successor; it doesn't count towards the limit."""
    token = each_area.key("sync", days=90)
    rotated(each_area, token, "day")
    each_area.clock.advance(hours=1)
    new = newest(each_area)
    browser = each_area.signed_in()
    page = browser.open(each_area.keys_url)
    assert [(row["Key"].replace(" ", ""), row["Status"]) for row in page.rows()] == [
        (new.hint, "Active"),
        (token.hint, "Active"),
    ]
    assert page.rows()[1]["Description"] == f"sync rotated to {new.hint} · Full access"
    assert page.rows()[1]["Expires"].startswith("in 23 hours")
    assert browser.open(page.link(new.hint)).path == f"{each_area.keys_url}/{new.id}"
    assert "1 of 5 active keys" in page.tree.text
    each_area.clock.advance(hours=23)
    expired = each_area.signed_in().open(f"{each_area.keys_url}?show=expired").rows()
    assert [row["Status"] for row in expired] == ["Expired"]
    assert f"rotated to {new.hint}" in expired[0]["Description"]


def test_the_token_is_in_one_answer(area: Area) -> None:
    """No later page contains the new token, and the same form again shows none and creates no other key."""
    token = area.key("sync")
    url, browser = rotate_url(area, token), area.signed_in()
    fields = filled(browser.open(url).form(url), {"overlap": "day"})
    first, again = browser.post(url, fields), browser.post(url, fields)
    secret = token_on(first)[-49:]
    assert first.headers["cache-control"] == "no-store"
    assert (again.status, again.heading) == (200, "Already created. Its token was shown once")
    assert secret not in again.html
    new = newest(area)
    for page in ("", f"/{token.key_id}", f"/{new.id}", f"/{new.id}/rotate", f"/{new.id}/edit"):
        assert secret not in browser.open(area.keys_url + page).html
    assert len(area.services.keys.list(area.principal).items) == 2


def test_it_works_at_the_limit(area: Area) -> None:
    """Rotation needs no room: with five of five keys in use, each can still be rotated."""
    tokens = [area.key(f"key {number}") for number in range(5)]
    assert rotated(area, tokens[0], "day").status == 201
    assert area.active() == 5


def test_a_missing_choice_is_an_error(area: Area) -> None:
    """A form without an option, or with an invented one, comes back with an error; nothing was done."""
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
    """The page of such a key offers no form; one that was open before is refused with the same sentence."""
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
        area.services.rotations.rotate(area.principal, token.key_id, overlap=timedelta(hours=1))
    before = len(area.services.keys.list(area.principal).items)
    for seen, status in ((browser.open(url), 200), (browser.post(url, fields), 409)):
        assert seen.status == status
        assert seen.tree.one("p", class_="notice notice-danger").text == sentence
        assert seen.tree.all("form", action=url) == []
    assert len(area.services.keys.list(area.principal).items) == before


def test_no_chains_of_overlaps(area: Area) -> None:
    """While its predecessor still works a key cannot be rotated; the page names the predecessor."""
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


def test_a_used_form_with_another_choice_is_refused_in_words(area: Area) -> None:
    """A form that has rotated the key, sent again with another overlap, shows the successor and rotates nothing."""
    token = area.key("sync", days=90)
    url, browser = rotate_url(area, token), area.signed_in()
    form = browser.open(url)
    browser.submit(form, url, overlap="day")
    again = browser.submit(form, url, overlap="week")
    assert again.status == 409
    assert "It was rotated to" in again.tree.text
    assert len(area.services.keys.list(area.principal).items) == 2
