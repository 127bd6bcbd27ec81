"""Forms that wait while their sender proves who they are or signs in again: in their own browser, in no address.

The cookie names its person, so that nobody else goes on with it; what was typed as a password is never kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.redirects import own_path
from keystead.developer_area.sign_in import cookies
from keystead.domain.ids import UserId
from keystead.domain.sessions import REAUTHENTICATION_AGE


@dataclass(frozen=True, slots=True)
class KeptForm:
    """What somebody was about to do: the form's path and fields; no fields where they only wanted to see the page."""

    user_id: UserId
    path: str
    fields: Sequence[tuple[str, str]] = ()


_SECONDS: Final = int(REAUTHENTICATION_AGE.total_seconds())


def keep(response: Response, form: KeptForm) -> None:
    """Has the browser keep it for 15 minutes; what is too long for a cookie is not kept."""
    text = json.dumps(
        [form.user_id, form.path, list(form.fields)], separators=(",", ":"), ensure_ascii=False
    )
    if not cookies.give_text(response, cookies.KEPT, text, _SECONDS):
        cookies.drop(response, cookies.KEPT)


def kept(request: Request, user_id: UserId) -> KeptForm | None:
    """What waits in this browser for that person."""
    text = cookies.text_in(request, cookies.KEPT)
    if text is None:
        return None
    try:
        owner, path, fields = json.loads(text)
        form = KeptForm(UserId(str(owner)), str(path), [(str(n), str(v)) for n, v in fields])
    except (ValueError, TypeError, RecursionError):
        return None
    return form if form.user_id == user_id and own_path(form.path) else None


def waiting(request: Request, user_id: UserId) -> str | None:
    """Where that person goes on with what waits; None where nothing does."""
    form = kept(request, user_id)
    return None if form is None else way_on(form)


def way_on(form: KeptForm) -> str:
    """Return where its person goes on with it: in the workspace from which it was sent."""
    workspace = "/".join(form.path.split("/")[:3])
    return f"{workspace}/resume" if form.fields else form.path
