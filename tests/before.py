"""A server of the version before, beside this one over one PostgreSQL that was migrated meanwhile."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import pytest

from keystead import bootstrap
from keystead.settings import Settings
from keystead.storage.row_security.diff import SERVER_ROLE
from tests.nursery import die_with_parent
from tests.postgres import Postgres
from tests.serving import HOST, free_port

ROOT: Final = Path(__file__).parents[1]
BEFORE: Final = "b8831af"
"""The last commit before row security; where history is not at hand, the test cannot be made."""
START_SECONDS: Final = 120.0
"""Its sources are compiled first."""
START: Final = "import sys; from keystead.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as it was then; a skip where there is no history."""
    found = subprocess.run(
        ["git", "archive", "--format=tar", BEFORE, "src"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if found.returncode != 0:
        pytest.skip(f"no history of this project here, in which the commit {BEFORE} is")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


@dataclass
class Before:
    """A server of the version before, which logs in as the tables' owner."""

    sources: Path
    data: Path
    url: str
    port: int

    def run(self, *arguments: str) -> None:
        """A command of that version."""
        subprocess.run(
            [sys.executable, "-c", START, *arguments],
            env=self._environment(),
            cwd=self.data,
            check=True,
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The server, for a while."""
        process = subprocess.Popen(
            [sys.executable, "-c", START, "serve", "--port", str(self.port)],
            env=self._environment(),
            cwd=self.data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - a test that is killed leaves no server behind
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not self._is_ready():
                assert process.poll() is None, "the server of the version before has ended"
                assert time.monotonic() < deadline, "the server of the version before is not ready"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(30)

    def call(self, method: str, path: str, *, token: str, json: object = None) -> httpx2.Response:
        """One request."""
        bearer = {"authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=f"http://{HOST}:{self.port}", trust_env=False) as http:
            return http.request(method, path, json=json, headers=bearer)

    def _is_ready(self) -> bool:
        try:
            with httpx2.Client(base_url=f"http://{HOST}:{self.port}", trust_env=False) as http:
                return http.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    def _environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if "KEYSTEAD" not in key}
        place = {"KEYSTEAD_DATA": str(self.data), "KEYSTEAD_DATABASE": self.url}
        return own | place | {"PYTHONPATH": str(self.sources)}


@pytest.fixture
def before(sources: Path, postgres: Postgres, tmp_path: Path) -> Iterator[Before]:
    """An installation of the version before."""
    name = postgres.create_database()
    make = "CREATE ROLE before_walls LOGIN CREATEROLE"
    postgres.execute(f"DO $$ BEGIN {make}; EXCEPTION WHEN duplicate_object THEN END $$")
    postgres.execute(f'ALTER DATABASE "{name}" OWNER TO before_walls')
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    url = postgres.dsn(name).replace("postgres@", "before_walls@")
    made = Before(sources, data, url, free_port())
    made.run("migrate")
    yield made
    postgres.drop_database(name)


def migrate(before: Before, *, enforce: bool = False) -> None:
    """What an operator does."""
    of_servers = before.url.replace("before_walls@", f"{SERVER_ROLE}@")
    settings = Settings(data=before.data, database=of_servers, migration_database=before.url)
    applied = bootstrap.migrate(settings, enforce=enforce).row_security
    assert applied is not None
    assert applied.owners_way is not enforce
