"""How requests of the pages fail, and every dialog and form with what a user does in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from keystead.bootstrap import Installation
from keystead.domain.documents import CollectionDraft
from keystead.domain.ids import UserId, WebhookId, new_id
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from keystead.domain.webhooks import WebhookDraft
from keystead.domain.workspaces import Member, Role, User
from keystead.storage.engine.roles import Purpose
from keystead.storage.tables import users, workspaces
from tests.support.chromium import act_on
from tests.support.people import acting

PAGES: Final = re.compile(r"/w/ws_")


class Stage:
    """The workspace in which a test acts, and what it has prepared there under the test's own name."""

    def __init__(self, installation: Installation, name: str) -> None:
        self.installation, self.services, self.name = installation, installation.services, name
        self.owner = self.services.workspaces.first()
        self.base = f"/w/{self.owner.workspace_id}"

    @property
    def principal(self) -> Principal:
        """The owner, who has just signed in."""
        return acting(self.owner, datetime.now(UTC))

    def keys(self) -> str:
        """Create a key. Returns the list of keys that never expire, where several can get an expiry."""
        draft = KeyDraft(self.name, None, ["documents:read"])
        self.services.keys.create(self.principal, draft)
        return f"{self.base}/keys?show=endless&query={quote(self.name)}"

    def at(self, section: str) -> str:
        """Return a page of the workspace."""
        return f"{self.base}/{section}"

    def webhook(self) -> str:
        """Create a webhook. Returns its page."""
        draft = WebhookDraft(self.name, "https://hooks.example/x", ["key.revoked"])
        return f"{self.base}/webhooks/{self.services.webhooks.create(self.principal, draft).endpoint.id}"

    def delivery(self) -> str:
        """Create a webhook with a delivery. Returns the page of the delivery."""
        page = self.webhook()
        id = WebhookId(page.rpartition("/")[2])
        return f"{page}/deliveries/{self.services.webhooks.test(self.principal, id).id}"

    def members(self) -> str:
        """Add a member. Returns the list of members."""
        now = datetime.now(UTC)
        user = User(UserId(new_id("usr", now)), self.name, None, now)
        with self.installation.database.write_across(Purpose.PEOPLE) as tx:
            users.insert_user(tx, user)
            workspaces.insert_member(tx, Member(self.owner.workspace_id, user, Role.VIEWER), now)
        return f"{self.base}/members"

    def invitations(self) -> str:
        """Invite a person. Returns the list of invitations."""
        self.services.invitations.invite(self.principal, f"{self.name}@keys.example", Role.VIEWER)
        return f"{self.base}/members/invitations"

    def collection(self) -> str:
        """Create a collection. Returns its page."""
        self.services.documents.create_collection(self.principal, CollectionDraft(self.name))
        return f"{self.base}/collections/{self.name}"


Failure = Callable[[Page], None]


def offline(page: Page) -> None:
    """Drop the network."""
    page.context.set_offline(True)


def reset(page: Page) -> None:
    """Reset the connection."""
    page.route(PAGES, lambda route: route.abort("connectionreset"))


def bad_gateway(page: Page) -> None:
    """Answer as a gateway does if its server is away."""
    body = "<html><body><h1>502 Bad Gateway</h1></body></html>"
    page.route(PAGES, lambda route: route.fulfill(status=502, content_type="text/html", body=body))


def foreign(page: Page) -> None:
    """Answer with a page of another program, as in a hotel's network."""
    body = "<html><body><h1>Welcome to our hotel</h1></body></html>"
    page.route(PAGES, lambda route: route.fulfill(status=200, content_type="text/html", body=body))


def unavailable(page: Page) -> None:
    """Answer with the server's own page for an unavailable database."""
    body = page.request.get("/nothing").text()
    page.route(PAGES, lambda route: route.fulfill(status=503, content_type="text/html", body=body))


def mended(page: Page) -> None:
    """Let everything work again."""
    page.context.set_offline(False)
    page.unroute_all()


FAILURES: Final[dict[Failure, str]] = {
    offline: "couldn't reach the server",
    bad_gateway: "didn't answer as expected (502)",
    reset: "couldn't reach the server",
    foreign: "didn't answer as expected (200)",
    unavailable: "Page not found",
}
"""How a request fails, and the alert's words. Neighbors have other words, so that no alert passes for the next one."""


def through_every_failure(
    page: Page,
    alert: Locator,
    act: Callable[[], None],
    unknown: str,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Act while the requests fail, each time in another way; then let them work, and try again.

    Each alert says what failed and, unless the server itself said so, what isn't known.
    """
    for fails, words in FAILURES.items():
        fails(page)
        act()
        expect(alert).to_contain_text(words)
        expect(alert.get_by_role("button", name="Try again")).to_be_focused()
        if fails is not unavailable:
            expect(alert).to_contain_text(unknown)
        check()
        mended(page)
        act = alert.get_by_role("button", name="Try again").click
    act()


@dataclass(frozen=True)
class Act:
    """How a user opens a dialog and sends its form: what isn't known if that fails, and what shows that it worked.

    `opens` None: the form is on the page itself.
    """

    where: Callable[[Stage], str]
    opens: Callable[[Page, Stage], None] | None
    button: str
    unknown: str
    done: str
    fill: Callable[[Page, Stage], None] = lambda page, stage: None


def link(name: str) -> Callable[[Page, Stage], None]:
    """Follow the page's link of that name, or the one about what the test has prepared."""

    def follow(page: Page, stage: Stage) -> None:
        text = re.compile(f"^{name.replace('*', re.escape(stage.name))}")
        page.locator("main").get_by_role("link", name=text).first.click()

    return follow


def menu(name: str) -> Callable[[Page, Stage], None]:
    """Choose an action from the menu of the key."""
    return lambda page, stage: act_on(page, stage.name, name)


def selected(button: str) -> Callable[[Page, Stage], None]:
    """Check the box of the key, and press a button of the bar."""

    def press(page: Page, stage: Stage) -> None:
        page.get_by_label(f"Select {stage.name}", exact=True).check()
        bar = page.get_by_role("form", name="Selected keys")
        bar.get_by_role("button", name=button).click()

    return press


def fields(**values: str) -> Callable[[Page, Stage], None]:
    """Fill in the fields of these ids; `*` is the name of what the test has prepared."""

    def fill(page: Page, stage: Stage) -> None:
        for id, value in values.items():
            page.locator(f"#{id}").fill(value.replace("*", stage.name))

    return fill


def choose(*labels: str) -> Callable[[Page, Stage], None]:
    """Choose these options."""

    def check(page: Page, stage: Stage) -> None:
        for label in labels:
            page.locator("#panel").get_by_label(re.compile(rf"^\s*{label}")).first.check()

    return check


def new_key(page: Page, stage: Stage) -> None:
    """Fill in the form of a new key."""
    page.get_by_label("Description").fill("another key")
    page.get_by_label("90 days").check()
    page.get_by_label("Full access").check()


def new_webhook(page: Page, stage: Stage) -> None:
    """Fill in the form of a new webhook."""
    fields(name="*", url="https://hooks.example/x")(page, stage)
    choose("All events")(page, stage)


def new_invitation(page: Page, stage: Stage) -> None:
    """Fill in the form of an invitation."""
    fields(email="*@keys.example")(page, stage)
    choose("Viewer")(page, stage)


def full_access(page: Page, stage: Stage) -> None:
    """Choose a filter."""
    page.get_by_label("Access").select_option("full")


ACTS: Final[dict[str, Act]] = {
    "create a key": Act(
        Stage.keys, link("Create key"), "Create key", "if the key was created",
        "Copy your API key now", new_key,
    ),
    "edit a key": Act(
        Stage.keys, menu("Edit"), "Save", "if the key was changed", "was saved.",
        fields(description="x" * 30),
    ),
    "rotate a key": Act(
        Stage.keys, menu("Rotate"), "Rotate key", "if the key was rotated",
        "Copy your API key now", choose("In 1 hour"),
    ),
    "revoke a key": Act(
        Stage.keys, menu("Revoke"), "Revoke key", "if the key was revoked", "was revoked.",
    ),
    "filter keys": Act(
        Stage.keys, link("Filter$"), "Show keys", "Try again.", "No key matches", full_access
    ),
    "expire several keys": Act(
        Stage.keys, selected("Set expiry"), "Set expiry", "if the keys were changed",
        "1 key will expire", choose("30 days"),
    ),
    "revoke several keys": Act(
        Stage.keys, selected("Revoke"), "Revoke keys", "if the keys were revoked",
        "1 key was revoked.",
    ),
    "create a webhook": Act(
        lambda stage: stage.at("webhooks"), link("Create webhook"), "Create webhook",
        "if the webhook was created", "Copy the secret now", new_webhook,
    ),
    "edit a webhook": Act(
        Stage.webhook, link("Edit"), "Save", "if the webhook was saved", "was saved.",
        fields(name="renamed *"),
    ),
    "rotate a secret": Act(
        Stage.webhook, link("Rotate secret"), "Rotate secret", "if the secret was rotated",
        "Copy the secret now",
    ),
    "delete a webhook": Act(
        Stage.webhook, link("Delete"), "Delete webhook", "if the webhook was deleted",
        "was deleted.",
    ),
    "test a webhook": Act(
        Stage.webhook, None, "Send test event", "if a test event was sent", "Test event sent."
    ),
    "pause a webhook": Act(
        Stage.webhook, None, "Pause", "if the webhook was paused", "is paused."
    ),
    "resend a delivery": Act(
        Stage.delivery, None, "Resend", "if the delivery was resent", "Resent with the same ID."
    ),
    "invite a member": Act(
        lambda stage: stage.at("members"), link("Invite member"), "Create invite link",
        "if the invitation was created", "Copy the link now",
        new_invitation,
    ),
    "change a role": Act(
        Stage.members, link("Change role of *"), "Change role", "if the role was changed",
        "is now a developer", choose("Developer"),
    ),
    "remove a member": Act(
        Stage.members, link("Remove *"), "Remove", "if the member was removed", "was removed."
    ),
    "revoke an invitation": Act(
        Stage.invitations, link("Revoke the invitation of *"), "Revoke invitation",
        "if the invitation was revoked", "was revoked.",
    ),
    "rename the workspace": Act(
        lambda stage: stage.at("members"), link("Rename workspace"), "Rename",
        "if the workspace was renamed", "The workspace is now called Renamed",
        fields(name="Renamed"),
    ),
    "create a collection": Act(
        lambda stage: stage.at("collections"), link("Create collection"), "Create collection",
        "if the collection was created", "No documents yet.", fields(name="*"),
    ),
    "delete a collection": Act(
        Stage.collection, link("Delete collection"), "Delete collection",
        "if the collection was deleted", "was deleted.",
    ),
    "set the policy": Act(
        lambda stage: stage.at("plan"), None, "Save policy", "if the policy was saved", "Saved."
    ),
    "choose notifications": Act(
        lambda stage: stage.at("notices"), None, "Save", "if your choice was saved", "Saved."
    ),
    "rename oneself": Act(
        lambda stage: stage.at("account"), None, "Save name", "if your name was saved",
        "Your name was saved.",
    ),
}  # fmt: skip
