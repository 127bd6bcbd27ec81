"""The Developer area's pages of keys: their forms, and what they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from keystead.domain.instants import to_microseconds
from keystead.domain.keys import ApiKey
from keystead.domain.principals import Principal
from keystead.domain.token import Token
from tests.developer_area.conftest import Area
from tests.support.browser import Browser, Page, filled

NEW_KEY: Final = {"description": "sync", "expiry": "30", "access": "full"}
"""The choices that the form for a new key requires."""


def create(area: Area, browser: Browser, **fields: Iterable[str] | str) -> Page:
    """Fill in the form for a new key, and send it."""
    chosen: dict[str, Iterable[str] | str] = {**NEW_KEY, **fields}
    return browser.submit(browser.open(f"{area.keys_url}/new"), area.keys_url, **chosen)


def forced(area: Area, browser: Browser, **fields: str) -> Page:
    """Send the form for a new key with values that it does not offer."""
    form = browser.open(f"{area.keys_url}/new").form(area.keys_url)
    own = filled(form, NEW_KEY)
    others = [(name, value) for name, value in own if name not in fields]
    return browser.post(area.keys_url, [*others, *fields.items()])


def newest(area: Area) -> ApiKey:
    """Return the key that was created last."""
    return area.services.keys.list(area.principal, limit=1).items[0]


def token_on(seen: Page) -> str:
    """Return the token that the page shows."""
    return seen.tree.one("textarea", id="token").raw


def unlimited(area: Area) -> None:
    """Put the workspace on the plan without limits."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")


def used(area: Area, token: Token, agent: str = "curl/8", address: str = "10.2.3.4") -> None:
    """Record a use of the key now, as a verification does."""
    key = area.services.keys.get(area.principal, token.key_id)
    principal = Principal.of_key(
        key.id, key.description, key.workspace_id, key.scopes, key.expires_at
    )
    area.services.usage.note(principal, to_microseconds(area.clock.now()), address, agent)
    area.services.usage.flush()


def descriptions(seen: Page) -> list[str]:
    """Return the names in the table, in its order."""
    return [row.text for row in seen.tree.all("span", class_="name")]
