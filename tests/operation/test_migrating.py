"""`keystead migrate` on PostgreSQL as operators run it: by an owner without superuser rights, next to servers."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from keystead import bootstrap
from keystead.domain.errors import Unavailable
from keystead.domain.ids import KeyId
from keystead.operation.peppers import make_peppers
from keystead.settings import Settings
from keystead.storage.database import Database
from keystead.storage.maintenance import migrate as migrations
from keystead.storage.point_reads.by_id import point_reads_of
from keystead.storage.row_security.apply import apply_row_security, grant_owner_access
from keystead.storage.schema.verification_reads import KEY as BY_ID
from tests.support.postgres import OLDEST, PostgresServer, find_binaries, own_postgres
from tests.support.processes import CommandResult, run_apart
from tests.support.versions import revisions_with

OWNER = "keeper"
KEY = KeyId("key_1")
READ_SECONDS = 2.5


@pytest.fixture(scope="module", params=["newest", pytest.param("oldest", marks=pytest.mark.prove)])
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL with one owner of databases who may create roles, and one who may not."""
    binaries = OLDEST if request.param == "oldest" else None
    if binaries is None and find_binaries() is None:
        pytest.skip("no PostgreSQL binaries on this platform")
    if binaries is not None and not (binaries / "postgres").exists():
        pytest.skip(f"no PostgreSQL 15 in {binaries}: Debian 12 has it as postgresql-15")
    with own_postgres(fsync=False, binaries=binaries) as server:
        server.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
        server.execute("CREATE ROLE plain LOGIN")
        yield server


@dataclass
class Place:
    """A database of the test's own, and the login of its servers."""

    postgres: PostgresServer
    folder: Path
    name: str
    login: str
    heard: int = 0

    def url(self, user: str) -> str:
        """Return the URL of the database for that role."""
        return self.postgres.dsn(self.name).replace("postgres@", f"{user}@")

    @property
    def settings(self) -> Settings:
        """Return the settings of a server."""
        return Settings(data=self.folder / "data", database=self.url(self.login))

    def run(self, *arguments: str, owner: str = OWNER) -> CommandResult:
        """Run a command with the owner's URL in the environment. Returns its output."""
        own = {key: value for key, value in os.environ.items() if "KEYSTEAD" not in key}
        given = {
            "KEYSTEAD_DATA": str(self.folder / "data"),
            "KEYSTEAD_DATABASE": self.url(self.login),
            "KEYSTEAD_MIGRATION_DATABASE": self.url(owner),
        }
        ended = run_apart(list(arguments), own | given, self.folder)
        before, self.heard = self.heard, len(ended.output)
        return replace(ended, output=ended.output[before:])

    def sees_rows(self, user: str) -> bool:
        """Return whether that role sees any workspace."""
        with psycopg.connect(self.url(user)) as connection:
            return connection.execute("SELECT 1 FROM workspaces LIMIT 1").fetchone() is not None


@pytest.fixture
def place(postgres: PostgresServer, tmp_path: Path) -> Place:
    """An empty database of OWNER's."""
    name = postgres.create_database()
    postgres.execute(f'ALTER DATABASE "{name}" OWNER TO {OWNER}')
    return Place(postgres, tmp_path, name, f"server_{os.urandom(3).hex()}")


@pytest.mark.slow
def test_three_commands(place: Place) -> None:
    """A role, a database of the owner's and one command: the server's role exists, and a server can start."""
    first = place.run("migrate")
    assert first.code == 0, first.log
    assert f"Row-level security is now on. Servers log in as {place.login}." in first.output
    assert f"\\password {place.login}" in first.output
    bootstrap.prepare(place.settings)
    again = place.run("migrate", "--json")
    assert (again.code, again.log) == (0, "")
    report = json.loads(again.output)
    assert (report["status"], report["row_security"]["done"]) == ("current", [])
    assert (report["row_security"]["made_login"], report["row_security"]["owners_way"]) == (
        False,
        False,
    )


@pytest.mark.slow
def test_an_owner_who_may_not_create_roles(place: Place) -> None:
    """The command prints what an administrator has to run; then the same command succeeds, and servers start."""
    place.postgres.execute(f'ALTER DATABASE "{place.name}" OWNER TO plain')
    refused = place.run("migrate", owner="plain")
    assert refused.code == 1
    with pytest.raises(Unavailable):
        bootstrap.prepare(place.settings)
    statements = [line for line in refused.output.splitlines() if line.endswith(";")]
    assert f'CREATE ROLE "{place.login}" LOGIN NOINHERIT;' in statements
    with psycopg.connect(place.url("postgres")) as administrator:
        administrator.execute("\n".join(statements).encode())
    assert place.run("migrate", owner="plain").code == 0
    bootstrap.prepare(place.settings)


@pytest.mark.slow
def test_only_the_owner_migrates(place: Place) -> None:
    """For another role the command prints whose URL it needs: one line, exit code 78."""
    assert place.run("migrate").code == 0
    with psycopg.connect(place.url("postgres")) as administrator:
        administrator.execute("ALTER TABLE events DISABLE ROW LEVEL SECURITY")
    refused = place.run("migrate", owner=place.login)
    assert refused.code == 78
    assert "KEYSTEAD_MIGRATION_DATABASE" in refused.log.splitlines()[-1]


@pytest.mark.slow
def test_a_role_of_another_name(place: Place) -> None:
    """`--server-role` names the login, and all its roles after it; a name that would need quoting is refused."""
    assert place.run("migrate", "--server-role", f"{place.login}_b").code == 0
    place.login += "_b"
    bootstrap.prepare(place.settings)
    assert place.run("migrate", "--server-role", "Keys; DROP").code == 78


def _begin_without_row_security(place: Place) -> None:
    """Begin an installation of the version before row-level security, which serves as the owner."""
    with closing(Database(place.url(OWNER))) as database:
        migrations.upgrade(database)
    bootstrap.make_place(place.settings)
    make_peppers(place.settings.data / "peppers")
    with psycopg.connect(place.url(OWNER)) as connection:
        statements = (
            "INSERT INTO workspaces (id, name, plan_id, created_at) VALUES ('ws_1', 'W', 'free', 1)"
        )
        connection.execute(statements)


@pytest.mark.slow
def test_servers_of_the_version_before_go_on(place: Place) -> None:
    """A server that serves as the owner sees all rows after the first migration, and none after `--enforce`."""
    _begin_without_row_security(place)
    first = place.run("migrate")
    assert first.code == 0, first.log
    assert "keystead migrate --enforce" in first.output
    assert place.sees_rows(OWNER)
    bootstrap.prepare(place.settings)
    doctor = place.run("doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(doctor.output)}
    assert "keystead migrate --enforce" in findings["row security"]["says"]
    assert place.run("migrate").output.count("--enforce") == 1
    assert "--enforce" not in place.run("migrate", "--enforce").output
    assert not place.sees_rows(OWNER)
    bootstrap.prepare(place.settings)


@pytest.mark.slow
def test_a_later_migration_sees_rows(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a later migration its owner sees all rows again, and afterwards none."""
    _begin_without_row_security(place)
    assert place.run("migrate").code == 0
    assert place.run("migrate", "--enforce").code == 0
    monkeypatch.setattr(migrations, "REVISIONS", revisions_with(place.folder / "migrations"))
    settings = place.settings.model_copy(update={"migration_database": place.url(OWNER)})
    bootstrap.migrate(settings)
    assert not place.sees_rows(OWNER)
    with psycopg.connect(place.url("postgres")) as administrator:
        filled = administrator.execute("SELECT note FROM workspaces WHERE id = 'ws_1'").fetchone()
    assert filled == ("W",)
    with closing(Database(place.url(OWNER))) as database:
        assert grant_owner_access(database)
        assert place.sees_rows(OWNER)
        assert not grant_owner_access(database)


@pytest.mark.slow
def test_many_at_once(place: Place) -> None:
    """Four processes that migrate two databases concurrently, for one new login, all succeed."""
    _begin_without_row_security(place)
    other = replace(place, name=place.postgres.create_database(template=place.name))
    urls = [each.url("postgres") for each in (place, other)] * 2

    def build(url: str) -> list[str]:
        with closing(Database(url)) as database:
            return apply_row_security(database, place.login, fresh=True).left

    with ThreadPoolExecutor(len(urls)) as threads:
        assert list(threads.map(build, urls)) == [[]] * len(urls)
    for each in (place, other):
        bootstrap.prepare(each.settings)


# --- next to servers at work ---


@pytest.mark.slow
def test_verification_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a long read a migration waits for the lock, and no verification waits long for the migration (R94).

    Each verification has a time-out of one second, and all are answered.
    """
    _begin_with_a_key(place)
    monkeypatch.setattr(migrations, "REVISIONS", revisions_with(place.folder / "migrations"))
    reading, migrated = threading.Event(), threading.Event()
    statuses: Counter[str] = Counter()

    def verify() -> None:
        with (
            closing(Database(place.url(OWNER))) as database,
            closing(point_reads_of(database)) as reads,
        ):
            lookup = reads.lookup(BY_ID)
            while not migrated.is_set():
                statuses["found" if lookup.find(KEY) else "lost"] += 1

    def read_on() -> None:
        with psycopg.connect(place.url(OWNER)) as reader:
            reader.execute("SELECT count(*) FROM api_keys, workspaces")
            reading.set()
            time.sleep(READ_SECONDS)

    with ThreadPoolExecutor(3) as threads:
        verifying = [threads.submit(verify) for _ in range(2)]
        reader = threads.submit(read_on)
        try:
            assert reading.wait(30)
            with closing(Database(place.url(OWNER))) as database:
                migrations.upgrade(database)
                applied = apply_row_security(database, place.login, fresh=False)
        finally:
            migrated.set()
        for each in (reader, *verifying):
            each.result()
    assert applied.owners_way
    assert statuses.keys() == {"found"}


def _begin_with_a_key(place: Place) -> None:
    """Begin an installation of this version, with one key."""
    with closing(Database(place.url(OWNER))) as database:
        migrations.upgrade(database)
    with psycopg.connect(place.url(OWNER)) as connection:
        connection.execute(
            "INSERT INTO workspaces (id, name, plan_id, created_at) VALUES ('ws_1', 'W', 'free', 1)"
        )
        connection.execute(
            "INSERT INTO api_keys (id, workspace_id, description, folded_description, hint, pepper_id, digest, scopes,"
            " created_at, created_by_kind, created_by_id, created_by_name)"
            " VALUES (%s, 'ws_1', 'x', 'x', 'x', 'p1', %s, '*', 1, 'system', 'x', 'x')",
            [KEY, bytes(32)],
        )
