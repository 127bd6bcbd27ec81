"""The calls of no noun's own file: who am I, the plan, the plans, a portal session, and what is asked about a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlencode

from keystead.client import reading
from keystead.client.exchange import FORM, Call, Request, encode, sendable
from keystead.client.results import (
    Introspection,
    PlanUse,
    PlanWithLimits,
    PortalSession,
    Whoami,
)
from keystead.domain.token import trim

PortalRole = Literal["admin", "developer", "viewer"]


def whoami() -> Call[Whoami]:
    """Whose key this is."""
    return Call(Request("GET", "/v1/whoami"), reading.whoami)


def plan() -> Call[PlanUse]:
    """The workspace's plan with its use."""
    return Call(Request("GET", "/v1/plan"), reading.plan_use)


def plans() -> Call[Sequence[PlanWithLimits]]:
    """Every plan of the installation."""
    request = Request("GET", "/operator/v1/plans")
    return Call(request, lambda told: reading.page(reading.plan_with_limits)(told).items)


def portal_session(
    workspace_id: str,
    user_id: str,
    name: str,
    email: str | None,
    role: PortalRole,
    return_url: str | None,
) -> Call[PortalSession]:
    """A link for a user. Another one does no harm: each is used once at most, and ends by itself."""
    user = {"id": user_id, "name": name, "email": email}
    body = {"workspace_id": workspace_id, "user": user, "role": role, "return_url": return_url}
    request = Request("POST", "/operator/v1/portal-sessions", body=encode(body))
    return Call(request, reading.portal_session)


def introspect(token: str) -> Call[Introspection]:
    """What a token is good for (RFC 7662 section 2.1)."""
    request = Request("POST", "/introspect", body=_form(token), media=FORM)
    return Call(request, reading.introspection)


def revoke_token(token: str) -> Call[None]:
    """Revoke the key of a token, which itself is the proof (RFC 7009 section 2.1).

    The token is trimmed: the server answers 200 to anything, so a line break would leave its key alive.
    """
    request = Request("POST", "/revoke", body=_form(trim(token)), media=FORM, credential=False)
    return Call(request, reading.nothing)


def _form(token: str) -> bytes:
    return urlencode({"token": sendable(token)}).encode()
