"""Django: a middleware that authenticates keys, a decorator for views, and an authentication backend.

KEYSTEAD = connect("sqlite:////srv/keystead/keystead.db")                       # settings.py
MIDDLEWARE = [..., "keystead.integrations.django.KeysteadMiddleware"]

@require("reports:read")
def reports(request): request.keystead.workspace_id …
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from keystead.domain.errors import InsufficientScope, InvalidToken, Unauthenticated
from keystead.domain.principals import Principal
from keystead.http.asgi import Answer
from keystead.integrations.guard import Guard, RequestHead, valid_scope, wsgi_head
from keystead.integrations.wsgi import is_identity_variable

SETTING: Final = "KEYSTEAD"

View = Callable[..., Any]


class KeyUser:
    """`request.user` for a key: authenticated, without a row, without permissions in Django's admin."""

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.pk = self.id = principal.id

    def get_username(self) -> str:
        """Return the key's description."""
        return self.principal.name

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Return whether the key has the scope `perm`. It has no permissions for single objects."""
        return obj is None and self.principal.scopes.permit(perm)

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """Return whether it has all of them."""
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, _app_label: str) -> bool:
        """Return False: scopes are not named after applications."""
        return False

    def __str__(self) -> str:
        return self.id


class KeysteadMiddleware:
    """Sets `request.keystead` to the principal, or None without credentials, and `request.user`.

    Invalid credentials are refused for every view. Header fields that claim to be Keystead's are removed.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._next = get_response
        self._guard = guard_of_settings()
        self._on_loop = iscoroutinefunction(get_response)
        if self._on_loop:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Return the view's response, or the refusal."""
        if self._on_loop:
            return self._answer_on_loop(request)
        try:
            _authenticate(request, self._guard.admit(django_head(request)))
        except Unauthenticated:
            _authenticate(request, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the view must not run
            return response_of(self._guard.answer(error))
        return cast(HttpResponseBase, self._next(request))

    async def _answer_on_loop(self, request: HttpRequest) -> HttpResponseBase:
        try:
            _authenticate(request, await self._guard.admit_on_loop(django_head(request)))
        except Unauthenticated:
            _authenticate(request, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the view must not run
            return response_of(self._guard.answer(error))
        return cast(HttpResponseBase, await self._next(request))


class KeysteadBackend(BaseBackend):
    """An authentication backend for `authenticate(request, token=…)`. Keys have no sessions."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, token: str | None = None, **_: Any
    ) -> KeyUser | None:
        """Return the key's user, or None if the token is not that of an active key. Raises Unavailable."""
        if token is None:
            return None
        head = RequestHead(()) if request is None else django_head(request)
        try:
            return KeyUser(guard_of_settings().decide(head, token, None))
        except InvalidToken:
            return None


def require(scope: str | None = None) -> Callable[[View], View]:
    """Run a view only for keys with the scope, or for every active key. Raises ValueError if malformed.

    Without the middleware, the view raises AttributeError.
    """
    valid_scope(scope)

    def decorator(view: View) -> View:
        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def wrapper_on_loop(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                refusal = _refusal(request, scope)
                return response_of(refusal) if refusal else await view(request, *args, **kwargs)

            return wrapper_on_loop

        @functools.wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            refusal = _refusal(request, scope)
            return response_of(refusal) if refusal else view(request, *args, **kwargs)

        return wrapper

    return decorator


def guard_of_settings() -> Guard:
    """Return the guard of the project's settings. Raises AttributeError without one."""
    guard: Guard = getattr(settings, SETTING)
    return guard


def django_head(request: HttpRequest) -> RequestHead:
    """Return the head of a request. Django keeps it as a WSGI environment, under ASGI too."""
    return wsgi_head(request.META)


def response_of(answer: Answer) -> HttpResponse:
    """Return `answer` as Django's response."""
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.headers:
        response[name.decode("latin-1")] = value.decode("latin-1")
    return response


def _refusal(request: HttpRequest, scope: str | None) -> Answer | None:
    principal: Principal | None = request.keystead  # type: ignore[attr-defined]
    if principal is None:
        return guard_of_settings().answer(Unauthenticated())
    if scope is None or principal.scopes.permit(scope):
        return None
    return guard_of_settings().answer(InsufficientScope(scope))


def _authenticate(request: HttpRequest, principal: Principal | None) -> None:
    for name in [name for name in request.META if is_identity_variable(name)]:
        del request.META[name]
    request.keystead = principal  # type: ignore[attr-defined]
    if principal is not None:
        request.user = KeyUser(principal)  # type: ignore[assignment]
