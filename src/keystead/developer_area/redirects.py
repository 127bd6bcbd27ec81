"""Where a browser is sent: only to pages of ours, never to where an address asks for."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import RedirectResponse

_OWN: Final = re.compile(
    r"/(?:w(?:/[A-Za-z0-9_~.%-]+)+|invitation)(?:\?[A-Za-z0-9_~.%&=+-]*)?", re.ASCII
)
"""A path of the Developer area. No `//`, no backslash, no scheme, no control character that browsers drop."""


def own_path(text: str) -> str | None:
    """`text` itself, if it is the path of one of our pages; None for everything else, other sites above all."""
    return text if _OWN.fullmatch(text) else None


def see_other(url: str) -> RedirectResponse:
    """On to another page of ours, by GET (RFC 9110 section 15.4.4). `url` is a path that we made."""
    return RedirectResponse(url, 303, {"cache-control": "no-store"})
