"""The cookies: session, device, a message for the next page, a form that waits for a proof, preferences.

All have the prefix `__Host-` (no other host, http page or path can set them), are hidden from scripts, and aren't
sent when another site posts to us.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.web.navigation import see_other
from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.sessions import DEVICE_LIFETIME
from keystead.domain.token import Secret

SESSION: Final = "__Host-keys"
DEVICE: Final = "__Host-keys-device"
KEPT_FORM: Final = "__Host-keys-kept"
WORKSPACE: Final = "__Host-keys-workspace"
PORTAL: Final = "__Host-keys-portal"
_MESSAGE: Final = "__Host-keys-said"
_MESSAGE_SECONDS: Final = 60
_DEVICE_SECONDS: Final = int(DEVICE_LIFETIME.total_seconds())
_MAX_LENGTH: Final = 3500
"""Characters of a value: browsers store 4,096 bytes of a cookie (RFC 6265 section 6.1)."""
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def find_value(request: Request, name: str) -> str | None:
    """Return a cookie's value, the last one if several have the name."""
    # Our values are never quoted (RFC 6265 section 4.1.1), so nothing is unquoted: the standard library needs
    # quadratic time for that in older Pythons (CVE-2024-7592), and other cookies of the host aren't ours.
    pairs = (
        pair.partition("=")
        for field in request.headers.getlist("cookie")
        for pair in field.split(";")
    )
    values = [value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == name]
    return values[-1] if values else None


def find_secret(request: Request, name: str) -> Secret | None:
    """Return the secret in a cookie; None without a well-formed one."""
    text = find_value(request, name) or ""
    return Secret(text) if _SECRET.fullmatch(text) else None


def find_bytes(request: Request, name: str) -> bytes | None:
    """Return the bytes in a cookie; None without a well-formed one."""
    value = find_value(request, name)
    if value is None or len(value) > _MAX_LENGTH:
        return None
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return None


def set_session(response: Response, secret: Secret) -> None:
    """Set the session's cookie. It ends with the browser's session or with ours, whichever is first."""
    _set(response, SESSION, secret.reveal())


def set_device(response: Response, secret: Secret) -> None:
    """Set the device's cookie for 180 days."""
    _set(response, DEVICE, secret.reveal(), _DEVICE_SECONDS)


def set_workspace(response: Response, workspace_id: WorkspaceId) -> None:
    """Remember the workspace that `/` opens. It is compared with the user's own, so it grants nothing."""
    _set(response, WORKSPACE, workspace_id, _DEVICE_SECONDS)


def set_portal_user(response: Response, user_id: UserId) -> None:
    """Remember the product's user who has confirmed a link in this browser. It grants nothing."""
    _set(response, PORTAL, user_id, _DEVICE_SECONDS)


def set_bytes(response: Response, name: str, content: bytes, seconds: int) -> bool:
    """Set bytes for a number of seconds. Returns False, and sets nothing, if they are too long for a cookie."""
    value = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
    if len(value) > _MAX_LENGTH:
        return False
    _set(response, name, value, seconds)
    return True


def redirect_with_message(url: str, message: str) -> Response:
    """Redirect to `url`, whose status region shows `message` once."""
    response = see_other(url)
    set_message(response, message)
    return response


def set_message(response: Response, message: str) -> None:
    """Let the status region of the next page show `message` once."""
    set_bytes(response, _MESSAGE, message.encode(), _MESSAGE_SECONDS)


def find_message(request: Request) -> str:
    """Return the message of the redirect that led here, or an empty string."""
    return (find_bytes(request, _MESSAGE) or b"").decode(errors="replace")


def drop_message(request: Request, response: Response) -> None:
    """Drop the message after a page has shown it."""
    if find_value(request, _MESSAGE) is not None and response.status_code == 200:
        drop(response, _MESSAGE)


def drop(response: Response, *names: str) -> None:
    """Expire cookies."""
    for name in names:
        _set(response, name, "", 0)


def drop_session(response: Response) -> None:
    """Expire all cookies with a user's session or input: a user who signs out stays known in this browser."""
    drop(response, SESSION, KEPT_FORM, _MESSAGE)


def _set(response: Response, name: str, value: str, seconds: int | None = None) -> None:
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax"
    )
