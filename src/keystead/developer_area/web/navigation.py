"""URLs of pages, the sidebar, and redirects. A browser is only ever sent to our own pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keystead.developer_area.web.contexts import Link, Pager
from keystead.domain.ids import WorkspaceId
from keystead.domain.token import may_hold_token
from keystead.http.asgi import Scope
from keystead.http.paging import Page

COLLECTIONS: Final = "collections"
_SIDEBAR: Final = (
    ("API keys", "keys"),
    ("Webhooks", "webhooks"),
    ("Collections", COLLECTIONS),
    ("Activity", "activity"),
    ("Plans & limits", "plan"),
    ("Members", "members"),
    ("Quick start", "quick-start"),
)
"""Labels and path segments below the workspace, in display order."""
_ACCOUNT: Final = "account"
_OWN_PATH: Final = re.compile(
    r"/(?:w(?:/[A-Za-z0-9_~.%-]+)+|invitation|device)(?:\?[A-Za-z0-9_~.%&=+-]*)?", re.ASCII
)
"""A path of the Developer area. No `//`, no backslash, no scheme, no control character that browsers drop."""
_PRINTABLE: Final = bytes(range(0x21, 0x7F)).decode()


def workspace_url(workspace_id: WorkspaceId) -> str:
    """Return the prefix of a workspace's pages."""
    return f"/w/{workspace_id}"


def keys_url(workspace_id: WorkspaceId) -> str:
    """Return the page of a workspace's keys, where its members land."""
    return f"{workspace_url(workspace_id)}/keys"


def sidebar_links(workspace_id: WorkspaceId, path: str, *, has_documents: bool) -> Sequence[Link]:
    """Return the sidebar's links, with the one that contains `path` marked."""
    base = workspace_url(workspace_id)
    segment = path.removeprefix(f"{base}/").partition("/")[0]
    return [
        Link(text, f"{base}/{part}", part == segment)
        for text, part in _SIDEBAR
        if has_documents or part != COLLECTIONS
    ]


def account_link(workspace_id: WorkspaceId, path: str) -> Link:
    """Return the link to the user's own account."""
    url = f"{workspace_url(workspace_id)}/{_ACCOUNT}"
    return Link("Account", url, path.startswith(url))


def switch_url(workspace_id: WorkspaceId, current: WorkspaceId, path: str) -> str:
    """Return the section of another workspace that `path` shows of the current one: all members may see all of them."""
    segment = path.removeprefix(f"{workspace_url(current)}/").partition("/")[0]
    is_section = segment == _ACCOUNT or segment in (part for _, part in _SIDEBAR)
    return f"{workspace_url(workspace_id)}/{segment}" if is_section else keys_url(workspace_id)


def with_query(url: str, **parameters: str) -> str:
    """Return `url` with those query parameters that aren't empty."""
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{url}?{query}" if query else url


def pager(url: str, page: Page[Any], position: str | int | None, **filters: str) -> Pager:
    """Return the links of a page of the list at `url`; `position` is where the next page begins, None at the end."""
    first = None if page.after is None else with_query(url, **filters)
    if position is None:
        return Pager(first, None)
    return Pager(first, with_query(url, **filters, cursor=page.cursor(position)))


def requested_url(scope: Scope) -> str:
    """Return a request's path and query as text; bytes beyond ASCII are percent-encoded (RFC 3986 section 2.1).

    A query with an API key in it, which was pasted into a search, is left out: the text is shown and stored.
    """
    query = quote(scope["query_string"], safe=_PRINTABLE)
    is_carried = query and not may_hold_token(unquote(query))
    return f"{scope['path']}?{query}" if is_carried else str(scope["path"])


def own_path(text: str) -> str | None:
    """Return `text` if it is the path of one of our pages, else None: a `next` parameter must not leave this site."""
    return text if _OWN_PATH.fullmatch(text) else None


def see_other(url: str) -> RedirectResponse:
    """Redirect to another page of ours by GET (RFC 9110 section 15.4.4). `url` must be a path that we built."""
    return RedirectResponse(url, 303, {"cache-control": "no-store"})


def leave_page(request: Request, url: str) -> Response:
    """Navigate the whole browser to `url`, even when htmx requested only a part of this page."""
    # htmx follows a 303 by itself and would swap the sign-in page into the dialog or #content of the page
    # on display, inside the frame of a user who is no longer signed in. It obeys HX-Redirect instead.
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": url, "cache-control": "no-store"})
    return see_other(url)


def sign_in_url(next_path: str | None) -> str:
    """Return the sign-in page, which continues to `next_path`."""
    return with_query("/sign-in", next=next_path or "")
