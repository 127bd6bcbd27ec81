"""Revoking a key: confirmed first, done immediately, then reported."""

from __future__ import annotations

from keystead.domain.keys import KeyDraft
from keystead.domain.renewals import Renewal
from keystead.domain.verification import Denied, Verified
from tests.developer_area.conftest import Area
from tests.support.installations import text_of
from tests.support.key_pages import used


def revoke_url(area: Area, key_id: str) -> str:
    """Return the URL of a key's revocation."""
    return f"{area.keys_url}/{key_id}/revoke"


def test_revoking_asks_and_then_acts(each_area: Area) -> None:
    """The link leads to a question that names the key; its form revokes the key, and the list says so."""
    token = each_area.key("data-warehouse sync")
    each_area.key("another")
    browser = each_area.signed_in()
    page = browser.open(browser.open(each_area.keys_url).link("data-warehouse sync"))
    question = browser.open(page.link("Revoke data-warehouse sync"))
    assert question.heading == "Revoke “data-warehouse sync”?"
    assert token.hint in question.tree.text
    assert question.link("Cancel") == page.path
    assert not isinstance(each_area.services.verifier.verify(token.reveal()), Denied)
    result = browser.submit(question, question.path)
    assert isinstance(each_area.services.verifier.verify(token.reveal()), Denied)
    assert (
        result.tree.one("div", role="status").text
        == "“data-warehouse sync” was revoked. 1 of 5 active keys."
    )
    assert [row["Description"] for row in result.rows()] == ["another Full access"]


def test_the_question_says_what_stops(area: Area) -> None:
    """The question shows the last use with address and agent, or that there was none, or that the key has ended."""
    token = area.key("sync")
    browser = area.signed_in()
    url = revoke_url(area, token.key_id)
    assert "This key has never been used, so nothing will break." in browser.open(url).tree.text
    used(area, token, "python-requests/2.32")
    area.clock.advance(minutes=4)
    warning = "Last used 4 minutes ago from 10.2.3.4 (python-requests/2.32). Anything using it will stop immediately."
    assert warning in browser.open(url).tree.text
    short = area.key("short", days=1)
    area.clock.advance(days=1)
    again = area.signed_in()
    assert "This key has expired" in again.open(revoke_url(area, short.key_id)).tree.text


def test_an_expired_key_can_be_revoked(area: Area) -> None:
    """An expired key moves from the list to the history when it is revoked."""
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
    assert late.heading == "“sync” is already revoked"
    assert late.tree.all("form", action=url) == []


def test_an_invented_message_is_not_shown(area: Area) -> None:
    """No URL makes the page claim that a key is revoked which is not, or which doesn't exist."""
    token = area.key("sync")
    browser = area.signed_in()
    for message in (token.key_id, "key_" + "0" * 22, "x", "<b>", "a" * 2000):
        page = browser.open(f"{area.keys_url}?changed={message}&revoked={message}")
        assert page.status == 200
        assert page.tree.one("div", role="status").text == ""


def test_a_key_in_use_is_revoked_only_when_confirmed(each_area: Area) -> None:
    """A key used within the last day needs its last four characters typed; anything else asks again."""
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
    result = browser.submit(question, url, confirmation=f" {last_four} ")
    assert result.tree.one("div", role="status").text.startswith("“sync” was revoked.")
    assert isinstance(each_area.services.verifier.verify(token.reveal()), Denied)


def test_an_unused_key_needs_no_confirmation(area: Area) -> None:
    """A key that was not used for a day, or never, is revoked with one click."""
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
    """A key that was first used while the question was open is not revoked: the new question says so."""
    token = area.key("sync")
    browser = area.signed_in()
    url = revoke_url(area, token.key_id)
    question = browser.open(url)
    used(area, token)
    again = browser.submit(question, url)
    assert (again.status, area.active()) == (422, 1)
    assert "Last used just now from 10.2.3.4 (curl/8)" in again.tree.text


def test_the_question_is_named_and_described(area: Area) -> None:
    """The panel, an alert dialog if scripts run, is labelled by its heading and described by its consequences."""
    token = area.key("sync")
    question = area.signed_in().open(revoke_url(area, token.key_id))
    panel = question.tree.one("section", id="panel")
    assert panel.attributes["aria-labelledby"] == "panel-title"
    described = question.tree.one("div", id=panel.attributes["aria-describedby"]).text
    assert token.hint in described
    assert "This key has never been used, so nothing will break." in described


def test_a_family_is_revoked_together(each_area: Area) -> None:
    """A key that renewed itself can be revoked with its successor; any other has no such choice."""
    area, services = each_area, each_area.services
    plain = area.key("plain")
    created = services.keys.create(area.principal, KeyDraft("job", None, renewal=Renewal()))
    old = services.verifier.verify(text_of(created))
    assert isinstance(old, Verified)
    area.clock.advance(seconds=1)
    new = services.renewals.renew(old.principal)
    assert isinstance(services.verifier.verify(text_of(new)), Verified)
    browser = area.signed_in()
    assert "family" not in browser.open(revoke_url(area, plain.key_id)).tree.text
    url = revoke_url(area, created.key.id)
    question = browser.open(url)
    assert "Also revoke its family" in question.tree.text
    browser.submit(question, url, family="on")
    for key in (created, new):
        assert isinstance(services.verifier.verify(text_of(key)), Denied)
    assert isinstance(services.verifier.verify(plain.reveal()), Verified)
