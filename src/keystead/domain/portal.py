"""Portal sessions: a product vouches for its own user, who lands in the Developer area without a second account."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from keystead.domain.errors import Invalid
from keystead.domain.ids import WorkspaceId
from keystead.domain.text import check_line
from keystead.domain.users import check_email
from keystead.domain.workspaces import Role, check_name

PORTAL_ROLES: Final = frozenset({Role.ADMIN, Role.DEVELOPER, Role.VIEWER})
"""Owners are made by owners, never by a product."""
MAX_USER_ID: Final = 200
MAX_URL: Final = 2048
_URL: Final = re.compile(r"https?://[!-~]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class PortalUser:
    """A user as the product knows them: its own id, and what to show. The address signs nobody in."""

    id: str
    name: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class PortalRequest:
    """Whom the product vouches for, where, as what, and where to they go back."""

    workspace_id: WorkspaceId
    user: PortalUser
    role: Role
    return_url: str | None = None


def check_portal_request(request: PortalRequest, origins: Collection[str]) -> None:
    """Invalid unless it could be a product's user, in a role a product gives, coming from a configured origin."""
    check_line(request.user.id, "/user/id", MAX_USER_ID)
    check_name(request.user.name, "/user/name")
    if request.user.email is not None:
        check_email(request.user.email, "/user/email")
    if request.role not in PORTAL_ROLES:
        raise Invalid.field("/role", "must be admin, developer or viewer")
    if request.return_url is not None:
        check_return_url(request.return_url, origins)


def check_return_url(url: str, origins: Collection[str]) -> None:
    """Invalid unless the URL's origin (RFC 6454) is one of `origins`, to browsers and to this program alike."""
    readable = _URL.fullmatch(url) is not None
    origin = origin_of(url)
    known = origin is not None and origin in map(origin_of, origins)
    if len(url) > MAX_URL or not readable or not known:
        raise Invalid.field(
            "/return_url", "must be an absolute URL of an origin that is configured here"
        )


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, None where the URL has none, or names a user."""
    try:
        parts = urlsplit(url)
        port = _port(parts)
    except ValueError:
        return None
    if not parts.hostname or port is None or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def _port(parts: SplitResult) -> int | None:
    return _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
