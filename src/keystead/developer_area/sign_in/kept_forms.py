"""Forms that wait in the user's own browser while the user signs in or enters the password again.

The cookie names its user, so that no other user can continue with it. Passwords are never stored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.web.navigation import own_path
from keystead.domain.ids import UserId
from keystead.domain.sessions import REAUTHENTICATION_AGE

_SECONDS: Final = int(REAUTHENTICATION_AGE.total_seconds())


@dataclass(frozen=True, slots=True)
class KeptForm:
    """An interrupted request: the form's path and fields, or no fields if the user only opened the page."""

    user_id: UserId
    path: str
    fields: Sequence[tuple[str, str]] = ()

    @property
    def resume_url(self) -> str:
        """Return the page that continues, in the workspace that the form belongs to."""
        workspace = "/".join(self.path.split("/")[:3])
        return f"{workspace}/resume" if self.fields else self.path


def store_form(response: Response, form: KeptForm) -> None:
    """Store the form in the browser for 15 minutes, unless it is too long for a cookie."""
    text = json.dumps(
        [form.user_id, form.path, list(form.fields)], separators=(",", ":"), ensure_ascii=False
    )
    if not cookies.set_text(response, cookies.KEPT_FORM, text, _SECONDS):
        # An older form must not be what the user is sent back to.
        cookies.drop(response, cookies.KEPT_FORM)


def load_form(request: Request, user_id: UserId) -> KeptForm | None:
    """Return the form that waits in this browser for that user."""
    text = cookies.find_text(request, cookies.KEPT_FORM)
    if text is None:
        return None
    try:
        owner, path, fields = json.loads(text)
        form = KeptForm(UserId(str(owner)), str(path), [(str(n), str(v)) for n, v in fields])
    except (ValueError, TypeError, RecursionError):
        return None
    # Cookies are input: the path must still be one of ours, or the form could post anywhere.
    return form if form.user_id == user_id and own_path(form.path) else None
