"""Reports of a workspace, on Django REST framework: a project in one file."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

from keystead.integrations import connect

settings.configure(
    SECRET_KEY=secrets.token_urlsafe(32),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "EXCEPTION_HANDLER": "keystead.integrations.rest_framework.exception_handler",
    },
    KEYSTEAD=connect(),
)
app = get_wsgi_application()

# Django must be set up before these are imported.
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from keystead.integrations.rest_framework import KeysteadAuthentication, has_scope  # noqa: E402


class Reports(APIView):
    """The reports of the caller's workspace."""

    authentication_classes = (KeysteadAuthentication,)
    permission_classes = (has_scope("events:read"),)

    def get(self, request: Request) -> Response:
        """Return them."""
        workspace = request.auth.workspace_id  # type: ignore[union-attr]
        return Response({"workspace": workspace, "reports": []})


urlpatterns = [path("reports", Reports.as_view())]
