"""Where a browser is sent: only to pages of ours, never to where an address asks for."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keystead.http.asgi import Scope

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
