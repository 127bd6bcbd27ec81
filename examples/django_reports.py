"""Reports of a workspace, on Django: a project in one file."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from keystead.integrations import connect

settings.configure(
    SECRET_KEY=secrets.token_urlsafe(32),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    MIDDLEWARE=["keystead.integrations.django.KeysteadMiddleware"],
    KEYSTEAD=connect(),
)
app = get_wsgi_application()

from keystead.integrations.django import require  # noqa: E402 - Django must be set up before


@require("events:read")
def reports(request: HttpRequest) -> JsonResponse:
    """Return the reports of the caller's workspace."""
    return JsonResponse({"workspace": request.keystead.workspace_id, "reports": []})  # type: ignore[attr-defined]


urlpatterns = [path("reports", reports)]
