"""Portal sessions: a product signs its own users in to the Developer area, without a second account."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from keystead.domain.destinations import origin_of
from keystead.domain.errors import Invalid
from keystead.domain.ids import WorkspaceId
from keystead.domain.text import check_line
from keystead.domain.users import check_email
from keystead.domain.workspaces import Role, check_name

PORTAL_ROLES: Final = frozenset({Role.ADMIN, Role.DEVELOPER, Role.VIEWER})
"""Only an owner can appoint an owner, never a product."""
MAX_USER_ID: Final = 200
MAX_URL: Final = 2048
_URL: Final = re.compile(r"https?://[!-~]+")


@dataclass(frozen=True, slots=True)
class PortalUser:
    """A user as the product knows them: the product's own id, and what to show. The email is not used to sign in."""

    id: str
    name: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class PortalRequest:
    """A product's request to sign a user in: the workspace, the user, the role, and the URL to return to."""

    workspace_id: WorkspaceId
    user: PortalUser
    role: Role
    return_url: str | None = None


def check_portal_request(request: PortalRequest, origins: Collection[str]) -> None:
    """Raise Invalid unless the user, the role and the origin of `return_url` are allowed."""
    check_portal_user(request.user, "/user")
    if request.role not in PORTAL_ROLES:
        raise Invalid.field("/role", "must be admin, developer or viewer")
    if request.return_url is not None:
        check_return_url(request.return_url, origins)


def check_portal_user(user: PortalUser, pointer: str = "") -> None:
    """Raise Invalid unless the id, the name and the email are allowed."""
    check_line(user.id, f"{pointer}/id", MAX_USER_ID)
    check_name(user.name, f"{pointer}/name")
    if user.email is not None:
        check_email(user.email, f"{pointer}/email")


def check_return_url(url: str, origins: Collection[str]) -> None:
    """Raise Invalid unless the URL's origin (RFC 6454) is in `origins`.

    The strict form matters: browsers and urlsplit disagree on backslashes and control characters.
    """
    readable = _URL.fullmatch(url) is not None
    origin = origin_of(url)
    known = origin is not None and origin in map(origin_of, origins)
    if len(url) > MAX_URL or not readable or not known:
        raise Invalid.field(
            "/return_url", "must be an absolute URL with an origin that is configured here"
        )
