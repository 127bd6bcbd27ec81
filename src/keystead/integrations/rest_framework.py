"""Django REST framework: an authentication class and permissions, over the guard of the project's settings.

class Reports(APIView):
    authentication_classes = [KeysteadAuthentication]
    permission_classes = [has_scope("reports:read")]
"""

from __future__ import annotations

import json
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.views import exception_handler as default_handler

from keystead.domain.errors import InsufficientScope, Unauthenticated
from keystead.domain.principals import Principal
from keystead.http.asgi import Answer
from keystead.http.bearer import plain_challenge
from keystead.http.problems import MEDIA_TYPE
from keystead.integrations.django import KeyUser, django_head, guard_of_settings
from keystead.integrations.guard import valid_scope


class Refused(APIException):
    """A request that is refused. Its detail has the members of the problem (RFC 9457)."""

    def __init__(self, error: Exception) -> None:
        answer = guard_of_settings().answer(error)
        super().__init__()
        self.status_code = answer.status
        self.detail = _members(answer)
        fields = dict(answer.headers)
        if b"www-authenticate" in fields:
            self.auth_header = fields[b"www-authenticate"].decode("latin-1")
        if b"retry-after" in fields:
            self.wait = int(fields[b"retry-after"])


class KeysteadAuthentication(BaseAuthentication):
    """Sets `request.user` to the key's user and `request.auth` to the principal."""

    def authenticate(self, request: Request) -> tuple[KeyUser, Principal] | None:
        """Return the key's user and principal, or None without credentials. Raises Refused for invalid ones."""
        try:
            principal = guard_of_settings().admit(django_head(request._request))
        except Unauthenticated:
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the view must not run
            raise Refused(error) from None
        return KeyUser(principal), principal

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge (RFC 6750 section 3)."""
        return plain_challenge(guard_of_settings().problems.product.realm)


def has_scope(scope: str | None = None) -> type[BasePermission]:
    """Return a permission for keys with the scope, or for every active key. Raises ValueError if malformed."""
    valid_scope(scope)

    class HasScope(BasePermission):
        def has_permission(self, request: Request, view: APIView) -> bool:
            principal = request.auth
            if not isinstance(principal, Principal):
                raise Refused(Unauthenticated())
            if scope is not None and not principal.scopes.permit(scope):
                raise Refused(InsufficientScope(scope))
            return True

    return HasScope


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Set the media type of a problem after the framework's own handler. For EXCEPTION_HANDLER in the settings."""
    response: Response | None = default_handler(error, context)
    if response is not None and isinstance(error, Refused):
        response.content_type = MEDIA_TYPE.decode()
    return response


def _members(answer: Answer) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(answer.body)
    return members
