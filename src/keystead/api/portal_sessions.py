"""Portal sessions: the product's backend asks for a link that signs its own user into their workspace."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter

from keystead.api.bodies import NewPortalSession
from keystead.api.operator_route import CurrentOperator, OperatorRoute, needs_operator
from keystead.domain.errors import LimitReached, NotFound
from keystead.wire.resources import PortalSession

router = APIRouter(
    prefix="/operator/v1/portal-sessions", tags=["portal sessions"], route_class=OperatorRoute
)


@router.post(
    "",
    operation_id="portal_create",
    summary="Sign a user in",
    status_code=201,
    **needs_operator(NotFound, LimitReached),
)
def create_portal_session(call: CurrentOperator, body: NewPortalSession) -> PortalSession:
    """A link that signs the user in, once and within five minutes: send their browser there.

    The user is known by the workspace and the product's own `id`. Name, address and role become what this call says.
    """
    sessions = call.services.portal_sessions
    secret, expires_at = sessions.create(call.credential, body.request(), call.origin)
    url = f"{call.base_url}/sign-in?{urlencode({'link': secret.reveal()})}"
    return PortalSession(url=url, expires_at=expires_at)
