"""Servers of the version before and of this one, side by side on one migrated PostgreSQL (R94)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import psycopg
import pytest

from keystead import bootstrap
from keystead.settings import Settings
from keystead.storage.row_security import SERVER_ROLE
from tests.nursery import die_with_parent
from tests.postgres import Postgres, wait_until
from tests.serving import HOST, Serving, free_port, serving

ROOT: Final = Path(__file__).parents[2]
BEFORE: Final = "b8831af"
"""The last commit before row security; where history is not at hand, the test cannot be made."""
ROUNDS: Final = 50
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
            wait_until(self._is_ready, "the server of the version before is ready")
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
        return own | place | {"PYTHONPATH": str(self.sources), "PYTHONDONTWRITEBYTECODE": "1"}


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
    walled = bootstrap.migrate(settings, enforce=enforce).walled
    assert walled is not None
    assert walled.owners_way is not enforce


def make(server: Before | Serving, token: str, number: int) -> dict[str, Any]:
    """A new key."""
    answer = server.call("POST", "/v1/keys", token=token, json={"description": f"key {number}"})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.prove
def test_two_versions_side_by_side(before: Before) -> None:
    """What one makes the other verifies; what one revokes the other refuses from the answer on.

    What one pushes the other finds. When the last of the old ones has gone, the owner sees nothing any more.
    """
    with before.serving():
        migrate(before)
        url = before.url.replace("before_walls@", f"{SERVER_ROLE}@")
        with serving(url, data=before.data) as after:
            token = after.token()
            after.put_on("scale")
            for number in range(ROUNDS):
                one, other = (before, after) if number % 2 else (after, before)
                key = make(one, token, number)
                assert other.call("GET", "/v1/whoami", token=key["token"]).status_code == 200
                gone = one.call("DELETE", f"/v1/keys/{key['id']}", token=token)
                assert gone.status_code == 204
                assert other.call("GET", "/v1/whoami", token=key["token"]).status_code == 401
            _push_and_find(before, after, token)
            quota = after.call("GET", "/v1/keys", token=token).json()["quota"]["used"]
            assert quota == before.call("GET", "/v1/keys", token=token).json()["quota"]["used"] == 1
    migrate(before, enforce=True)
    with psycopg.connect(before.url) as owner:
        assert owner.execute("SELECT count(*) FROM api_keys").fetchone() == (0,)


def _push_and_find(before: Before, after: Serving, token: str) -> None:
    after.call("POST", "/v1/collections", token=token, json={"name": "docs"})
    for server, word in ((before, "herons"), (after, "weirs")):
        path = f"/v1/collections/docs/documents/{word}"
        assert server.call("PUT", path, token=token, json={"text": word}).status_code == 201
    for server in (before, after):
        for word in ("herons", "weirs"):
            path = f"/v1/collections/docs/documents?query={word}"
            found = server.call("GET", path, token=token).json()
            assert [document["id"] for document in found["items"]] == [word], (server, found)
