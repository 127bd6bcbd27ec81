"""Forms that wait in the user's own browser while the user signs in or authenticates elsewhere.

The cookie names its user, so that no other user can continue with it. It holds one form, for 15 minutes, and never a
password or a form token.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.web.navigation import own_path
from keystead.domain.ids import UserId
from keystead.domain.sessions import REAUTHENTICATION_AGE
from keystead.http.body import FORM_LIMIT

_SECONDS: Final = int(REAUTHENTICATION_AGE.total_seconds())
_MAX_BYTES: Final = 12_000
"""Bytes of a form that is compressed at all: strangers send forms too, and few longer ones fit into a cookie."""
_LEVEL: Final = 4


@dataclass(frozen=True, slots=True)
class KeptForm:
    """An interrupted request: a form's path and fields, or None instead of fields for a page to open."""

    user_id: UserId
    path: str
    fields: Sequence[tuple[str, str]] | None = None

    @property
    def resume_url(self) -> str:
        """Return the page that continues, in the workspace that the form belongs to."""
        workspace = "/".join(self.path.split("/")[:3])
        return self.path if self.fields is None else f"{workspace}/resume"


def store_form(response: Response, form: KeptForm) -> None:
    """Store the form in the browser for 15 minutes, or only its page if it is too long for a cookie."""
    for kept in (form, KeptForm(form.user_id, form.path)):
        text = json.dumps([kept.user_id, kept.path, kept.fields], ensure_ascii=False).encode()
        if len(text) > _MAX_BYTES:
            continue
        packed = zlib.compress(text, _LEVEL)
        if cookies.set_bytes(response, cookies.KEPT_FORM, packed, _SECONDS):
            return
    # An older form must not be what the user is sent back to.
    cookies.drop(response, cookies.KEPT_FORM)


def load_form(request: Request, user_id: UserId) -> KeptForm | None:
    """Return the form that waits in this browser for that user."""
    packed = cookies.find_bytes(request, cookies.KEPT_FORM)
    if packed is None:
        return None
    try:
        # Bounded: a few bytes of a cookie could otherwise unpack to megabytes.
        owner, path, fields = json.loads(zlib.decompressobj().decompress(packed, FORM_LIMIT))
        pairs = None if fields is None else [(str(n), str(v)) for n, v in fields]
        form = KeptForm(UserId(str(owner)), str(path), pairs)
    except (zlib.error, ValueError, TypeError, RecursionError):
        return None
    # Cookies are input: the path must still be one of ours, or the form could post anywhere.
    return form if form.user_id == user_id and own_path(form.path) else None
