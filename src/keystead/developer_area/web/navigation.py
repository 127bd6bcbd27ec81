"""Where a person can go in a workspace: the one place that builds the sidebar's links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from keystead.developer_area.web.contexts import Link
from keystead.domain.ids import WorkspaceId
from keystead.http.paging import Page

_PLACES: Final = (
    ("API keys", "keys"),
    ("Webhooks", "webhooks"),
    ("Collections", "collections"),
    ("Activity", "activity"),
    ("Plans & limits", "plan"),
    ("Members", "members"),
    ("Quick start", "quick-start"),
)
"""Words and the first part of the path below the workspace, in the order in which they are shown."""


def workspace_url(workspace_id: WorkspaceId) -> str:
    """Below which all pages of a workspace stand."""
    return f"/w/{workspace_id}"


def places(workspace_id: WorkspaceId, path: str) -> Sequence[Link]:
    """The pages of a workspace; the one that `path` stands at or below is marked."""
    base = workspace_url(workspace_id)
    here = path.removeprefix(f"{base}/").partition("/")[0]
    return [Link(words, f"{base}/{part}", part == here) for words, part in _PLACES]


def next_url(url: str, asked: Page[Any], following: str | int | None, **filters: str) -> str | None:
    """Where the list at `url` goes on after that item, with the same filters; None where it ends."""
    if following is None:
        return None
    said = {**filters, "cursor": asked.cursor(following)}
    return f"{url}?{urlencode({name: value for name, value in said.items() if value})}"


def account_link(workspace_id: WorkspaceId, path: str) -> Link:
    """The person's own page."""
    url = f"{workspace_url(workspace_id)}/account"
    return Link("Account", url, path.startswith(url))
