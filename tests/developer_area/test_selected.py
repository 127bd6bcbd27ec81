"""Several keys in one change: the checked ones or a whole review, in one question, with one event for each."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest

from keystead.domain.events import EventType
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft
from keystead.domain.workspaces import Role
from keystead.services.keys import BATCH
from tests.developer_area.conftest import Area
from tests.support.browser import Browser, Page
from tests.support.key_pages import descriptions, unlimited, used
from tests.support.people import acting


def checked(area: Area, browser: Browser, *ids: str, act: str = "revoke", query: str = "") -> Page:
    """Check those keys in the list and press a button of the bar."""
    form = browser.open(f"{area.keys_url}{query}").tree.one("form", id="selected")
    state = [e.attributes["value"] for e in form.all("input", name="list")]
    parameters = [f"key={id}" for id in ids] + [f"list={quote(value)}" for value in state]
    return browser.open(f"{area.keys_url}/{act}?{'&'.join(parameters)}")


def question_url(seen: Page, act: str = "revoke") -> str:
    """Return the address of the question's form."""
    forms = [e.attributes["action"] for e in seen.tree.all("form")]
    return next(url for url in forms if f"/keys/{act}" in url)


def status(seen: Page) -> str:
    """Return what the page says was done."""
    return seen.tree.one("div", id="status").text


def revocations(area: Area) -> list[str]:
    """Return the target of each revocation, the newest first."""
    types = (EventType.KEY_REVOKED,)
    return [
        e.target.id for e in area.services.events.list(area.principal, types=types, limit=200).items
    ]


def test_checked_keys_are_revoked_in_one_go(each_area: Area) -> None:
    """The question lists each key with its last use; afterwards the same filter says how many were revoked."""
    unlimited(each_area)
    ids = [each_area.key(f"spare {number}", days=30).key_id for number in range(4)]
    browser = each_area.signed_in()
    question = checked(each_area, browser, *ids[:3], query="?show=active")
    assert question.heading == "Revoke 3 keys?"
    listed = [item.text for item in question.tree.one("ul", class_="chosen").all("li")]
    assert len(listed) == 3
    assert all("never used" in text for text in listed)
    result = browser.submit(question, question_url(question))
    assert result.path == f"{each_area.keys_url}?show=active"
    assert (status(result), descriptions(result)) == ("3 keys were revoked.", ["spare 3"])
    assert sorted(revocations(each_area)) == sorted(ids[:3])


def test_a_whole_review_is_one_question(each_area: Area) -> None:
    """All 118 keys of a review are listed and revoked, in batches, each with its event."""
    unlimited(each_area)
    ids = [each_area.key(f"trial {number:03}", days=200).key_id for number in range(118)]
    each_area.clock.advance(days=31)
    keeper = each_area.key("keeper", days=200)
    browser = each_area.signed_in()
    seen = browser.open(f"{each_area.keys_url}?show=never-used")
    box = seen.tree.one("input", name="whole")
    assert "Select all 118" in seen.tree.text
    question = browser.open(
        f"{each_area.keys_url}/revoke?whole={box.attributes['value']}&list=show%3Dnever-used"
    )
    assert question.heading == "Revoke 118 keys?"
    result = browser.submit(question, question_url(question))
    assert status(result) == "118 keys were revoked."
    assert len(ids) > BATCH
    assert sorted(revocations(each_area)) == sorted(ids)
    assert each_area.services.keys.get(each_area.principal, keeper.key_id).revoked_at is None


def test_a_key_in_use_asks_for_the_number(each_area: Area) -> None:
    """Keys in use come first, and their revocation needs the number of keys typed once."""
    quiet, busy = each_area.key("quiet"), each_area.key("busy")
    used(each_area, busy)
    browser = each_area.signed_in()
    question = checked(each_area, browser, quiet.key_id, busy.key_id)
    first = question.tree.one("ul", class_="chosen").all("li")[0]
    assert first.text.startswith("busy")
    assert "last used just now" in first.text
    assert "1 of them was used in the last 24 hours." in question.tree.text
    again = browser.submit(question, question_url(question), confirmation="3")
    assert (again.status, each_area.active()) == (422, 2)
    assert "That doesn't match. Type 2 to revoke these keys." in again.tree.text
    result = browser.submit(again, question_url(again), confirmation=" 2 ")
    assert (status(result), each_area.active()) == ("2 keys were revoked.", 0)


@pytest.mark.parametrize("act", ["revoke", "expire"])
def test_another_workspaces_key_is_as_one_that_never_was(each_area: Area, act: str) -> None:
    """A foreign id among one's own is answered like an invented one, and nothing is changed."""
    own = each_area.key("own")
    other = each_area.services.workspaces.create("Other", owner="Olga").id
    stranger = acting(each_area.services.workspaces.owner(other), each_area.clock.now())
    foreign = each_area.services.keys.create(stranger, KeyDraft("foreign", None)).key
    browser = each_area.signed_in()
    question = checked(each_area, browser, own.key_id, act=act)
    seen = {}
    for id in (foreign.id, KeyId("key_" + "0" * 22), KeyId("x")):
        opened = browser.open(f"{each_area.keys_url}/{act}?key={own.key_id}&key={id}")
        fields = {
            "form_token": question.tree.all("input", name="form_token")[0].attributes["value"],
            "keys": f"{own.key_id} {id}",
            "expiry": "30",
            "confirmation": "",
        }
        posted = browser.post(question_url(question, act), list(fields.items()))
        seen[id] = (opened.status, opened.tree.text, posted.status, posted.tree.text)
    assert len(set(seen.values())) == 1
    assert seen[foreign.id][0] == seen[foreign.id][2] == 404
    assert each_area.services.keys.get(stranger, foreign.id) == foreign
    assert each_area.services.keys.get(each_area.principal, own.key_id).version == 1
    assert each_area.active() == 1


def test_a_developer_changes_only_their_own(area: Area) -> None:
    """A developer sees no box on another's key, and a forged choice of it is refused."""
    theirs = area.key("theirs")
    dana = area.member(Role.DEVELOPER, name="Dana")
    own = area.key("of Dana", by=dana)
    browser = area.signed_in(dana)
    boxes = browser.open(area.keys_url).tree.all("input", name="key")
    assert [box.attributes["value"] for box in boxes] == [own.key_id]
    seen = browser.open(f"{area.keys_url}/revoke?key={own.key_id}&key={theirs.key_id}")
    assert (seen.status, area.active()) == (403, 2)


def test_a_viewer_has_no_boxes(area: Area) -> None:
    """A viewer's list offers no change."""
    area.key()
    seen = area.signed_in(area.member(Role.VIEWER)).open(area.keys_url)
    assert seen.tree.all("form", id="selected") == seen.tree.all("input", name="key") == []
    assert seen.tree.all("a", class_="dots") == []


def test_nothing_checked_says_so(area: Area) -> None:
    """The button without any checked key leads back to the same list, with a hint."""
    area.key()
    browser = area.signed_in()
    seen = checked(area, browser, query="?show=active")
    assert (seen.path, status(seen)) == (
        f"{area.keys_url}?show=active",
        "Select at least one key first.",
    )


def test_the_same_question_twice_revokes_once(area: Area) -> None:
    """Sent again, the form changes nothing and reports nothing as revoked."""
    ids = [area.key(name).key_id for name in ("a", "b")]
    browser = area.signed_in()
    question = checked(area, browser, *ids)
    browser.submit(question, question_url(question))
    again = browser.submit(question, question_url(question))
    assert (status(again), len(revocations(area))) == ("0 keys were revoked.", 2)


def test_an_expiry_is_set_for_a_review(each_area: Area) -> None:
    """Keys that never expire get an expiry in one go, each with its event; the review is then empty."""
    ids = [each_area.key(name).key_id for name in ("a", "b", "c")]
    browser = each_area.signed_in()
    question = checked(each_area, browser, *ids, act="expire", query="?show=endless")
    assert question.heading == "Set an expiry for 3 keys"
    form = question.form(question_url(question, "expire"))
    kept = [(e.attributes["name"], e.attributes["value"]) for e in form.all("input", type="hidden")]
    refused = browser.post(question_url(question, "expire"), kept)
    assert refused.status == 422
    assert "Choose when the key expires." in refused.tree.text
    result = browser.submit(question, question_url(question, "expire"), expiry="90")
    assert status(result) == "3 keys will expire in 3 months."
    assert "All done: no key needs this review." in result.tree.text
    keys = [each_area.services.keys.get(each_area.principal, id) for id in ids]
    assert {key.expires_at for key in keys} == {each_area.clock.now() + timedelta(days=90)}
    events = each_area.services.events.list(each_area.principal, types=(EventType.KEY_UPDATED,))
    assert sorted(event.target.id for event in events.items) == sorted(ids)
