"""Modules that a process must not import: each takes a command time, and a serving process memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from keystead import bootstrap
from keystead.settings import Settings
from tests.support.server_process import begin

UNUSED: Final = frozenset(
    {
        "alembic",
        "argon2",
        "cryptography",
        "fastapi",
        "granian",
        "httpcore2",
        "httpx2",
        "jinja2",
        "keystead.developer_area",
        "keystead.services.deliveries",
        "keystead.services.documents",
        "keystead.services.sign_in",
        "keystead.services.webhooks",
        "prometheus_client",
        "psycopg",
        "rich.console",
        "rich.table",
        "starlette",
        "structlog",
        "valkey",
        "zxcvbn",
    }
)
"""What `keystead keys list` does not need."""
UNUSED_TO_SERVE: Final = frozenset(
    {
        "alembic",
        "cryptography",
        "httpx2",
        "mako",
        "prometheus_client",
        "psycopg",
        "valkey",
        "zxcvbn",
    }
)
"""What a serving process on SQLite does not need, or not before the first webhook or password."""
LIST: Final = "from keystead.cli import run; assert run(['keys', 'list']) == 0"
VERSION: Final = "from keystead.cli import run; assert run(['--version']) == 0"
SERVE: Final = (
    "import keystead.cli.serve, keystead.operation.server.serving; from keystead import bootstrap;"
    " from keystead.settings import read_settings;"
    " keystead.cli.serve._prepare(read_settings()); bootstrap.import_applications();"
    " bootstrap.create_app()"
)


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """The folder of an embedded installation with a workspace."""
    settings = Settings(data=tmp_path)
    begin(settings)
    installation = bootstrap.open_safely(settings)
    installation.services.workspaces.create("W")
    installation.close()
    return tmp_path


def modules_after(script: str, data: Path) -> set[str]:
    """Return the modules that a fresh interpreter has imported after the script."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; import sys; sys.exit('\\n' + ' '.join(sys.modules))"],
        cwd=data,
        env=kept | {"KEYSTEAD_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    modules = set(done.stderr.splitlines()[-1].split())
    assert "keystead" in modules, done.stderr
    return modules


def test_listing_keys_imports_what_it_needs(installation: Path) -> None:
    """The command works over the embedded database without what servers, pages and webhooks need."""
    modules = modules_after(LIST, installation)
    assert "keystead.services.keys" in modules
    assert modules & UNUSED == set()


def test_the_version_imports_nearly_nothing(installation: Path) -> None:
    """`keystead --version` imports the command line and what it prints with, not databases, settings or servers."""
    modules = modules_after(VERSION, installation)
    heavy = {"asyncio", "importlib.metadata", "psycopg", "pydantic", "sqlalchemy", "ssl"}
    assert modules & (UNUSED | heavy) <= {"rich.console"}


def test_a_serving_process_imports_what_it_needs(installation: Path) -> None:
    """An application over a current database is composed without the libraries of migrations, clients and secrets."""
    modules = modules_after(SERVE, installation)
    assert "keystead.api.app" in modules
    assert modules & UNUSED_TO_SERVE == set()
