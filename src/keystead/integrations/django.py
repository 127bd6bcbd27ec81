"""Django: a middleware that tells who acts, a decorator for views, and an authentication backend.

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
from keystead.integrations.guard import Guard, Presented, check_required, of_wsgi
from keystead.integrations.wsgi import claims_identity

SETTING: Final = "KEYSTEAD"

View = Callable[..., Any]


class KeyUser:
    """`request.user` where a key acts: signed in, without a row, without rights in Django's admin."""

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.pk = self.id = principal.id

    def get_username(self) -> str:
        """The key's description."""
        return self.principal.name

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Whether the key holds the scope `perm`; of single objects a key knows nothing."""
        return obj is None and self.principal.scopes.permit(perm)

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """Whether it holds all of them."""
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, _app_label: str) -> bool:
        """False: scopes are not named after applications."""
        return False

    def __str__(self) -> str:
        return self.id


class KeysteadMiddleware:
    """Sets `request.keystead` to the principal, and `request.user`; the former to None without credentials.

    A credential that does not stand is refused, whatever the view. Fields that claim to be Keystead's are taken out.
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
        """The view's answer, or the refusal."""
        if self._on_loop:
            return self._answer_on_loop(request)
        try:
            _admit(request, self._guard.admit(presented_by(request)))
        except Unauthenticated:
            _admit(request, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the view must not run
            return response_of(self._guard.answer(error))
        return cast(HttpResponseBase, self._next(request))

    async def _answer_on_loop(self, request: HttpRequest) -> HttpResponseBase:
        try:
            _admit(request, await self._guard.admit_on_loop(presented_by(request)))
        except Unauthenticated:
            _admit(request, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the view must not run
            return response_of(self._guard.answer(error))
        return cast(HttpResponseBase, await self._next(request))


class KeysteadBackend(BaseBackend):
    """`authenticate(request, token=…)` is the key's user or None. A key is never signed in to a session."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, token: str | None = None, **_: Any
    ) -> KeyUser | None:
        """None for what is no live key's token. Unavailable where nobody can tell."""
        if token is None:
            return None
        presented = Presented(()) if request is None else presented_by(request)
        try:
            return KeyUser(guard_of_settings().decide(presented, token, None))
        except InvalidToken:
            return None


def require(scope: str | None = None) -> Callable[[View], View]:
    """Runs a view for keys that hold `scope` alone; without one, for every live key. ValueError for what is no scope.

    AttributeError in a project without the middleware: nobody passes.
    """
    check_required(scope)

    def decorated(view: View) -> View:
        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def guarded_on_loop(request: HttpRequest, *args: Any, **named: Any) -> Any:
                refused = _missing(request, scope)
                return response_of(refused) if refused else await view(request, *args, **named)

            return guarded_on_loop

        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **named: Any) -> Any:
            refused = _missing(request, scope)
            return response_of(refused) if refused else view(request, *args, **named)

        return guarded

    return decorated


def guard_of_settings() -> Guard:
    """The guard that the project's settings name. AttributeError without one."""
    guard: Guard = getattr(settings, SETTING)
    return guard


def presented_by(request: HttpRequest) -> Presented:
    """What a request presents; under ASGI too, Django keeps it as a WSGI environment."""
    return of_wsgi(request.META)


def response_of(answer: Answer) -> HttpResponse:
    """`answer` as Django's response."""
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.headers:
        response[name.decode("latin-1")] = value.decode("latin-1")
    return response


def _missing(request: HttpRequest, scope: str | None) -> Answer | None:
    principal: Principal | None = request.keystead  # type: ignore[attr-defined]
    if principal is None:
        return guard_of_settings().answer(Unauthenticated())
    if scope is None or principal.scopes.permit(scope):
        return None
    return guard_of_settings().answer(InsufficientScope(scope))


def _admit(request: HttpRequest, principal: Principal | None) -> None:
    for name in [name for name in request.META if claims_identity(name)]:
        del request.META[name]
    request.keystead = principal  # type: ignore[attr-defined]
    if principal is not None:
        request.user = KeyUser(principal)  # type: ignore[assignment]
