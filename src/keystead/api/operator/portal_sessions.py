"""The call of the Operator API that signs a product's user in to the Developer area."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from keystead.api.bodies.people import NewPortalSession
from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, Operations, Reply
from keystead.domain.errors import LimitReached, NotFound
from keystead.wire.resources import PortalSession

PORTAL_SESSIONS: Final = Operations("/operator/v1/portal-sessions", "portal sessions", OPERATOR)


@PORTAL_SESSIONS.call(
    "POST",
    "",
    "Sign a user in",
    statuses=(201,),
    refusals=(NotFound, LimitReached),
    is_located=False,
)
def create_portal_session(call: OperatorCall, body: NewPortalSession) -> Reply[PortalSession]:
    """Create a link that signs a user in once, within five minutes. Send the user's browser there.

    The workspace and the product's own `id` identify the user. Name, email and role are updated to the values sent,
    but an owner stays one: see the calls for members.
    """
    sessions = call.services.portal_sessions
    secret, expires_at = sessions.create(call.credential, body.request(), call.origin)
    url = f"{call.base_url}/sign-in?{urlencode({'link': secret.reveal()})}"
    return Reply(PortalSession(url=url, expires_at=expires_at))
