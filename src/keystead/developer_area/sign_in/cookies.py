"""What the browser keeps for us: the session, the device, a sentence for the next page, a form that waits for a proof.

All of them have the prefix `__Host-` (no other host, no http page and no path can set them), are hidden from scripts,
and are not sent along when another site posts to us.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keystead.domain.sessions import DEVICE_LIFETIME
from keystead.domain.token import Secret

SESSION: Final = "__Host-keystead"
DEVICE: Final = "__Host-keystead-device"
KEPT: Final = "__Host-keystead-kept"
_SAID: Final = "__Host-keystead-said"
_SAID_SECONDS: Final = 60
_LONGEST: Final = 3500
"""Characters of a value: browsers keep 4,096 bytes of a cookie (RFC 6265 section 6.1)."""
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def value_in(request: Request, name: str) -> str | None:
    """The value of that cookie, the last one where several have its name; None where there is none.

    Ours are never quoted (RFC 6265 section 4.1.1), so nothing is unquoted: the standard library needs quadratic time
    for that in older Pythons (CVE-2024-7592), and other cookies of the host are none of our business.
    """
    pairs = (
        pair.partition("=")
        for field in request.headers.getlist("cookie")
        for pair in field.split(";")
    )
    values = [value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == name]
    return values[-1] if values else None


def secret_in(request: Request, name: str) -> Secret | None:
    """The secret in that cookie; None where there is none, or something else."""
    text = value_in(request, name) or ""
    return Secret(text) if _SECRET.fullmatch(text) else None


def give_session(response: Response, secret: Secret) -> None:
    """The session's cookie, which ends with the browser's own session or with ours, whichever is first."""
    _give(response, SESSION, secret.reveal())


def give_device(response: Response, secret: Secret) -> None:
    """The device's cookie, for 180 days from now."""
    _give(response, DEVICE, secret.reveal(), int(DEVICE_LIFETIME.total_seconds()))


def give_text(response: Response, name: str, text: str, seconds: int) -> bool:
    """A text for so many seconds; False, and no cookie, where it is too long for one."""
    value = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    if len(value) > _LONGEST:
        return False
    _give(response, name, value, seconds)
    return True


def text_in(request: Request, name: str) -> str | None:
    """The text in that cookie; None where there is none, or something else."""
    value = value_in(request, name)
    if value is None or len(value) > _LONGEST:
        return None
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, ValueError):
        return None


def say(response: Response, sentence: str) -> None:
    """A sentence for the status region of the page that the response leads to."""
    give_text(response, _SAID, sentence, _SAID_SECONDS)


def said(request: Request) -> str:
    """What the answer before this one said; empty where it said nothing."""
    return text_in(request, _SAID) or ""


def forget_said(request: Request, response: Response) -> None:
    """A sentence is shown once."""
    if value_in(request, _SAID) is not None and response.status_code == 200:
        drop(response, _SAID)


def drop(response: Response, *names: str) -> None:
    """Takes cookies back."""
    for name in names:
        _give(response, name, "", 0)


def drop_all_but_device(response: Response) -> None:
    """What is left in a browser whose person signed out: that it is no stranger."""
    drop(response, SESSION, KEPT, _SAID)


def _give(response: Response, name: str, value: str, seconds: int | None = None) -> None:
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax"
    )
