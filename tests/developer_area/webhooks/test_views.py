"""Webhooks: created with a secret that is shown once, listed with deliveries, paused, tested, resent."""

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
    error_for_status,
)
from keystead.domain.workspaces import Role
from keystead.services.deliveries import Sent
from tests.developer_area.conftest import Area
from tests.support.browser import Page
from tests.support.hostile_texts import PAYLOADS
from tests.support.markup import skeleton

HOOK = "https://hooks.example/keys"


def url(area: Area, end: str = "") -> str:
    """Return the URL of the webhooks."""
    return f"/w/{area.workspace_id}/webhooks{end}"


def new_webhook(area: Area, name: str = "chat", *events: str) -> WebhookEndpoint:
    """Create a webhook through the services."""
    draft = WebhookDraft(name, HOOK, events or ("*",), {"X-Team": "keys"})
    return area.services.webhooks.create(area.principal, draft).endpoint


def page_of(area: Area, webhook: WebhookEndpoint) -> Page:
    """Return its page, as the owner sees it."""
    return area.signed_in().open(url(area, f"/{webhook.id}"))


def listed(area: Area) -> list[WebhookEndpoint]:
    """Return all webhooks."""
    return area.services.webhooks.list(area.principal).items


def create(area: Area, **typed: str | list[str]) -> Page:
    """Send the form for a new webhook."""
    browser = area.signed_in()
    form = browser.open(browser.open(url(area)).link("Create webhook"))
    values = {"name": "chat", "url": HOOK, "range": "all"} | typed
    return browser.submit(form, url(area), **values)


def attempt_all(area: Area, status: int | None, error: AttemptError | None = None) -> None:
    """Let a worker attempt all due deliveries, with that outcome."""
    deliveries = area.services.deliveries
    for batch in deliveries.claim(endpoints=10, messages=100):
        outcome = Outcome(Attempt(area.clock.now(), status, error, 42))
        deliveries.settle([Sent(message.delivery, outcome) for message in batch.messages], [batch])


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_created_and_its_secret_shown_once(each_area: Area) -> None:
    """The form's response shows the secret; the webhook's page and the list never do."""
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
    assert (row["Events"], row["Status"]) == ("All events", "Active")


@pytest.mark.slow_on("postgresql")
def test_a_form_that_arrives_again_creates_nothing(area: Area) -> None:
    """Sending a form again after a lost response shows the same secret; changed input is not sent by the same form."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")
    browser = area.signed_in()
    form, sent = browser.open(url(area, "/new")), {"name": "chat", "url": HOOK, "range": "all"}
    secrets = [browser.submit(form, url(area), **sent).tree.one("textarea", id="secret").text]
    secrets += [browser.submit(form, url(area), **sent).tree.one("textarea", id="secret").text]
    assert secrets[0] == secrets[1]
    assert len(listed(area)) == 1
    refused = browser.submit(form, url(area), **sent | {"name": "pager"})
    assert refused.status == 409
    assert "This form has already created a webhook." in refused.html
    assert len(listed(area)) == 1


@pytest.mark.slow_on("postgresql")
def test_a_rotation_that_arrives_again_rotates_once(area: Area) -> None:
    """The second one shows the same secret, and the receiver's own secret still signs."""
    webhook = new_webhook(area)
    browser, path = area.signed_in(), url(area, f"/{webhook.id}/rotate-secret")
    question = browser.open(path)
    first, again = [
        browser.submit(question, path).tree.one("textarea", id="secret").text for _ in "ab"
    ]
    assert first == again
    area.key()
    [batch] = area.services.deliveries.claim(endpoints=1, messages=10)
    assert batch.secrets[0] == first
    assert len(batch.secrets) == 2


@pytest.mark.slow_on("postgresql")
def test_each_type_shows_its_sample(area: Area) -> None:
    """The form has a payload next to each type of event that can be chosen, as a delivery of it would be."""
    seen = area.signed_in().open(url(area, "/new"))
    types = [box.attributes["value"] for box in seen.tree.all("input", name="type")]
    assert len(types) > 30
    texts = [pre.text for pre in seen.tree.all("pre")]
    assert [json.loads(text)["type"] for text in texts] == types


@pytest.mark.slow_on("postgresql")
def test_the_pages_say_how_many_deliveries_succeeded(area: Area) -> None:
    """The list and the page say it in words and as a bar, and what became of the others."""
    webhook = new_webhook(area, "chat", "key.created")
    [row] = area.signed_in().open(url(area)).rows()
    assert row["Deliveries"] == "None yet"
    for status in (204, 204, 500):
        area.key()
        attempt_all(area, status, error_for_status(status))
    [row] = area.signed_in().open(url(area)).rows()
    assert row["Deliveries"] == "2 of 3 recent deliveries succeeded 1 retrying"
    bar = page_of(area, webhook).tree.one("progress")
    assert (bar.attributes["value"], bar.attributes["max"]) == ("2", "3")


@pytest.mark.slow_on("postgresql")
def test_all_that_failed_is_resent(area: Area) -> None:
    """The form is there once a delivery has failed; it queues all of the period again, and says how many."""
    webhook = new_webhook(area, "chat", "key.created")
    here, browser = url(area, f"/{webhook.id}"), area.signed_in()
    assert "Resend all failed since" not in browser.open(here).html
    for _ in range(2):
        area.key()
    attempt_all(area, 410, AttemptError.STATUS)
    press_switch(area, webhook, WebhookStatus.ACTIVE)
    viewer = area.signed_in(area.member(Role.VIEWER))
    assert "Resend all failed since" not in viewer.open(here).html
    seen = browser.submit(browser.open(here), f"{here}/resend-failed", since="1h")
    assert "2 failed deliveries are queued again." in seen.html
    assert [row["Status"] for row in seen.rows()] == ["Queued Next attempt: now"] * 2
    attempt_all(area, 410, AttemptError.STATUS)
    press_switch(area, webhook, WebhookStatus.ACTIVE)
    area.clock.advance(hours=2)
    browser = area.signed_in()
    seen = browser.submit(browser.open(here), f"{here}/resend-failed", since="1h")
    assert "No deliveries failed in that period." in seen.html


@pytest.mark.slow_on("postgresql")
def test_some_types_of_event_are_chosen(area: Area) -> None:
    """A webhook gets the chosen types of event, and its page names them."""
    create(area, range="chosen", type=["key.revoked", "key.created"])
    [webhook] = listed(area)
    assert webhook.events == ("key.created", "key.revoked")
    assert "key.created , key.revoked" in page_of(area, webhook).tree.one("dl").text


@pytest.mark.slow_on("postgresql")
def test_headers_of_its_own_are_sealed(area: Area) -> None:
    """Headers are entered as lines; afterwards only their names are shown."""
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
def test_invalid_values_are_refused_in_words(
    area: Area, field: str, typed: dict[str, str], problem: str
) -> None:
    """An invalid field comes back in the form with an error, and no webhook is created."""
    seen = create(area, **typed)
    assert seen.status == 422
    assert seen.tree.one("p", id=f"{problem}-problem").text.endswith(".")
    assert listed(area) == []


@pytest.mark.slow_on("postgresql")
def test_at_the_limit_the_page_says_so(area: Area) -> None:
    """If the plan has no room, the button is disabled and says why; a form that is sent creates nothing."""
    limits = {"webhooks": 1}
    area.services.workspaces.set_plan(area.workspace_id, "free", limits)
    browser = area.signed_in()
    form = browser.open(url(area, "/new"))
    new_webhook(area)
    assert "no room" in browser.open(url(area)).tree.one("p", id="limit-reason").text
    seen = browser.submit(form, url(area), name="second", url=HOOK, range="all")
    assert seen.status == 409
    assert len(listed(area)) == 1


@pytest.mark.slow_on("postgresql")
def test_deliveries_show_their_outcome(each_area: Area) -> None:
    """Delivered, failed and waiting deliveries have words of their own, and can be filtered."""
    webhook = new_webhook(each_area, "chat", "key.created")
    each_area.key("first")
    attempt_all(each_area, 204)
    each_area.key("second")
    attempt_all(each_area, 500, AttemptError.STATUS)
    rows = page_of(each_area, webhook).rows()
    assert [row["Event"] for row in rows] == ["key.created", "key.created"]
    assert rows[0]["Status"].startswith("Retrying Next attempt in")
    assert rows[0]["Response"] == "500 Internal Server Error"
    assert (rows[1]["Status"], rows[1]["Response"]) == ("Delivered", "204 No Content")
    browser = each_area.signed_in()
    only = browser.open(url(each_area, f"/{webhook.id}?status={DeliveryStatus.DELIVERED}"))
    assert [row["Status"] for row in only.rows()] == ["Delivered"]


@pytest.mark.slow_on("postgresql")
def test_a_delivery_shows_its_body_and_every_attempt(area: Area) -> None:
    """The page of a delivery has its payload, and each attempt with its outcome."""
    webhook = new_webhook(area)
    area.key("nightly")
    attempt_all(area, None, AttemptError.TIMEOUT)
    area.clock.advance(seconds=30)
    attempt_all(area, 302, AttemptError.REDIRECT)
    seen = area.signed_in().open(page_of(area, webhook).link("key.created"))
    assert [row["Response"] for row in seen.rows()] == [
        "302 Found: redirects aren't followed",
        "Timed out",
    ]
    payload = json.loads(seen.tree.one("code", id="body-code").text)
    assert (payload["type"], payload["data"]["data"]["description"]) == ("key.created", "nightly")


@pytest.mark.slow_on("postgresql")
def test_a_test_is_sent(area: Area) -> None:
    """The button creates a test delivery and leads to it."""
    webhook = new_webhook(area, "chat", "key.revoked")
    browser = area.signed_in()
    seen = browser.submit(
        browser.open(url(area, f"/{webhook.id}")), url(area, f"/{webhook.id}/test")
    )
    assert (seen.status, seen.heading) == (200, "webhook.test")
    assert "Test event sent." in seen.html


@pytest.mark.slow_on("postgresql")
def test_a_delivery_is_sent_again(area: Area) -> None:
    """Resending makes a delivery due under the same ID; while the webhook is paused the page says why it can't."""
    webhook = new_webhook(area, "chat", "key.created")
    area.key()
    attempt_all(area, 204)
    browser = area.signed_in()
    path = page_of(area, webhook).link("key.created")
    seen = browser.submit(browser.open(path), f"{path}/redeliver")
    assert "Resent with the same ID." in seen.html
    page = area.services.webhooks.deliveries(area.principal, webhook.id)
    assert [delivery.status for delivery in page.items] == [DeliveryStatus.PENDING]
    press_switch(area, webhook, WebhookStatus.DISABLED)
    assert "Resume the webhook" in browser.open(path).html


def press_switch(area: Area, webhook: WebhookEndpoint, to: WebhookStatus) -> Page:
    """Press the button that pauses or resumes a webhook."""
    browser = area.signed_in()
    here = url(area, f"/{webhook.id}")
    return browser.submit(browser.open(here), f"{here}/status", status=to)


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_switched_off_and_on(each_area: Area) -> None:
    """While a webhook is paused, nothing is sent and the page says so; events wait until it resumes."""
    webhook = new_webhook(each_area)
    seen = press_switch(each_area, webhook, WebhookStatus.DISABLED)
    assert "Paused." in seen.html
    each_area.key()
    assert each_area.services.deliveries.claim(endpoints=1, messages=10) == []
    assert "Paused." not in press_switch(each_area, webhook, WebhookStatus.ACTIVE).html
    assert each_area.services.deliveries.claim(endpoints=1, messages=10)


@pytest.mark.slow_on("postgresql")
def test_another_secret_is_shown_once(area: Area) -> None:
    """Only one response shows a new secret, and says how long the previous one also signs."""
    webhook = new_webhook(area)
    browser = area.signed_in()
    question = browser.open(page_of(area, webhook).link("Rotate secret"))
    seen = browser.submit(question, url(area, f"/{webhook.id}/rotate-secret"))
    secret = seen.tree.one("textarea", id="secret").text
    assert secret.startswith("whsec_")
    assert "The previous secret also signs until" in seen.html
    assert secret not in page_of(area, webhook).html


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_edited(area: Area) -> None:
    """Name, URL and events change; the secret and the headers stay."""
    webhook = new_webhook(area)
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
    """Send the form of a webhook with only its headers changed."""
    browser = area.signed_in()
    form = browser.open(page_of(area, webhook).link("Edit"))
    values = {"name": webhook.name, "url": HOOK, "range": "all"} | typed
    return browser.submit(form, url(area, f"/{webhook.id}/edit"), **values)


def sent_headers(area: Area) -> dict[str, str]:
    """Return the headers of the deliveries that are due."""
    [batch] = area.services.deliveries.claim(endpoints=1, messages=10)
    return dict(batch.headers)


@pytest.mark.slow_on("postgresql")
def test_headers_are_changed_without_knowing_the_others(each_area: Area) -> None:
    """One is removed, one changed in another case, one added, and one stays without being shown."""
    names = ("X-Team", "X-Old", "Authorization")
    draft = WebhookDraft("chat", HOOK, ("*",), {name: f"s3cret {name}" for name in names})
    webhook = each_area.services.webhooks.create(each_area.principal, draft).endpoint
    form = each_area.signed_in().open(url(each_area, f"/{webhook.id}/edit"))
    assert "Remove X-Old" in form.tree.text
    assert "s3cret" not in form.html
    seen = edit_headers(each_area, webhook, drop=["X-Old"], headers="authorization: b\nX-New: c")
    assert seen.heading == "chat"
    expected = {"X-Team": "s3cret X-Team", "authorization": "b", "X-New": "c"}
    each_area.key()
    assert sent_headers(each_area) == expected


@pytest.mark.slow_on("postgresql")
def test_an_invalid_header_changes_none(area: Area) -> None:
    """The form comes back as it was sent, removals included; all headers are unchanged."""
    webhook = new_webhook(area)
    seen = edit_headers(area, webhook, drop=["X-Team"], headers="Host: elsewhere")
    assert seen.status == 422
    assert "A custom header is reserved" in seen.html
    dropped = seen.tree.one("input", name="drop")
    assert "checked" in dropped.attributes
    area.key()
    assert sent_headers(area) == {"X-Team": "keys"}


@pytest.mark.slow_on("postgresql")
def test_too_many_tests_are_refused_in_words(area: Area) -> None:
    """Over the workspace's rate limit the page says how long to wait, for a test and for resending."""
    webhook = new_webhook(area)
    delivery, *_ = [
        area.services.webhooks.test(area.principal, webhook.id) for _ in range(SENDING.most)
    ]
    browser, here = area.signed_in(), url(area, f"/{webhook.id}")
    seen = browser.submit(browser.open(here), f"{here}/test")
    assert (seen.status, seen.heading) == (200, "chat")
    assert re.search(r"60 test events and resends in 60 seconds: wait \d+ seconds", seen.html)
    path = f"{here}/deliveries/{delivery.id}"
    assert "wait" in browser.submit(browser.open(path), f"{path}/redeliver").html


@pytest.mark.slow_on("postgresql")
def test_a_webhook_is_deleted(area: Area) -> None:
    """After the question the webhook is deleted, and the list says so."""
    webhook = new_webhook(area)
    browser = area.signed_in()
    question = browser.open(page_of(area, webhook).link("Delete"))
    seen = browser.submit(question, url(area, f"/{webhook.id}/delete"))
    assert (seen.path, seen.rows()) == (url(area), [])
    assert "The webhook chat was deleted." in seen.html
    assert listed(area) == []


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_other_roles_see_webhooks_and_change_nothing(area: Area, role: Role) -> None:
    """Viewers and developers see webhooks and deliveries; no page offers them an action, and all are refused."""
    webhook = new_webhook(area)
    area.key()
    browser = area.signed_in(area.member(role))
    here = url(area, f"/{webhook.id}")
    assert "Create webhook" not in browser.open(url(area)).html
    seen = browser.open(here)
    assert seen.status == 200
    acts = {form.attributes["action"] for form in seen.tree.all("form", method="post")}
    assert not [action for action in acts if "/webhooks" in action]
    delivery = browser.open(seen.link("key.created"))
    assert "Resend" not in delivery.html
    for path in ("/new", f"/{webhook.id}/edit", f"/{webhook.id}/delete"):
        assert browser.open(url(area, path)).status == 403


@pytest.mark.slow_on("postgresql")
def test_another_workspaces_webhook_is_not_there(area: Area) -> None:
    """The ID of another workspace's webhook is 404, and a delivery is only found below its own webhook."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")
    first, second = new_webhook(area, "first"), new_webhook(area, "second", "key.revoked")
    area.key()
    path = page_of(area, first).link("key.created")
    browser = area.signed_in()
    assert browser.open(path.replace(first.id, second.id)).status == 404
    other = area.services.workspaces.create("Other", plan_id="scale")
    assert browser.open(f"/w/{other.id}/webhooks/{first.id}").status == 404


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_are_inert(area: Area, payload: str) -> None:
    """Any name leaves the markup of the pages unchanged."""
    harmless = new_webhook(area, "x" * 20, "key.revoked")
    before = skeleton(page_of(area, harmless).tree)
    area.services.webhooks.delete(area.principal, harmless.id)
    hostile = new_webhook(area, payload.strip()[:100], "key.revoked")
    assert skeleton(page_of(area, hostile).tree) == before


@pytest.mark.slow_on("postgresql")
def test_an_older_form_of_a_webhook_changes_nothing(area: Area) -> None:
    """A form from before another change shows both values, and overwrites neither (R105)."""
    webhook = new_webhook(area)
    address, browser = url(area, f"/{webhook.id}/edit"), area.signed_in()
    form = browser.open(address)
    assert browser.submit(form, address, url=f"{HOOK}/2").status == 200
    refused = browser.submit(form, address, name="pager")
    assert refused.status == 409
    [current] = listed(area)
    assert (current.name, current.url) == (webhook.name, f"{HOOK}/2")
    assert f"URL: you entered “{webhook.url}”, it is now “{HOOK}/2”" in refused.tree.text
