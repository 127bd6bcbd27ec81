"""Revoking a key: asked first, done at once, said afterwards."""

from __future__ import annotations

from keystead.domain.verification import Denied
from tests.developer_area.conftest import Area
from tests.support.key_pages import used


def revoke_url(area: Area, key_id: str) -> str:
    """Where a key is revoked."""
    return f"{area.keys_url}/{key_id}/revoke"


def test_revoking_asks_and_then_acts(each_area: Area) -> None:
    """The link leads to a question that names the key; its form ends the key, and the list says so."""
    token = each_area.key("data-warehouse sync")
    each_area.key("another")
    browser = each_area.signed_in()
    question = browser.open(browser.open(each_area.keys_url).link("Revoke data-warehouse sync"))
    assert question.heading == "Revoke “data-warehouse sync”?"
    assert token.hint in question.tree.text
    assert question.link("Cancel") == each_area.keys_url
    assert not isinstance(each_area.services.verifier.verify(token.reveal()), Denied)
    done = browser.submit(question, revoke_url(each_area, token.key_id))
    assert isinstance(each_area.services.verifier.verify(token.reveal()), Denied)
    assert (
        done.tree.one("div", role="status").text
        == "“data-warehouse sync” was revoked. 1 of 5 active keys."
    )
    assert [row["Description"] for row in done.rows()] == ["another Full access"]


def test_the_question_says_what_stops(area: Area) -> None:
    """The last use is told with its address and agent, or that there was none, or that the key is over anyway."""
    token = area.key("sync")
    browser = area.signed_in()
    url = revoke_url(area, token.key_id)
    assert "This key has never been used, so nothing will break." in browser.open(url).tree.text
    used(area, token, "python-requests/2.32")
    area.clock.advance(minutes=4)
    said = "Last used 4 minutes ago from 10.2.3.4 (python-requests/2.32). Anything using it will stop immediately."
    assert said in browser.open(url).tree.text
    short = area.key("short", days=1)
    area.clock.advance(days=1)
    again = area.signed_in()
    assert "This key has expired" in again.open(revoke_url(area, short.key_id)).tree.text


def test_an_expired_key_can_be_revoked(area: Area) -> None:
    """An expired key leaves the list for History when it is revoked."""
    token = area.key("short", days=1)
    area.clock.advance(days=2)
    browser = area.signed_in()
    url = revoke_url(area, token.key_id)
    assert browser.submit(browser.open(url), url).rows() == []
    assert len(browser.open(f"{area.keys_url}?show=history").rows()) == 1


def test_revoking_twice_is_revoking_once(area: Area) -> None:
    """The same form again, from another tab, changes nothing and says the same."""
    token = area.key("sync")
    browser = area.signed_in()
    url = revoke_url(area, token.key_id)
    tab = browser.open(url)
    browser.submit(tab, url)
    ended = area.services.keys.get(area.principal, token.key_id).revoked_at
    area.clock.advance(minutes=1)
    again = browser.submit(tab, url)
    assert again.status == 200
    assert area.services.keys.get(area.principal, token.key_id).revoked_at == ended
    late = browser.open(url)
    assert late.heading == "“sync” is revoked already"
    assert late.tree.all("form", action=url) == []


def test_a_made_up_message_says_nothing(area: Area) -> None:
    """An address cannot make the page claim that a key is revoked which is not, or which is none."""
    token = area.key("sync")
    browser = area.signed_in()
    for said in (token.key_id, "key_" + "0" * 22, "x", "<b>", "a" * 2000):
        page = browser.open(f"{area.keys_url}?revoked={said}")
        assert page.status == 200
        assert page.tree.one("div", role="status").text == ""


def test_a_key_in_use_is_revoked_only_when_confirmed(each_area: Area) -> None:
    """Used within the last day, a key ends only after its last four characters were typed; anything else asks again."""
    token = each_area.key("sync")
    used(each_area, token)
    each_area.clock.advance(hours=23, minutes=59)
    browser = each_area.signed_in()
    url = revoke_url(each_area, token.key_id)
    question = browser.open(url)
    last_four = token.hint[-4:]
    field = question.tree.one("input", id="confirmation")
    assert "required" in field.attributes
    assert f"Type {last_four} , the last 4 characters of the key" in question.tree.text
    for typed in ("no", last_four.swapcase() + "x", token.hint):
        again = browser.submit(question, url, confirmation=typed)
        assert again.status == 422
        assert "That doesn't match." in again.tree.one("p", class_="problem").text
        assert not isinstance(each_area.services.verifier.verify(token.reveal()), Denied)
    done = browser.submit(question, url, confirmation=f" {last_four} ")
    assert done.tree.one("div", role="status").text.startswith("“sync” was revoked.")
    assert isinstance(each_area.services.verifier.verify(token.reveal()), Denied)


def test_a_key_not_in_use_needs_no_typing(area: Area) -> None:
    """Never used, or not for a day: the question is one click."""
    token = area.key("sync")
    browser = area.signed_in()
    url = revoke_url(area, token.key_id)
    assert browser.open(url).tree.all("input", id="confirmation") == []
    used(area, token)
    area.clock.advance(days=1)
    again = area.signed_in()
    question = again.open(url)
    assert question.tree.all("input", id="confirmation") == []
    assert again.submit(question, url).status == 200
    assert area.active() == 0


def test_a_use_since_the_question_asks_again(area: Area) -> None:
    """A key that was first used while the question stood there is not revoked by it: the new question says so."""
    token = area.key("sync")
    browser = area.signed_in()
    url = revoke_url(area, token.key_id)
    question = browser.open(url)
    used(area, token)
    again = browser.submit(question, url)
    assert (again.status, area.active()) == (422, 1)
    assert "Last used just now from 10.2.3.4 (curl/8)" in again.tree.text


def test_the_question_is_named_and_described(area: Area) -> None:
    """The panel, an alert dialog where scripts run, has its heading as name and what stops as description."""
    token = area.key("sync")
    question = area.signed_in().open(revoke_url(area, token.key_id))
    panel = question.tree.one("section", id="panel")
    assert panel.attributes["aria-labelledby"] == "panel-title"
    described = question.tree.one("div", id=panel.attributes["aria-describedby"]).text
    assert token.hint in described
    assert "This key has never been used, so nothing will break." in described
