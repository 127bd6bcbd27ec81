"""Pictures of every page, light, dark and narrow, into `screenshots/`: `python -m tests.journeys.screenshots`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from playwright.sync_api import Page, expect

from keystead import bootstrap
from keystead.bootstrap import Installation, open_installation
from keystead.cli.sign_in import fresh_link
from keystead.domain.instants import to_microseconds
from keystead.domain.keys import ApiKey, KeyDraft
from keystead.domain.principals import Principal, of_key
from keystead.domain.scopes import Scopes
from tests.clocks import ManualClock
from tests.journeys.chromium import chromium
from tests.people import acting
from tests.serving import Serving, serving

FOLDER: Final = Path(__file__).parents[2] / "screenshots"
WIDE: Final = {"width": 1280, "height": 860}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "wide": {"viewport": WIDE},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}},
    "dark-narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    "smallest": {"viewport": {"width": 320, "height": 640}},
}


class Camera:
    """Takes pictures of one page, each under a name and a look."""

    def __init__(self, page: Page, look: str) -> None:
        self.page, self.look = page, look

    def take(self, name: str, *, whole: bool = True) -> None:
        """The whole page, or what its window shows."""
        self.page.screenshot(path=FOLDER / f"{name}-{self.look}.png", full_page=whole)


class Past:
    """Makes keys as they were made and used on days gone by."""

    def __init__(self, installation: Installation, clock: ManualClock) -> None:
        self.installation, self.services, self.clock = installation, installation.services, clock
        self.owner: Principal = acting(installation.services.workspaces.first(), datetime.now(UTC))

    def key(self, days_ago: float, description: str, days: float | None, *scopes: str) -> ApiKey:
        """A key made that long ago, for so many days."""
        now = datetime.now(UTC).replace(microsecond=0)
        self.clock.set(now - timedelta(days=days_ago))
        ends = None if days is None else self.clock.now() + timedelta(days=days)
        draft = KeyDraft(description, ends, Scopes(scopes or ("*",)))
        return self.services.keys.create(self.owner, draft).key

    def use(self, key: ApiKey, ago: timedelta, address: str, agent: str) -> None:
        """A use of the key that long ago."""
        principal = of_key(key.id, key.description, key.workspace_id, key.scopes, key.expires_at)
        at = to_microseconds(datetime.now(UTC) - ago)
        self.services.usage.note(principal, at, address, agent)
        self.services.usage.flush()


@contextmanager
def past_of(server: Serving) -> Iterator[Past]:
    """The server's installation with a clock that can be set back."""
    peppers = bootstrap.find_peppers(server.settings)
    assert peppers is not None, "the server has made them"
    clock = ManualClock()
    installation = open_installation(server.settings, peppers, clock)
    try:
        yield Past(installation, clock)
    finally:
        installation.close()


def furnish(past: Past) -> None:
    """Keys of every kind: old, expired, revoked, narrow, in use."""
    past.key(400, "legacy importer", None)
    past.key(300, "laptop of a leaver", 20)
    past.services.keys.revoke(past.owner, past.key(50, "CI of the old repository", None).id)
    report = past.key(20, "nightly report", 30, "collections:read", "documents:read")
    sync = past.key(1, "data-warehouse sync", 90)
    past.use(sync, timedelta(minutes=4), "10.2.3.4", "python-requests/2.32.3")
    past.use(report, timedelta(days=3), "2001:db8::17", "curl/8.14.1")


def tour(page: Page, camera: Camera, past: Past) -> None:
    """Every page and every state of the dialog."""
    past.clock.set(datetime.now(UTC))
    page.goto("/sign-in")
    camera.take("signed-out")
    page.goto(fresh_link(past.installation)[0])
    camera.take("sign-in")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    camera.take("keys")
    picture_creating(page, camera)
    page.get_by_role("link", name="Revoke billing export").click()
    expect(page.get_by_role("alertdialog")).to_be_visible()
    camera.take("revoke", whole=False)
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_role("status").first).to_contain_text("is revoked")
    camera.take("revoked")
    page.get_by_role("link", name="History").click()
    camera.take("history")
    extra = [past.key(0, name, 30) for name in ("fourth", "fifth")]
    page.get_by_role("link", name="Current").click()
    camera.take("limit")
    for key in extra:
        past.services.keys.revoke(past.owner, key.id)
    page.goto("/nothing")
    camera.take("refusal")


def picture_creating(page: Page, camera: Camera) -> None:
    """From the empty form over a refused one to the token."""
    page.get_by_role("link", name="Create key").click()
    expect(page.get_by_label("Description")).to_be_focused()
    camera.take("create", whole=False)
    page.get_by_label("Description").fill("   ")
    page.get_by_label("On a date").check()
    page.get_by_label("Last day").fill("2099-12-31")
    page.get_by_label("Chosen scopes").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("The description must be")).to_be_visible()
    camera.take("create-refused", whole=False)
    page.get_by_label("Description").fill("billing export")
    page.get_by_label("documents:read").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("button", name="Copy key")).to_be_visible()
    camera.take("created", whole=False)
    page.keyboard.press("Escape")
    camera.take("created-leaving", whole=False)
    page.get_by_role("link", name="Close", exact=True).click()
    expect(page.get_by_role("link", name="Revoke billing export")).to_be_visible()


def main() -> None:
    """Takes all pictures, or those of the looks that are named as arguments."""
    FOLDER.mkdir(exist_ok=True)
    with (
        TemporaryDirectory() as folder,
        serving(f"sqlite:///{folder}/keystead.db") as server,
        past_of(server) as past,
        chromium() as browser,
    ):
        furnish(past)
        for look in sys.argv[1:] or LOOKS:
            page = browser.new_page(base_url=server.base_url, **LOOKS[look])
            tour(page, Camera(page, look), past)
            page.close()


if __name__ == "__main__":
    main()
