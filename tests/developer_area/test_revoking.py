"""Revoking a key: confirmed first, done immediately, then reported."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.domain.keys import KeyDraft
from keystead.domain.renewals import Renewal
from keystead.domain.token import Token
from keystead.domain.verification import Denied, Verified
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import Page
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


@dataclass
class Family:
    """A key that renewed itself, and the key that it made."""

    old: Token
    new: Token

    def living(self, area: Area) -> list[bool]:
        """Return whether each of them works, the old one first."""
        tokens = (self.old, self.new)
        keys = [area.services.keys.get(area.principal, token.key_id) for token in tokens]
        return [key.revoked_at is None for key in keys]


def renewed(area: Area) -> Family:
    """Let a key that never expires renew itself, and use neither of the two for two days."""
    old = area.services.keys.create(area.principal, KeyDraft("job", None, renewal=Renewal())).token
    assert old is not None
    verified = area.services.verifier.verify(old.reveal())
    assert isinstance(verified, Verified)
    area.clock.advance(seconds=1)
    new = area.services.renewals.renew(verified.principal).token
    assert new is not None
    assert isinstance(area.services.verifier.verify(new.reveal()), Verified)
    area.services.usage.flush()
    area.clock.advance(days=2)
    return Family(old, new)


def title(page: Page) -> str:
    """Return the text of the button that revokes."""
    return page.tree.one("section", id="panel").one("button", class_="button button-danger").text


def test_a_family_is_revoked_together(each_area: Area) -> None:
    """A key that renewed itself can be revoked with its successor; any other has no such choice."""
    area, plain = each_area, each_area.key("plain")
    family = renewed(area)
    browser = area.signed_in()
    assert "family" not in browser.open(revoke_url(area, plain.key_id)).tree.text
    url = revoke_url(area, family.old.key_id)
    question = browser.open(url)
    assert "Also revoke its family: 1 other key" in question.tree.text
    assert title(question) == "Revoke key"
    result = browser.submit(question, url, family="on")
    assert result.tree.one("div", role="status").text.startswith("2 keys were revoked.")
    assert family.living(area) == [False, False]
    assert isinstance(area.services.verifier.verify(plain.reveal()), Verified)


def test_a_family_in_use_is_revoked_only_when_confirmed(each_area: Area) -> None:
    """A used relative asks for the number of keys, also if the box was checked on a page without the question."""
    area, family = each_area, renewed(each_area)
    used(area, family.new)
    browser = area.signed_in()
    url = revoke_url(area, family.old.key_id)
    plain = browser.open(url)
    assert plain.tree.all("input", id="confirmation") == []
    refused = browser.submit(plain, url, family="on")
    asked = browser.open(f"{url}?family=on")
    assert "That doesn't match." not in refused.tree.text
    for question, status in ((refused, 422), (asked, 200)):
        assert (question.status, title(question)) == (status, "Revoke 2 keys")
        text = question.tree.text
        assert "1 of them was used in the last 24 hours. Anything using them will stop" in text
        assert "nothing will break" not in text
        assert family.new.hint in text
        assert family.old.hint in text
        assert "Type 2 , the number of keys" in text
    again = browser.submit(asked, url, confirmation=family.old.hint[-4:])
    assert (again.status, family.living(area)) == (422, [True, True])
    assert "Type 2 to revoke these keys." in again.tree.one("p", class_="problem").text
    result = browser.submit(again, url, confirmation="2")
    assert result.tree.one("div", role="status").text.startswith("2 keys were revoked.")
    assert family.living(area) == [False, False]


def test_one_used_key_of_a_family_is_confirmed_by_its_own_characters(area: Area) -> None:
    """Only the keys that end count: a used relative that stays asks for nothing."""
    family = renewed(area)
    used(area, family.new)
    browser = area.signed_in()
    url = revoke_url(area, family.new.key_id)
    assert browser.submit(browser.open(url), url, confirmation="2").status == 422
    url = revoke_url(area, family.old.key_id)
    assert browser.submit(browser.open(url), url).status == 200
    assert family.living(area) == [False, True]


def test_a_revoked_key_still_ends_its_family(each_area: Area) -> None:
    """The page of a key that leaked and was revoked first ends what it renewed itself to."""
    area, family = each_area, renewed(each_area)
    area.services.keys.revoke(area.principal, family.old.key_id)
    used(area, family.new)
    browser = area.signed_in()
    url = revoke_url(area, family.old.key_id)
    page = browser.open(f"{area.keys_url}/{family.old.key_id}")
    question = browser.open(page.link("Revoke the family of job"))
    action = question.tree.one("form", class_="form").attributes["action"]
    refused = browser.submit(question, action, confirmation="x")
    assert (refused.status, family.living(area)) == (422, [False, True])
    assert "Last used just now from 10.2.3.4 (curl/8)" in refused.tree.text
    assert browser.submit(refused, action, confirmation="1").status == 200
    assert family.living(area) == [False, False]
    assert "already revoked" in browser.open(f"{url}?family=on").heading
    assert "Revoke the family" not in browser.open(page.path).tree.text
    viewer = area.signed_in(area.member(Role.VIEWER))
    assert "Revoke the family" not in viewer.open(page.path).tree.text
