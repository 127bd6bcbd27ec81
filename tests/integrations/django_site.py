"""A Django project with protected views in one file: settings, URLs and views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path

if TYPE_CHECKING:
    from tests.integrations.products import Product

urlpatterns: list[Any] = []
_serving: list[Product] = []


def begin() -> None:
    """Configure Django once in the process, and define the views, which need that."""
    if settings.configured:
        return
    settings.configure(
        DEBUG=False,
        SECRET_KEY="for tests alone",
        ALLOWED_HOSTS=["product.test"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        USE_TZ=True,
        REST_FRAMEWORK={
            "EXCEPTION_HANDLER": "keystead.integrations.rest_framework.exception_handler",
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        },
    )
    django.setup()
    _define()


@contextmanager
def serving(product: Product) -> Iterator[None]:
    """Let the views serve a product."""
    _serving.append(product)
    try:
        yield
    finally:
        _serving.pop()


def _define() -> None:
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from keystead.integrations import Principal
    from keystead.integrations.django import require
    from keystead.integrations.rest_framework import KeysteadAuthentication, has_scope
    from tests.integrations.world import REQUIRED

    @require(REQUIRED)
    def view(request: HttpRequest) -> JsonResponse:
        _serving[-1].served.append(request.keystead)  # type: ignore[attr-defined]
        _serving[-1].claims += [name for name in request.META if name.startswith("HTTP_")]
        return JsonResponse({})

    @require(REQUIRED)
    async def view_on_loop(request: HttpRequest) -> JsonResponse:
        _serving[-1].served.append(request.keystead)  # type: ignore[attr-defined]
        return JsonResponse({})

    class Rest(APIView):
        authentication_classes = (KeysteadAuthentication,)
        permission_classes = (has_scope(REQUIRED),)

        def get(self, request: Request) -> Response:
            assert isinstance(request.auth, Principal)
            _serving[-1].served.append(request.auth)
            return Response({})

    urlpatterns.extend(
        [path("view", view), path("view-on-loop", view_on_loop), path("rest", Rest.as_view())]
    )
