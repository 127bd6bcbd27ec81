"""The policy on Plans & limits: what holds, the owners' form, and that the forms of keys keep to it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.domain.policies import NO_POLICY, Policy
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import Page, filled
from tests.support.key_pages import create, forced, newest
from tests.support.people import PRODUCT
from tests.support.visitors import portal_link

FIELDS: dict[str, str | list[str]] = {
    "max_lifetime_days": "90",
    "default_lifetime_days": "30",
    "end_unused_days": "180",
    "expiry_required": ["yes"],
    "renewal_forbidden": ["yes"],
}


def _url(area: Area) -> str:
    return f"/w/{area.workspace_id}/plan"


def _save(area: Area, **fields: str | list[str]) -> Page:
    """Fill in the owners' form, and send it."""
    browser, url = area.signed_in(), _url(area)
    return browser.submit(browser.open(url), f"{url}/policy", **fields)


def _holds(seen: Page) -> list[str]:
    """Return the phrases of what holds."""
    return [li.text for li in seen.tree.one("section", id="policy").all("li")]


def _own(area: Area) -> Policy:
    return area.services.policies.get(area.principal).owner


def test_an_owner_sets_the_policy(each_area: Area) -> None:
    """The form sets the owners' layer; the page says what holds, and the form has it again."""
    seen = _save(each_area, **FIELDS)
    assert _own(each_area) == Policy(90, True, 30, 180, False)
    assert seen.path == _url(each_area)
    assert _holds(seen) == [
        "live at most 90 days",
        "live 30 days by default",
        "are revoked after 180 days without use",
        "can't renew themselves",
    ]
    assert seen.tree.one("input", id="max_lifetime_days").attributes["value"] == "90"
    assert "checked" in seen.tree.one("input", name="expiry_required").attributes
    _save(each_area, max_lifetime_days="", default_lifetime_days="7", end_unused_days="")
    assert _own(each_area).max_lifetime_days is None


def test_an_empty_form_says_nothing(area: Area) -> None:
    """Without a policy the form is empty, and sending it so sets none."""
    seen = _save(area)
    assert _own(area) == NO_POLICY
    assert _holds(seen) == []
    assert "Creators choose freely" in seen.tree.one("section", id="policy").text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("max_lifetime_days", "0", "Longest lifetime must be a whole number of days from 1 to"),
        ("max_lifetime_days", "9999", "Longest lifetime must be a whole number of days from 1 to"),
        ("default_lifetime_days", "1.5", "Default lifetime must be a whole number of days from 1"),
        ("end_unused_days", "29", "Revoke unused keys after must be a whole number of days from"),
        ("end_unused_days", "many", "Revoke unused keys after must be a whole number of days"),
    ],
)
def test_a_wrong_number_is_named(area: Area, name: str, text: str, words: str) -> None:
    """A number out of bounds is refused in words at its field; what was entered stays, and nothing is saved."""
    seen = _save(area, **{**FIELDS, name: text})
    assert seen.status == 422
    assert words in seen.tree.one("p", id=f"{name}-problem").text
    assert seen.tree.one("input", id=name).attributes["value"] == text
    assert "checked" in seen.tree.one("input", name="renewal_forbidden").attributes
    assert _own(area) == NO_POLICY


def test_others_see_what_holds(area: Area) -> None:
    """Members who aren't owners see the policy without a form; sent anyway, the form is refused."""
    area.services.policies.replace_operators(area.workspace_id, Policy(60), PRODUCT.actor)
    for role in (Role.ADMIN, Role.DEVELOPER, Role.VIEWER):
        browser = area.signed_in(area.member(role))
        seen = browser.open(_url(area))
        assert _holds(seen) == ["live at most 60 days"]
        assert "An owner can change it." in seen.tree.text
        assert "Your plan or administrator sets a part of it" in seen.tree.text
        assert not [form for form in seen.tree.all("form") if "policy" in form.attributes["action"]]
        sent = browser.post(
            f"{_url(area)}/policy", [*_token(browser.open(f"/w/{area.workspace_id}/account"))]
        )
        assert sent.status == 403
    assert _own(area) == NO_POLICY


def _token(seen: Page) -> list[tuple[str, str]]:
    field = seen.tree.all("input", name="form_token")[0]
    return [("form_token", field.attributes["value"])]


def _day_in(area: Area, days: int) -> str:
    return f"{area.clock.now() + timedelta(days=days):%Y-%m-%d}"


@pytest.mark.parametrize("visitor", ["owner", "portal user"])
@pytest.mark.parametrize("expiry", ["365", "never", "date"])
def test_the_form_of_a_key_keeps_to_it(area: Area, visitor: str, expiry: str) -> None:
    """An expiry beyond the policy is refused in words, also for a product's own user; one within it is taken."""
    area.services.policies.replace_operators(area.workspace_id, Policy(90), PRODUCT.actor)
    if visitor == "owner":
        browser = area.signed_in()
    else:
        browser = area.browser()
        browser.submit(browser.open(portal_link(area)), "/sign-in")
    refused = forced(area, browser, expiry=expiry, expires_on=_day_in(area, 91))
    assert refused.status == 422
    assert "must be at most 90 days after the key's creation" in refused.tree.text
    assert not area.services.keys.list(area.principal).items
    assert create(area, browser, expiry="90").status == 201
    assert newest(area).expires_at == area.clock.now() + timedelta(days=90)


def test_a_form_offers_what_the_policy_allows(area: Area) -> None:
    """No form offers an expiry beyond the policy: of a new key from now on, of an existing one from its creation on."""
    token = area.key("sync", days=10)
    area.services.policies.replace_operators(area.workspace_id, Policy(90), PRODUCT.actor)
    area.clock.advance(days=5)
    browser = area.signed_in()
    offered = {
        page: [r.attributes["value"] for r in browser.open(page).tree.all("input", name="expiry")]
        for page in (f"{area.keys_url}/new", f"{area.keys_url}/{token.key_id}/edit")
    }
    assert list(offered.values()) == [["30", "90", "date"], ["keep", "30", "date"]]


def test_a_key_that_must_expire_is_not_rotated_without_an_end(area: Area) -> None:
    """If the policy requires an expiry and gives none, the page says what to do, and rotates nothing."""
    token = area.key("sync")
    browser, url = area.signed_in(), f"{area.keys_url}/{token.key_id}/rotate"
    form = browser.open(url).form(url)
    policy = Policy(expiry_required=True)
    area.services.policies.replace_operators(area.workspace_id, policy, PRODUCT.actor)
    words = "Keys must expire by this workspace's policy, and it doesn't say when."
    assert words in browser.open(url).tree.text
    refused = browser.post(url, filled(form, {"overlap": "day"}))
    assert refused.status == 422
    assert words in refused.tree.text
    assert area.services.keys.get(area.principal, token.key_id).rotated_to is None


def test_an_existing_key_is_not_extended_beyond_it(area: Area) -> None:
    """The form that edits a key, and the one for several, refuse a later expiry in words."""
    token = area.key("sync", days=30)
    area.services.policies.replace_operators(area.workspace_id, Policy(90), PRODUCT.actor)
    browser, url = area.signed_in(), f"{area.keys_url}/{token.key_id}/edit"
    seen = browser.submit(browser.open(url), url, expiry="date", expires_on=_day_in(area, 95))
    assert seen.status == 422
    assert "must be at most 90 days after the key's creation" in seen.tree.text
    key = area.services.keys.get(area.principal, token.key_id)
    assert key.expires_at == area.clock.now() + timedelta(days=30)


def test_keys_outside_the_policy_need_a_review(area: Area) -> None:
    """The review line counts the keys that a new policy would not allow, and leads to them; they work on."""
    area.key("ends soon", days=30)
    area.key("lives long", days=400)
    _save(area, max_lifetime_days="90")
    browser = area.signed_in()
    seen = browser.open(area.keys_url)
    link = seen.link("1 key is outside the policy")
    shown = browser.open(link)
    assert [row.text for row in shown.tree.all("span", class_="name")] == ["lives long"]
    assert "They were created before the policy" in shown.tree.text
