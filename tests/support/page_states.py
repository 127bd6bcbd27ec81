"""Every state of every page in a real browser: linked pages, dialogs, and responses to forms."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from typing import Final
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import Page, expect

from keystead import bootstrap
from keystead.bootstrap import open_installation
from tests.support.chromium import act_on
from tests.support.clocks import ManualClock
from tests.support.sample_workspace import SampleWorkspace, furnish
from tests.support.server_process import ServerProcess

STILL: Final = {"KEYSTEAD_WEBHOOK_DELIVERY": "false"}
"""Settings of a server over a furnished installation: its webhooks are not delivered."""

Arrived = Callable[[str], None]
"""The callback of each state, which gets the state's name."""


@contextmanager
def sample_of(server: ServerProcess) -> Iterator[SampleWorkspace]:
    """Furnish the server's installation as if it had been used for a year; its clock can be set back."""
    peppers = bootstrap.find_peppers(server.settings)
    assert peppers is not None, "the server has made them"
    clock = ManualClock()
    installation = open_installation(server.settings, peppers, clock)
    try:
        yield furnish(installation, clock, datetime.now(UTC).replace(microsecond=0))
    finally:
        installation.close()


class Tour:
    """Leads a user's page through all states, each under a descriptive name."""

    def __init__(self, page: Page, sample: SampleWorkspace, arrived: Arrived) -> None:
        self.page, self.sample, self.arrived = page, sample, arrived
        self.names: list[str] = []

    def everything(self) -> None:
        """Visit all states."""
        self.entry_pages()
        self.pages()
        self.forms()
        self.terminal()
        self.refusals()

    def entry_pages(self) -> None:
        """Visit what a user sees before signing in; then sign in."""
        for name, url in (
            ("signed-out", "/sign-in"),
            ("sign-in", self.sample.link()),
            ("invitation", self.sample.invitation()),
        ):
            self._open(url, name)
        self.enter()

    def enter(self) -> None:
        """Sign in by a link."""
        self.page.goto(self.sample.link())
        self.page.get_by_role("button", name="Continue").click()
        expect(self.page.get_by_role("heading", name="API keys")).to_be_visible()

    def pages(self) -> None:
        """Visit every linked page, one of each kind, and every dialog that opens on it."""
        queue = deque([f"{self.sample.base}/keys"])
        while queue:
            url = queue.popleft()
            if (name := self._new_name(url)) is not None:
                self._open(url, name)
                queue += [link for link in self._links() if link.startswith(self.sample.base)]
                self._dialogs(url)
        for name, key in self.sample.keys.items():
            if name in {"data-warehouse sync", "old CI", "laptop of Lee"}:
                self._open(f"{self.sample.base}/keys/{key.id}", f"key-{name.replace(' ', '-')}")
        for other, page in product((self.sample.full, self.sample.suspended), ("keys", "plan")):
            url = f"/w/{other}/{page}"
            self._open(url, name_of(url, self.sample))

    def forms(self) -> None:
        """Create a key after a refused form; see its token in each form, copied, and before leaving; revoke the key."""
        page = self.page
        page.goto(f"{self.sample.base}/keys")
        page.get_by_role("link", name="Create key").first.click()
        page.get_by_label("Description").fill("   ")
        page.get_by_label("Custom date").check()
        page.get_by_label("Last day", exact=True).fill("2099-12-31")
        page.get_by_label("Custom access").check()
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_text("Enter a description")).to_be_visible()
        self._at("create-refused")
        page.get_by_label("Description").fill("billing export")
        page.get_by_label("Documents: Read").check()
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_role("button", name="Copy key")).to_be_visible()
        self._at("created")
        page.keyboard.press("Escape")
        expect(page.get_by_text("Close without copying?")).to_be_visible()
        self._at("created-leaving")
        page.get_by_role("button", name="Keep open").click()
        for name in (".env", "curl", "Python", "JavaScript"):
            page.locator(".tab-name").get_by_text(name, exact=True).click()
            self._at(f"created-{name.removeprefix('.').lower()}")
        page.locator(".tab-name").get_by_text("Key", exact=True).click()
        page.get_by_role("button", name="Copy key").click()
        expect(page.get_by_role("button", name="Copied ✓")).to_be_visible()
        self._at("created-copied")
        page.get_by_role("link", name="Done").click()
        expect(page.get_by_role("row").filter(has_text="billing export")).to_be_visible()
        act_on(page, "billing export", "Revoke")
        page.get_by_role("button", name="Revoke key").click()
        expect(page.get_by_role("status").first).to_contain_text("was revoked")
        self._at("revoked")

    def terminal(self) -> None:
        """Enter a wrong code of a terminal, then the right one; send the form with and without what it needs."""
        page = self.page
        self.sample.clock.set(datetime.now(UTC))
        link = self.sample.terminal()
        self._open("/device", "device")
        page.get_by_label("Code").fill("WXZZ-0000")
        # The owner of several workspaces chooses one.
        page.locator("[name=workspace]").first.check()
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
        self._at("device-wrong")
        self._enter_code(link, self.sample.full)
        expect(page.get_by_text("You've reached your key limit")).to_be_visible()
        self._at("device-full")
        self._enter_code(link, self.sample.owner.workspace_id)
        expect(page.get_by_role("button", name="Approve")).to_be_visible()
        self._at("device-approve")
        page.get_by_label("Description").fill("   ")
        page.get_by_label("30 days").check()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text("Nothing was approved")).to_be_visible()
        self._at("device-refused")
        page.get_by_role("button", name="Deny").click()
        expect(page.get_by_role("status").first).to_contain_text("You denied the sign-in")

    def _enter_code(self, link: str, workspace_id: str) -> None:
        self.page.goto(link)
        self.page.locator(f"[name=workspace][value={workspace_id}]").check()
        self.page.get_by_role("button", name="Continue").click()

    def refusals(self) -> None:
        """Visit a page that does not exist."""
        self._open("/nothing", "refusal")

    def _open(self, url: str, name: str) -> None:
        self.page.goto(url)
        self._at(name)

    def _at(self, name: str) -> None:
        self.names.append(name)
        self.arrived(name)

    def _dialogs(self, url: str) -> None:
        openers = self.page.locator('a[hx-target="#dialog"]:visible')
        for target in dict.fromkeys(
            openers.evaluate_all("all => all.map(a => a.getAttribute('href'))")
        ):
            own = self._new_name(target, "dialog-")
            if own is None:
                continue
            self.page.locator(f'a[hx-target="#dialog"][href="{target}"]:visible').first.click()
            expect(self.page.locator("dialog[open] #panel")).to_be_visible()
            self._at(own)
            self.page.goto(url)

    def _links(self) -> list[str]:
        links = self.page.locator("main a[href^='/'], nav a[href^='/'], .side a[href^='/']")
        return list(
            dict.fromkeys(links.evaluate_all("all => all.map(a => a.getAttribute('href'))"))
        )

    def _new_name(self, url: str, kind: str = "") -> str | None:
        """Return the state's name; None for a file, or a state that was visited before."""
        name = kind + name_of(url, self.sample)
        if name in self.names or re.search(r"\.(csv|jsonl)|/text$", urlsplit(url).path):
            return None
        return name


def name_of(url: str, sample: SampleWorkspace) -> str:
    """Return the path without its IDs, and the names in its query."""
    parts = urlsplit(urljoin("/", url))
    where = {sample.full: "full-", sample.suspended: "suspended-"}
    other = next((word for id, word in where.items() if id in parts.path), "")
    path = re.sub(r"^/w/ws_\w+/", "", parts.path).strip("/")
    path = re.sub(r"(key|usr|inv|ses|ws)_\w{22}", r"\1", path)
    path = re.sub(r"documents/[\w-]+", "document", path)
    parameters = [p.partition("=") for p in parts.query.split("&") if p]
    labels = [value if name == "show" else name for name, _, value in parameters]
    return other + "-".join([*path.split("/"), *labels])
