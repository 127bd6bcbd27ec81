"""What pip installs from the wheel: a light base that runs next to old and new frameworks, and a whole server.

These tests need a package index; `tests/standing/test_light_base.py` has what can be seen without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from keystead.domain.credentials import CredentialKind
from keystead.domain.principals import system
from tests.support.callers import REQUIRED
from tests.support.server_process import ServerProcess, serving

pytestmark = pytest.mark.prove

ROOT: Final = Path(__file__).parents[2]
LARGEST: Final = 12_000_000
"""Bytes of all files that the base adds to a fresh environment."""
ENVIRONMENTS: Final = {
    "fastapi": ["fastapi==0.110.*", "fastapi==0.115.*", "fastapi==0.165.*"],
    "flask": ["flask==3.0.*", "flask"],
    "django": ["django==4.2.*", "django"],
    "drf": ["djangorestframework==3.15.*"],
}
CASES: Final = [(name, each) for name, versions in ENVIRONMENTS.items() for each in versions]

ASK: Final = """
import asyncio, io, os

def over_asgi(app, token):
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"", "headers": headers,
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]

def over_wsgi(app, token):
    from wsgiref.util import setup_testing_defaults
    environ, statuses = {"HTTP_HOST": "localhost"}, []
    setup_testing_defaults(environ)
    if token:
        environ["HTTP_AUTHORIZATION"] = "Bearer " + token
    b"".join(app(environ, lambda status, headers, *rest: statuses.append(int(status[:3]))))
    return statuses[0]

def check(ask, app):
    print(*(ask(app, token) for token in (None, os.environ["KEY"], os.environ["OTHER"])))
"""
PROGRAMS: Final = {
    "fastapi": """
from fastapi import Depends, FastAPI
from keystead.integrations import connect
from keystead.integrations.fastapi import protect, require
app = FastAPI()
protect(app, connect())
@app.get("/")
async def read(key=Depends(require("events:read"))):
    return key.id
[operation] = app.openapi()["paths"]["/"].values()
assert operation["security"] == [{"KeysteadKey": ["events:read"]}], operation
assert {"401", "403", "503"} <= set(operation["responses"])
check(over_asgi, app)
""",
    "flask": """
from flask import Flask
from keystead.integrations import connect
from keystead.integrations.flask import Keystead, require
app = Flask("product")
Keystead(app, connect())
@app.get("/")
@require("events:read")
def read():
    return "reports"
check(over_wsgi, app)
""",
    "django": """
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from keystead.integrations import connect
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"], KEYSTEAD=connect(),
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    MIDDLEWARE=["keystead.integrations.django.KeysteadMiddleware"])
app = get_wsgi_application()
from keystead.integrations.django import require
urlpatterns = [path("", require("events:read")(lambda request: HttpResponse("reports")))]
check(over_wsgi, app)
""",
    "drf": """
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path
from keystead.integrations import connect
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"], KEYSTEAD=connect(),
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]})
app = get_wsgi_application()
from rest_framework.response import Response
from rest_framework.views import APIView
from keystead.integrations.rest_framework import KeysteadAuthentication, has_scope
class Reports(APIView):
    authentication_classes = [KeysteadAuthentication]
    permission_classes = [has_scope("events:read")]
    def get(self, request):
        return Response("reports")
urlpatterns = [path("", Reports.as_view())]
check(over_wsgi, app)
""",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this folder."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server of this folder's code, as the environment of an application that asks it names it, and two keys."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('asked') / 'keystead.db'}") as server:
        yield {
            "KEYSTEAD_URL": server.base_url,
            "KEYSTEAD_SERVICE_TOKEN": service_token(server),
            "KEY": server.token(REQUIRED),
            "OTHER": server.token("plan:read"),
        }


def environment(folder: Path, *requirements: str) -> Path:
    """Create an environment, and install these. Returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    if requirements:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    return python


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_the_base_is_small(wheel: Path, tmp_path: Path) -> None:
    """What `pip install keystead` adds to a fresh environment, compiled modules included."""
    environment(tmp_path / "bare")
    environment(tmp_path / "base", str(wheel))
    added = size_of(tmp_path / "base") - size_of(tmp_path / "bare")
    assert 1_000_000 < added < LARGEST


@pytest.mark.parametrize(("framework", "requirement"), CASES)
def test_the_guard_runs_next_to_old_and_new_frameworks(
    wheel: Path, asked: dict[str, str], tmp_path: Path, framework: str, requirement: str
) -> None:
    """The extra installs with that version, and its guard asks a server: 401 without a key, 200, and 403."""
    python = environment(tmp_path / "environment", f"{wheel}[{framework}]", requirement)
    done = subprocess.run(
        [python, "-c", ASK + PROGRAMS[framework]],
        env={"PATH": os.environ["PATH"], **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["401", "200", "403"], done.stderr


def service_token(server: ServerProcess) -> str:
    """Return the token of a service's credential."""
    from keystead import bootstrap

    installation = bootstrap.open_safely(server.settings)
    try:
        services = installation.services
        actor = system(services.workspaces.first().workspace_id).actor
        return services.credentials.create("product", actor, CredentialKind.SERVICE)[1].reveal()
    finally:
        installation.close()


def test_the_server_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """`pip install 'keystead[server]'` makes an installation, and a key, without this folder."""
    python = environment(tmp_path / "environment", f"{wheel}[server]")
    printed = ""
    for command in (
        ["migrate", "--data", "data"],
        ["workspaces", "create", "Acme", "--data", "data"],
        ["keys", "create", "--description", "sync", "--data", "data"],
    ):
        done = subprocess.run(
            [python.with_name("keystead"), *command],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    assert printed.startswith("ks_")
