"""Where a person can go in a workspace: the one place that builds the sidebar's links."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keystead.developer_area.web.contexts import Link
from keystead.domain.ids import WorkspaceId
from keystead.http.asgi import Scope
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


_OWN: Final = re.compile(
    r"/(?:w(?:/[A-Za-z0-9_~.%-]+)+|invitation)(?:\?[A-Za-z0-9_~.%&=+-]*)?", re.ASCII
)
"""A path of the Developer area. No `//`, no backslash, no scheme, no control character that browsers drop."""


_PRINTABLE: Final = bytes(range(0x21, 0x7F)).decode()


def asked_address(scope: Scope) -> str:
    """Return the path and query of a request as text; raw bytes beyond ASCII are percent-encoded (RFC 3986, 2.1)."""
    query = quote(scope["query_string"], safe=_PRINTABLE)
    return f"{scope['path']}?{query}" if query else str(scope["path"])


def own_path(text: str) -> str | None:
    """`text` itself, if it is the path of one of our pages; None for everything else, other sites above all."""
    return text if _OWN.fullmatch(text) else None


def see_other(url: str) -> RedirectResponse:
    """On to another page of ours, by GET (RFC 9110 section 15.4.4). `url` is a path that we made."""
    return RedirectResponse(url, 303, {"cache-control": "no-store"})


def leave(request: Request, url: str) -> Response:
    """Return the way to another page of ours as a whole, also when a script asked for a part of this one.

    A redirect would have the script put that page into the frame of a person who is no longer signed in.
    """
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": url, "cache-control": "no-store"})
    return see_other(url)


def sign_in_url(wanted: str | None) -> str:
    """Return the sign-in page, which leads on to the page that was wanted."""
    return f"/sign-in?{urlencode({'next': wanted})}" if wanted else "/sign-in"
