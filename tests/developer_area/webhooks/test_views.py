"""Webhooks: made with a secret that is shown once, seen with their deliveries, switched, tested, sent again."""

from __future__ import annotations

import json
import re

import pytest

from keystead.domain.throttle import SENDING
from keystead.domain.webhooks import (
    Attempt,
    AttemptError,
    DeliveryStatus,
    Outcome,
    WebhookDraft,
    WebhookEndpoint,
    WebhookStatus,
)
from keystead.domain.workspaces import Role
from keystead.services.deliveries import Sent
from tests.developer_area.conftest import Area
from tests.support.browser import Page
from tests.support.hostile_texts import PAYLOADS
from tests.support.markup import skeleton

HOOK = "https://hooks.example/keystead"


def url(area: Area, end: str = "") -> str:
    """Where the webhooks are."""
    return f"/w/{area.workspace_id}/webhooks{end}"


def made(area: Area, name: str = "chat", *events: str) -> WebhookEndpoint:
    """A webhook, made beneath the pages."""
    draft = WebhookDraft(name, HOOK, events or ("*",), {"X-Team": "keys"})
    return area.services.webhooks.create(area.principal, draft).endpoint


def page_of(area: Area, webhook: WebhookEndpoint) -> Page:
    """Its page, as the owner sees it."""
    return area.signed_in().open(url(area, f"/{webhook.id}"))


def listed(area: Area) -> list[WebhookEndpoint]:
    """The webhooks that there are."""
    return area.services.webhooks.list(area.principal).items


def create(area: Area, **typed: str | list[str]) -> Page:
    """The form for a new webhook, filled in and sent."""
    browser = area.signed_in()
    form = browser.open(browser.open(url(area)).link("Create webhook"))
    values = {"name": "chat", "url": HOOK, "range": "all"} | typed
    return browser.submit(form, url(area), **values)


def settle(area: Area, status: int | None, error: AttemptError | None = None) -> None:
    """Has a worker try everything that is due, with that outcome."""
    deliveries = area.services.deliveries
    for batch in deliveries.claim(endpoints=10, messages=100):
        outcome = Outcome(Attempt(area.clock.now(), status, error, 42))
        deliveries.settle([Sent(message.delivery, outcome) for message in batch.messages], [batch])


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_made_and_its_secret_shown_once(each_area: Area) -> None:
    """The answer of the form shows the secret; the webhook's page and the list never do."""
    seen = create(each_area)
    assert (seen.status, seen.heading) == (201, "Copy the secret now")
    assert seen.headers["cache-control"] == "no-store"
    secret = seen.tree.one("textarea", id="secret").text
    assert secret.startswith("whsec_")
    [webhook] = listed(each_area)
    assert (webhook.name, webhook.url, webhook.events) == ("chat", HOOK, ("*",))
    for path in (url(each_area), url(each_area, f"/{webhook.id}")):
        assert secret not in each_area.signed_in().open(path).html
    [row] = each_area.signed_in().open(url(each_area)).rows()
    assert row["Webhook"] == f"chat {HOOK}"
    assert (row["Told of"], row["Status"]) == ("All events", "Active")


@pytest.mark.slow_on("postgresql")
def test_some_types_of_event_are_chosen(area: Area) -> None:
    """A webhook is told of the types that were ticked, and its page names them."""
    create(area, range="chosen", type=["key.revoked", "key.created"])
    [webhook] = listed(area)
    assert webhook.events == ("key.created", "key.revoked")
    assert "key.created , key.revoked" in page_of(area, webhook).tree.one("dl").text


@pytest.mark.slow_on("postgresql")
def test_headers_of_its_own_are_sealed(area: Area) -> None:
    """Headers are typed as lines; afterwards their names alone are shown."""
    create(area, headers="Authorization: Bearer s3cret\nX-Team: keys")
    [webhook] = listed(area)
    assert webhook.header_names == ("Authorization", "X-Team")
    seen = page_of(area, webhook)
    assert "Authorization" in seen.html
    assert "s3cret" not in seen.html


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize(
    ("field", "typed", "problem"),
    [
        ("name", {"name": "  "}, "name"),
        ("url", {"url": "http://hooks.example/"}, "url"),
        ("url", {"url": "https://127.0.0.1/"}, "url"),
        ("url", {"url": "https://user:pw@hooks.example/"}, "url"),
        ("events", {"range": "chosen"}, "events"),
        ("headers", {"headers": "no colon"}, "headers"),
        ("headers", {"headers": "Host: elsewhere"}, "headers"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    area: Area, field: str, typed: dict[str, str], problem: str
) -> None:
    """A refused field stands in the form again, with a sentence beside it, and nothing is made."""
    seen = create(area, **typed)
    assert seen.status == 422
    assert seen.tree.one("p", id=f"{problem}-problem").text.endswith(".")
    assert listed(area) == []


@pytest.mark.slow_on("postgresql")
def test_at_the_limit_the_page_says_so(area: Area) -> None:
    """Where the plan has no room, the button is off and says why; a form sent all the same makes nothing."""
    limits = {"webhooks": 1}
    area.services.workspaces.set_plan(area.workspace_id, "free", limits)
    browser = area.signed_in()
    form = browser.open(url(area, "/new"))
    made(area)
    assert "no room" in browser.open(url(area)).tree.one("p", id="limit-reason").text
    seen = browser.submit(form, url(area), name="second", url=HOOK, range="all")
    assert seen.status == 409
    assert len(listed(area)) == 1


@pytest.mark.slow_on("postgresql")
def test_deliveries_tell_what_came_of_them(each_area: Area) -> None:
    """A delivery that was taken, one that failed and one that waits are told apart in words, and may be picked out."""
    webhook = made(each_area, "chat", "key.created")
    each_area.key("first")
    settle(each_area, 204)
    each_area.key("second")
    settle(each_area, 500, AttemptError.STATUS)
    rows = page_of(each_area, webhook).rows()
    assert [row["Event"] for row in rows] == ["key.created", "key.created"]
    assert rows[0]["Status"].startswith("Pending next attempt in")
    assert rows[0]["Last answer"] == "500 Internal Server Error"
    assert (rows[1]["Status"], rows[1]["Last answer"]) == ("Delivered", "204 No Content")
    browser = each_area.signed_in()
    only = browser.open(url(each_area, f"/{webhook.id}?status={DeliveryStatus.DELIVERED}"))
    assert [row["Status"] for row in only.rows()] == ["Delivered"]


@pytest.mark.slow_on("postgresql")
def test_a_delivery_shows_its_body_and_every_attempt(area: Area) -> None:
    """The page of a delivery has the payload that is sent, and each try with what came of it."""
    webhook = made(area)
    area.key("nightly")
    settle(area, None, AttemptError.TIMEOUT)
    area.clock.advance(seconds=30)
    settle(area, 302, AttemptError.REDIRECT)
    seen = area.signed_in().open(page_of(area, webhook).link("key.created"))
    assert [row["Answer"] for row in seen.rows()] == [
        "302 Found: redirects aren't followed",
        "Timed out",
    ]
    payload = json.loads(seen.tree.one("code", id="body-code").text)
    assert (payload["type"], payload["data"]["data"]["description"]) == ("key.created", "nightly")


@pytest.mark.slow_on("postgresql")
def test_a_test_is_sent(area: Area) -> None:
    """The button makes a delivery of its own and leads to it."""
    webhook = made(area, "chat", "key.revoked")
    browser = area.signed_in()
    seen = browser.submit(
        browser.open(url(area, f"/{webhook.id}")), url(area, f"/{webhook.id}/test")
    )
    assert (seen.status, seen.heading) == (200, "webhook.test")
    assert "Test event sent." in seen.html


@pytest.mark.slow_on("postgresql")
def test_a_delivery_is_sent_again(area: Area) -> None:
    """Sending again makes it due under the same id; while the webhook is off the page says why it cannot be."""
    webhook = made(area, "chat", "key.created")
    area.key()
    settle(area, 204)
    browser = area.signed_in()
    path = page_of(area, webhook).link("key.created")
    seen = browser.submit(browser.open(path), f"{path}/redeliver")
    assert "Resent with the same ID." in seen.html
    page = area.services.webhooks.deliveries(area.principal, webhook.id)
    assert [one.status for one in page.items] == [DeliveryStatus.PENDING]
    switch(area, webhook, WebhookStatus.DISABLED)
    assert "Resume the webhook" in browser.open(path).html


def switch(area: Area, webhook: WebhookEndpoint, to: WebhookStatus) -> Page:
    """The button that switches a webhook, pressed."""
    browser = area.signed_in()
    here = url(area, f"/{webhook.id}")
    return browser.submit(browser.open(here), f"{here}/status", status=to)


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_switched_off_and_on(each_area: Area) -> None:
    """Off, nothing is sent, the page says so in words and what happens waits; on, it is due."""
    webhook = made(each_area)
    seen = switch(each_area, webhook, WebhookStatus.DISABLED)
    assert "It is off." in seen.html
    each_area.key()
    assert each_area.services.deliveries.claim(endpoints=1, messages=10) == []
    assert "It is off." not in switch(each_area, webhook, WebhookStatus.ACTIVE).html
    assert each_area.services.deliveries.claim(endpoints=1, messages=10)


@pytest.mark.slow_on("postgresql")
def test_another_secret_is_shown_once(area: Area) -> None:
    """A new secret stands in one answer alone, which says how long the one before signs too."""
    webhook = made(area)
    browser = area.signed_in()
    question = browser.open(page_of(area, webhook).link("New secret"))
    seen = browser.submit(question, url(area, f"/{webhook.id}/rotate-secret"))
    secret = seen.tree.one("textarea", id="secret").text
    assert secret.startswith("whsec_")
    assert "signs too, until" in seen.html
    assert secret not in page_of(area, webhook).html


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_edited(area: Area) -> None:
    """Name, URL and events change; the secret and the headers stay."""
    webhook = made(area)
    browser = area.signed_in()
    form = browser.open(page_of(area, webhook).link("Edit"))
    typed = {"name": "pager", "url": f"{HOOK}/2", "range": "chosen", "type": ["key.revoked"]}
    seen = browser.submit(form, url(area, f"/{webhook.id}/edit"), **typed)
    assert (seen.heading, seen.path) == ("pager", url(area, f"/{webhook.id}"))
    [changed] = listed(area)
    assert (changed.name, changed.url, changed.events) == ("pager", f"{HOOK}/2", ("key.revoked",))
    assert changed.header_names == ("X-Team",)
    form = browser.open(page_of(area, webhook).link("Edit"))
    refused = browser.submit(form, url(area, f"/{webhook.id}/edit"), **typed | {"url": "nowhere"})
    assert refused.status == 422


def edit_headers(area: Area, webhook: WebhookEndpoint, **typed: str | list[str]) -> Page:
    """The form of a webhook with nothing changed but its headers, sent."""
    browser = area.signed_in()
    form = browser.open(page_of(area, webhook).link("Edit"))
    values = {"name": webhook.name, "url": HOOK, "range": "all"} | typed
    return browser.submit(form, url(area, f"/{webhook.id}/edit"), **values)


def sent_headers(area: Area) -> dict[str, str]:
    """What is sent along with the deliveries that are due."""
    [batch] = area.services.deliveries.claim(endpoints=1, messages=10)
    return dict(batch.headers)


@pytest.mark.slow_on("postgresql")
def test_headers_are_changed_without_knowing_the_others(each_area: Area) -> None:
    """One is dropped, one gets another value in whatever case it is written, one comes, and one stays unseen."""
    names = ("X-Team", "X-Old", "Authorization")
    draft = WebhookDraft("chat", HOOK, ("*",), {name: f"s3cret {name}" for name in names})
    webhook = each_area.services.webhooks.create(each_area.principal, draft).endpoint
    form = each_area.signed_in().open(url(each_area, f"/{webhook.id}/edit"))
    assert "Drop X-Old" in form.tree.text
    assert "s3cret" not in form.html
    seen = edit_headers(each_area, webhook, drop=["X-Old"], headers="authorization: b\nX-New: c")
    assert seen.heading == "chat"
    expected = {"X-Team": "s3cret X-Team", "authorization": "b", "X-New": "c"}
    each_area.key()
    assert sent_headers(each_area) == expected


@pytest.mark.slow_on("postgresql")
def test_a_header_that_cannot_be_changes_none(area: Area) -> None:
    """The form is there again with what was typed, what was to be dropped too; each header is as it was."""
    webhook = made(area)
    seen = edit_headers(area, webhook, drop=["X-Team"], headers="Host: elsewhere")
    assert seen.status == 422
    assert "A custom header is reserved" in seen.html
    dropped = seen.tree.one("input", name="drop")
    assert "checked" in dropped.attributes
    area.key()
    assert sent_headers(area) == {"X-Team": "keys"}


@pytest.mark.slow_on("postgresql")
def test_too_many_tests_are_refused_in_words(area: Area) -> None:
    """Beyond the pace of a workspace the page says how long to wait, for a test and for sending again."""
    webhook = made(area)
    delivery, *_ = [
        area.services.webhooks.test(area.principal, webhook.id) for _ in range(SENDING.most)
    ]
    browser, here = area.signed_in(), url(area, f"/{webhook.id}")
    seen = browser.submit(browser.open(here), f"{here}/test")
    assert (seen.status, seen.heading) == (200, "chat")
    assert re.search(
        r"60 tests and deliveries sent again in 60 seconds: wait \d+ seconds", seen.html
    )
    path = f"{here}/deliveries/{delivery.id}"
    assert "wait" in browser.submit(browser.open(path), f"{path}/redeliver").html


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_deleted(area: Area) -> None:
    """After the question it is gone, and the list says so."""
    webhook = made(area)
    browser = area.signed_in()
    question = browser.open(page_of(area, webhook).link("Delete"))
    seen = browser.submit(question, url(area, f"/{webhook.id}/delete"))
    assert (seen.path, seen.rows()) == (url(area), [])
    assert "The webhook chat was deleted." in seen.html
    assert listed(area) == []


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_who_may_not_manage_sees_and_changes_nothing(area: Area, role: Role) -> None:
    """Viewers and developers see webhooks and deliveries; no page offers them an act, and none of them is done."""
    webhook = made(area)
    area.key()
    browser = area.signed_in(area.member(role))
    here = url(area, f"/{webhook.id}")
    assert "Create webhook" not in browser.open(url(area)).html
    seen = browser.open(here)
    assert seen.status == 200
    acts = {form.attributes["action"] for form in seen.tree.all("form", method="post")}
    assert not [action for action in acts if "/webhooks" in action]
    delivery = browser.open(seen.link("key.created"))
    assert "Send again" not in delivery.html
    for path in ("/new", f"/{webhook.id}/edit", f"/{webhook.id}/delete"):
        assert browser.open(url(area, path)).status == 403


@pytest.mark.slow_on("postgresql")
def test_another_workspaces_webhook_is_not_there(area: Area) -> None:
    """Its id leads nowhere, and a delivery is found below its own webhook alone."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")
    first, second = made(area, "first"), made(area, "second", "key.revoked")
    area.key()
    path = page_of(area, first).link("key.created")
    browser = area.signed_in()
    assert browser.open(path.replace(first.id, second.id)).status == 404
    other = area.services.workspaces.create("Other", plan_id="scale")
    assert browser.open(f"/w/{other.id}/webhooks/{first.id}").status == 404


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_are_inert(area: Area, payload: str) -> None:
    """Whatever stands in a name, the pages keep their shape."""
    harmless = made(area, "x" * 20, "key.revoked")
    before = skeleton(page_of(area, harmless).tree)
    area.services.webhooks.delete(area.principal, harmless.id)
    hostile = made(area, payload.strip()[:100], "key.revoked")
    assert skeleton(page_of(area, hostile).tree) == before


@pytest.mark.slow_on("postgresql")
def test_an_older_form_of_a_webhook_changes_nothing(area: Area) -> None:
    """Who opened the form before another change is shown both values, and loses nobody's (R105)."""
    webhook = made(area)
    address, browser = url(area, f"/{webhook.id}/edit"), area.signed_in()
    form = browser.open(address)
    assert browser.submit(form, address, url=f"{HOOK}/2").status == 200
    refused = browser.submit(form, address, name="pager")
    assert refused.status == 409
    [current] = listed(area)
    assert (current.name, current.url) == (webhook.name, f"{HOOK}/2")
    assert f"URL: you entered “{webhook.url}”, it is now “{HOOK}/2”" in refused.tree.text
